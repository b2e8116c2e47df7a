// Rooms, publishing and signatures, as the gateway's contract has them.
import crypto from 'k6/crypto';
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { key, testid } from './config.js';

export const produced = new Counter('produced_message_count');
export const producedBytes = new Counter('produced_message_size_bytes');
const owed = new Counter('message_owed_count');
const lost = new Counter('message_lost_count');
const doubled = new Counter('message_doubled_count');
const surely = new Trend('publish_surely_ms');

// ledger knows what was published, and which reader is owed what.
export const ledger = sse.ledger('messages');

// run is in the names of all rooms: a run must not read what an earlier one left behind.
const run = __ENV.RUN_ID || '';

// room is one of this run's, as `id/type`.
export function room(name, type) {
  return `k6-${run}${name}/${type || 'note'}`;
}

function parts(name) {
  const at = name.lastIndexOf('/');
  return [name.slice(0, at), name.slice(at + 1)];
}

// sign makes a signature for an action on a room, good for so many seconds.
export function sign(action, name, user, lifetime) {
  const [id, type] = parts(name);
  const [kid, secret] = key.split(':');
  const expiry = Math.floor(Date.now() / 1000) + (lifetime || 3600);
  const text = ['v1', action, id, type, user || '', String(expiry), '-'].join('\n');
  return `v1.${kid}.${expiry}.${crypto.hmac('sha256', secret, text, 'hex')}`;
}

// streamURL is where a room's stream is, with a signature if there is a key.
export function streamURL(base, name, query) {
  const [id, type] = parts(name);
  const all = Object.assign({}, query);
  if (key && all.signature === undefined) all.signature = sign('subscribe', name, all.user);
  const text = Object.entries(all)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');
  const path = `/v1/subscribe/events/${encodeURIComponent(id)}/types/${encodeURIComponent(type)}`;
  return `${base}${path}${text ? `?${text}` : ''}`;
}

export function publishURL(base, name) {
  const [id, type] = parts(name);
  return `${base}/v1/sse/events/${encodeURIComponent(id)}/types/${encodeURIComponent(type)}`;
}

// padding is so many bytes of text that compresses about as well as JSON does.
const words = ['cart', 'item', 'price', 'total', 'updated', 'session', 'customer', 'quantity', 'warehouse', 'shipping'];
const paddings = {};
export function padding(bytes) {
  if (paddings[bytes] === undefined) {
    // A line of its own for each run of the generator (Park and Miller's), so that LZ4 has work to do.
    const parts = [];
    let seed = 42;
    for (let length = 0; length < bytes; length += parts[parts.length - 1].length) {
      seed = (seed * 16807) % 2147483647;
      parts.push(`${words[seed % words.length]}${seed % 1000} `);
    }
    paddings[bytes] = parts.join('').slice(0, bytes);
  }
  return paddings[bytes];
}

// publish publishes one event of about so many bytes, and keeps the ledger. It gives the event's number,
// or -1 if it was not accepted.
export function publish(base, name, bytes, options) {
  const mark = begin(name, bytes);
  const body = message(mark, bytes);
  const response = post(base, name, body, options || {});
  const ok = check(response, {
    'producer POST status is 200': (r) => r.status === 200,
    'producer response contains message_id': (r) => r.status === 200 && !!r.json('message_id'),
  });
  if (ok) {
    ledger.accepted(name, mark.n);
    produced.add(1);
    producedBytes.add(body.length);
    return mark.n;
  }
  sse.fault('publish', response.status === 0 ? response.error : `${response.status}: ${response.body}`);
  const unknown = response.status === 0 || (response.body || '').includes('outcome-unknown');
  if (!unknown) ledger.refused(name, mark.n);
  return -1;
}

// begin marks a publish. The padding is made before the event's time is taken, or that would be a part of
// its latency.
function begin(name, bytes) {
  padding(bytes);
  return ledger.publish(name);
}

function message(mark, bytes) {
  return JSON.stringify({ data: { run: mark.run, n: mark.n, t: mark.t, pad: padding(bytes) } });
}

function post(base, name, body, o) {
  const headers = { 'Content-Type': 'application/json' };
  if (key) headers['X-Signature'] = sign('publish', name, o.user);
  if (o.user) headers['X-User'] = o.user;
  if (o.idempotencyKey) headers['Idempotency-Key'] = o.idempotencyKey;
  return http.post(publishURL(base, name), body, {
    headers: headers,
    tags: Object.assign({ name: 'publish', role: 'producer' }, o.tags),
    timeout: '15s',
  });
}

// publishSurely publishes as a careful publisher does: with a key of its own, and again, at the next
// gateway, until there is a receipt.
export function publishSurely(bases, turn, name, bytes, patience) {
  const mark = begin(name, bytes);
  const body = message(mark, bytes);
  const from = sse.now();
  for (let attempt = 0; sse.now() - from < 1000 * (patience || 45); attempt++) {
    const base = bases[(turn + attempt) % bases.length];
    const response = post(base, name, body, { idempotencyKey: `${mark.run}-${mark.n}` });
    if (response.status === 200) {
      ledger.accepted(name, mark.n);
      produced.add(1);
      producedBytes.add(body.length);
      surely.add(sse.now() - from);
      return mark.n;
    }
    sse.fault('publish', response.status === 0 ? response.error : `${response.status}: ${response.body}`);
    sleep(0.2);
  }
  return -1;
}

// watch opens a stream that is read natively and kept account of.
export function watch(base, name, options) {
  const o = options || {};
  return sse.reader(streamURL(base, name, o.query), Object.assign({
    ledger: ledger,
    room: name,
    reconnect: true,
    tags: { name: 'subscribe', role: 'consumer' },
  }, o.params));
}

// quietly lets what was published last be owed: the ledger counts only what has a receipt a second before
// its readers leave.
export function quietly() {
  sleep(1.3);
}

// settle is to be called in teardown: the report's sums become metrics, which thresholds can be about.
export function settle() {
  const report = ledger.report();
  owed.add(report.owed);
  lost.add(report.lost);
  doubled.add(report.doubled);
  return report;
}

// The thresholds that no scenario goes without: nothing lost, nothing twice, and not nothing at all.
const honest = {
  // Without it nothing would be lost where nobody was owed anything.
  message_owed_count: ['count>0'],
  message_lost_count: ['count==0'],
  message_doubled_count: ['count==0'],
  produced_message_count: ['count>0'],
  received_message_count: ['count>0'],
  sse_connection_ok: ['rate>0.99'],
};

// kit makes a scenario's options. A threshold of the same name replaces an honest one, and k6's own `--tag`
// all the tags.
export function kit(options) {
  return Object.assign({}, options, {
    tags: { testid: testid },
    summaryTrendStats: ['min', 'avg', 'med', 'p(95)', 'p(99)', 'max', 'count'],
    thresholds: Object.assign({}, honest, options.thresholds),
  });
}
