// The HTML report: one file, no script, charts as SVG.
import {
  bytes, elsewhere, faultRows, figure, lossRows, publishedHead, streamRows, thresholdHead, thresholdRows, trendRows,
} from './format.js';

export function escape(text) {
  return String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

export function table(rows, head) {
  const cells = (row, tag) => row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('');
  const first = head ? `<thead><tr>${cells(head, 'th')}</tr></thead>` : '';
  return `<table>${first}<tbody>${rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('')}</tbody></table>`;
}

// chart draws lines over the seconds of the test: `lines` are [name, colour, second => value or null].
function chart(title, timeline, lines, show) {
  const width = 640;
  const height = 180;
  const left = 56;
  const bottom = 22;
  const last = Math.max(1, timeline.length - 1);
  let top = 0;
  for (const second of timeline) for (const [, , of] of lines) top = Math.max(top, of(second) || 0);
  if (top === 0) top = 1;
  const x = (t) => left + ((width - left - 8) * t) / last;
  const y = (value) => 8 + (height - bottom - 8) * (1 - value / top);
  const grid = [0, 0.5, 1].map((part) => `<line x1="${left}" x2="${width - 8}" y1="${y(part * top)}" y2="${y(part * top)}" class="grid"/>`
    + `<text x="${left - 6}" y="${y(part * top) + 4}" class="value">${escape(show(part * top))}</text>`).join('');
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => `<text x="${x(part * last)}" y="${height - 6}" class="time">${Math.round(part * last)} s</text>`).join('');
  const paths = lines.map(([, colour, of]) => {
    let path = '';
    let pen = 'M';
    for (const second of timeline) {
      const value = of(second);
      if (value === null || value === undefined) {
        pen = 'M';
        continue;
      }
      // A second alone is a dot.
      path += `${pen}${x(second.t).toFixed(1)} ${y(value).toFixed(1)}${pen === 'M' ? 'h0' : ''}`;
      pen = 'L';
    }
    return `<path d="${path}" stroke="${colour}"/>`;
  }).join('');
  const legend = lines.map(([name, colour]) => `<span><i style="background:${colour}"></i>${escape(name)}</span>`).join('');
  return `<figure><figcaption>${escape(title)} ${legend}</figcaption>`
    + `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(title)}">${grid}${times}${paths}</svg></figure>`;
}

const style = `
body{font:14px/1.5 system-ui,sans-serif;max-width:1360px;margin:24px auto;padding:0 16px;color:#1c2530;background:#fff}
h1{font-size:22px;margin:0 0 4px}h2{font-size:15px;margin:24px 0 6px}
.verdict{display:inline-block;padding:1px 10px;border-radius:10px;color:#fff;font-size:14px;vertical-align:middle}
.passed{background:#18794e}.failed{background:#b42318}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(400px,1fr));gap:0 32px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:3px 8px 3px 0;border-bottom:1px solid #e3e7ec;vertical-align:top}
th{font-weight:600;color:#5b6775}td{font-variant-numeric:tabular-nums}
figure{margin:12px 0}figcaption{font-weight:600}figcaption span{font-weight:400;margin-left:12px;color:#5b6775}
figcaption i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:4px}
svg{width:100%;height:auto}svg path{fill:none;stroke-width:1.6;stroke-linecap:round}svg .grid{stroke:#e3e7ec}
section{border-top:3px solid #e3e7ec;margin-top:40px;padding-top:16px}p{margin:4px 0}a{color:#2563eb}pre{white-space:pre-wrap}
svg text{font-size:11px;fill:#5b6775}svg .value{text-anchor:end}svg .time{text-anchor:middle}
`;

// section is what a page says of one run.
export function section(outcome) {
  const line = outcome.timeline;
  const charts = [
    chart('Streams', line, [['open', '#2563eb', (s) => s.open]], figure),
    chart('Streams opened, ended and refused in a second', line, [
      ['opened', '#18794e', (s) => s.opened], ['ended', '#8a94a3', (s) => s.closed], ['refused', '#b42318', (s) => s.refused]], figure),
    chart('Events in a second', line, [['events', '#7c3aed', (s) => s.events]], figure),
    chart('Latency, ms', line, [['p50', '#2563eb', (s) => s.p50], ['p95', '#c2570c', (s) => s.p95]], figure),
    chart('Bytes of events in a second', line, [['bytes', '#0f766e', (s) => s.bytes]], bytes),
  ].join('');
  const checks = outcome.checks.map((c) => [c.fails === 0 ? 'ok' : 'FAILED', c.name, `${c.passes} of ${c.passes + c.fails}`]);
  const published = outcome.published.length === 0 ? ''
    : `<h2>${elsewhere}</h2>${table(outcome.published, publishedHead)}`;
  const notes = outcome.notes.length === 0 ? ''
    : `<h2>Notes</h2><ul>${outcome.notes.map((note) => `<li>${escape(note)}</li>`).join('')}</ul>`;
  const faults = outcome.faults.length === 0 ? '' : `<h2>What went wrong</h2>${table(faultRows(outcome))}`;
  return `${faults}${notes}${published}
<div class="columns"><div><h2>Thresholds</h2>${table(thresholdRows(outcome), thresholdHead)}</div>
<div><h2>Message Loss Report</h2>${table(lossRows(outcome))}</div></div>
<div class="columns">${charts}</div>
<div class="columns"><div><h2>Streams</h2>${table(streamRows(outcome))}</div>
<div><h2>Times, in ms</h2>${table(trendRows(outcome), ['', 'min', 'med', 'p95', 'p99', 'max'])}</div></div>
${checks.length === 0 ? '' : `<h2>Checks</h2>${table(checks)}`}`;
}

// verdict is a mark that says it in colour too.
export function verdict(passed) {
  return `<span class="verdict ${passed ? 'passed' : 'failed'}">${passed ? 'passed' : 'failed'}</span>`;
}

// frame is a whole document around a body.
export function frame(title, body) {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(title)}</title><style>${style}</style></head><body>
${body}
</body></html>`;
}

// page is the whole report of one run.
export function page(outcome) {
  return frame(outcome.title, `<h1>${escape(outcome.title)} ${verdict(outcome.passed)}</h1>
<p>${escape(outcome.name)}, ${Math.round(outcome.seconds)} s</p>${section(outcome)}`);
}
