// A real Prometheus over the gateways of the proof.
import { copyFileSync, writeFileSync } from "node:fs";
import { JOB, NAMESPACE, get } from "./gateway.mjs";
import { freePort, start, until } from "./processes.mjs";

/** Seconds between scrapes; Grafana's "Scrape interval" of the data source. */
export const SCRAPE = 1;

export class Prometheus {
  static async start(pods, alerts, dir) {
    const prometheus = new Prometheus();
    prometheus.port = await freePort();
    const targets = pods.map(
      (pod) => `      - targets: ["127.0.0.1:${pod.admin}"]\n        labels: {namespace: ${NAMESPACE}, pod: ${pod.name}}`,
    );
    copyFileSync(alerts, `${dir}/alerts.yaml`);
    const config = [
      `global: {scrape_interval: ${SCRAPE}s, scrape_timeout: ${SCRAPE}s, evaluation_interval: ${SCRAPE}s}`,
      `rule_files: ["${dir}/alerts.yaml"]`,
      `scrape_configs:\n  - job_name: ${JOB}\n    static_configs:\n${targets.join("\n")}\n`,
    ];
    writeFileSync(`${dir}/prometheus.yaml`, config.join("\n"));
    const flags = [
      `--config.file=${dir}/prometheus.yaml`,
      `--storage.tsdb.path=${dir}/prometheus`,
      `--web.listen-address=127.0.0.1:${prometheus.port}`,
      "--web.enable-remote-write-receiver",
    ];
    start("prometheus", flags, `${dir}/prometheus.log`);
    await until("Prometheus is ready", async () => (await get(prometheus.port, "/-/ready")).status === 200);
    // It looks for its targets only after some seconds; what happens before would be seen by nobody.
    await prometheus.sees(`count(up{job="${JOB}"}) == ${pods.length}`);
    prometheus.version = (await prometheus.api("status/buildinfo")).version;
    return prometheus;
  }

  /** What the API answers; throws what it complains of. */
  async api(path, parameters = {}) {
    const query = new URLSearchParams(parameters);
    const { text } = await get(this.port, `/api/v1/${path}?${query}`);
    const answer = JSON.parse(text);
    if (answer.status !== "success") throw new Error(answer.error);
    return answer.data;
  }

  /** Every series of a query over a time, without what is not a number. */
  async range(query, { from, to, step }) {
    const { result } = await this.api("query_range", { query, start: from, end: to, step });
    return clean(result.map(({ metric, values }) => ({ metric, values: values.map(([t, v]) => [t, Number(v)]) })));
  }

  /** Every series of a query at a time, or now. */
  async instant(query, at = Date.now() / 1000) {
    const { result } = await this.api("query", { query, time: at });
    return clean(result.map(({ metric, value: [t, v] }) => ({ metric, values: [[t, Number(v)]] })));
  }

  /** Waits until Prometheus itself says that something is so: no fixed sleep is right on every machine. */
  sees(condition) {
    return until(`Prometheus sees ${condition}`, async () => (await this.instant(condition)).length > 0);
  }

  /** Waits until every target was asked this often again, whether it answered or is gone. */
  scrapes(times) {
    const after = Date.now() / 1000 + (times - 1) * SCRAPE;
    return this.sees(`min(timestamp(up{job="${JOB}"})) > ${after}`);
  }
}

function clean(series) {
  return series
    .map(({ metric, values }) => ({ metric, values: values.filter(([, value]) => Number.isFinite(value)) }))
    .filter(({ values }) => values.length > 0);
}
