// All readers leave at once and come back at once, again and again, while events go on: each resumes at
// its place, and nothing may be missing.
import { check, sleep } from 'k6';
import { Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import exec from 'k6/execution';
import { gateway, many, number, pace } from '../lib/config.js';
import { close, online, quiet, until } from '../lib/crowd.js';
import { observe, observer, used } from '../lib/servers.js';
import { kit, publish, room, watch } from '../lib/tidegate.js';
import { figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const place = room('storm');
const readers = many(number('READERS', 500));
const holders = Math.min(readers, 10);
const storms = number('STORMS', 5);
// Seconds from one storm to the next, and how long the readers are away.
const every = Math.max(2, 10 * pace);
const away = number('AWAY_MS', 500) / 1000;
const lasting = 3 + every * (storms + 1);

const back = new Trend('storm_back_ms');

export const options = kit({
  scenarios: {
    readers: { executor: 'per-vu-iterations', vus: holders, iterations: 1, exec: 'hold', maxDuration: `${Math.ceil(lasting) + 60}s` },
    publisher: { executor: 'constant-arrival-rate', rate: number('RATE', 10), timeUnit: '1s', duration: `${Math.ceil(lasting - 2)}s`, preAllocatedVUs: 5, exec: 'produce', gracefulStop: '15s' },
    servers: observer(Math.ceil(lasting)),
  },
  thresholds: {
    storm_back_ms: ['max>0', 'p(95)<5000'],
    sse_reconnects: [`count>=${readers * storms}`],
    'http_req_failed{role:producer}': ['rate<0.01'],
    checks: ['rate>0.99'],
  },
});

// hold has a part of the readers.
export function hold() {
  const began = exec.scenario.startTime;
  let mine = [];
  for (let n = exec.scenario.iterationInTest; n < readers; n += holders) mine.push(watch(gateway(n), place));
  check(until(() => online(mine), 60), { 'all readers are there': (yes) => yes });
  for (let storm = 1; storm <= storms; storm++) {
    // By the clock, so that all VUs do it at the same moment.
    sleep(Math.max(0, (began + 1000 * (3 + every * storm) - Date.now()) / 1000));
    close(mine);
    sleep(away);
    const from = sse.now();
    // By turns on the gateways: who comes back comes back to another one.
    mine = mine.map((reader, n) => watch(gateway(n + storm), place, { params: { resume: reader } }));
    if (check(until(() => online(mine), 60), { 'all readers are back': (yes) => yes })) back.add(sse.now() - from);
  }
  sleep(Math.max(0, (began + 1000 * lasting - Date.now()) / 1000));
  quiet();
  close(mine);
}

export function produce() {
  publish(gateway(exec.scenario.iterationInTest), place, 200);
}

export function watchServers() {
  observe(lasting);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('reconnect-storm', {
  title: `Reconnect storm: ${readers} readers, ${storms} times`,
  trends: ['storm_back_ms', 'sse_outage_ms'],
  notes: (outcome) => [
    `All were back after ${figure(outcome.metrics.storm_back_ms.max)} ms at most; they had been away for ${figure(away * 1000)} ms on purpose.`,
    used(outcome),
  ],
});
