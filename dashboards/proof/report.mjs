// The table of what every panel was answered, and the file that keeps it.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { shownAs } from "./panels.mjs";

const short = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3))));

/** Selectors are the same everywhere and would hide what differs. */
const bare = (expr) => expr.replace(/namespace=~"\$namespace",job=~"\$job",pod=~"\$pod",?/g, "").replaceAll("{}", "");

/** One line for each query: dashboard, panel, query, unit, series, last and highest value. */
export function rows(boards) {
  return boards.flatMap(({ board, panels }) =>
    panels.flatMap(({ panel, found, zero, problems }) =>
      found.map(({ target, series }) => {
        const { name, unit } = shownAs(panel, target);
        const values = series.flatMap((one) => one.values.map(([, value]) => value));
        const last = series[0]?.values.at(-1)[1];
        return {
          dashboard: board.file.replace(".json", ""),
          panel: name === panel.title ? name : `${panel.title}: ${name}`,
          query: bare(target.expr),
          unit,
          series: series.length,
          last: last === undefined ? "–" : short(last),
          highest: last === undefined ? "–" : short(values.reduce((a, b) => Math.max(a, b))),
          note: problems.length > 0 ? "WRONG" : (zero ?? ""),
        };
      }),
    ),
  );
}

/** For a terminal: columns, and queries cut to what fits. */
export function plain(table) {
  const columns = ["dashboard", "panel", "query", "unit", "series", "last", "highest", "note"];
  const text = (row, column) => {
    const value = String(row[column]);
    return column === "query" && value.length > 70 ? `${value.slice(0, 69)}…` : value;
  };
  const all = [Object.fromEntries(columns.map((column) => [column, column])), ...table];
  const width = (column) => Math.max(...all.map((row) => text(row, column).length));
  const widths = Object.fromEntries(columns.map((column) => [column, width(column)]));
  return all.map((row) => columns.map((column) => text(row, column).padEnd(widths[column])).join("  ").trimEnd()).join("\n");
}

const output = (program, ...args) => execFileSync(program, args, { encoding: "utf8" }).trim();

function commit(here) {
  try {
    const changed = output("git", "-C", here, "status", "--porcelain", "--", ".") ? ", with changes" : "";
    return output("git", "-C", here, "rev-parse", "--short=12", "HEAD") + changed;
  } catch {
    return "unknown";
  }
}

/** Everything that one needs to repeat and to judge a run. */
export function write(file, { here, command, gateway, k6, prometheus, took, summary, table }) {
  const cell = (value) => String(value).replaceAll("|", "\\|");
  const line = (row) =>
    `| ${cell(row.dashboard)} | ${cell(row.panel)} | \`${cell(row.query)}\` | ${row.unit} | ${row.series} | ${row.last} | ${row.highest} | ${cell(row.note)} |`;
  const text = `# What every panel was answered

Written by \`${command}\`; do not edit.

| of | |
| --- | --- |
| date | ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC |
| dashboards | commit ${commit(here)} |
| gateway | ${output(gateway, "--version")} |
| Prometheus | ${prometheus.version} |
| k6 | ${/v[\d.]+/.exec(output(k6, "version"))[0]} |
| machine | ${cpus().length} cores |
| took | ${took} s |

${summary.map((text) => `- ${text}`).join("\n")}

The selectors of namespace, job and pod are left out of the queries. \`last\` is the first series' last value,
\`highest\` the highest of all of them; a note says why a panel may show 0 all the time. The values prove that
panels are fed: they are no figures of performance.

| dashboard | panel | query | unit | series | last | highest | note |
| --- | --- | --- | --- | --- | --- | --- | --- |
${table.map(line).join("\n")}
`;
  writeFileSync(file, text);
}
