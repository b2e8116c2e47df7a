// Asks Prometheus what every panel, annotation and variable of a dashboard asks, as Grafana would.
import { readFileSync, readdirSync } from "node:fs";
import { SCRAPE } from "./prometheus.mjs";

export function dashboards(dir) {
  const files = readdirSync(dir).filter((file) => file.endsWith(".json")).sort();
  if (files.length === 0) throw new Error(`no dashboard in ${dir}`);
  return files.map((file) => ({ file, ...JSON.parse(readFileSync(`${dir}/${file}`, "utf8")) }));
}

/** The panels of a dashboard that ask something, those of folded rows too. */
export const asking = (board) =>
  board.panels.flatMap((panel) => (panel.type === "row" ? (panel.panels ?? []) : [panel])).filter(({ targets }) => targets);

/**
 * Puts Grafana's variables in. `chosen` are the values of namespace, job, pod and testid: several become
 * an alternative, as Grafana writes them into a regular expression.
 */
export function filled(expr, chosen, { from, to, step }) {
  const values = {
    __rate_interval: `${Math.max(step + SCRAPE, 4 * SCRAPE)}s`,
    __range: `${Math.round(to - from)}s`,
    __interval: `${step}s`,
  };
  for (const [name, list] of Object.entries(chosen)) {
    values[name] = list.length > 1 ? `(${list.join("|")})` : list[0];
  }
  const text = expr.replace(/\$\{?(\w+)\}?/g, (whole, name) => values[name] ?? whole);
  if (text.includes("$")) throw new Error(`a variable is left in ${text}`);
  return text;
}

/** What every target of a panel is answered: `[{target, query, series}]`, with an `error` where there is one. */
export function answers(prometheus, panel, chosen, time) {
  return Promise.all(
    panel.targets.map(async (target) => {
      let query = target.expr;
      try {
        query = filled(target.expr, chosen, time);
        const series = target.instant ? await prometheus.instant(query, time.to) : await prometheus.range(query, time);
        return { target, query, series };
      } catch (error) {
        return { target, query, series: [], error: error.message };
      }
    }),
  );
}

/** The values that a variable would offer. */
export function offered(prometheus, variable, chosen, time) {
  const [, match, label] = /^label_values\((.+), (\w+)\)$/.exec(variable.query.query);
  const parameters = { "match[]": filled(match, chosen, time), start: time.from, end: time.to };
  return prometheus.api(`label/${label}/values`, parameters);
}

/** A table's column: what its target's values are named and how they are shown. Of other panels: the panel. */
export function shownAs(panel, target) {
  const names = panel.transformations?.find(({ id }) => id === "organize")?.options.renameByName;
  const name = names?.[`Value #${target.refId}`];
  if (!name) return { name: panel.title, ...panel.fieldConfig.defaults };
  const properties = panel.fieldConfig.overrides.find(({ matcher }) => matcher.options === name)?.properties ?? [];
  const of = (id) => properties.find((property) => property.id === id)?.value;
  return { name, unit: of("unit") ?? panel.fieldConfig.defaults.unit, thresholds: of("thresholds"), mappings: of("mappings") };
}
