// What the gateways' processes use, if they are on this machine (PIDS), and what k6 does itself: figures of
// a k6 that has no core left are its own. An observer is a scenario of one VU that looks every second. Its
// metrics are there from the start, so that thresholds can be about them.
import { sleep } from 'k6';
import { Gauge, Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { pids } from './config.js';
import { figure } from './format.js';

const own = new Trend('k6_cpu_percent');
const cpu = new Trend('server_cpu_percent');
const before = new Gauge('server_rss_before_bytes');
const most = new Gauge('server_rss_bytes');
const after = new Gauge('server_rss_after_bytes');
const growth = new Gauge('server_rss_growth_bytes');
const slope = new Gauge('server_rss_slope_bytes_per_minute');

function look() {
  const total = { at: sse.now(), rss: 0, cpu: 0, own: sse.process().cpuSeconds };
  for (const pid of pids) {
    const p = sse.process(pid);
    total.rss += p.rssBytes;
    total.cpu += p.cpuSeconds;
  }
  return total;
}

// used is a note: who had how much of the machine.
export function used(outcome) {
  const of = (name) => `${figure(outcome.metrics[name].avg)} % of one core on average, ${figure(outcome.metrics[name].max)} % at most`;
  return pids.length === 0 ? 'CPU: not looked at (PIDS is empty).'
    : `CPU of the gateways: ${of('server_cpu_percent')}; of k6 itself: ${of('k6_cpu_percent')}.`;
}

// alone says that streams were open and are not any more.
export function alone() {
  const seconds = sse.timeline();
  return seconds.some((one) => one.opened > 0) && seconds[seconds.length - 1].open === 0;
}

// observe looks for so many seconds, or until `done`. The slope is the straight line of least squares through the second
// half: what a server takes once, at the beginning, is no leak.
export function observe(lasting, done) {
  if (pids.length === 0) return;
  const looks = [look()];
  before.add(looks[0].rss);
  const until = looks[0].at + lasting * 1000;
  while (sse.now() < until && !(done && done())) {
    sleep(done ? 0.2 : 1);
    const last = looks[looks.length - 1];
    const now = look();
    const percent = (used) => (100000 * used) / (now.at - last.at);
    cpu.add(percent(now.cpu - last.cpu));
    own.add(percent(now.own - last.own));
    most.add(now.rss);
    looks.push(now);
  }
  const end = looks[looks.length - 1];
  after.add(end.rss);
  growth.add(end.rss - looks[0].rss);
  slope.add(line(looks.slice(Math.floor(looks.length / 2))));
}

function line(looks) {
  const mean = (of) => looks.reduce((sum, one) => sum + of(one), 0) / looks.length;
  const at = mean((one) => one.at);
  const rss = mean((one) => one.rss);
  const over = looks.reduce((sum, one) => sum + (one.at - at) * (one.rss - rss), 0);
  const under = looks.reduce((sum, one) => sum + (one.at - at) ** 2, 0);
  return under === 0 ? 0 : (over / under) * 60000;
}

// observer is the scenario, to be exported as `watchServers` by the script.
export function observer(lasting) {
  return { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'watchServers', maxDuration: `${lasting + 30}s` };
}

// observed are thresholds that only mean something with PIDS.
export function observed(thresholds) {
  return pids.length === 0 ? {} : thresholds;
}
