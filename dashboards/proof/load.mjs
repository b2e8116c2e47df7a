// The small load under which the panels are asked: readers, a publisher, and each fault that a series
// is for: reconnects, gaps, dead letters, a drain, and what clients do wrong.
import { STREAMS } from "./gateway.mjs";
import { underK6 } from "./k6.mjs";
import { until, wait } from "./processes.mjs";
import { Reader, sluggish } from "./reader.mjs";

const ROOMS = ["order-1/Changed", "order-2/Changed", "cart-1/Changed", "chat-1/Said", "chat-2/Said", "news-1/Out"];
const READERS_A_ROOM = 4;
const EVENTS_A_SECOND = 30;
/** Beside the publisher's events: large ones for who does not read, and one that nobody reads. */
const LARGE = 24;
export const FURTHER = LARGE + 1;

/** Publishes to all rooms in turn until told to stop; what was acknowledged is what readers are owed. */
class Publisher {
  constructor(gateways) {
    Object.assign(this, { gateways, accepted: new Map(ROOMS.map((room) => [room, 0])), refused: 0 });
    this.ended = this.run();
  }

  async run() {
    const began = Date.now();
    for (let n = 0; !this.stopped; n += 1) {
      const room = ROOMS[n % ROOMS.length];
      // Numbers are given to what was accepted only: a reader has to see every one of them, once.
      const body = { data: { n: `${room}:${this.accepted.get(room)}`, pad: "x".repeat(100 + (n % 7) * 150) } };
      const key = { "idempotency-key": body.data.n };
      const status = await this.gateways().publish(room, body, key).catch(() => 0);
      if (status === 200) this.accepted.set(room, this.accepted.get(room) + 1);
      else this.refused += 1;
      const due = began + ((n + 1) * 1000) / EVENTS_A_SECOND;
      if (due > Date.now()) await wait(due - Date.now());
    }
  }

  stop() {
    this.stopped = true;
    return this.ended;
  }
}

/** Requests that are the client's fault, and a cursor that is none. */
async function mistakes([first, second]) {
  const statuses = [
    await first.publish("order-1/Changed", { data: 1 }, { "x-signature": undefined }),
    await second.publish("order-1/Changed", { date: 1 }),
    await second.publish("order-1/Changed", "{"),
  ];
  if (statuses.join() !== "401,422,400") throw new Error(`mistakes were answered with ${statuses}`);
  const lost = new Reader("order-1/Changed", () => second, { query: "?last_event_id=nonsense", returns: false });
  await until("a gap is told for a cursor that is none", () => lost.gaps.includes("invalid"));
  lost.close();
}

/** A promise that nobody can keep, and records that are no events. */
async function deadLetters([, second], redis, prometheus) {
  await second.publish("nobody/Reads", { data: { n: 0 } }, { "x-deliver-within": "1s" });
  // Twice: a kind's series begins with its first record, and a rate shows what comes after.
  await redis.malformed();
  await prometheus.sees("count(tidegate_malformed_records_total) > 1");
  await redis.malformed();
  for (const reason of ["malformed", "undelivered"]) {
    await prometheus.sees(`sum(tidegate_dead_letters_total{reason="${reason}"}) > 0`);
  }
}

/** Readers that read nothing or too little, and more streams than limits.connections allows. */
async function overload([first, second], prometheus) {
  const opened = `sum(tidegate_rooms{pod="${first.name}"})`;
  await prometheus.sees(`${opened} == ${ROOMS.length}`); // k6's has gone.
  const idle = [
    sluggish(first, "bulk/Data", "", 0),
    sluggish(first, "bulk/Data", "", 60_000),
    sluggish(first, "bulk/Data", "?slow=drop", 60_000),
  ];
  await prometheus.sees(`${opened} > ${ROOMS.length}`);
  for (let n = 0; n < LARGE; n += 1) await first.publish("bulk/Data", { data: { n, pad: "x".repeat(500_000) } });
  const crowd = Array.from({ length: STREAMS }, () => new Reader("news-1/Out", () => second, { returns: false }));
  await until("streams are refused", () => crowd.some((reader) => reader.goodbyes > 0));
  for (const reason of ["slow", "stalled"]) {
    await prometheus.sees(`sum(tidegate_connections_closed_total{reason="${reason}"}) > 0`);
  }
  await prometheus.sees('sum(tidegate_gaps_total{reason="overflow"}) > 0');
  await prometheus.scrapes(2);
  crowd.forEach((reader) => reader.close());
  idle.forEach((socket) => socket.destroy());
}

/** Clients that lose their network and come back. */
async function reconnects(readers, prometheus) {
  readers.slice(0, 6).forEach((reader) => reader.cut());
  await until("they have come back", () => readers.every((reader) => reader.connected));
  await prometheus.sees('sum(tidegate_replayed_events_total{from="window"}) > 0');
  await prometheus.scrapes(3);
}

/** A third gateway that comes up while the log takes nothing: it may not let anybody in yet. */
async function lateStart([, , third], redis, prometheus, start) {
  await redis.pauseWrites();
  const started = start();
  await prometheus.sees(`up{pod="${third.name}"} == 1`);
  const early = new Reader("news-1/Out", () => third, { returns: false });
  await prometheus.sees(`sum(tidegate_connections_refused_total{pod="${third.name}",reason="not_ready"}) > 0`);
  await redis.goOn();
  await started;
  early.close();
}

/** It takes the first one's place; `replace` says that it now serves. */
async function rollout([first, , third], readers, prometheus, replace) {
  // At its start it has read the whole log; once the large events have left its window it is read back.
  const consumed = `sum(tidegate_consumed_records_total{pod="${third.name}"}) > ${LARGE}`;
  await prometheus.sees(`sum(tidegate_window_bytes{pod="${third.name}"}) < 1e6 and ${consumed}`);
  const greedy = new Reader(ROOMS[0], () => third, { query: "?from=earliest", returns: false });
  await until("a gap is told for what costs too much to read back", () => greedy.gaps.includes("too_far"));
  greedy.close();
  replace();
  first.drain();
  await prometheus.sees(`tidegate_draining{pod="${first.name}"} == 1`);
  await first.drained();
  await until("its readers are connected again", () => readers.every((reader) => reader.connected));
  await prometheus.scrapes(8);
}

/**
 * Runs it all. `pods` are three planned gateways: two are there from the start, and the third takes the
 * place of the first. Answers with what the load knows; Prometheus is held against it.
 */
export async function underLoad({ pods, program, redis, prometheus, k6, dir, say }) {
  const [first, second, third] = pods;
  let serving = [first, second];
  let turn = 0;
  const any = () => serving[turn++ % serving.length];
  await Promise.all([first.start(program, redis, dir), second.start(program, redis, dir)]);

  const readers = ROOMS.flatMap((room, n) =>
    Array.from({ length: READERS_A_ROOM }, (_, copy) => new Reader(room, any, { h2: copy === n % READERS_A_ROOM })),
  );
  await until("all readers are connected", () => readers.every((reader) => reader.connected));
  const publisher = new Publisher(any);
  say(`${readers.length} readers on two gateways, ${EVENTS_A_SECOND} events a second, and k6's broadcast on both`);
  const kit = underK6({ k6, prometheus, gateways: [first, second], dir });
  // It is awaited below; until then its failure is nobody's.
  kit.catch(() => {});
  // Rates show what comes after a first scrape.
  await prometheus.scrapes(2);
  say("mistakes of clients, and a cursor that is none");
  await mistakes(pods);
  say("dead letters");
  await deadLetters(pods, redis, prometheus);
  const summary = await kit;
  say(`k6: ${summary.loss.owed} events owed, ${summary.loss.lost} lost; ${summary.cut} streams cut`);
  say("readers that do not read, and too many of them");
  await overload(pods, prometheus);
  say("readers that come back");
  await reconnects(readers, prometheus);
  say("a third gateway, and the first one drains");
  await lateStart(pods, redis, prometheus, () => third.start(program, redis, dir));
  await rollout(pods, readers, prometheus, () => (serving = [third, second]));

  await publisher.stop();
  const owed = (reader) => publisher.accepted.get(reader.room);
  await until("every reader has every event", () => {
    const lacking = readers.filter((reader) => reader.seen.size < owed(reader));
    if (lacking.length === 0) return true;
    const names = (reader) => Array.from({ length: owed(reader) }, (_, n) => `${reader.room}:${n}`);
    const missing = (reader) => names(reader).filter((name) => !reader.seen.has(name));
    const say = (reader) => `${missing(reader)} (gaps: ${reader.gaps.join() || "none"})`;
    throw new Error(`${lacking.length} readers lack events: ${lacking.map(say).join("; ")}`);
  });
  await prometheus.scrapes(2);
  const end = Date.now() / 1000;
  const sum = (of) => readers.reduce((all, reader) => all + of(reader), 0);
  readers.forEach((reader) => reader.close());
  return {
    end,
    kit: summary,
    readers: readers.length,
    accepted: [...publisher.accepted.values()].reduce((a, b) => a + b),
    refused: publisher.refused,
    missing: sum((reader) => owed(reader) - reader.seen.size),
    doubled: sum((reader) => reader.doubled),
    "not answered with 200": sum((reader) => reader.refusals.length),
    gaps: sum((reader) => reader.gaps.length),
    reconnects: sum((reader) => reader.opened - 1),
  };
}
