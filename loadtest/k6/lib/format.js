// How figures are written, and the rows of the tables that text and page share.

// figure is a number with as many digits as it deserves.
export function figure(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (Math.abs(value) >= 100 || value === Math.round(value)) return String(Math.round(value));
  return value.toPrecision(3);
}

export function bytes(value) {
  const units = ['B', 'KB', 'MB', 'GB'];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${figure(value)} ${units[unit]}`;
}

export function percent(part) {
  return part === null ? '–' : `${figure(100 * part)} %`;
}

export function streamRows(outcome) {
  const s = outcome.streams;
  return [
    ['connections made', percent(s.connectionSuccess)],
    ['online connections at most', figure(s.online)],
    ['disconnects', `${figure(s.disconnects)} (${figure(s.disconnectsPerSecond)} a second)`],
    ['reconnects', `${figure(s.reconnects)} (${figure(s.reconnectsPerSecond)} a second), p95 after ${figure(s.outageP95)} ms`],
    ['throughput', `${bytes(s.bytesPerSecond)} a second, ${figure(s.eventsPerSecond)} events a second`],
    ['throughput of one stream, median', `${bytes(s.bytesPerSecondOfAStream)} a second`],
  ];
}

export function lossRows(outcome) {
  const l = outcome.loss;
  return [
    ['produced', `${l.produced} (refused ${l.refused}, outcome unknown ${l.unknown})`],
    ['owed to readers', `${l.owed} (${l.readers} readers; ${l.absent} never connected)`],
    ['received', String(l.received)],
    ['lost', String(l.lost)],
    ['loss rate', l.owed === 0 ? 'none: nobody was owed anything' : percent(l.lossRate)],
    ['doubled', String(l.doubled)],
    ['gaps that the gateway said', String(l.gaps)],
    ["others' events", String(l.foreign)],
    ['not to be read', `${l.unreadable}${l.problem ? ` (${l.problem})` : ''}`],
  ];
}

export const thresholdHead = ['', 'metric', 'has to be', 'is'];

export function thresholdRows(outcome) {
  return outcome.thresholds.map((t) => [t.ok ? 'ok' : 'FAILED', t.metric, t.expression, figure(t.is)]);
}

// Figures that others have published, and ours beside them.
export const elsewhere = 'Published elsewhere, of other servers on other hardware';
export const publishedHead = ['', 'published', 'here'];

// faultRows is why, for thresholds that only say that.
export function faultRows(outcome) {
  return outcome.faults.map((f) => [`${f.count}×`, f.what, `second ${Math.round(f.first)} to ${Math.round(f.last)}`, f.message]);
}

const trends = [
  'message_latency_ms', 'decompress_latency_ms', 'sse_time_to_first_byte', 'sse_time_to_first_event',
  'sse_event_interval', 'http_req_duration', 'http_req_waiting', 'http_req_blocked', 'http_req_connecting',
];

export function trendRows(outcome) {
  const extra = outcome.trends;
  return trends.concat(extra)
    .filter((name) => outcome.metrics[name] && outcome.metrics[name]['p(95)'] !== undefined)
    .map((name) => {
      const v = outcome.metrics[name];
      return [name, figure(v.min), figure(v.med), figure(v['p(95)']), figure(v['p(99)']), figure(v.max)];
    });
}
