// Draws panels from the answers they got, with ECharts in Chromium. These are no screenshots of Grafana.
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";

/** What is drawn: a file, a dashboard and the titles of its panels. */
const PICTURES = {
  overview: [
    "tidegate-overview",
    ["Open streams", "Events written", "Send latency, p99", "Gaps told", "Dead letters", "Log reached"],
    ["Open streams by pod", "Streams opened and ended", "Events in and out", "Send latency", "Gaps", "Dead letters by reason"],
    ["Streams against the limit", "Refused"],
  ],
  latency: [
    "tidegate-fanout",
    ["Send latency, spread", "Send latency by pod, p99", "Fan-out time", "Blocks by kind"],
    ["Age of streams that clients ended", "Slow and stalled streams"],
  ],
  rollout: [
    "tidegate-pods",
    ["Pods", "Open streams", "Draining", "Streams sent away", "Streams opened", "Up for", "Replayed after a change of pod"],
  ],
  loadtest: [
    "tidegate-loadtest",
    ["Virtual users", "Connections that came about", "Message latency, p95", "Checks that held"],
    ["Owed to readers", "Lost", "Doubled", "Reconnects"],
    ["Online streams", "Disconnects", "Request duration", "Messages", "Message latency", "Time to the first byte and event"],
    ["Open streams", "Send latency"],
  ],
};
/** They are kept in the repository: no more bytes than that. */
const LARGEST = 150_000;

const beside = (file) => new URL(file, import.meta.url).pathname;
const modules = createRequire(`${process.env.PROOF_MODULES}/`);

/** Of what a panel was answered, only what is drawn: the browser is handed it all as JSON. */
function chosen({ board, panels }, titles) {
  const found = panels.filter(({ panel }) => titles.includes(panel.title));
  const missing = titles.filter((title) => !found.some(({ panel }) => panel.title === title));
  if (missing.length > 0) throw new Error(`${board.file} has no panel ${missing.join(", ")} to draw`);
  return found.map(({ panel, found }) => ({ panel, answers: found.map(({ target, series }) => ({ target, series })) }));
}

export async function draw(proven, into, time, say) {
  const { chromium } = modules("playwright-core");
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  try {
    for (const [name, [uid, ...titles]] of Object.entries(PICTURES)) {
      const one = proven.find(({ board }) => board.uid === uid);
      // Another directory's dashboards may be others.
      if (!one) continue;
      const file = `${into}/${name}.png`;
      const page = await browser.newPage({ viewport: { width: 1040, height: 400 } });
      const failures = [];
      page.on("pageerror", (error) => failures.push(error));
      await page.setContent('<!doctype html><meta charset="utf-8"><main></main>');
      await page.addStyleTag({ content: readFileSync(beside("picture.css"), "utf8") });
      await page.addScriptTag({ path: modules.resolve("echarts/dist/echarts.min.js") });
      await page.addScriptTag({ path: beside("picture.js") });
      const drawn = chosen(one, titles.flat());
      const span = [time.from * 1000, time.to * 1000];
      await page.evaluate(({ title, drawn, span }) => window.drawBoard(title, drawn, span), { title: one.board.title, drawn, span });
      if (failures.length > 0) throw failures[0];
      await page.screenshot({ path: file, fullPage: true });
      await page.close();
      const { size } = statSync(file);
      if (size > LARGEST) throw new Error(`${file} has ${size} bytes, more than ${LARGEST}`);
      say(`${file}: ${drawn.length} panels of ${one.board.title}, ${size} bytes`);
    }
  } finally {
    await browser.close();
  }
}
