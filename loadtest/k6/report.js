// Puts what the runs of `all` came to into one report, as Markdown and as a page. It is a k6 script so that
// it needs nothing else, and shares the tables and charts of the single reports.
import {
  elsewhere, faultRows, figure, lossRows, percent, publishedHead, streamRows, thresholdHead, thresholdRows, trendRows,
} from './lib/format.js';
import { escape, frame, section, table, verdict } from './lib/page.js';

const out = __ENV.OUT;
const runs = (__ENV.RUNS || '').split(',').map((name) => {
  const run = JSON.parse(open(`${out}/${name}/run.json`));
  run.about = open(`${out}/${name}/about.json`);
  try {
    run.outcome = JSON.parse(open(`${out}/${name}/${run.scenario}.json`));
  } catch (_) {
    run.outcome = null; // It did not come to a summary; the log says why.
  }
  // k6 can fail for more than a threshold.
  run.passed = run.status === 0 && run.outcome !== null && run.outcome.passed;
  return run;
});

export const options = { vus: 1, iterations: 1 };

export default function () {}

const failed = runs.filter((run) => !run.passed);
const verdictLine = failed.length === 0 ? `All ${runs.length} runs passed.`
  : `${failed.length} of ${runs.length} runs failed: ${failed.map((run) => run.name).join(', ')}.`;
// Runs of one day, commit, machine and size, in the order of their first.
const circumstances = Array.from(new Set(runs.map((run) => run.about))).map((text) => {
  const { date, commit, versions, machine, pace, scale } = JSON.parse(text);
  const names = runs.filter((run) => run.about === text).map((run) => run.name);
  const length = Number(pace) === 1 && Number(scale) === 1 ? 'full length and size' : `PACE=${pace}, SCALE=${scale}: shorter or smaller than the scenarios say`;
  return `${date}, commit ${commit}, ${length}; ${versions}; ${machine}${names.length === runs.length ? '' : ` (${names.join(', ')})`}.`;
});
const preface = circumstances.concat(
  'k6, two gateways and one Kafka broker share the machine, so that a figure is of all of them together.',
  'Figures called published are of other servers, as their authors gave them, on hardware that is not ours: they say what was claimed, not how machines compare.',
);

const overviewHead = ['run', '', 'owed', 'lost', 'doubled', 'gaps', 'connections made', 'online', 'events/s', 'latency, ms: p50', 'p95', 'p99'];

function overview(run, link) {
  const o = run.outcome;
  if (o === null) return [link(run.name), `FAILED (${run.status})`].concat(overviewHead.slice(2).map(() => '–'));
  const latency = o.metrics.message_latency_ms || {};
  return [
    link(run.name), run.passed ? 'passed' : 'FAILED', figure(o.loss.owed), figure(o.loss.lost), figure(o.loss.doubled), figure(o.loss.gaps),
    percent(o.streams.connectionSuccess), figure(o.streams.online), figure(o.streams.eventsPerSecond),
    figure(latency.med), figure(latency['p(95)']), figure(latency['p(99)']),
  ];
}

function title(run) {
  return run.outcome === null ? run.scenario : run.outcome.title;
}

function settings(run) {
  return `\`${run.scenario}\`${run.settings ? ` with \`${run.settings}\`` : ''}, ${run.seconds} s`;
}

// Markdown's cells know no line's end and no bar.
function cell(text) {
  return String(text).replace(/\|/g, '\\|').replace(/\s+/g, ' ');
}

function markdownTable(head, rows) {
  const line = (cells) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${head.map(() => ' --- |').join('')}`].concat(rows.map(line)).join('\n');
}

function markdown() {
  const parts = [
    '# Load-test report', preface.map((line) => `- ${line}`).join('\n'),
    'Made by `loadtest/k6/all --report loadtest/results/REPORT.md`; what the scenarios do and ask for is in [their page](../k6/README.md).',
    `**${verdictLine}**`,
    markdownTable(overviewHead, runs.map((run) => overview(run, (name) => `[${name}](#${name})`))),
  ];
  for (const run of runs) {
    const o = run.outcome;
    parts.push(`## ${run.name}`, `${title(run)}: **${run.passed ? 'passed' : 'FAILED'}**. ${settings(run)}.`);
    if (o === null) {
      parts.push('It came to no summary. The end of its log:', `\`\`\`\n${run.log.join('\n')}\n\`\`\``);
      continue;
    }
    if (o.notes.length > 0) parts.push(o.notes.map((note) => `- ${note}`).join('\n'));
    if (o.faults.length > 0) parts.push('What went wrong:', markdownTable(['', '', '', ''], faultRows(o)));
    if (o.published.length > 0) parts.push(`${elsewhere}:`, markdownTable(publishedHead, o.published));
    parts.push(
      markdownTable(thresholdHead, thresholdRows(o)),
      markdownTable(['Message Loss Report', ''], lossRows(o)),
      markdownTable(['streams', ''], streamRows(o)),
      markdownTable(['ms', 'min', 'med', 'p95', 'p99', 'max'], trendRows(o)),
    );
  }
  return `${parts.join('\n\n')}\n`;
}

function html() {
  const rows = table(runs.map((run) => overview(run, (name) => name)), overviewHead)
    .replace(/<tr><td>([^<]*)<\/td>/g, (_, name) => `<tr><td><a href="#${name}">${name}</a></td>`);
  const sections = runs.map((run) => {
    const inner = run.outcome === null
      ? `<p>It came to no summary. The end of its log:</p><pre>${escape(run.log.join('\n'))}</pre>` : section(run.outcome);
    return `<section id="${escape(run.name)}"><h1>${escape(run.name)}: ${escape(title(run))} ${verdict(run.passed)}</h1>
<p>${escape(settings(run).replace(/`/g, ''))}</p>${inner}</section>`;
  });
  return frame('Load-test report', `<h1>Load-test report ${verdict(failed.length === 0)}</h1>
${preface.map((line) => `<p>${escape(line)}</p>`).join('')}<p><b>${escape(verdictLine)}</b></p>${rows}${sections.join('')}`);
}

export function handleSummary() {
  return { [__ENV.REPORT]: markdown(), [`${out}/report.html`]: html() };
}
