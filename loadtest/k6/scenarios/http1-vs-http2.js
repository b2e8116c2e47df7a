// The same readers of the same events over HTTP/1.1, a connection each, and over HTTP/2, where all of a
// VU's share one as far as the server lets them.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, many, number, pace } from '../lib/config.js';
import { close, crowd, online, quiet, until } from '../lib/crowd.js';
import { kit, publish, room } from '../lib/tidegate.js';
import { figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const place = room('protocols');
const readers = many(number('READERS', 200));
const holders = 4;
const lasting = Math.max(8, Math.round(number('LASTING', 60) * pace));

const filled = new Trend('protocol_fill_ms');

function side(protocol) {
  return { executor: 'per-vu-iterations', vus: holders, iterations: 1, exec: 'hold', maxDuration: `${lasting + 60}s`, env: { PROTOCOL: protocol } };
}

const both = (name, expressions) => ({ [`${name}{protocol:http1}`]: expressions, [`${name}{protocol:http2}`]: expressions });

export const options = kit({
  scenarios: {
    http1: side('http1'),
    http2: side('http2'),
    publisher: { executor: 'constant-arrival-rate', exec: 'produce', rate: number('RATE', 10), timeUnit: '1s', startTime: '2s', duration: `${lasting - 3}s`, preAllocatedVUs: 5, gracefulStop: '15s' },
  },
  thresholds: Object.assign({
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  }, both('message_latency_ms', ['p(95)<1000']), both('received_message_count', ['count>0']), both('protocol_fill_ms', ['max<10000']),
  both('sse_time_to_first_event', ['p(95)<2000']), both('sse_disconnects', ['count==0'])),
});

export function hold() {
  const tags = { name: 'subscribe', role: 'consumer', protocol: __ENV.PROTOCOL };
  const from = sse.now();
  const all = crowd(Math.ceil(readers / holders), place, { params: { protocol: __ENV.PROTOCOL, tags: tags } });
  if (check(until(() => online(all), 30), { 'all readers are there': (yes) => yes })) {
    filled.add(sse.now() - from, { protocol: __ENV.PROTOCOL });
  }
  sleep(lasting);
  quiet();
  close(all);
}

export function produce() {
  publish(gateway(exec.scenario.iterationInTest), place, 200);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('http1-vs-http2', {
  title: `${readers} readers over HTTP/1.1 beside ${readers} over HTTP/2`,
  trends: ['message_latency_ms{protocol:http1}', 'message_latency_ms{protocol:http2}', 'sse_time_to_first_event{protocol:http1}', 'sse_time_to_first_event{protocol:http2}', 'protocol_fill_ms{protocol:http1}', 'protocol_fill_ms{protocol:http2}'],
  notes: (outcome) => ['http1', 'http2'].map((p) => {
    const m = outcome.metrics;
    return `${p}: ${m[`received_message_count{protocol:${p}}`].count} events, p95 ${figure(m[`message_latency_ms{protocol:${p}}`]['p(95)'])} ms, connected within ${figure(m[`protocol_fill_ms{protocol:${p}}`].max)} ms.`;
  }),
});
