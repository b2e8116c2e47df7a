// Starts what the proof needs on free loopback ports, and ends it again: only what was started here.
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createServer } from "node:net";

/** Seconds that anything may take: machines that test other things meanwhile are slow. */
const PATIENCE = 60;

const started = new Set();

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks again until `ask` says something true; what it throws until then is only said in the end. */
export async function until(what, ask, seconds = PATIENCE) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < deadline) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      last = error;
    }
    await wait(100);
  }
  throw new Error(`${what}: not within ${seconds} s${last ? `; ${last.message}` : ""}`);
}

const given = new Set();

/** A port that nobody listens on, and that was not handed out before. */
export async function freePort() {
  const port = await new Promise((done, failed) => {
    const server = createServer();
    server.once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
  if (given.has(port)) return freePort();
  given.add(port);
  return port;
}

/** Starts a program; its output goes to a file. `ended` is its exit status, or the signal's name. */
export function start(program, args, log, env = {}) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  const output = createWriteStream(log);
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  started.add(child);
  const ended = new Promise((done, failed) => {
    child.once("error", failed);
    child.once("exit", (code, signal) => {
      started.delete(child);
      done(signal ?? code);
    });
  });
  // Whoever waits for the end sees what went wrong; nobody has to.
  ended.catch(() => {});
  return { child, ended, log };
}

/** Runs a program to its end. */
export async function run(program, args, log, env) {
  const { ended } = start(program, args, log, env);
  const status = await ended;
  if (status !== 0) throw new Error(`${program} ended with ${status}; see ${log}`);
}

/** Ends what is left, and comes back when it has ended: files of theirs may then be removed. */
export async function endAll() {
  const left = [...started];
  const gone = left.map((child) => new Promise((done) => child.once("exit", done)));
  for (const child of left) child.kill("SIGKILL");
  await Promise.all(gone);
}

/** The same at once, for an end that cannot wait. */
export function endAllNow() {
  for (const child of started) child.kill("SIGKILL");
}
