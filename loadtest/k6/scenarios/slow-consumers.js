// Some readers read slowly: the others must not notice, and the slow ones miss nothing that they are not
// told of.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, many, number, pace } from '../lib/config.js';
import { close, crowd, online, quiet, until } from '../lib/crowd.js';
import { observe, observer, used } from '../lib/servers.js';
import { kit, publish, room, streamURL } from '../lib/tidegate.js';
import { summary } from '../lib/summary.js';

const place = room('slow');
const quick = many(number('READERS', 20));
const slow = many(number('SLOW', 5));
const lasting = Math.max(15, Math.round(number('LASTING', 60) * pace));
// Each event keeps a slow reader's script this long.
const napping = number('NAP_MS', 1000) / 1000;

// `drop` or `latest`, where the gateway allows it; else a slow reader is cut, and resumes.
const policy = __ENV.SLOW_POLICY || '';
const told = policy === 'drop' || policy === 'latest' ? 'sse_gaps{who:slow}' : 'sse_disconnects{who:slow}';

const slowEvents = new Counter('slow_events');

export const options = kit({
  scenarios: {
    quick: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'read', maxDuration: `${lasting + 60}s` },
    slow: { executor: 'per-vu-iterations', vus: slow, iterations: 1, exec: 'nap', maxDuration: `${lasting + 30}s`, gracefulStop: '5s' },
    publisher: { executor: 'constant-arrival-rate', exec: 'produce', rate: number('RATE', 20), timeUnit: '1s', startTime: '2s', duration: `${lasting - 4}s`, preAllocatedVUs: 20, gracefulStop: '15s' },
    servers: observer(lasting),
  },
  thresholds: {
    'message_latency_ms{who:quick}': ['p(95)<1000'],
    'sse_disconnects{who:quick}': ['count==0'],
    slow_events: ['count>0'],
    // Were none cut, the slow readers were not slow, and the quick ones had nothing to notice.
    [told]: ['count>0'],
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
});

export function read() {
  const all = crowd(quick, place, { params: { tags: { name: 'subscribe', role: 'consumer', who: 'quick' } } });
  check(until(() => online(all), 30), { 'the quick readers are there': (yes) => yes });
  sleep(lasting);
  quiet();
  close(all);
}

// nap reads an event and sleeps. Its socket fills, and the gateway cuts it, or says a gap where slow=drop
// is allowed; it has no account, since what it misses is said to it.
export function nap() {
  const url = streamURL(gateway(exec.scenario.iterationInTest), place, { slow: policy });
  const end = sse.now() + lasting * 1000;
  sse.open(url, { reconnect: true, timeout: `${lasting}s`, silence: '-1s', readBuffer: 16384, tags: { name: 'subscribe', role: 'consumer', who: 'slow' } }, (client) => {
    client.on('event', (event) => {
      // What still waits for the script when its time is over would be napped through, one by one.
      if (sse.now() > end) return client.close();
      if (event.name.startsWith('tidegate.')) return;
      slowEvents.add(1);
      sleep(napping);
    });
  });
}

export function produce() {
  publish(gateway(exec.scenario.iterationInTest), place, number('BODY', 40 * 1024));
}

export function watchServers() {
  observe(lasting);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('slow-consumers', {
  title: `${slow} slow readers beside ${quick} quick ones`,
  trends: ['message_latency_ms{who:quick}'],
  notes: (outcome) => [
    `The slow readers took ${outcome.metrics.slow_events.count} events; ${told}: ${outcome.metrics[told].count}.`,
    used(outcome),
  ],
});
