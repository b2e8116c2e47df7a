// Nothing is lost and nothing comes twice, whatever ends a stream.
import {
  gateway, had, hasHad, holds, isOpen, pages, profile, publish, publisher, range, same, sleep,
  states, stop, tab, until,
} from "./rig.mjs";

/** Runs `trouble` amid a flow of events; afterwards the page has each of them once, in order. */
async function unharmed(options, to, room, trouble) {
  const page = await tab(await profile(), options);
  await isOpen(page);
  const flow = publisher(to, room);
  await hasHad(page, 50);
  await trouble(page);
  const before = flow.count;
  await until("the flow goes on", () => flow.count > before + 50);
  const count = await flow.stop();
  await hasHad(page, count, 60_000);
  await sleep(300);
  same(await had(page), range(0, count), "events");
  same(await page.evaluate("window.gaps"), [], "gaps");
  return { page, count };
}

export const tests = {
  async "of two gateways one is killed: the page loses and doubles nothing"() {
    const [a, b] = [await gateway(), await gateway()];
    const { page, count } = await unharmed({ url: [a.url, b.url], rooms: "killed/t" }, b, "killed/t", () => stop(a.child));
    const opened = (await states(page)).filter(({ state }) => state === "open");
    same(opened.map(({ pod }) => pod), [`pod-${a.port}`, `pod-${b.port}`], "pods");
    return `${count} events`;
  },

  async "a gateway that is drained says goodbye, and the page goes to the other one"() {
    const flags = ["--drain-grace=0s", "--drain-window=1s", "--drain-deadline=5s"];
    const [a, b] = [await gateway({ flags }), await gateway()];
    const { page, count } = await unharmed({ url: [a.url, b.url], rooms: "drained/t" }, b, "drained/t", () => stop(a.child, "SIGTERM"));
    same(await page.evaluate("window.goodbyes"), ["drain"], "goodbyes");
    return `${count} events`;
  },

  async "streams that end of age come back when the gateway said, by the browser itself"() {
    const a = await gateway({ flags: ["--stream-max-age=2s", "--stream-retry=1s"] });
    const { page, count } = await unharmed({ url: a.url, rooms: "aged/t" }, a, "aged/t", () => sleep(7_000));
    const goodbyes = await page.evaluate("window.goodbyes");
    holds(goodbyes.length >= 2 && goodbyes.every((reason) => reason === "max_age"), `goodbyes: ${goodbyes}`);
    const own = (await states(page)).filter(({ delay }) => delay !== undefined);
    same(own, [], "waits of the client's own");
    return `${count} events over ${goodbyes.length + 1} streams`;
  },

  async "a gateway that falls silent is left by the watchdog"() {
    const [a, b] = [await gateway(), await gateway()];
    const { page, count } = await unharmed({ url: [a.url, b.url], rooms: "silent/t" }, b, "silent/t", async (page) => {
      a.child.kill("SIGSTOP");
      await until("the other pod", () => page.evaluate((pod) => window.states.at(-1).pod === pod, `pod-${b.port}`));
    });
    const left = (await states(page)).find(({ state }) => state === "waiting");
    same(left.reason, "silent");
    return `${count} events`;
  },

  async "a gateway that takes the connection and never answers is left as well"() {
    const [a, b] = [await gateway(), await gateway()];
    a.child.kill("SIGSTOP");
    const page = await tab(await profile(), { url: [a.url, b.url], rooms: "mute/t" });
    await isOpen(page);
    const waited = (await states(page)).find(({ state }) => state === "waiting");
    same(waited.reason, "no answer");
  },

  async "the only gateway comes back after its death: the page resumes from the log"() {
    const a = await gateway();
    const b = await gateway();
    const room = "again/t";
    const { count } = await unharmed({ url: a.url, rooms: room, backoff: { first: 200, most: 500 } }, b, room, async (page) => {
      await stop(a.child);
      await until("several attempts", () => page.evaluate("window.states.filter((s) => s.attempt > 3).length"));
      await gateway({ port: a.port });
      await isOpen(page);
    });
    return `${count} events`;
  },

  async "a page that is loaded anew goes on where it was"() {
    const a = await gateway();
    const { count } = await unharmed({ url: a.url, rooms: "reload/t" }, a, "reload/t", async (page) => {
      for (let n = 0; n < 5; n++) {
        await page.reload();
        await page.waitForFunction("window.ready");
        await sleep(400);
      }
    });
    return `${count} events over 6 loads`;
  },

  async "a later visit goes on where the last one ended, if the origin keeps the id"() {
    const a = await gateway();
    const context = await profile();
    const options = { url: a.url, rooms: "visits/t", storage: "local" };
    const first = await tab(context, options);
    await isOpen(first);
    await publish(a, "visits/t", { n: 0 });
    await hasHad(first, 1);
    await first.close();
    for (const n of [1, 2]) await publish(a, "visits/t", { n });
    const second = await tab(context, options);
    await hasHad(second, 2);
    await publish(a, "visits/t", { n: 3 });
    await hasHad(second, 3);
    same(await had(second), [1, 2, 3]);
  },

  async "a page without its stored id begins with what comes"() {
    const a = await gateway();
    const page = await tab(await profile(), { url: a.url, rooms: "forgotten/t" });
    await isOpen(page);
    await publish(a, "forgotten/t", { n: 1 });
    await hasHad(page, 1);
    const stored = () => page.evaluate("Object.keys(sessionStorage).filter((name) => name.startsWith('tidegate ')).length");
    same(await stored(), 1, "stored ids");
    await page.evaluate("stream.close(); forget()");
    same(await stored(), 0, "stored ids");
    await publish(a, "forgotten/t", { n: 2 });
    await page.reload();
    await isOpen(page);
    await publish(a, "forgotten/t", { n: 3 });
    await until("the third", async () => (await had(page)).includes(3));
    same(await had(page), [1, 3]);
  },

  async "a page of another origin imports the module from a gateway"() {
    const a = await gateway({ flags: ["--console-enabled=false"] });
    const page = await tab(await profile());
    const origin = new URL(pages.url).origin;
    const seen = await page.evaluate(async (url) => {
      const { open } = await import(`${url}/tidegate.js`);
      return new Promise((done) => {
        // Without a `url`: where the module is from.
        window.stream = open({ rooms: "imported/t", onState: (state) => state.state === "open" && done(state.url) });
      });
    }, a.url);
    same(seen, a.url);
    holds(origin !== seen, "another origin");
  },
};
