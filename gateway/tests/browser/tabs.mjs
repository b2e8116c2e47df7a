// One stream for all tabs: each tab has everything once, whoever leads and whoever comes or goes.
import {
  gateway, had, hasHad, holds, isOpen, profile, publish, publisher, range, same, sleep, tab, until,
} from "./rig.mjs";

const leaders = async (tabs) => {
  const leading = await Promise.all(tabs.map((page) => page.evaluate("window.states.at(-1)?.leading === true")));
  return tabs.filter((_, n) => leading[n]);
};
const leader = (tabs) => until("a tab that leads", async () => (await leaders(tabs))[0]);

async function seven(options) {
  const context = await profile();
  const tabs = [];
  for (let n = 0; n < 7; n++) tabs.push(await tab(context, options));
  for (const page of tabs) await isOpen(page);
  return { context, tabs };
}

async function allHave(tabs, count) {
  for (const page of tabs) await hasHad(page, count);
  await sleep(300);
  for (const [n, page] of tabs.entries()) same(await had(page), range(0, count), `tab ${n}`);
}

/** Waits until the gateways together have so many streams. */
const streams = (gateways, count) =>
  until(
    async () => `${count} streams, there are ${await Promise.all(gateways.map((one) => one.connections()))}`,
    async () => (await Promise.all(gateways.map((one) => one.connections()))).reduce((sum, n) => sum + n) === count,
    30_000,
  );

/**
 * The first of several tabs is closed amid a flow. The others hear so much later what it says, or,
 * where that is null, do not hear its last words at all.
 */
async function relieved(room, ...later) {
  const a = await gateway();
  const context = await profile();
  const options = { url: a.url, rooms: room };
  // The lock goes to them in the order in which they came.
  const tabs = [];
  for (const ms of [0, ...later]) {
    tabs.push(await tab(context, options, ms ?? 0));
    await isOpen(tabs.at(-1));
  }
  const flow = publisher(a, room, 2);
  await until("a flow", () => flow.count > 100);
  for (const [n, ms] of later.entries()) {
    if (ms === null) await tabs[n + 1].evaluate("window.deafTo = window.lastEpoch");
  }
  const heard = flow.count;
  await until("a flow", () => flow.count > heard + 50);
  await tabs.shift().close();
  holds((await leader(tabs)) === tabs[0], "the second tab leads");
  const before = flow.count;
  await until("a flow", () => flow.count > before + 50);
  const count = await flow.stop();
  await allHave(tabs, count);
  await streams([a], 1);
  return `${count} events`;
}

export const tests = {
  async "a tab that is behind the others comes to lead: they are not given anything twice"() {
    return relieved("behind/t", 500, 0, 0);
  },

  async "a tab that is ahead of the others comes to lead: they are given what they lack"() {
    return relieved("ahead/t", 0, null, null);
  },

  async "seven tabs each receive everything on one stream"() {
    const a = await gateway();
    const { tabs } = await seven({ url: a.url, rooms: "seven/t" });
    same(await a.connections(), 1, "streams");
    const flow = publisher(a, "seven/t");
    await until("a flow", () => flow.count > 200);
    same(await a.connections(), 1, "streams");
    // The browser has connections left for the page's own requests.
    const status = await tabs[6].evaluate((url) => fetch(`${url}/openapi.json`).then((answer) => answer.status), a.url);
    same(status, 200);
    const count = await flow.stop();
    await allHave(tabs, count);
    return `${count} events for each of 7 tabs, 1 stream`;
  },

  async "without sharing seven tabs run out of connections, which is what sharing is for"() {
    const a = await gateway();
    const context = await profile();
    const tabs = [];
    for (let n = 0; n < 7; n++) tabs.push(await tab(context, { url: a.url, rooms: "alone/t", shared: false }));
    await streams([a], 6);
    await sleep(1_000);
    same(await a.connections(), 6, "streams");
    const open = await Promise.all(tabs.map((page) => page.evaluate("window.states.at(-1)?.state")));
    same(open.filter((state) => state === "open").length, 6, "open");
  },

  async "the tab that leads is closed, again and again: the others lose and double nothing"() {
    const a = await gateway();
    let { tabs } = await seven({ url: a.url, rooms: "closing/t" });
    const flow = publisher(a, "closing/t", 2);
    for (let round = 0; round < 5; round++) {
      const before = flow.count;
      await until("a flow", () => flow.count > before + 40);
      const leading = await leader(tabs);
      tabs = tabs.filter((page) => page !== leading);
      await leading.close();
      await leader(tabs);
    }
    const count = await flow.stop();
    await allHave(tabs, count);
    await streams([a], 1);
    return `${count} events, 5 leaders closed`;
  },

  async "the leader's gateway is killed: all seven tabs go on at the other one"() {
    const [a, b] = [await gateway(), await gateway()];
    const { tabs } = await seven({ url: [a.url, b.url], rooms: "both/t" });
    const flow = publisher(b, "both/t");
    await until("a flow", () => flow.count > 60);
    a.child.kill("SIGKILL");
    await streams([b], 1);
    const count = await flow.stop();
    await allHave(tabs, count);
    return `${count} events`;
  },

  async "tabs that are loaded anew, the leading one too, lose and double nothing"() {
    const a = await gateway();
    const { tabs } = await seven({ url: a.url, rooms: "loads/t" });
    const flow = publisher(a, "loads/t");
    await until("a flow", () => flow.count > 40);
    for (let round = 0; round < 3; round++) {
      for (const page of [await leader(tabs), tabs[round], tabs[6 - round]]) {
        await page.reload();
        await page.waitForFunction("window.ready");
        await sleep(150);
      }
    }
    const count = await flow.stop();
    await allHave(tabs, count);
    await streams([a], 1);
    return `${count} events, 9 loads`;
  },

  async "all tabs are loaded anew at once"() {
    const a = await gateway();
    const { tabs } = await seven({ url: a.url, rooms: "storm/t" });
    const flow = publisher(a, "storm/t");
    await until("a flow", () => flow.count > 40);
    await Promise.all(tabs.map((page) => page.reload()));
    for (const page of tabs) await page.waitForFunction("window.ready");
    const before = flow.count;
    await until("a flow", () => flow.count > before + 40);
    const count = await flow.stop();
    await allHave(tabs, count);
    await streams([a], 1);
    return `${count} events`;
  },

  async "a tab that joins has what comes from then on"() {
    const a = await gateway();
    const context = await profile();
    const first = await tab(context, { url: a.url, rooms: "joins/t" });
    await isOpen(first);
    for (const n of range(0, 20)) await publish(a, "joins/t", { n });
    await hasHad(first, 20);
    const second = await tab(context, { url: a.url, rooms: "joins/t" });
    await isOpen(second);
    for (const n of range(20, 40)) await publish(a, "joins/t", { n });
    await hasHad(second, 20);
    await sleep(300);
    same(await had(second), range(20, 40));
    same(await had(first), range(0, 40));
    same(await a.connections(), 1, "streams");
  },

  async "a tab with an id that the leader no longer knows catches up, and then joins"() {
    const [a, b] = [await gateway(), await gateway()];
    const context = await profile();
    const room = "late/t";
    const receipts = [];
    const events = 1_300;
    const first = await tab(context, { url: a.url, rooms: room });
    await isOpen(first);
    // More than a tab keeps; by several at once, since each waits for the log.
    for (let n = 0; n < events; n++) receipts.push(await publish(a, room, { n }));
    await hasHad(first, events, 60_000);
    // Asked of the other pod's, so that ids of two pods have to meet.
    const options = { url: a.url, rooms: room };
    const second = await tab(context, { ...options, after: receipts[9].cursor });
    const flow = publisher(b, room, 20);
    await hasHad(second, events - 10, 60_000);
    await streams([a], 1);
    const more = await flow.stop();
    const expected = [...range(10, events), ...range(0, more)];
    await hasHad(second, expected.length);
    await sleep(300);
    same(await had(second), expected);
    return `${expected.length} events, then 1 stream for both`;
  },

  async "in silence, too, a tab that has caught up joins"() {
    const a = await gateway();
    const context = await profile();
    const room = "hush/t";
    const receipts = [];
    for (let n = 0; n < 30; n++) receipts.push(await publish(a, room, { n }));
    const first = await tab(context, { url: a.url, rooms: room });
    await isOpen(first);
    const second = await tab(context, { url: a.url, rooms: room, after: receipts[4].cursor });
    await hasHad(second, 25);
    await streams([a], 1);
    await publish(a, room, { n: 30 });
    await hasHad(second, 26);
    same(await had(second), range(5, 31));
    same(await had(first), [30]);
  },

  async "a tab that leads and hangs is relieved, and follows when it is back"() {
    const a = await gateway();
    const context = await profile();
    const options = { url: a.url, rooms: "hangs/t", silenceMs: 2_500 };
    const tabs = [await tab(context, options)];
    await isOpen(tabs[0]);
    // Opened by nobody, so that the tab has a process of its own.
    tabs.push(await tab(context, options));
    await isOpen(tabs[1]);
    const hung = await leader(tabs);
    const other = tabs.find((page) => page !== hung);
    const flow = publisher(a, "hangs/t", 20);
    await until("a flow", () => flow.count > 40);
    const hang = hung.evaluate("(() => { const end = Date.now() + 8000; while (Date.now() < end); })()");
    hang.catch(() => {});
    const took = performance.now();
    await until("another leader", async () => (await leaders([other])).length, 7_000);
    const after = Math.round(performance.now() - took);
    await hang;
    await until("one leader", async () => (await leaders(tabs)).length === 1);
    const count = await flow.stop();
    await allHave(tabs, count);
    await streams([a], 1);
    holds(after > 1_000, "not before its time");
    return `${count} events, taken over after ${after} ms`;
  },

  async "tabs with other rooms or other users do not share"() {
    const a = await gateway();
    const context = await profile();
    const one = await tab(context, { url: a.url, rooms: "apart/t", user: "u" });
    const two = await tab(context, { url: a.url, rooms: "apart/t", user: "v" });
    for (const page of [one, two]) await isOpen(page);
    same(await a.connections(), 2, "streams");
    const answer = await fetch(`${a.url}/v1/sse/events/apart/types/t`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ data: { n: 1 }, user: { to_user: "u" } }),
    });
    same(answer.status, 200);
    await publish(a, "apart/t", { n: 2 });
    await hasHad(one, 2);
    await hasHad(two, 1);
    same([await had(one), await had(two)], [[1, 2], [2]]);
  },
};
