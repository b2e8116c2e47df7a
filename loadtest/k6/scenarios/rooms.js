// Rooms of six with one sender each: how long until all are connected, and until all six have a message.
import { check } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, many, number } from '../lib/config.js';
import { close, crowd, quiet, until } from '../lib/crowd.js';
import { alone, observe, observer, used } from '../lib/servers.js';
import { kit, ledger, publish, room } from '../lib/tidegate.js';
import { figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const inARoom = 6;
const clients = many(number('CLIENTS', 1000));
const iterations = number('ITERATIONS', 10);
const rooms = Math.max(1, Math.round(clients / inARoom));
const senders = Math.min(rooms, number('SENDERS', 10));
const deadline = number('DEADLINE', 120);

const connecting = new Trend('rooms_connect_ms');
const reached = new Trend('rooms_message_ms');
const connected = new Counter('rooms_clients');

export const options = kit({
  scenarios: {
    senders: { executor: 'per-vu-iterations', vus: senders, iterations: 1, exec: 'send', maxDuration: `${2 * deadline}s`, gracefulStop: '5s' },
    servers: observer(2 * deadline),
  },
  thresholds: {
    rooms_clients: [`count==${rooms * inARoom}`],
    rooms_message_ms: ['p(95)<1000'],
    message_latency_ms: ['p(95)<1000'],
    http_req_failed: ['rate<0.01'],
    checks: ['rate==1'],
  },
});

// send is one VU: every so manieth room is its own.
export function send() {
  const began = exec.scenario.startTime;
  const mine = [];
  for (let n = exec.scenario.iterationInTest; n < rooms; n += senders) mine.push(n);
  const names = mine.map((n) => room(`room-${n}`));
  const all = names.map((name) => crowd(inARoom, name));
  for (const name of names) {
    if (ledger.joined(name, inARoom, deadline * 1000)) connected.add(inARoom);
  }
  connecting.add(Date.now() - began);
  // No message before the last has connected: connecting and sending are two figures.
  const everybody = () => sse.timeline().reduce((_, second) => second.open, 0) >= rooms * inARoom;
  check(until(everybody, deadline), { 'all clients are connected': (yes) => yes });
  for (let i = 0; i < iterations; i++) {
    for (let n = 0; n < names.length; n++) {
      const from = sse.now();
      const number = publish(gateway(n + i), names[n], 200);
      if (number < 0) continue;
      check(ledger.arrived(names[n], number, 15000), { 'all six have it': (yes) => yes });
      reached.add(sse.now() - from);
    }
  }
  quiet();
  all.forEach(close);
}

export function watchServers() {
  observe(2 * deadline, alone);
}

export { settle as teardown } from '../lib/tidegate.js';

const connect = (outcome) => `${figure(outcome.metrics.rooms_connect_ms.max / 1000)} s`;
const average = (outcome) => `${figure(outcome.metrics.rooms_message_ms.avg / 1000)} s`;

export const handleSummary = summary('rooms', {
  title: `Rooms of six, one sender each: ${rooms * inARoom} clients, ${iterations} iterations`,
  trends: ['rooms_connect_ms', 'rooms_message_ms'],
  published: [
    ['average time of a message', '0.02 s at 1,000 clients to 0.76 s at 4,000', (outcome) => `${average(outcome)} at ${rooms * inARoom}`],
    ['time to connect', '46 s for 5,000 clients', (outcome) => `${connect(outcome)} for ${rooms * inARoom}`],
  ],
  notes: (outcome) => [
    `Time to connect ${rooms * inARoom} clients: ${connect(outcome)}.`,
    `Average time until all six of a room had a message: ${average(outcome)}.`,
    used(outcome),
  ],
});
