// What the load knows, against what Prometheus says of it.
import { FURTHER } from "./load.mjs";

/** What does not fit, in words. */
export async function against(truth, prometheus, time) {
  const span = `${Math.round(time.to - time.from) + 2}s`;
  const one = async (query) => (await prometheus.instant(query, time.to))[0]?.values[0][1] ?? NaN;
  // What a counter had when it was scraped last: also of the pod that is gone.
  const total = (series) => one(`sum(max_over_time(${series}[${span}]))`);
  const wrong = [];
  const expect = (what, found, least, most = least) => {
    if (!(found >= least && found <= most)) wrong.push(`${what}: ${found}, but ${least} to ${most} were to be seen`);
  };
  expect("lost events", truth.missing, 0);
  expect("doubled events", truth.doubled, 0);
  expect("streams that were not answered with 200", truth["not answered with 200"], 0);
  expect("gaps of readers that came back in time", truth.gaps, 0);
  const k6 = await total("k6_produced_message_count_total");
  expect("open streams at the end", await one("sum(tidegate_connections)"), truth.readers);
  const published = truth.accepted + FURTHER + k6;
  expect("events accepted", await total('tidegate_publish_requests_total{outcome="ok"}'), published);
  expect("events that k6 read", await total("k6_received_message_count_total"), k6);
  expect("gaps told", await total("tidegate_gaps_total"), 2, 10);
  expect("letters of what nobody read", await total('tidegate_dead_letters_total{reason="undelivered"}'), 1, 2);
  expect("letters of what is no event", await total('tidegate_dead_letters_total{reason="malformed"}'), 4, 8);
  expect("streams sent away by the drain", await total('tidegate_connections_closed_total{reason="drain"}'), 1, truth.readers);
  expect("reconnects", truth.reconnects, 7, Infinity);
  expect("pods that drained", await one(`count(max_over_time(tidegate_draining[${span}]) == 1)`), 1);
  return wrong;
}
