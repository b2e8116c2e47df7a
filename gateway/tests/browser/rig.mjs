// What the tests stand on: a Redis, gateways, a browser, and a server of one page. All of it ends with
// the process.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { createServer as createHttp } from "node:http";
import { createServer } from "node:net";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const here = import.meta.dirname;
const binary = process.argv[2];
const work = mkdtempSync(join(tmpdir(), "tidegate-browser-"));
const children = new Set();
const cleanups = [];

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until `what` gives something true. */
export async function until(why, what, ms = 20_000) {
  const end = performance.now() + ms;
  for (;;) {
    const found = await what();
    if (found) return found;
    if (performance.now() > end) throw new Error(`not in ${ms} ms: ${typeof why === "function" ? await why() : why}`);
    await sleep(50);
  }
}

export function same(found, expected, what = "") {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what} expected ${b?.slice(0, 600)}, found ${a?.slice(0, 600)}`);
}

export function holds(condition, what) {
  if (!condition) throw new Error(what);
}

export const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function start(program, words) {
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
  child.errors = "";
  child.stderr.on("data", (part) => (child.errors = (child.errors + part).slice(-20_000)));
  children.add(child);
  child.ended = new Promise((done) => child.once("exit", done)).then(() => children.delete(child));
  return child;
}

export async function stop(child, signal = "SIGKILL") {
  // One that was stopped has to go on to end.
  if (signal !== "SIGKILL") child.kill("SIGCONT");
  child.kill(signal);
  await child.ended;
}

let redisUrl = null;
async function redis() {
  if (redisUrl) return redisUrl;
  const port = await freePort();
  const child = start("redis-server", ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", work]);
  await until("redis", async () => (await connects(port)) || child.exitCode !== null);
  redisUrl = `redis://127.0.0.1:${port}`;
  return redisUrl;
}

async function connects(port) {
  const { connect } = await import("node:net");
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1", () => done(socket.destroy() && true));
    socket.once("error", () => done(false));
  });
}

/** A gateway on the shared log, or on `memory`. */
export async function gateway({ flags = [], log = "redis", port = null } = {}) {
  const [open, admin] = [port ?? (await freePort()), await freePort()];
  const shared = log === "redis" ? ["--redis-url", await redis()] : [];
  const child = start(binary, [
    "serve", `--public-addr=127.0.0.1:${open}`, `--admin-addr=127.0.0.1:${admin}`, `--log-kind=${log}`,
    ...shared, "--cors-origins=*", `--pod-name=pod-${open}`,
    ...(flags.some((flag) => flag.startsWith("--stream-heartbeat")) ? [] : ["--stream-heartbeat=1s"]), ...flags,
  ]);
  const ready = async () => {
    if (child.exitCode !== null) throw new Error(`the gateway ended: ${child.errors}`);
    return fetch(`http://127.0.0.1:${admin}/readyz`).then((answer) => answer.ok, () => false);
  };
  await until(() => child.errors, ready);
  const url = `http://127.0.0.1:${open}`;
  return { child, url, port: open, connections: async () => (await (await fetch(`http://127.0.0.1:${admin}/v1/connections`)).json()).total };
}

export async function publish(to, room, data, { final = false, headers = {} } = {}) {
  const [id, type] = room.split("/");
  const answer = await fetch(`${to.url}/v1/sse/events/${id}/types/${type}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ data, ...(final ? { final } : {}) }),
  });
  if (!answer.ok) throw new Error(`publish: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** Publishes numbers one after the other; `stop` gives how many there were. */
export function publisher(to, room, pause = 5) {
  let going = true;
  let n = 0;
  const done = (async () => {
    for (; going; n++) {
      await publish(to, room, { n });
      await sleep(pause);
    }
  })();
  // A test that fails leaves its flow to break with its gateway.
  done.catch(() => {});
  return {
    get count() { return n; },
    stop: async () => { going = false; await done; return n; },
  };
}

export function signature(action, id, type, seconds, user = "") {
  const end = Math.floor(Date.now() / 1000 + seconds);
  const text = ["v1", action, id, type, user, end, "-"].join("\n");
  return `v1.k1.${end}.${createHmac("sha256", "a-secret").update(text).digest("hex")}`;
}
export const HMAC = ["--auth-mode=hmac", "--auth-keys=k1:a-secret"];

/** Serves the test page, the module as a gateway served it, and signatures to whoever asks. */
export const pages = { module: "", signed: 0, url: "", lifetime: 600 };
const server = createHttp((request, answer) => {
  if (request.url === "/sign") {
    pages.signed += 1;
    let text = "";
    request.on("data", (part) => (text += part));
    request.on("end", () => {
      const { rooms, user } = JSON.parse(text);
      answer.end(signature("subscribe", ...rooms[0].split("/"), pages.lifetime, user));
    });
    return;
  }
  const module = request.url === "/tidegate.js";
  answer.setHeader("Content-Type", module ? "text/javascript" : "text/html");
  answer.end(module ? pages.module : readFileSync(join(here, "page.html")));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
// Another origin than the gateways': localhost is secure, too.
pages.url = `http://localhost:${server.address().port}/`;

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

/** A profile of its own; its pages' errors are the test's. */
export async function profile(options = {}) {
  const context = await browser.newContext(options);
  const errors = [];
  context.on("weberror", (error) => errors.push(String(error.error())));
  cleanups.push(() => context.close());
  return Object.assign(context, { errors });
}

/**
 * A tab with the test page; with `options` its stream is started. What other tabs say it hears later,
 * and once `window.deafTo` is a leader's epoch it no longer hears that one's items.
 */
export async function tab(context, options, laterMs = 0) {
  const page = await context.newPage();
  await page.addInitScript((ms) => {
    globalThis.BroadcastChannel = class extends BroadcastChannel {
      set onmessage(heard) {
        super.onmessage = (message) => {
          const { kind, epoch } = message.data;
          if (kind === "item" && epoch === window.deafTo) return;
          if (kind === "item") window.lastEpoch = epoch;
          if (ms) setTimeout(() => heard(message), ms);
          else heard(message);
        };
      }
    };
  }, laterMs);
  await page.goto(pages.url);
  await page.waitForFunction("window.ready");
  if (options) await page.evaluate((given) => window.start(given), options);
  return page;
}

export const had = (page) => page.evaluate("window.had");
export const states = (page) => page.evaluate("window.states");
export const isOpen = (page) => until(() => page.evaluate("JSON.stringify(window.states)"), () => page.evaluate("window.states.at(-1)?.state === 'open'"));
export const hasHad = (page, count, ms) =>
  until(async () => `${count} events, there are ${(await had(page)).length}: ${JSON.stringify((await states(page)).slice(-4))}`, async () => (await page.evaluate("window.had.length")) >= count, ms);

/** What a test leaves behind ends with it. */
export async function clean() {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  const gateways = [...children].filter((child) => child.spawnfile === binary);
  for (const child of gateways) await stop(child);
}

export async function end() {
  await clean();
  await browser.close();
  server.close();
  for (const child of [...children]) await stop(child);
  rmSync(work, { recursive: true, force: true });
}
