// The console as people use it: by mouse, by keyboard, on a phone, in the dark.
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { poor } from "./contrast.mjs";
import {
  HMAC, gateway, had, hasHad, holds, isOpen, profile, publish, same, signature, stop, tab, until,
} from "./rig.mjs";

const binary = process.argv[2];
const images = process.env.TIDEGATE_IMAGES;

/** Opens the console; complaints of the browser, about the policy above all, are kept. */
async function open(to, options = {}) {
  const context = await profile({ viewport: { width: 1280, height: 900 }, ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: to.url });
  const page = await context.newPage();
  page.complaints = context.errors;
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  await page.goto(`${to.url}/`);
  return page;
}

const rows = (page, kind = "event") => page.locator(`#events > li.${kind}:visible`);
const state = (page, text) => page.locator("#state", { hasText: text }).waitFor();
const fill = (page, form, name, value) => page.locator(`#${form} [name=${name}]`).fill(value);
const value = (page, form, name) => page.locator(`#${form} [name=${name}]`).inputValue();
async function connect(page) {
  await page.click("#toggle");
  await state(page, "Connected to");
}
const countOf = (page, kind, count) => until(async () => `${count} rows, there are ${await rows(page, kind).count()}`, async () => (await rows(page, kind).count()) === count);

async function picture(page, name) {
  if (!images) return;
  mkdirSync(images, { recursive: true });
  await page.screenshot({ path: join(images, `console-${name}.png`) });
}

/** What a snippet's block has to be pasted. */
const snippet = (page, title) => page.locator(`#snippets pre[data-title="${title}"]`).innerText();

/** Runs a snippet in a shell until it has written `text`. */
async function shell(command, text, then) {
  const child = execFile("bash", ["-c", `export PATH="${binary.replace(/\/[^/]*$/, "")}:$PATH"; exec ${command}`]);
  let out = "";
  child.stdout.on("data", (part) => (out += part));
  child.stderr.on("data", (part) => (out += part));
  try {
    await then(() => out);
    await until(() => `${text} in ${out}`, () => out.includes(text));
  } finally {
    child.kill("SIGKILL");
  }
}

export const tests = {
  async "console: connect, publish, and the event is there with its latency"() {
    const a = await gateway();
    const page = await open(a);
    await connect(page);
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#receipt[data-good=true]").waitFor();
    await rows(page).first().waitFor();
    const text = await rows(page).first().innerText();
    holds(/cart-7\/CartUpdated \d+ ms/.test(text), text);
    await rows(page).first().locator("summary").click();
    holds((await rows(page).first().locator("pre").innerText()).includes('"items": 3'), "the envelope");
    // They are reckoned a moment after the event is shown.
    await until("figures", async () => /latency: median \d+ ms/.test(await page.locator("#figures").innerText()));
    await fill(page, "publish", "data", "{");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#receipt[data-good=false]").waitFor();
    holds((await page.locator("#receipt").innerText()).includes("urn:tidegate:problem"), "a problem");
    await page.click("#toggle");
    await state(page, "Not connected.");
    await until("no stream", async () => (await a.connections()) === 0);
    // The browser itself tells of the publish that was refused on purpose.
    same(page.complaints.filter((text) => !text.includes("status of 4")), []);
  },

  async "console: a pause holds events and loses none, a filter hides and brings back"() {
    const a = await gateway();
    const page = await open(a);
    await connect(page);
    for (const n of [1, 2]) await publish(a, "cart-7/Seen", { n });
    await countOf(page, "event", 2);
    await page.click("#pause");
    for (const n of [3, 4, 5]) await publish(a, "cart-7/Held", { n });
    await until("held", async () => (await page.locator("#figures").innerText()).includes("paused, 3 held"));
    same(await rows(page).count(), 2);
    await page.click("#pause");
    await countOf(page, "event", 5);
    const datas = await rows(page).locator(".data").allInnerTexts();
    same(datas, [5, 4, 3, 2, 1].map((n) => `{"n":${n}}`));
    await page.fill("#filter", "held");
    await countOf(page, "event", 3);
    await publish(a, "cart-7/Other", { n: 6 });
    await publish(a, "cart-7/Held", { n: 7 });
    await countOf(page, "event", 4);
    await page.fill("#filter", "");
    await countOf(page, "event", 7);
    await page.click("#clear");
    await countOf(page, "event", 0);
    same(page.complaints, []);
  },

  async "console: resume from an event, from a typed id, and over a reload"() {
    const a = await gateway();
    const page = await open(a);
    await fill(page, "connect", "rooms", "resume/*");
    await connect(page);
    for (const n of [1, 2, 3, 4]) await publish(a, "resume/t", { n });
    await countOf(page, "event", 4);
    await rows(page).nth(2).locator("summary").click();
    await page.getByRole("button", { name: "Resume after this" }).click();
    await countOf(page, "event", 6);
    const texts = await rows(page).allInnerTexts();
    for (const text of texts.slice(0, 2)) holds(text.includes("replayed, "), text);
    const last = await value(page, "connect", "after");
    const receipt = await publish(a, "resume/t", { n: 5 });
    await until("the id follows", async () => (await value(page, "connect", "after")) !== last);
    await page.reload();
    same(await value(page, "connect", "rooms"), "resume/*");
    await publish(a, "resume/t", { n: 6 });
    await connect(page);
    await countOf(page, "event", 1);
    await page.click("#toggle");
    await state(page, "Not connected.");
    await fill(page, "connect", "after", receipt.cursor);
    await connect(page);
    await countOf(page, "event", 2);
    same(page.complaints, []);
  },

  async "console: gaps and goodbyes are shown for what they are"() {
    const a = await gateway({ log: "memory" });
    const page = await open(a);
    await fill(page, "connect", "rooms", "cart-7/CartUpdated");
    await fill(page, "connect", "after", "rubbish");
    await connect(page);
    await rows(page, "gap").waitFor();
    const gap = await rows(page, "gap").innerText();
    for (const part of ["Gap: invalid.", "The id is none of this log's.", "cart-7/CartUpdated"]) holds(gap.includes(part), gap);
    const items = ["Tea, 250 g", "Cup, blue", "Kettle"];
    for (const [n, item] of items.entries()) await publish(a, "cart-7/CartUpdated", { item, items: n + 1 });
    await countOf(page, "event", 3);
    await page.check("#publish [name=final]");
    await page.getByRole("button", { name: "Publish" }).click();
    await rows(page, "goodbye").waitFor();
    holds((await rows(page, "goodbye").innerText()).includes("Goodbye: complete."), "goodbye");
    await state(page, "Complete");
    await page.setViewportSize({ width: 1040, height: 800 });
    await page.evaluate("scrollTo(0, 0)");
    await picture(page, "light");
    await page.emulateMedia({ colorScheme: "dark" });
    await picture(page, "dark");
    same(page.complaints, []);
  },

  async "console: a gateway that dies is told, and the page comes back"() {
    const a = await gateway();
    const page = await open(a);
    await connect(page);
    await stop(a.child);
    await state(page, "Lost (");
    const again = await gateway({ port: a.port });
    await state(page, "Connected to");
    await publish(again, "cart-7/t", { n: 1 });
    await countOf(page, "event", 1);
  },

  async "console: with signatures it is in, without them it says why not"() {
    const a = await gateway({ flags: HMAC });
    const page = await open(a);
    await page.click("#toggle");
    await state(page, "Refused, 401");
    await fill(page, "connect", "rooms", "cart-7/*\ncart-8/t");
    await fill(page, "connect", "signature", `${signature("subscribe", "cart-7", "*", 60)} ${signature("subscribe", "cart-8", "t", 60)}`);
    await connect(page);
    await fill(page, "publish", "signature", signature("publish", "cart-7", "CartUpdated", 60));
    await page.getByRole("button", { name: "Publish" }).click();
    await countOf(page, "event", 1);
    await page.reload();
    same([await value(page, "connect", "signature"), await value(page, "publish", "signature")], ["", ""], "kept signatures");
  },

  async "console: each snippet does what it says"() {
    const a = await gateway();
    const page = await open(a);
    // A name that a shell and a URL both take badly.
    const id = "it's a \"cart\" & $HOME/7";
    await fill(page, "connect", "rooms", `${id}/*`);
    await fill(page, "connect", "user", "o'neil");
    await fill(page, "publish", "id", id);
    await fill(page, "publish", "data", `{"said": "it's here"}`);
    const publishing = await snippet(page, "curl, publish");
    const published = async (out, connected) => {
      if (connected) await until("connected", async () => (await a.connections()) > 0);
      await shell(publishing, "message_id", () => {});
    };
    await shell(await snippet(page, "curl, subscribe"), `"data":{"said":"it's here"}`, (out) => published(out, true));
    await until("left", async () => (await a.connections()) === 0);
    await shell(await snippet(page, "tidegate tail"), "it's here", (out) => published(out, true));
    await until("left", async () => (await a.connections()) === 0);

    const script = await snippet(page, "JavaScript, tidegate.js");
    const reader = await tab(await profile());
    await reader.evaluate((text) => {
      console.log = (type, data) => had.push([type, data]);
      const module = document.createElement("script");
      module.type = "module";
      module.textContent = text;
      document.head.append(module);
    }, script);
    await published(null, true);
    await hasHad(reader, 1);
    same(await had(reader), [["CartUpdated", { said: "it's here" }]]);

    // Several rooms, and an id: all parts of a request are in each snippet.
    await fill(page, "connect", "rooms", "a/t\nb/*");
    await fill(page, "connect", "after", "CURSOR");
    await fill(page, "connect", "signature", "s1 s2");
    for (const title of ["curl, subscribe", "JavaScript, tidegate.js", "tidegate tail"]) {
      const text = await snippet(page, title);
      for (const part of ["CURSOR", "s1", "s2", "neil", "b"]) holds(text.includes(part), `${part} in ${text}`);
    }
    await page.locator("#snippets button").first().click();
    same(await page.evaluate("navigator.clipboard.readText()"), await snippet(page, "curl, subscribe"), "copied");
    same(page.complaints, []);
  },

  async "console: all of it by keyboard"() {
    const a = await gateway();
    const page = await open(a);
    const key = (name) => page.keyboard.press(name);
    /** Goes on with Tab to what has this selector; it has to have a ring to be seen by. */
    const reach = async (selector) => {
      for (let n = 0; n < 60; n++) {
        await key("Tab");
        if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) {
          const ring = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
          return holds(ring !== "none", `${selector} has no ring`);
        }
      }
      throw new Error(`${selector} is not reached`);
    };
    await reach("#connect [name=rooms]");
    await key("Control+A");
    await page.keyboard.type("keys/*");
    await reach("#toggle");
    await key("Enter");
    await state(page, "Connected to");
    await reach("#publish [name=id]");
    await page.keyboard.type("keys");
    await reach("#publish [name=data]");
    await reach("#publish .primary");
    await key("Enter");
    await countOf(page, "event", 1);
    await key("p");
    same(await page.getAttribute("#pause", "aria-pressed"), "true");
    await key("p");
    await key("/");
    same(await page.evaluate("document.activeElement.id"), "filter");
    await page.keyboard.type("p/");
    same(await page.inputValue("#filter"), "p/");
    await key("Control+A");
    await key("Delete");
    await reach("#events");
    await reach("#events summary");
    await key("Enter");
    await reach("#events details[open] button");
    await key("Space");
    await state(page, "Connected to");
    await reach("#snippets button");
    // Each field and button has a name that can be read out.
    const unnamed = await page.evaluate(() => [...document.querySelectorAll("input, textarea, button")].filter((one) => !(one.labels?.length || one.textContent.trim())).length);
    same(unnamed, 0, "fields without a name");
  },

  async "console: on a phone nothing is wider than the screen, in light and in dark"() {
    const a = await gateway();
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(a, { viewport: { width: 360, height: 740 }, colorScheme, hasTouch: true, isMobile: true, deviceScaleFactor: 1 });
      await fill(page, "connect", "after", "rubbish");
      await page.tap("#toggle");
      await state(page, "Connected to");
      await publish(a, "cart-7/CartUpdated", { item: "Cup, blue", items: 2 });
      await countOf(page, "event", 1);
      // Not by a tap, whose flash would be in the picture.
      await rows(page).first().locator("details").evaluate((one) => (one.open = true));
      await page.evaluate("document.getElementById('events-title').scrollIntoView()");
      await picture(page, `phone-${colorScheme}`);
      await publish(a, "cart-7/CartUpdated", { long: "w".repeat(500), deep: { items: [1, 2, 3] } });
      await publish(a, `cart-7/${"T".repeat(120)}`, { n: 1 });
      await countOf(page, "event", 3);
      for (const n of [0, 1]) await rows(page).nth(n).locator("summary").tap();
      const wide = await page.evaluate(() => ({
        page: document.scrollingElement.scrollWidth,
        outside: [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > 360.5).map((one) => one.tagName + one.id + one.className),
      }));
      same(wide, { page: 360, outside: [] }, "width");
      for (const height of await page.locator("button:visible").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().height))) {
        holds(height >= 32, `a button of ${height} px`);
      }
      const contrast = await page.evaluate(poor);
      same(contrast, [], "too little contrast");
      same(page.complaints, []);
      await page.close();
    }
  },
};
