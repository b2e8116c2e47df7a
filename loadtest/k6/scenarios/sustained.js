// A number of streams for a while: nothing may happen to them, and the server may not grow.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { gateway, many, number, pace, pids } from '../lib/config.js';
import { close, crowd, online, quiet, until } from '../lib/crowd.js';
import { observe, observed, observer, used } from '../lib/servers.js';
import { kit, publish, room } from '../lib/tidegate.js';
import { bytes, figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const place = room('sustained');
const readers = many(number('READERS', 50));
// 60 s, or minutes: LASTING=600.
const lasting = Math.max(10, Math.round(number('LASTING', 60) * pace));

export const options = kit({
  scenarios: {
    readers: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'hold', maxDuration: `${lasting + 60}s` },
    publisher: { executor: 'constant-arrival-rate', exec: 'produce', rate: number('RATE', 10), timeUnit: '1s', startTime: '2s', duration: `${lasting - 3}s`, preAllocatedVUs: 5, gracefulStop: '15s' },
    servers: observer(lasting),
  },
  thresholds: Object.assign({
    message_latency_ms: ['p(95)<1000'],
    sse_disconnects: ['count==0'],
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
    // The log's window fills until it is full: only over minutes is a slope a leak.
  }, lasting < 300 ? {} : observed({ server_rss_slope_bytes_per_minute: [`value<${number('MAY_GROW_MB_PER_MINUTE', 8) * 1e6}`] })),
});

export function hold() {
  const all = crowd(readers, place);
  check(until(() => online(all), 30), { 'all readers are there': (yes) => yes });
  sleep(lasting);
  check(online(all), { 'all readers are there at the end': (yes) => yes });
  quiet();
  const states = close(all);
  check(states, { 'each had one connection': (ss) => ss.every((s) => s.connections === 1) });
}

export function produce() {
  publish(gateway(exec.scenario.iterationInTest), place, number('BODY', 1024));
}

export function watchServers() {
  observe(lasting);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('sustained', {
  title: `${readers} streams for ${lasting} s`,
  notes: (outcome) => [pids.length === 0 ? 'Memory: not looked at (PIDS is empty).'
    : `Memory of the gateways: ${bytes(outcome.metrics.server_rss_before_bytes.value)} before, ${bytes(outcome.metrics.server_rss_after_bytes.value)} after; slope of the second half ${figure(outcome.metrics.server_rss_slope_bytes_per_minute.value / 1e6)} MB a minute.`, used(outcome)],
});
