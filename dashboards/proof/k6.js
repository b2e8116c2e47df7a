// A small load for a stock k6, which has no SSE: it reads whole streams, which end with their room's
// final event, so its latency is that of the final event only. Series are named as the dashboard wants.
import { check, sleep } from "k6";
import { b64decode } from "k6/encoding";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import { unpacked } from "./lz4.js";

const produced = new Counter("produced_message_count");
const received = new Counter("received_message_count");
const events = new Counter("sse_event");
const connected = new Rate("sse_connection_ok");
const latency = new Trend("message_latency_ms");
const decompress = new Trend("decompress_latency_ms");

const EVENTS = 5;

export const options = { vus: 4, duration: "12s" };

export default async function () {
  const room = `k6-${exec.vu.idInInstance}-${exec.vu.iterationInInstance}/types/Said`;
  // From before the first event, whether this or the publish comes first.
  const reading = http.asyncRequest("GET", `${__ENV.GATEWAY}/v1/subscribe/events/${room}?from=10s&compress=lz4`, null, {
    headers: { "x-signature": __ENV.SUBSCRIBE, accept: "text/event-stream" },
    timeout: "10s",
  });
  await published(room);
  const answer = await reading;
  const now = Date.now();
  connected.add(answer.status === 200);
  if (answer.status === 200) read(String(answer.body), now);
}

async function published(room) {
  for (let n = 1; n <= EVENTS; n += 1) {
    // Before, not after: a sleep after the final event would count as its latency.
    sleep(0.1);
    const data = { t: Date.now(), pad: "as is said ".repeat(50) };
    const headers = { "content-type": "application/json", "x-signature": __ENV.PUBLISH };
    const url = `${__ENV.GATEWAY}/v1/sse/events/${room}`;
    const answer = await http.asyncRequest("POST", url, JSON.stringify({ data, final: n === EVENTS }), { headers });
    check(answer, { "producer POST status is 200": ({ status }) => status === 200 });
    produced.add(1);
  }
}

function read(body, now) {
  const data = body.split("\n").filter((line) => line.startsWith("data: "));
  events.add(data.length);
  const said = data.map((line) => JSON.parse(line.slice(6))).filter((event) => event.event_type === "Said");
  check(said, { "every event has come": ({ length }) => length === EVENTS });
  received.add(said.length);
  let last;
  for (const event of said) {
    const packed = new Uint8Array(b64decode(event.data));
    const began = Date.now();
    const text = String.fromCharCode(...unpacked(packed));
    decompress.add(Date.now() - began);
    last = JSON.parse(text);
  }
  if (last) latency.add(now - last.t);
}
