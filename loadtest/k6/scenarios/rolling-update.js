// Readers and publishers while gateways stop and start: nothing may be lost. Who stops them is whoever
// runs it: `rolling-update` beside this folder does with gateways of its own, `kubectl rollout restart`
// in a cluster.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { gateway, many, number, pace, urls } from '../lib/config.js';
import { close, online, quiet, until } from '../lib/crowd.js';
import { kit, publishSurely, room, watch } from '../lib/tidegate.js';
import { figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const readers = many(number('READERS', 100));
const lasting = Math.ceil(number('LASTING', 120) * pace);
// A room of the run's own: what an earlier run left in Kafka is not its business.
const place = room('rolling');

export const options = kit({
  scenarios: {
    readers: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'hold', maxDuration: `${lasting + 120}s` },
    publisher: { executor: 'constant-arrival-rate', rate: number('RATE', 10), timeUnit: '1s', startTime: '5s', duration: `${lasting - 10}s`, preAllocatedVUs: 50, exec: 'produce', gracefulStop: '60s' },
  },
  thresholds: {
    // Attempts fail while a gateway is away; that every reader comes back, and misses nothing, is the point.
    sse_connection_ok: ['rate>0'],
    sse_reconnects: [`count>=${readers}`],
    sse_gaps: ['count==0'],
    checks: ['rate==1'],
  },
});

export function hold() {
  const all = [];
  for (let n = 0; n < readers; n++) {
    all.push(watch(gateway(n), place, { params: { reconnect: { maxDelay: '5s' } } }));
  }
  check(until(() => online(all), 30), { 'all readers are there': (yes) => yes });
  sleep(lasting);
  check(until(() => online(all), 60), { 'all readers are there at the end': (yes) => yes });
  quiet();
  sleep(1);
  close(all);
}

export function produce() {
  check(publishSurely(urls, exec.scenario.iterationInTest, place, 200), { 'every publish got a receipt in the end': (n) => n >= 0 });
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('rolling-update', {
  title: `Rolling update: ${readers} readers, ${urls.length} gateways`,
  trends: ['sse_outage_ms', 'publish_surely_ms'],
  notes: (outcome) => [
    `Readers were away for ${figure(outcome.metrics.sse_outage_ms.med)} ms (median), ${figure(outcome.metrics.sse_outage_ms.max)} ms at most.`,
    'Failed connections and requests are those of gateways that were away; What went wrong has them.',
  ],
});
