// What the load and k6 know, against what Prometheus says of it.
import { FURTHER } from "./load.mjs";

/** Asks for the end of a time, and collects what does not fit, in words. */
class Questions {
  constructor(prometheus, time) {
    Object.assign(this, { prometheus, time, wrong: [] });
    this.span = `${Math.round(time.to - time.from) + 2}s`;
  }

  async one(query) {
    return (await this.prometheus.instant(query, this.time.to))[0]?.values[0][1] ?? NaN;
  }

  /** What a counter had when it was scraped last: also of the pod that is gone. */
  total(series) {
    return this.one(`sum(max_over_time(${series}[${this.span}]))`);
  }

  expect(what, found, least, most = least) {
    if (found >= least && found <= most) return;
    this.wrong.push(`${what}: ${found}, but ${least} to ${most} were to be seen`);
  }
}

export async function against(truth, prometheus, time) {
  const ask = new Questions(prometheus, time);
  ask.expect("lost events", truth.missing, 0);
  ask.expect("doubled events", truth.doubled, 0);
  ask.expect("streams that were not answered with 200", truth["not answered with 200"], 0);
  ask.expect("gaps of readers that came back in time", truth.gaps, 0);
  ask.expect("open streams at the end", await ask.one("sum(tidegate_connections)"), truth.readers);
  const published = truth.accepted + FURTHER + (await ask.total("k6_produced_message_count_total"));
  ask.expect("events accepted", await ask.total('tidegate_publish_requests_total{outcome="ok"}'), published);
  ask.expect("gaps told", await ask.total("tidegate_gaps_total"), 2, 10);
  ask.expect("letters of what nobody read", await ask.total('tidegate_dead_letters_total{reason="undelivered"}'), 1, 2);
  ask.expect("letters of what is no event", await ask.total('tidegate_dead_letters_total{reason="malformed"}'), 4, 8);
  const drained = await ask.total('tidegate_connections_closed_total{reason="drain"}');
  ask.expect("streams sent away by the drain", drained, 1, truth.readers);
  ask.expect("reconnects", truth.reconnects, 7, Infinity);
  ask.expect("pods that drained", await ask.one(`count(max_over_time(tidegate_draining[${ask.span}]) == 1)`), 1);
  return ask.wrong;
}

/** What k6's own summary says. */
export function ofK6({ loss, streams, metrics, cut }) {
  return {
    produced: loss.produced,
    received: metrics.received_message_count.count,
    owed: loss.owed,
    lost: loss.lost,
    doubled: loss.doubled,
    cut,
    disconnects: streams.disconnects,
    reconnects: streams.reconnects,
    "online at most": streams.online,
  };
}

/** The kit's own account has to be right, and Prometheus has to say the same. */
export async function againstK6(kit, prometheus, time) {
  const ask = new Questions(prometheus, time);
  const said = ofK6(kit);
  ask.expect("k6's thresholds that held", kit.thresholds.filter(({ ok }) => ok).length, kit.thresholds.length);
  ask.expect("characters of k6's page", kit.page, 1000, Infinity);
  ask.expect("events that k6 lost", said.lost, 0);
  ask.expect("events that k6 got twice", said.doubled, 0);
  ask.expect("events that k6's readers were owed", said.owed, 1, said.received);
  ask.expect("streams of k6 that were cut", said.cut, 1, Infinity);
  ask.expect("disconnects of k6", said.disconnects, said.cut, Infinity);
  ask.expect("reconnects of k6", said.reconnects, said.cut, said.disconnects);
  const counters = {
    produced_message_count: said.produced,
    received_message_count: said.received,
    message_owed_count: said.owed,
    message_lost_count: said.lost,
    message_doubled_count: said.doubled,
    sse_disconnects: said.disconnects,
    sse_reconnects: said.reconnects,
    sse_gaps: kit.loss.gaps,
  };
  for (const [name, counted] of Object.entries(counters)) {
    ask.expect(`${name} of k6 in Prometheus`, await ask.total(`k6_${name}_total`), counted);
  }
  // In milliseconds, as the name says, and not in the seconds that k6 makes of its own times.
  const latency = await ask.total("k6_message_latency_ms_max");
  const { max } = kit.metrics.message_latency_ms;
  ask.expect("the longest message_latency_ms of k6 in Prometheus", latency, max * 0.99, max * 1.01);
  return ask.wrong;
}
