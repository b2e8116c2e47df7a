// A language model's answers: each goes token by token through one batch, while its reader reads, and
// ends with `final`.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import sse from 'k6/x/sse';
import { gateway, key, many, number, seconds } from '../lib/config.js';
import { kit, ledger, produced, producedBytes, room, sign, watch } from '../lib/tidegate.js';
import { figure } from '../lib/format.js';
import { summary } from '../lib/summary.js';

const pause = number('TOKEN_MS', 20) / 1000;
const lengths = { short: number('SHORT', 30), long: number('LONG', 300) };
const words = ['The ', 'gate ', 'lets ', 'water ', 'through ', 'one ', 'way ', 'only', '. '];

const first = new Trend('token_first_ms');
const receipts = new Trend('token_receipt_ms');
const generation = new Trend('generation_ms');
const tokensIn = new Counter('tokens_in');
const tokensOut = new Counter('tokens_out');

export const options = kit({
  scenarios: {
    short: { executor: 'constant-vus', vus: many(4), duration: seconds(60), gracefulStop: '30s', exec: 'answer', env: { LENGTH: 'short' } },
    long: { executor: 'constant-vus', vus: many(4), duration: seconds(60), gracefulStop: '30s', exec: 'answer', env: { LENGTH: 'long' } },
  },
  thresholds: {
    'token_first_ms{length:short}': ['p(95)<1000'],
    'token_first_ms{length:long}': ['p(95)<1000'],
    message_latency_ms: ['p(95)<1000'],
    sse_event_interval: ['med<1000'],
    'generation_ms{length:short}': ['max>0'],
    'generation_ms{length:long}': ['max>0'],
    tokens_in: ['count>0'],
    tokens_out: ['count>0'],
    checks: ['rate==1'],
  },
});

// answer is one: asked for, written, read to its end.
export function answer() {
  const length = __ENV.LENGTH;
  const tags = { length: length };
  const base = gateway(exec.vu.idInTest);
  const name = room(`answer-${exec.vu.idInTest}-${exec.vu.iterationInScenario}`, 'token');
  const reader = watch(base, name, { params: { reconnect: false, tags: { name: 'subscribe', length: length } } });
  if (!check(ledger.joined(name, 1, 10000), { 'the reader is there': (yes) => yes })) {
    reader.close();
    sleep(1);
    return;
  }
  const began = sse.now();
  const headers = key ? { 'X-Signature': sign('publish', '*/*') } : {};
  const batch = sse.batch(`${base}/v1/sse/batch`, { headers: headers, tags: { name: 'batch', length: length } });
  const marks = [];
  const sent = write(batch, name, lengths[length], marks, began, tags);
  const done = reader.wait(15000);
  generation.add(sse.now() - began, tags);
  const state = reader.close();
  tokensIn.add(sent, tags);
  tokensOut.add(state.events, tags);
  check(state, {
    'every token has its receipt': () => sent === lengths[length],
    'every token has come': (s) => s.events === lengths[length],
    'the stream ended by itself, as complete': (s) => done && s.lastName === 'tidegate.goodbye',
  });
}

// write sends the tokens and gives how many have a receipt.
function write(batch, name, tokens, marks, began, tags) {
  const [id, type] = name.split('/');
  let accepted = 0;
  const take = (reply) => {
    const n = reply.line > 0 ? marks[reply.line - 1] : undefined;
    if (reply.status !== 200 || n === undefined) {
      sse.fault('batch', `${reply.status}: ${reply.title} ${reply.detail}`);
      if (n !== undefined) ledger.refused(name, n);
      return;
    }
    ledger.accepted(name, n);
    receipts.add(reply.ms, tags);
    produced.add(1);
    accepted++;
  };
  try {
    for (let n = 0; n < tokens; n++) {
      const mark = ledger.publish(name);
      const data = { run: mark.run, n: mark.n, t: mark.t, token: words[n % words.length] };
      const line = JSON.stringify({ event_id: id, event_type: type, data: data, final: n === tokens - 1 });
      marks.push(mark.n);
      batch.send(line);
      producedBytes.add(line.length);
      if (n === 0 && ledger.arrived(name, mark.n, 15000)) first.add(sse.now() - began, tags);
      for (let reply = batch.receive(0); reply !== null; reply = batch.receive(0)) take(reply);
      sleep(pause);
    }
    batch.end().forEach(take);
  } catch (problem) {
    sse.fault('batch', String(problem));
  }
  return accepted;
}

export { settle as teardown } from '../lib/tidegate.js';

export const handleSummary = summary('tokens', {
  title: `Token streams: answers of ${lengths.short} and ${lengths.long} tokens, one every ${figure(pause * 1000)} ms`,
  trends: ['token_first_ms', 'token_first_ms{length:short}', 'token_first_ms{length:long}', 'token_receipt_ms', 'generation_ms{length:short}', 'generation_ms{length:long}'],
  notes: (outcome) => [
    `Tokens in: ${outcome.metrics.tokens_in.count}, out: ${outcome.metrics.tokens_out.count}.`,
    'Distribution of the intervals between tokens: sse_event_interval.',
  ],
});
