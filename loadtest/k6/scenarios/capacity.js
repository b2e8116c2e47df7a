// More and more streams of one room, step by step, until it hurts: finds the knee and says it.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, number, pace } from '../lib/config.js';
import { close, online, quiet, until } from '../lib/crowd.js';
import { knee } from '../lib/knee.js';
import { observe, observer, used } from '../lib/servers.js';
import { kit, publish, room, watch } from '../lib/tidegate.js';
import { summary } from '../lib/summary.js';

const place = room('capacity');
// `100,500,1000,5000` is the longer one.
const steps = (__ENV.STEPS || '10,100,500,1000').split(',').map(Number);
if (!steps.every((step, i) => step > (steps[i - 1] || 0))) throw new Error(`STEPS=${__ENV.STEPS} are no rising numbers`);
const hold = Math.max(3, Math.round(number('HOLD', 30) * pace));
const connectRate = number('CONNECT_RATE', 200);
// The longest that it may take; publisher and observer end with the readers.
const lasting = Math.ceil(steps.length * (hold + 15) + steps[steps.length - 1] / connectRate + 30);

const rate = number('RATE', 5);
// The steps go further than is to be held: loss and failures are judged then, and times only said.
const beyond = number('BEYOND', 0) > 0;
const filled = new Trend('capacity_step_ms');

export const options = kit({
  scenarios: {
    readers: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'climb', maxDuration: `${lasting + 60}s` },
    publisher: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'produce', maxDuration: `${lasting + 60}s` },
    servers: observer(lasting),
  },
  thresholds: Object.assign({
    http_req_failed: ['rate<0.01'],
    data_received: ['count>0'],
    checks: ['rate>0.99'],
  }, beyond ? {} : {
    http_req_waiting: ['p(95)<500'],
    http_req_blocked: ['p(99)<100'],
  }),
});

export function climb() {
  const all = [];
  for (const step of steps) {
    const from = sse.now();
    while (all.length < step) {
      all.push(watch(gateway(all.length), place));
      // All at once would be a test of the listener's queue and not of streams.
      if (all.length % 10 === 0) sleep(10 / connectRate);
    }
    check(until(() => online(all), 15), { 'all streams of the step are there': (yes) => yes });
    filled.add(sse.now() - from);
    sleep(hold);
  }
  quiet();
  close(all);
}

// produce goes on until the readers have come and gone.
export function produce() {
  const from = sse.now();
  const pause = 1000 / rate;
  let seen = false;
  for (let n = 0; ; n++) {
    const open = sse.timeline().reduce((_, second) => second.open, 0);
    seen = seen || open > 0;
    if ((seen && open === 0) || n > rate * lasting) return;
    publish(gateway(n), place, 200);
    // By the clock: what a publish took is part of the pause.
    sleep(Math.max(0, (from + (n + 1) * pause - sse.now()) / 1000));
  }
}

export function watchServers() {
  observe(lasting, () => exec.instance.vusActive <= 1 && sse.timeline().length > 5);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('capacity', {
  title: `Capacity: ${steps.join(' → ')} streams`,
  trends: ['capacity_step_ms'],
  notes: (outcome) => knee(outcome.timeline, steps, rate).concat(used(outcome)),
});
