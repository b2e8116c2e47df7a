// Proves the dashboards: see ../prove.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { checkAlerts, checkBoard, checkTheCheck } from "./check.mjs";
import { Gateway, Redis, certificate } from "./gateway.mjs";
import { underLoad } from "./load.mjs";
import { dashboards } from "./panels.mjs";
import { draw } from "./pictures.mjs";
import { endAll, endAllNow } from "./processes.mjs";
import { Prometheus } from "./prometheus.mjs";
import { plain, rows, write } from "./report.mjs";
import { against, againstK6, ofK6 } from "./truth.mjs";

const HERE = fileURLToPath(new URL("..", import.meta.url));
/** Seconds after which something hangs that nobody thought of. */
const MOST = 300;

const { values: options } = parseArgs({
  options: {
    gateway: { type: "string" },
    dashboards: { type: "string", default: HERE },
    pictures: { type: "string" },
    result: { type: "string" },
    keep: { type: "boolean" },
  },
});
const k6 = process.env.K6;
const began = Date.now();
const took = () => Math.round((Date.now() - began) / 1000);
const say = (text) => console.log(`${String(took()).padStart(3)} s  ${text}`);

const said = (truth) => Object.entries(truth).map(([name, n]) => `${name} ${n}`).join(", ");

/** Answers with everything that is wrong, in words. */
async function prove(dir) {
  const boards = dashboards(options.dashboards);
  const pods = [
    await Gateway.planned("tidegate-0"),
    await Gateway.planned("tidegate-1", { tls: true }),
    // Its window is short and its replays are small, so that who wants a whole room is told of a gap. Who
    // comes back is owed a few seconds' events. (A window that is shorter than a read of the log would
    // never be caught up with: events with a key have the reader look back over `dedupe.window`.)
    await Gateway.planned("tidegate-2", { flags: ["--log-window-age=3s", "--limits-replay-events=100"] }),
  ];
  await certificate(dir);
  const redis = await Redis.start(dir);
  const prometheus = await Prometheus.start(pods, `${HERE}/alerts.yaml`, dir);
  const from = Date.now() / 1000;
  const { end, kit, ...truth } = await underLoad({ pods, program: options.gateway, redis, prometheus, k6, dir, say });
  const time = { from, to: end, step: 1 };

  const proven = [];
  for (const board of boards) proven.push(await checkBoard(prometheus, board, time));
  const alerts = await checkAlerts(prometheus, time);
  const table = rows(proven);
  console.log(plain(table));
  const panels = proven.flatMap((one) => one.panels);
  const summary = [
    `${proven.length} dashboards, ${panels.length} panels, ${table.length} queries, over ${Math.round(end - from)} s`,
    `${panels.filter(({ zero }) => zero).length} panels are 0 all the time and may be`,
    `alerts: ${alerts.rules} rules evaluate; seen: ${alerts.states.join(", ")}`,
    `the load: ${said(truth)}`,
    `k6: ${said(ofK6(kit))}`,
  ];
  summary.forEach(say);
  writeFileSync(`${dir}/answers.json`, JSON.stringify({ time, proven }));
  if (options.pictures) {
    mkdirSync(options.pictures, { recursive: true });
    await draw(proven, options.pictures, time, say);
  }
  const problems = [
    ...proven.flatMap((one) => one.problems),
    ...alerts.problems,
    ...(await checkTheCheck(prometheus, time)),
    ...(await against(truth, prometheus, time)),
    ...(await againstK6(kit, prometheus, time)),
  ];
  // A result of a run that failed would be taken for a proof.
  if (options.result && problems.length === 0) {
    const words = process.argv.slice(2).filter((word, n, all) => word !== "--gateway" && all[n - 1] !== "--gateway");
    const command = ["dashboards/prove", "GATEWAY", ...words].join(" ");
    write(options.result, { here: HERE, command, gateway: options.gateway, k6, prometheus, took: took(), summary, table });
  }
  return problems;
}

const dir = mkdtempSync(`${tmpdir()}/tidegate-proof-`);
process.once("exit", endAllNow);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
setTimeout(() => {
  console.log(`FAILED: not done within ${MOST} s; logs are in ${dir}`);
  process.exit(1);
}, MOST * 1000).unref();

const problems = await prove(dir).catch((error) => [error.stack]);
await endAll();
for (const problem of problems) console.log(`FAILED ${problem}`);
if (problems.length > 0 || options.keep) say(`logs and data are in ${dir}`);
else rmSync(dir, { recursive: true, force: true });
say(problems.length === 0 ? "every panel is answered" : `${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
