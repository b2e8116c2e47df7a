// New streams all the time: each takes three events and leaves. What do they leave behind?
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import { gateway, number, pace, pids } from '../lib/config.js';
import { until } from '../lib/crowd.js';
import { observe, observed, observer, used } from '../lib/servers.js';
import { kit, publish, room, settle, watch } from '../lib/tidegate.js';
import { bytes, figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const place = room('churn');
const perSecond = number('ARRIVALS', 20);
const lasting = Math.max(5, Math.round(number('LASTING', 60) * pace));
const events = 3;
// What the server may have grown by at the end, when all streams have gone.
const mayGrow = number('MAY_GROW_MB', 64) * 1e6;

const visit = new Trend('churn_visit_ms');
const visits = new Counter('churn_visits');

export const options = kit({
  scenarios: {
    visitors: { executor: 'constant-arrival-rate', exec: 'come', rate: perSecond, timeUnit: '1s', startTime: '3s', duration: `${lasting}s`, preAllocatedVUs: 3 * perSecond, maxVUs: 10 * perSecond, gracefulStop: '30s' },
    publisher: { executor: 'constant-arrival-rate', exec: 'produce', rate: number('RATE', 5), timeUnit: '1s', duration: `${lasting + 5}s`, preAllocatedVUs: 3, gracefulStop: '15s' },
    servers: observer(lasting + 15),
  },
  thresholds: Object.assign({
    churn_visits: [`count>=${Math.floor(0.95 * perSecond * lasting)}`],
    dropped_iterations: ['count==0'],
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  }, observed({ server_rss_growth_bytes: [`value<${mayGrow}`] })),
});

export function come() {
  const from = Date.now();
  const reader = watch(gateway(exec.scenario.iterationInTest), place);
  const had = until(() => reader.state().events >= events, 15);
  const state = reader.close();
  if (check(state, { 'three events came': () => had })) {
    visits.add(1);
    visit.add(Date.now() - from);
  }
}

export function produce() {
  publish(gateway(exec.scenario.iterationInTest), place, 200);
}

export function watchServers() {
  observe(lasting + 15);
}

export function teardown() {
  sleep(0.1);
  settle();
}

export const handleSummary = summary('churn', {
  title: `Churn: ${perSecond} new streams a second, each leaves after ${events} events`,
  trends: ['churn_visit_ms'],
  notes: (outcome) => {
    const value = (name) => outcome.metrics[name].value;
    return [
      `${outcome.metrics.churn_visits.count} streams came and went; ${figure(outcome.metrics.churn_visits.count / lasting)} a second.`,
      pids.length === 0 ? 'Memory: not looked at (PIDS is empty).'
        : `Memory of the gateways: ${bytes(value('server_rss_before_bytes'))} before, ${bytes(value('server_rss_after_bytes'))} ten seconds after, ${bytes(outcome.metrics.server_rss_bytes.max)} at most.`,
      used(outcome),
    ];
  },
});
