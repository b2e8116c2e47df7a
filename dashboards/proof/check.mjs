// Holds every dashboard against what Prometheus answers.
import { answers, asking, filled, offered } from "./panels.mjs";
import { implausible } from "./plausible.mjs";

/** Panels that may be 0 all the time in a run in which all is well, with the reason. */
const ZERO = {
  "Dead letters that were lost": "the log takes them all",
  "Lost letters in the chosen time": "the log takes them all",
  "Refused by the gateway or its log": "the log is there",
  "Share of late sends": "nothing is late",
  "Share of late sends by pod": "nothing is late",
  "Behind the log": "the pods keep up",
  "Behind, by pod": "the pods keep up",
  "Behind, in seconds": "the pods keep up",
  "Behind, by partition": "the pods keep up",
  "Requests that failed": "none fails",
  Lost: "nothing is lost",
  Doubled: "nothing comes twice",
  "Leader": "there is no cluster",
  "What could not be done": "there is no cluster",
  "Consumer groups removed": "there is no cluster",
};

/** `{found, problems, zero}` of one panel: its answers, and whatever is wrong with them in words. */
export async function checkPanel(prometheus, panel, chosen, time) {
  const found = await answers(prometheus, panel, chosen, time);
  const problems = [];
  for (const { target, query, series, error } of found) {
    if (error) problems.push(`${target.refId}: ${error}`);
    else if (series.length === 0) problems.push(`${target.refId}: nothing comes for ${query}`);
    const wrong = implausible(panel, target, series);
    if (wrong) problems.push(`${target.refId}: ${wrong}`);
  }
  const zero = found.every(({ series }) => series.every(({ values }) => values.every(([, value]) => value === 0)));
  if (zero && problems.length === 0 && !(panel.title in ZERO)) problems.push("shows 0 only");
  return { panel, found, problems, zero: zero ? ZERO[panel.title] : undefined };
}

/** What Grafana sends when "All" is chosen has to show no less than each value chosen. */
async function checkAll(prometheus, { panel, found }, chosen, time) {
  const all = Object.fromEntries(Object.keys(chosen).map((name) => [name, [".*"]]));
  const less = ({ target, series }) => series.length < found.find((one) => one.target === target).series.length;
  return (await answers(prometheus, panel, all, time)).filter(less).map(({ target }) => `${target.refId}: "All" shows less`);
}

/** Every variable, panel and annotation of a dashboard. */
export async function checkBoard(prometheus, board, time) {
  const problems = [];
  const chosen = {};
  for (const variable of board.templating.list.filter(({ type }) => type === "query")) {
    chosen[variable.name] = await offered(prometheus, variable, chosen, time);
    if (chosen[variable.name].length === 0) problems.push(`${board.file}: nothing to choose for ${variable.name}`);
  }
  const panels = [];
  for (const panel of asking(board)) {
    const checked = await checkPanel(prometheus, panel, chosen, time);
    if (checked.problems.length === 0) checked.problems = await checkAll(prometheus, checked, chosen, time);
    problems.push(...checked.problems.map((problem) => `${board.file}: ${panel.title}: ${problem}`));
    panels.push(checked);
  }
  for (const { name, expr } of board.annotations.list) {
    const series = await prometheus.range(filled(expr, chosen, time), time);
    if (series.length === 0) problems.push(`${board.file}: no annotation ${name}`);
  }
  return { board, panels, problems };
}

/** Rules have to evaluate; gaps and dead letters alert at once, so they have to be seen firing. */
export async function checkAlerts(prometheus, time) {
  const { groups } = await prometheus.api("rules", { type: "alert" });
  const rules = groups.flatMap((group) => group.rules);
  const problems = rules.filter(({ health }) => health !== "ok").map((rule) => `alert ${rule.name}: ${rule.lastError}`);
  const seen = await prometheus.range("ALERTS", time);
  const states = new Set(seen.map(({ metric }) => `${metric.alertname} ${metric.alertstate}`));
  for (const state of ["TidegateGaps firing", "TidegateDeadLetters firing", "TidegateCertificateEnds pending"]) {
    if (!states.has(state)) problems.push(`alert ${state}: not seen`);
  }
  return { rules: rules.length, states: [...states].sort(), problems };
}

/** A check that finds nothing wrong with these would find nothing wrong with anything. */
export async function checkTheCheck(prometheus, time) {
  const panel = (unit, expr) => ({ title: "made up", fieldConfig: { defaults: { unit }, overrides: [] }, targets: [{ refId: "A", expr }] });
  const wrong = {
    "a broken query": panel("short", "sum(tidegate_connections"),
    "a series that does not exist": panel("short", "sum(tidegate_conections)"),
    "an unknown variable": panel("short", "sum(tidegate_connections{pod=~\"$pot\"})"),
    "a number shown as a share": panel("percentunit", "sum(tidegate_connections)"),
    "a time of day shown as a span": panel("s", "max(process_start_time_seconds)"),
    "fewer than no bytes": panel("bytes", "-sum(process_resident_memory_bytes)"),
    "what is 0 all the time": panel("short", "0 * sum(tidegate_connections)"),
  };
  const problems = [];
  for (const [what, one] of Object.entries(wrong)) {
    const checked = await checkPanel(prometheus, one, {}, time);
    if (checked.problems.length === 0) problems.push(`the check lets ${what} pass`);
  }
  return problems;
}
