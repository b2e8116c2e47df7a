// Long streams through a proxy: does it hand events on as they come, or does it collect them first; does
// it cut what is quiet; and is a connection that has gone silent noticed? SIDES names what to compare:
// `plain=http://…,buffering=http://…`.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, number, pace, urls } from '../lib/config.js';
import { close, quiet, until } from '../lib/crowd.js';
import { kit, publish, room, watch } from '../lib/tidegate.js';
import { figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const sides = (__ENV.SIDES || `direct=${urls[0]}`).split(',').map((side) => {
  const at = side.indexOf('=');
  return [side.slice(0, at), side.slice(at + 1).replace(/\/+$/, '')];
});
// Sides that are to be caught at it: `BUFFERED=buffering`.
const buffered = (__ENV.BUFFERED || '').split(',').filter((name) => name !== '');
// Sides whose gateway falls silent on the way without closing anything, and goes on later: `FROZEN=frozen`.
const frozen = (__ENV.FROZEN || '').split(',').filter((name) => name !== '');
const clean = sides.map(([name]) => name).filter((name) => !buffered.includes(name) && !frozen.includes(name));
// 30 s, 60 s and 5 minutes.
const lengths = (__ENV.LENGTHS || '30,60,300').split(',').map((text) => Math.max(3, Math.round(Number(text) * pace)));
const perSide = number('READERS', 2);
const every = number('EVERY', 1);
// An event that takes longer than this through a proxy was kept there.
const kept = number('KEPT_MS', 1000);
const lasting = Math.max(...lengths) + 10;

const found = new Counter('sessions_buffering_found');
const first = new Trend('sessions_first_ms');

const rooms = Object.fromEntries(sides.map(([name]) => [name, room(`session-${name}`)]));

export const options = kit({
  scenarios: Object.fromEntries(sides.flatMap(([name], i) => lengths.map((seconds) => [`${name}_${seconds}s`, {
    executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'session', maxDuration: `${lasting + 60}s`,
    env: { SIDE: String(i), HOLD: String(seconds) },
  }])).concat([['publisher', {
    executor: 'constant-arrival-rate', exec: 'produce', rate: Math.max(1, Math.round(1 / every)), timeUnit: '1s', startTime: '2s', duration: `${Math.max(...lengths)}s`, preAllocatedVUs: 4, gracefulStop: '15s',
  }]])),
  thresholds: Object.assign({
    'http_req_failed{role:producer}': ['rate<0.01'],
    // Of each side: what a proxy keeps for longer than a reader waits is a failure that was to be found.
    sse_connection_ok: ['rate>0'],
    checks: ['rate==1'],
  }, buffered.length > 0 ? { sessions_buffering_found: [`count>=${buffered.length * lengths.length}`] } : {},
  Object.fromEntries(frozen.map((name) => [`sse_disconnects{side:${name},reason:silent}`, [`count>=${perSide}`]])),
  Object.fromEntries(clean.flatMap((name) => [
    [`message_latency_ms{side:${name}}`, [`p(95)<${kept}`]],
    [`sse_disconnects{side:${name}}`, ['count==0']],
    [`sse_connection_ok{side:${name}}`, ['rate>0.99']],
    [`http_req_failed{side:${name}}`, ['rate<0.01']],
  ]))),
});

// session is one length of one side.
export function session() {
  const [name, base] = sides[Number(__ENV.SIDE)];
  const all = [];
  for (let n = 0; n < perSide; n++) {
    const tags = { name: 'subscribe', role: 'consumer', side: name };
    // As browsers ask: a proxy that compresses collects.
    const params = { headers: { 'Accept-Encoding': 'gzip' }, tags: tags };
    // What a proxy keeps, or a gateway never had, is not lost by this one.
    if (!clean.includes(name)) Object.assign(params, { ledger: null, room: null });
    all.push(watch(base, rooms[name], { params: params }));
  }
  const from = sse.now();
  const began = until(() => all.every((reader) => reader.state().bytes > 0), Math.min(3, Number(__ENV.HOLD)));
  if (began) first.add(sse.now() - from, { side: name });
  else found.add(1, { side: name });
  check(began, { [buffered.includes(name) ? `${name} keeps what the gateway writes` : `${name} hands on the first block at once`]: (yes) => yes !== buffered.includes(name) });
  sleep(Number(__ENV.HOLD));
  quiet();
  const states = close(all);
  if (frozen.includes(name)) {
    // Only who is there long enough sees it fall silent.
    if (Number(__ENV.HOLD) === Math.max(...lengths)) check(states, { [`${name}: its silence was noticed, and the streams came back`]: (ss) => ss.every((s) => s.connections >= 2) });
  } else if (clean.includes(name)) {
    check(states, { [`${name} held its streams for ${__ENV.HOLD} s`]: (ss) => ss.every((s) => s.connections === 1 && s.events > 0) });
  }
}

export function produce() {
  for (const name of clean) publish(gateway(exec.scenario.iterationInTest), rooms[name], 200);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('sessions', {
  title: `Streams of ${lengths.join(', ')} s: ${sides.map(([name]) => name).join(' beside ')}`,
  trends: ['sessions_first_ms'].concat(clean.map((name) => `message_latency_ms{side:${name}}`)),
  notes: (outcome) => clean.map((name) => {
    const m = outcome.metrics[`message_latency_ms{side:${name}}`];
    if (!m.count) return `${name}: no event came.`;
    return `${name}: events after ${figure(m.med)} ms (median), ${figure(m.max)} ms at most: ${m['p(95)'] < kept ? 'not buffered' : 'BUFFERED'}.`;
  }).concat(buffered.map((name) => `${name}: ${outcome.metrics.sessions_buffering_found.count} sessions had nothing after 3 s: buffered, as was to be found.`))
    .concat(frozen.map((name) => `${name}: ${outcome.metrics[`sse_disconnects{side:${name},reason:silent}`].count} half-open connections were noticed and left.`)),
});
