// Ends, refusals, gaps, payloads, and the times between attempts.
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import {
  HMAC, freePort, gateway, had, hasHad, holds, isOpen, pages, profile, publish, same, signature,
  states, tab, until,
} from "./rig.mjs";

const last = (page) => page.evaluate("window.states.at(-1)");

export const tests = {
  async "payloads in LZ4 come out as they were published"() {
    const a = await gateway();
    const page = await tab(await profile(), { url: a.url, rooms: "lz4/t", lz4: true, keepTexts: true });
    await isOpen(page);
    const random = (bytes) => randomBytes(bytes).toString("base64");
    const datas = [
      "", { small: 1 }, "x".repeat(2_000), "äöü€😀\\\"".repeat(500), random(3_000), random(200_000),
      `${random(70_000)}${"ab".repeat(40_000)}${random(30_000)}`,
      Array.from({ length: 20_000 }, (_, n) => ({ n, even: n % 2 === 0 })),
    ];
    for (const data of datas) await publish(a, "lz4/t", { data });
    await hasHad(page, datas.length);
    const found = await page.evaluate("window.texts.map(([event, text]) => [event.data.data, event.encoding ?? '', JSON.parse(text).encoding ?? ''])");
    datas.forEach((data, n) => same(found[n][0], data, `payload ${n}`));
    same(found.map((one) => one[1]), datas.map(() => ""), "encodings that are left");
    same(found.map((one) => one[2]), ["", "", ...Array(6).fill("lz4")], "encodings on the way");
  },

  async "an LZ4 frame that is broken is refused and not half unpacked"() {
    const page = await tab(await profile());
    // The parts are in one scope; their names are the module's own.
    const module = `${pages.module}\nexport { unlz4 };`;
    const outcomes = await page.evaluate(async (text) => {
      const { unlz4 } = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
      // Twenty times an "a": a literal, a match that overlaps itself, five literals.
      const head = [4, 34, 77, 24, 0x68, 0x40, 20, 0, 0, 0, 0, 0, 0, 0, 0];
      const frame = [...head, 10, 0, 0, 0, 0x1a, 97, 1, 0, 0x50, 97, 97, 97, 97, 97, 0, 0, 0, 0];
      const tried = (bytes) => {
        try {
          return new TextDecoder().decode(unlz4(Uint8Array.from(bytes)));
        } catch (error) {
          return `refused: ${error.message}`;
        }
      };
      const changed = (at, value) => frame.map((byte, n) => (n === at ? value : byte));
      return {
        whole: tried(frame),
        cut: frame.map((_, n) => tried(frame.slice(0, n))),
        changed: frame.flatMap((_, at) => [0, 1, 127, 255].map((value) => tried(changed(at, value)))),
        back: tried(changed(21, 2)),
        large: tried(changed(10, 1)),
      };
    }, module);
    same(outcomes.whole, "a".repeat(20));
    for (const cut of outcomes.cut) holds(cut.startsWith("refused"), cut);
    for (const one of outcomes.changed) holds(one.length === 20 || one.startsWith("refused"), one);
    same(outcomes.back, "refused: an LZ4 match does not fit");
    same(outcomes.large, "refused: an LZ4 frame of 4294967316 bytes is too large");
  },

  async "attempts are spread over all of a time that doubles up to a bound"() {
    const port = await freePort();
    const page = await tab(await profile());
    const streams = 40;
    const backoff = { first: 200, most: 1_000 };
    await page.evaluate(({ url, streams, backoff }) => {
      window.waits = [];
      for (let n = 0; n < streams; n++) {
        const onState = (s) => s.state === "waiting" && waits.push([s.attempt, s.delay]);
        open_({ url, rooms: `r${n}/t`, shared: false, storage: null, backoff, onState });
      }
    }, { url: `http://127.0.0.1:${port}`, streams, backoff });
    await until("attempts", () => page.evaluate(`waits.filter(([attempt]) => attempt === 6).length === ${streams}`), 60_000);
    const waits = await page.evaluate("waits");
    const means = [];
    for (const [attempt, bound] of [[1, 200], [2, 400], [3, 800], [4, 1_000], [5, 1_000], [6, 1_000]]) {
      const delays = waits.filter(([n]) => n === attempt).map(([, delay]) => delay).sort((x, y) => x - y);
      same(delays.length, streams, `attempt ${attempt}`);
      holds(delays[0] >= 0 && delays.at(-1) <= bound, `attempt ${attempt}: ${delays[0]} to ${delays.at(-1)}`);
      // Of forty even chances one is in each quarter but in four of a hundred thousand runs.
      for (let quarter = 0; quarter < 4; quarter++) {
        const inside = delays.filter((d) => d >= (bound * quarter) / 4 && d <= (bound * (quarter + 1)) / 4);
        holds(inside.length, `attempt ${attempt}: none in quarter ${quarter}`);
      }
      means.push(Math.round(delays.reduce((sum, d) => sum + d, 0) / streams));
    }
    return `mean waits ${means.join(", ")} ms`;
  },

  async "a gap is told, and the stream goes on"() {
    const a = await gateway();
    const page = await tab(await profile(), { url: a.url, rooms: "gap/t", after: "rubbish" });
    await isOpen(page);
    await until("a gap", () => page.evaluate("window.gaps.length"));
    const [gap] = await page.evaluate("window.gaps");
    same(gap.reason, "invalid");
    same(await page.evaluate("stream.lastEventId"), gap.resumed_at);
    await publish(a, "gap/t", { n: 1 });
    await hasHad(page, 1);
  },

  async "history is asked for, and a stream of several rooms"() {
    const a = await gateway();
    for (const n of [0, 1, 2]) await publish(a, `h${n}/t`, { n });
    const page = await tab(await profile(), { url: a.url, rooms: ["h0/t", "h1/t", "h2/*"], from: "earliest" });
    await hasHad(page, 3);
    await publish(a, "h1/t", { n: 3 });
    await hasHad(page, 4);
    same((await had(page)).sort(), [0, 1, 2, 3]);
  },

  async "a room that is complete is not come back to, nor after a reload"() {
    const a = await gateway();
    const page = await tab(await profile(), { url: a.url, rooms: "done/t" });
    await isOpen(page);
    await publish(a, "done/t", { n: 1 }, { final: true });
    await until("complete", async () => (await last(page))?.state === "complete");
    same(await page.evaluate("window.goodbyes"), ["complete"]);
    await page.reload();
    await until("complete again", async () => (await last(page))?.state === "complete");
    same(await had(page), [1]);
    same(await a.connections(), 0, "connections");
  },

  async "a refusal ends it and says why"() {
    const a = await gateway({ flags: HMAC });
    const page = await tab(await profile(), { url: a.url, rooms: "shut/t" });
    await until("refused", async () => (await last(page))?.state === "refused");
    const { status, problem } = await last(page);
    same([status, problem.type], [401, "urn:tidegate:problem:unauthorized"]);
  },

  async "a signature is made anew when it ends, and nothing is lost"() {
    const a = await gateway({ flags: HMAC });
    Object.assign(pages, { lifetime: 3, signed: 0 });
    const page = await tab(await profile(), { url: a.url, rooms: "signed/t", signer: "/sign" });
    await isOpen(page);
    const signed = { headers: { "X-Signature": signature("publish", "signed", "t", 600) } };
    let n = 0;
    while (pages.signed < 3) await publish(a, "signed/t", { n: n++ }, signed);
    await hasHad(page, n);
    same(await had(page), Array.from({ length: n }, (_, at) => at));
    holds((await page.evaluate("window.goodbyes")).every((reason) => reason === "expired"), "goodbyes");
    return `${n} events, ${pages.signed} signatures`;
  },

  async "what a handler throws ends nothing"() {
    const a = await gateway();
    const context = await profile();
    const page = await tab(context);
    await page.evaluate((url) => {
      window.stream = open_({ url, rooms: "throws/t", onEvent: (event) => { had.push(event.data.n); throw new Error("the page's own"); }, onState: (s) => states.push(s) });
    }, a.url);
    await isOpen(page);
    for (const n of [0, 1, 2]) await publish(a, "throws/t", { n });
    await hasHad(page, 3);
    same(context.errors.filter((error) => error.includes("the page's own")).length, 3);
  },

  async "options that name no stream are refused at once"() {
    const page = await tab(await profile());
    const errors = await page.evaluate(() => [{}, { rooms: [] }, { rooms: "a" }, { rooms: ["a/b", "/"] }, { rooms: "a/b", url: [] }].map((options) => {
      try { open_(options); return "opened"; } catch (error) { return error.name; }
    }));
    same(errors, Array(5).fill("TypeError"));
  },

  async "the types are those of the module"() {
    const a = await gateway();
    const dir = import.meta.dirname;
    writeFileSync(join(dir, "tidegate.d.ts"), await (await fetch(`${a.url}/tidegate.d.ts`)).text());
    const words = ["--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--lib", "es2022,dom", "--moduleResolution", "bundler", join(dir, "usage.ts")];
    const run = spawnSync(join(dir, "node_modules/.bin/tsc"), words, { encoding: "utf8" });
    same(run.status, 0, run.stdout);
    // Each exported name and option is one that the module has, and the reverse.
    const types = readFileSync(join(dir, "tidegate.d.ts"), "utf8");
    const exported = (text) => [...text.matchAll(/^export (?:async )?function (\w+)/gm)].map((found) => found[1]).sort();
    same(exported(types), exported(pages.module), "exported functions");
    const options = types.slice(types.indexOf("interface Options"), types.indexOf("interface Envelope"));
    for (const [, name] of options.matchAll(/^  (\w+)\??:/gm)) {
      holds(new RegExp(`\\b${name}\\b`).test(pages.module), `the module has no option ${name}`);
    }
  },
};
