// Signed streams and publishes: each VU is a user of its own with a session of its own, signs by header,
// query or cookie in turn, and reads what is for it alone. What is wrongly signed has to be refused.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, key, many, number, pace } from '../lib/config.js';
import { quiet } from '../lib/crowd.js';
import { kit, ledger, publish, room, sign, streamURL, watch } from '../lib/tidegate.js';
import { summary } from '../lib/summary.js';

if (!key) throw new Error('KEY=kid:secret is needed: a key of the gateways, which run with auth.mode=hmac');

const users = many(number('USERS', 30));
const lasting = Math.max(8, Math.round(number('LASTING', 60) * pace));
const ways = ['header', 'query', 'cookie'];
const refused = new Counter('auth_refused');

export const options = kit({
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: users, iterations: 1, exec: 'session', maxDuration: `${lasting + 60}s` },
    strangers: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'intrude', maxDuration: `${lasting + 60}s` },
  },
  thresholds: {
    // The strangers' own attempts are refused, and have to be.
    'sse_connection_ok{role:consumer}': ['rate>0.99'],
    sse_connection_ok: ['rate>0'],
    'http_req_failed{role:consumer}': ['rate<0.01'],
    'http_req_failed{role:producer}': ['rate<0.01'],
    auth_refused: [`count==${wrong().length}`],
    message_latency_ms: ['p(95)<1000'],
    checks: ['rate==1'],
  },
});

// signed gives where a user's signature stands.
function signed(way, name, user) {
  const signature = sign('subscribe', name, user);
  if (way === 'query') return { query: { user: user, signature: signature }, headers: {} };
  const place = way === 'header' ? { 'X-Signature': signature } : { Cookie: `tidegate_signature=${signature}` };
  return { query: { signature: '' }, headers: Object.assign({ 'X-User': user }, place) };
}

// session is one user's: a room of its own, which another's signature would not open.
export function session() {
  const turn = exec.scenario.iterationInTest;
  const way = ways[turn % ways.length];
  const user = `user-${turn}`;
  const name = room(`session-${turn}-${Date.now().toString(36)}`);
  const how = signed(way, name, user);
  const reader = watch(gateway(turn), name, {
    query: how.query,
    params: { headers: how.headers, tags: { name: 'subscribe', role: 'consumer', way: way } },
  });
  check(ledger.joined(name, 1, 15000), { [`a stream signed by ${way}`]: (yes) => yes });
  const until = Date.now() + lasting * 1000;
  while (Date.now() < until) {
    publish(gateway(turn + 1), name, 200, { user: user });
    sleep(1);
  }
  quiet();
  reader.close();
}

// wrong are the ways to be refused: [what, status, room, headers or query].
function wrong() {
  const name = room('strangers');
  const other = room('others');
  const now = Math.floor(Date.now() / 1000);
  return [
    ['no signature', 401, () => ({ query: { signature: '' } })],
    ['another room\'s', 401, () => ({ query: { signature: sign('subscribe', other) } })],
    ['another action\'s', 401, () => ({ query: { signature: sign('publish', name) } })],
    ['another user\'s', 401, () => ({ query: { signature: sign('subscribe', name, 'somebody'), user: 'nobody' } })],
    ['an expired one', 401, () => ({ query: { signature: sign('subscribe', name, '', -60) } })],
    ['a forged one', 401, () => ({ query: { signature: `v1.${key.split(':')[0]}.${now + 600}.${'0'.repeat(64)}` } })],
    ['an unknown key\'s', 401, () => ({ query: { signature: sign('subscribe', name).replace(/^v1\.[^.]+/, 'v1.unknown') } })],
    ['two users', 400, () => ({ query: { signature: sign('subscribe', name, 'a'), user: 'a' }, headers: { 'X-User': 'b' } })],
  ];
}

export function intrude() {
  const name = room('strangers');
  for (const [what, status, how] of wrong()) {
    const { query, headers } = how();
    const params = { headers: headers || {}, timeout: '5s', tags: { name: 'subscribe', role: 'stranger' } };
    const response = sse.open(streamURL(gateway(0), name, query), params, () => {});
    if (check(response, { [`${what} is refused with ${status}`]: (r) => r.status === status })) refused.add(1);
  }
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('auth', {
  title: `${users} users with a session each, signed by header, query and cookie`,
  notes: (outcome) => [`${outcome.metrics.auth_refused.count} wrong signatures were tried, and refused; What went wrong has them.`],
});
