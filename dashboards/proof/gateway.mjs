// Gateways of the proof, the Redis that they share, and signed publishes.
import { createHmac } from "node:crypto";
import http from "node:http";
import https from "node:https";
import { freePort, run, start, until } from "./processes.mjs";

export const NAMESPACE = "proof";
export const JOB = "tidegate";
/** Most streams of a gateway: few, so that a small crowd fills it. */
export const STREAMS = 40;
/** In days; below the alert's fourteen. */
export const CERTIFICATE_DAYS = 10;
const SECRET = "of-the-proof-only";
export const KEY = `k1:${SECRET}`;
const PREFIX = "tidegate";

/** A signature for everything. */
export function signature(action) {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const lines = ["v1", action, "*", "*", "", expiry, "-"].join("\n");
  return `v1.k1.${expiry}.${createHmac("sha256", SECRET).update(lines).digest("hex")}`;
}

/** A Redis that keeps nothing on disk. */
export class Redis {
  static async start(dir) {
    const redis = new Redis();
    Object.assign(redis, { port: await freePort(), dir });
    const flags = ["--port", redis.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir];
    start("redis-server", flags.map(String), `${dir}/redis.log`);
    await until("Redis answers", () => redis.command("PING").then(() => true));
    return redis;
  }

  command(...words) {
    return run("redis-cli", ["-e", "-p", String(this.port), ...words], `${this.dir}/redis-cli.log`);
  }

  /** From now on nothing is written; it is read. */
  pauseWrites() {
    return this.command("CLIENT", "PAUSE", "30000", "WRITE");
  }

  goOn() {
    return this.command("CLIENT", "UNPAUSE");
  }

  /** Entries that are no events, as a producer would write them that does not know the contract. */
  async malformed() {
    const stream = `${PREFIX}:{events}:0`;
    await this.command("XADD", stream, "*", "key", "order-1", "data", '{"no":"event_type"}');
    await this.command("XADD", stream, "*", "event_type", "Changed", "data", '{"no":"key"}');
  }
}

export class Gateway {
  /** Addresses are chosen ahead, so that Prometheus knows of gateways that are started later. */
  static async planned(name, { tls = false, flags = [] } = {}) {
    const gateway = new Gateway();
    Object.assign(gateway, { name, tls, flags, public: await freePort(), admin: await freePort() });
    return gateway;
  }

  async start(program, redis, dir) {
    const flags = [
      ["public-addr", `127.0.0.1:${this.public}`],
      ["admin-addr", `127.0.0.1:${this.admin}`],
      ["pod-name", this.name],
      ["telemetry-log-format", "json"],
      ["log-kind", "redis"],
      ["redis-url", `redis://127.0.0.1:${redis.port}`],
      ["redis-prefix", PREFIX],
      ["redis-shards", 3],
      ["auth-mode", "hmac"],
      ["auth-keys", KEY],
      ["stream-heartbeat", "3s"],
      ["stream-retry", "1s"],
      ["stream-queue-bytes", "256KiB"],
      ["stream-slow", "disconnect,drop"],
      ["stream-write-timeout", "3s"],
      ["stream-lz4-min-bytes", "64"],
      ["limits-connections", STREAMS],
      ["drain-grace", "3s"],
      ["drain-window", "6s"],
      ["drain-deadline", "15s"],
    ].map(([name, value]) => `--${name}=${value}`);
    if (this.tls) flags.push(`--tls-cert-file=${dir}/tls.crt`, `--tls-key-file=${dir}/tls.key`);
    this.process = start(program, ["serve", ...flags, ...this.flags], `${dir}/${this.name}.log`);
    let ended = null;
    this.process.ended.then((status) => (ended = status), (error) => (ended = error.message));
    await until(`${this.name} is ready`, async () => ended !== null || (await this.ready()));
    if (ended !== null) throw new Error(`${this.name} ended with ${ended}; see ${this.process.log}`);
  }

  async ready() {
    return (await get(this.admin, "/readyz")).status === 200;
  }

  /** Asks it to drain; `this.process.ended` is when it has. */
  drain() {
    this.process.child.kill("SIGTERM");
  }

  async drained() {
    const status = await this.process.ended;
    if (status !== 0) throw new Error(`${this.name} ended with ${status}; see ${this.process.log}`);
  }

  request(method, path, headers, answered) {
    const to = { host: "127.0.0.1", port: this.public, method, path, headers, agent: false, rejectUnauthorized: false };
    return (this.tls ? https : http).request(to, answered);
  }

  /** Publishes and answers with the status. Headers of `more` that are undefined are left out. */
  publish(room, body, more = {}) {
    const headers = { "content-type": "application/json", "x-signature": signature("publish"), ...more };
    for (const name of Object.keys(headers)) if (headers[name] === undefined) delete headers[name];
    const [id, type] = room.split("/");
    return new Promise((done, failed) => {
      const request = this.request("POST", `/v1/sse/events/${id}/types/${type}`, headers, (answer) => {
        answer.resume().once("end", () => done(answer.statusCode)).once("error", failed);
      });
      request.once("error", failed);
      request.end(typeof body === "string" ? body : JSON.stringify(body));
    });
  }
}

export function get(port, path) {
  return new Promise((done, failed) => {
    http
      .get({ host: "127.0.0.1", port, path, agent: false }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part) => (text += part));
        answer.once("end", () => done({ status: answer.statusCode, text })).once("error", failed);
      })
      .once("error", failed);
  });
}

/** A certificate of its own for the gateway that serves TLS. */
export async function certificate(dir) {
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const files = ["-keyout", `${dir}/tls.key`, "-out", `${dir}/tls.crt`];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const days = ["-days", String(CERTIFICATE_DAYS)];
  await run("openssl", ["req", ...kind, ...days, ...subject, ...files], `${dir}/openssl.log`);
}
