// Runs a stock k6 beside the load; it writes its series into the proof's Prometheus by remote write.
import { signature } from "./gateway.mjs";
import { run } from "./processes.mjs";

export const TESTID = "proof";

export async function underK6({ k6, prometheus, gateway, dir }) {
  const variables = {
    GATEWAY: `http://127.0.0.1:${gateway.public}`,
    PUBLISH: signature("publish"),
    SUBSCRIBE: signature("subscribe"),
  };
  const given = Object.entries(variables).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const script = new URL("k6.js", import.meta.url).pathname;
  const output = ["-o", "experimental-prometheus-rw", "--tag", `testid=${TESTID}`];
  await run(k6, ["run", "--quiet", "--no-usage-report", ...output, ...given, script], `${dir}/k6.log`, {
    K6_PROMETHEUS_RW_SERVER_URL: `http://127.0.0.1:${prometheus.port}/api/v1/write`,
    K6_PROMETHEUS_RW_TREND_STATS: "p(50),p(95),p(99),max",
    K6_PROMETHEUS_RW_STALE_MARKERS: "true",
    K6_PROMETHEUS_RW_PUSH_INTERVAL: "1s",
  });
  await prometheus.sees("max_over_time(k6_received_message_count_total[1m]) > 0");
}
