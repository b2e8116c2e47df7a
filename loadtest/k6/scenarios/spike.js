// A hot room: all at once it has many times its readers and its events, and then again not.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, many, number, pace } from '../lib/config.js';
import { close, crowd, online, quiet, until } from '../lib/crowd.js';
import { observe, observer, used } from '../lib/servers.js';
import { kit, publish, room } from '../lib/tidegate.js';
import { summary } from '../lib/summary.js';

const place = room('hot');
const regulars = many(number('READERS', 20));
const crowdSize = many(number('CROWD', 1000));
// Calm, hot, calm again: each this many seconds.
const part = Math.max(4, Math.round(number('PART', 20) * pace));
const calm = number('RATE', 2);
const hot = number('HOT_RATE', 20);
const lasting = 3 * part + 3;

const filled = new Trend('spike_fill_ms');

function reader(tag) {
  return { params: { tags: { name: 'subscribe', role: 'consumer', who: tag } } };
}

export const options = kit({
  scenarios: {
    regulars: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'stay', maxDuration: `${lasting + 60}s` },
    crowd: { executor: 'per-vu-iterations', vus: 4, iterations: 1, exec: 'rush', startTime: `${part}s`, maxDuration: `${part + 60}s` },
    publisher: { executor: 'constant-arrival-rate', exec: 'produce', rate: calm, timeUnit: '1s', startTime: '1s', duration: `${lasting - 3}s`, preAllocatedVUs: 4, gracefulStop: '15s' },
    burst: { executor: 'constant-arrival-rate', exec: 'produce', rate: hot, timeUnit: '1s', startTime: `${part}s`, duration: `${part}s`, preAllocatedVUs: 10, gracefulStop: '15s' },
    servers: observer(lasting),
  },
  thresholds: {
    // The regulars are the ones who must not notice.
    'message_latency_ms{who:regular}': ['p(95)<1000'],
    'sse_disconnects{who:regular}': ['count==0'],
    message_latency_ms: ['p(95)<2000'],
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
});

export function stay() {
  const all = crowd(regulars, place, reader('regular'));
  check(until(() => online(all), 30), { 'the regulars are there': (yes) => yes });
  sleep(lasting);
  quiet();
  close(all);
}

export function rush() {
  const from = sse.now();
  const all = crowd(Math.ceil(crowdSize / 4), place, reader('crowd'));
  if (check(until(() => online(all), 30), { 'the crowd is there': (yes) => yes })) filled.add(sse.now() - from);
  sleep(Math.max(1, part - (sse.now() - from) / 1000));
  quiet();
  close(all);
}

export function produce() {
  publish(gateway(exec.scenario.iterationInTest), place, 200);
}

export function watchServers() {
  observe(lasting);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('spike', {
  title: `A hot room: from ${regulars} readers to ${regulars + crowdSize}, from ${calm} events a second to ${calm + hot}`,
  trends: ['spike_fill_ms', 'message_latency_ms{who:regular}'],
  notes: (outcome) => [used(outcome)],
});
