// What a run comes to, three times: as text, as JSON, and as a page with charts.
import sse from 'k6/x/sse';
import { results, testid } from './config.js';
import { ledger } from './tidegate.js';
import {
  elsewhere, faultRows, lossRows, publishedHead, streamRows, thresholdRows, trendRows,
} from './format.js';
import { page } from './page.js';

// summary makes a scenario's handleSummary. `about` has its `title`, the `trends` of its own that are to be
// shown, `notes(outcome)`, lines of its own, and what others have `published`: rows of what it is, their
// figure, and outcome => ours.
export function summary(name, about) {
  return (data) => {
    const outcome = collect(name, about, data);
    const stem = `${results}/${name}`;
    return {
      stdout: text(outcome),
      [`${stem}.json`]: JSON.stringify(outcome, null, 1),
      [`${stem}.html`]: page(outcome),
    };
  };
}

function collect(name, about, data) {
  const seconds = data.state.testRunDurationMs / 1000;
  const thresholds = [];
  for (const [metric, all] of Object.entries(data.metrics)) {
    for (const [expression, verdict] of Object.entries(all.thresholds || {})) {
      thresholds.push({ metric: metric, expression: expression, ok: verdict.ok, is: actual(all, expression) });
    }
  }
  // k6 has them in another order every time.
  thresholds.sort((a, b) => (a.metric + a.expression < b.metric + b.expression ? -1 : 1));
  const metrics = {};
  for (const [metric, all] of Object.entries(data.metrics)) metrics[metric] = all.values;
  const timeline = sse.timeline().map((s) => ({
    t: s.t, open: s.open, opened: s.opened, closed: s.closed, refused: s.refused,
    events: s.events, bytes: s.bytes, p50: finite(s.p50), p95: finite(s.p95),
  }));
  const outcome = {
    name: name,
    title: about.title,
    testid: testid,
    seconds: seconds,
    passed: thresholds.length > 0 && thresholds.every((one) => one.ok),
    thresholds: thresholds,
    checks: checks(data.root_group),
    loss: JSON.parse(JSON.stringify(ledger.report())),
    faults: JSON.parse(JSON.stringify(sse.faults())),
    streams: streams(metrics, timeline, seconds),
    metrics: metrics,
    trends: about.trends || [],
    timeline: timeline,
    published: [],
    notes: [],
  };
  // A run in which nothing happened has no figures, and a report nevertheless.
  const asked = Object.assign({}, outcome, { metrics: new Proxy(metrics, { get: (all, metric) => all[metric] || {} }) });
  outcome.published = (about.published || []).map(([what, theirs, ours]) => [what, theirs, ours(asked)]);
  outcome.notes = about.notes ? about.notes(asked) : [];
  return outcome;
}

function finite(value) {
  return Number.isFinite(value) ? Math.round(value * 1000) / 1000 : null;
}

// actual is the value that a threshold's expression is about.
function actual(metric, expression) {
  const [, left] = expression.match(/^\s*([a-z]+(?:\([\d.]+\))?)/) || [];
  const value = metric.values[left] !== undefined ? metric.values[left] : metric.values[left === 'med' ? 'p(50)' : left];
  return value === undefined ? null : value;
}

function checks(group) {
  let all = (group.checks || []).map((one) => ({ name: one.name, passes: one.passes, fails: one.fails }));
  for (const inner of group.groups || []) all = all.concat(checks(inner));
  return all;
}

// streams is what every summary says of connections.
function streams(metrics, timeline, seconds) {
  const value = (metric, of) => (metrics[metric] ? metrics[metric][of] || 0 : 0);
  const received = value('data_received', 'count');
  return {
    connectionSuccess: metrics.sse_connection_ok ? metrics.sse_connection_ok.rate : null,
    online: timeline.reduce((most, one) => Math.max(most, one.open), 0),
    disconnects: value('sse_disconnects', 'count'),
    disconnectsPerSecond: value('sse_disconnects', 'count') / seconds,
    reconnects: value('sse_reconnects', 'count'),
    reconnectsPerSecond: value('sse_reconnects', 'count') / seconds,
    outageP95: value('sse_outage_ms', 'p(95)'),
    bytesPerSecond: received / seconds,
    bytesPerSecondOfAStream: value('sse_stream_bytes_per_second', 'med'),
    eventsPerSecond: value('sse_event', 'count') / seconds,
  };
}

function table(rows) {
  const widths = [];
  for (const row of rows) row.forEach((cell, i) => { widths[i] = Math.max(widths[i] || 0, cell.length); });
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i])).join('  ').trimEnd()}`).join('\n');
}

function text(outcome) {
  const parts = [
    `\n${outcome.title} (${outcome.name}, ${Math.round(outcome.seconds)} s): ${outcome.passed ? 'passed' : 'FAILED'}`,
    'Thresholds',
    table(thresholdRows(outcome)),
    'Message Loss Report',
    table(lossRows(outcome)),
    'Streams',
    table(streamRows(outcome)),
    'Times, in ms',
    table([['', 'min', 'med', 'p95', 'p99', 'max']].concat(trendRows(outcome))),
    'Checks',
    table(outcome.checks.map((c) => [c.fails === 0 ? 'ok' : 'FAILED', c.name, `${c.passes} of ${c.passes + c.fails}`])),
  ];
  if (outcome.faults.length > 0) parts.push('What went wrong', table(faultRows(outcome)));
  if (outcome.published.length > 0) {
    parts.push(elsewhere, table([publishedHead].concat(outcome.published)));
  }
  if (outcome.notes.length > 0) parts.push('Notes', outcome.notes.map((note) => `  ${note}`).join('\n'));
  return `${parts.join('\n')}\n\n`;
}
