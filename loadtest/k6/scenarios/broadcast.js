// Many consumers of one room, two producers of large bodies, compressed on the way to the consumers.
//
// The published run of this scenario lost 4.73 % with a p95 of 7 ms and called itself passed with 0 % of
// its connections made; with bodies of 10 KB another had a p95 of 939 ms. BODY=10240 is that variant.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import sse from 'k6/x/sse';
import { gateway, many, number, seconds } from '../lib/config.js';
import { figure, percent } from '../lib/format.js';
import { kit, ledger, publish, room, streamURL } from '../lib/tidegate.js';
import { summary } from '../lib/summary.js';

const bytes = number('BODY', 50 * 1024);
// Runners of one test share them, and one without any would have nothing to check.
const producers = number('PRODUCERS', 2);
const pause = number('INTERVAL_MS', 250) / 1000;
const place = room('broadcast');

export const options = kit({
  scenarios: {
    consumers: {
      executor: 'ramping-vus',
      exec: 'consume',
      startVUs: 0,
      stages: [
        { duration: seconds(15), target: many(30) },
        { duration: seconds(45), target: many(50) },
        { duration: seconds(45), target: many(50) },
        { duration: seconds(30), target: 0 },
      ],
      // A consumer that is let go leaves at once, in the middle of its stream.
      gracefulRampDown: '0s',
      gracefulStop: '0s',
    },
    producers: {
      executor: 'constant-vus',
      exec: 'produce',
      vus: producers,
      startTime: seconds(50),
      duration: seconds(75),
      gracefulStop: '10s',
    },
  },
  thresholds: {
    'http_req_duration{role:producer}': ['p(95)<500'],
    'http_req_failed{role:producer}': ['rate<0.01'],
    message_latency_ms: ['p(95)<1000'],
    decompress_latency_ms: ['p(95)<1000'],
    produced_message_size_bytes: ['count>0'],
    received_message_size_bytes: ['count>0'],
    sse_event: ['count>0'],
    checks: ['rate>0.99'],
  },
});

export function consume() {
  const base = gateway(exec.vu.idInTest);
  const url = streamURL(base, place, { compress: 'lz4' });
  const params = { ledger: ledger, room: place, reconnect: true, tags: { name: 'subscribe', role: 'consumer' } };
  const response = sse.open(url, params, (client) => {
    client.on('open', () => check(true, { 'sse connection established': (open) => open }));
    client.on('event', (event) => {
      if (event.name.startsWith('tidegate.') || !event.data) return;
      check(event, { 'event data is not empty': (e) => e.data.length > 2 });
    });
  });
  if (response.status !== 200) {
    check(response, { 'sse connection established': () => false });
    // Without this a wrong address would be asked a thousand times a second.
    sleep(1);
  }
}

export function produce() {
  publish(gateway(exec.vu.idInTest), place, bytes);
  sleep(pause);
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('broadcast', {
  title: 'Broadcast to one room',
  published: [
    ['loss', '4.73 %', (outcome) => percent(outcome.loss.lossRate)],
    ['message_latency_ms p95', bytes < 20000 ? '939 ms' : '7 ms', (outcome) => `${figure(outcome.metrics.message_latency_ms['p(95)'])} ms`],
    ['sse_connection_ok', '0 %, and called passed', (outcome) => percent(outcome.streams.connectionSuccess)],
  ],
});
