// Runs the tests one after the other: `node main.mjs GATEWAY [WORD…]`.
import { readFileSync } from "node:fs";
import { clean, end, gateway, pages, stop } from "./rig.mjs";
import { tests as console_ } from "./console.mjs";
import { tests as delivery } from "./delivery.mjs";
import { tests as edges } from "./edges.mjs";
import { tests as tabs } from "./tabs.mjs";

const words = process.argv.slice(3);
const all = Object.entries({ ...delivery, ...edges, ...tabs, ...console_ });
const wanted = all.filter(([name]) => !words.length || words.some((word) => name.includes(word)));
let failed = 0;
// Without this the process would end at once, and leave its children behind.
process.on("unhandledRejection", (error) => {
  failed += 1;
  console.log(`FAILED, unheard of by any test: ${error?.stack ?? error}`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => end().finally(() => process.exit(1)));
try {
  const server = await gateway({ log: "memory" });
  pages.module = await (await fetch(`${server.url}/tidegate.js`)).text();
  await stop(server.child);
  // To try a change of the module without a build, and whether the tests see what it breaks.
  if (process.env.TIDEGATE_MODULE) pages.module = readFileSync(process.env.TIDEGATE_MODULE, "utf8");
  for (const [name, test] of wanted) {
    const began = performance.now();
    let outcome = "ok";
    let timer;
    const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error("takes over 120 s")), 120_000)));
    try {
      const said = await Promise.race([test(), late]);
      if (said) outcome += `: ${said}`;
    } catch (error) {
      failed += 1;
      outcome = `FAILED: ${error.stack}`;
    } finally {
      clearTimeout(timer);
    }
    console.log(`${name} (${((performance.now() - began) / 1000).toFixed(1)} s) … ${outcome}`);
    await clean();
  }
} finally {
  await end();
}
console.log(`${wanted.length - failed} of ${wanted.length} hold.`);
process.exit(failed || !wanted.length ? 1 : 0);
