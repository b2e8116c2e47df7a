// Runs the kit's broadcast scenario beside the load, behind a wire that fails once; k6 writes its series
// into the proof's Prometheus by remote write, and its own reports into the proof's directory.
import { readFileSync } from "node:fs";
import { KEY } from "./gateway.mjs";
import { run } from "./processes.mjs";
import { Wire } from "./wire.mjs";

const TESTID = "proof";
/** Streams that lose their connection: few, for what they get late is in the percentiles of all. */
const CUT = 2;
const SCENARIO = new URL("../../loadtest/k6/scenarios/broadcast.js", import.meta.url).pathname;

/** Answers with the scenario's own summary, and with how many streams the wire has cut. */
export async function underK6({ k6, prometheus, gateways: [plain, secure], dir }) {
  const wire = await Wire.to(plain.public);
  const settings = {
    URLS: `http://127.0.0.1:${wire.port},https://127.0.0.1:${secure.public}`,
    KEY,
    TESTID,
    RESULTS: dir,
    PACE: "0.1",
    SCALE: "0.2",
  };
  const given = Object.entries(settings).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const quiet = ["--quiet", "--no-usage-report", "--address", "127.0.0.1:0"];
  const ended = run(k6, ["run", ...quiet, "-o", "experimental-prometheus-rw", ...given, SCENARIO], `${dir}/k6.log`, {
    K6_PROMETHEUS_RW_SERVER_URL: `http://127.0.0.1:${prometheus.port}/api/v1/write`,
    K6_PROMETHEUS_RW_TREND_STATS: "p(50),p(95),p(99),max",
    K6_PROMETHEUS_RW_STALE_MARKERS: "true",
    K6_PROMETHEUS_RW_PUSH_INTERVAL: "1s",
    K6_INSECURE_SKIP_TLS_VERIFY: "true",
  });
  const cutting = prometheus.sees("sum(k6_produced_message_count_total) > 4").then(() => wire.cut(CUT));
  // Whichever fails first is what went wrong.
  const [cut] = await Promise.all([cutting, ended]);
  await prometheus.sees("max_over_time(k6_message_owed_count_total[1m]) > 0");
  wire.close();
  const page = readFileSync(`${dir}/broadcast.html`, "utf8");
  return { cut, page: page.length, ...JSON.parse(readFileSync(`${dir}/broadcast.json`, "utf8")) };
}
