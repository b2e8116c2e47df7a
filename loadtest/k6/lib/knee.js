// Where more streams begin to hurt, read off the seconds in which exactly a step's streams were open.
import { figure } from './format.js';

// A step hurts if its p95 is above the limit, if less arrives than the readers were to get, or if the
// p95, once it is worth the name, has grown so many times faster than the streams have.
const limit = 500;
const least = 50;
const faster = 2;
const arrives = 0.9;

function median(values) {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[Math.floor(sorted.length / 2)];
}

// measured gives for each step the median of its seconds' p50 and p95, and its events a second.
export function measured(timeline, steps) {
  return steps.map((step) => {
    // The first second of a step is still the connecting.
    const seconds = timeline.filter((s, i) => s.open === step && i > 0 && timeline[i - 1].open === step && s.closed === 0 && s.p95 !== null);
    return {
      step: step,
      seconds: seconds.length,
      p50: median(seconds.map((s) => s.p50)),
      p95: median(seconds.map((s) => s.p95)),
      events: median(seconds.map((s) => s.events)),
    };
  });
}

// knee says each step, with `rate` events a second to each stream, and between which two it is.
export function knee(timeline, steps, rate) {
  const all = measured(timeline, steps);
  const lines = all.map((one) => (one.seconds === 0
    ? `${one.step} streams: never held.`
    : `${one.step} streams: p50 ${figure(one.p50)} ms, p95 ${figure(one.p95)} ms, ${figure(one.events)} events a second (median of ${one.seconds} s).`));
  const bad = all.findIndex((one, i) => hurts(one, all[i - 1], rate));
  if (bad < 0) return lines.concat(`No knee up to ${steps[steps.length - 1]} streams: p95 and events grow no faster than the streams.`);
  const before = bad === 0 ? 0 : steps[bad - 1];
  return lines.concat(`The knee is between ${before} and ${steps[bad]} streams: ${hurts(all[bad], all[bad - 1], rate)}.`);
}

// hurts is why a step does, or null.
function hurts(one, previous, rate) {
  if (one.seconds === 0) return 'they could not be held';
  if (one.p95 > limit) return `p95 is above ${limit} ms`;
  if (one.events < arrives * rate * one.step) return `${figure(one.events)} of ${figure(rate * one.step)} events a second arrive`;
  const growth = previous && previous.seconds > 0 ? one.p95 / previous.p95 / (one.step / previous.step) : 0;
  if (one.p95 > least && growth > faster) return `p95 grows ${figure(growth)} times faster than the streams`;
  return null;
}
