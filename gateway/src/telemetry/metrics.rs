//! The only place that names a metric. Each is a function with bounded labels: never a room, a
//! user or a raw path. All values that a label can have are there from the start, at 0: an alert
//! on the growth of a series would miss its first sample otherwise.
//!
//! What is touched at every event is a plain atomic of our own, appended to `/metrics`, and so is
//! every histogram: the exporter keeps each sample of one until somebody reads the page, which is
//! tens of megabytes at 500,000 deliveries a second, and without end if nobody does.

mod atomics;
mod exported;
mod labels;
mod own;
mod process;

use std::collections::{BTreeSet, HashSet};
use std::sync::OnceLock;
use std::time::Duration;

use metrics::Label;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

pub use self::labels::{
    DeadLetter, EndedBy, LostLetter, MalformedKind, Protocol, Refused, ReplayFrom, SendFailure,
    SentKind, Task,
};

use self::atomics::Page;
use self::exported::{Counter, Gauge};
use self::own::{
    CONSUMED, FANOUT, MATCHED, PUBLISH_BYTES, PUBLISH_SECONDS, PUBLISHED, SEND_LATENCY, SENT,
    SENT_BYTES, STREAM_AGE, WINDOW_BYTES,
};
use crate::auth::FailureReason;
use crate::clock::now_ms;
use crate::disconnect::Disconnect;
use crate::problem::ProblemKind;
use crate::wire::GapReason;
use crate::wire::content::Coding;

/// The most series of `tidegate_consumer_lag_records`: partitions beyond it are not shown.
const MAX_LAG_SERIES: usize = 256;

const CONNECTIONS: Gauge = Gauge("tidegate_connections", "protocol", "Open streams");
const CONNECTIONS_LIMIT: Gauge =
    Gauge("tidegate_connections_limit", "", "Streams that the pod may have open at once");
const OPENED: Counter =
    Counter("tidegate_connections_opened_total", "", "Streams that were opened");
const CLOSED: Counter =
    Counter("tidegate_connections_closed_total", "reason", "Streams that ended, by reason");
const REFUSED: Counter = Counter(
    "tidegate_connections_refused_total",
    "reason",
    "Streams and sockets that were not taken, by reason",
);
const ROOMS: Gauge = Gauge("tidegate_rooms", "", "Rooms with at least one stream");
const DRAINING: Gauge = Gauge("tidegate_draining", "", "1 while the pod shuts down");
const LOG_UP: Gauge = Gauge("tidegate_log_up", "", "1 while the log can be reached");
const LAG: Gauge = Gauge(
    "tidegate_consumer_lag_records",
    "",
    "Records that are in the log and were not read yet, by topic and partition",
);
const SEND_FAILURES: Counter =
    Counter("tidegate_send_failures_total", "reason", "Writes to streams that failed, by reason");
const REPLAYED: Counter = Counter(
    "tidegate_replayed_events_total",
    "from",
    "Events that resuming streams were owed, by where they came from",
);
const GAPS: Counter =
    Counter("tidegate_gaps_total", "reason", "Holes that streams were told of, by reason");
const DEAD_LETTERS: Counter =
    Counter("tidegate_dead_letters_total", "reason", "Dead letters that this pod wrote, by reason");
const LOST_LETTERS: Counter = Counter(
    "tidegate_dead_letters_lost_total",
    "reason",
    "Dead letters that could not be kept, by reason",
);
const MALFORMED: Counter = Counter(
    "tidegate_malformed_records_total",
    "kind",
    "Records that are no events and were skipped, by what is wrong with them",
);
const SIGNATURES: Counter = Counter(
    "tidegate_signature_failures_total",
    "reason",
    "Requests that were refused for their signature, by reason",
);
const TLS_NOT_AFTER: Gauge = Gauge(
    "tidegate_tls_not_after_seconds",
    "",
    "When the certificate that is served ends, in seconds since the Unix epoch; absent without TLS",
);
const LEADER: Gauge = Gauge("tidegate_leader", "", "1 while this pod holds the Lease");
const KUBERNETES_FAILURES: Counter = Counter(
    "tidegate_kubernetes_failures_total",
    "task",
    "What a pod tried in its cluster and could not do, by task; it is tried again",
);
const GROUPS_REMOVED: Counter = Counter(
    "tidegate_groups_removed_total",
    "",
    "Consumer groups that this pod removed after their pods had left them",
);
const BUILD_INFO: Gauge = Gauge("tidegate_build_info", "", "1, with the version as a label");

const GAUGES: [&Gauge; 9] = [
    &CONNECTIONS,
    &CONNECTIONS_LIMIT,
    &ROOMS,
    &DRAINING,
    &LOG_UP,
    &LAG,
    &TLS_NOT_AFTER,
    &LEADER,
    &BUILD_INFO,
];
const COUNTERS: [&Counter; 12] = [
    &OPENED,
    &CLOSED,
    &REFUSED,
    &SEND_FAILURES,
    &REPLAYED,
    &GAPS,
    &DEAD_LETTERS,
    &LOST_LETTERS,
    &MALFORMED,
    &SIGNATURES,
    &KUBERNETES_FAILURES,
    &GROUPS_REMOVED,
];

/// The exporter's page; `None` if its recorder could not be installed.
static EXPORTER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
/// When the process began, in milliseconds since the Unix epoch.
static STARTED: OnceLock<i64> = OnceLock::new();

/// Installs the recorder, says what each series is and begins each at 0. Further calls do nothing:
/// several gateways in one process share their series.
pub fn init() {
    STARTED.get_or_init(now_ms);
    EXPORTER.get_or_init(|| {
        let installed = PrometheusBuilder::new().install_recorder();
        let installed = installed
            .inspect_err(|error| tracing::error!(%error, "metrics cannot be set up"))
            .ok()?;
        begin();
        Some(installed)
    });
}

fn begin() {
    GAUGES.iter().for_each(|gauge| gauge.describe());
    COUNTERS.iter().for_each(|counter| counter.describe());
    OPENED.add(0);
    Protocol::ALL.iter().for_each(|protocol| CONNECTIONS.shift(protocol.as_str(), 0.0));
    Disconnect::ALL.iter().for_each(|reason| CLOSED.add_to(reason.as_str(), 0));
    Refused::ALL.iter().for_each(|reason| REFUSED.add_to(reason.as_str(), 0));
    SendFailure::ALL.iter().for_each(|reason| SEND_FAILURES.add_to(reason.as_str(), 0));
    ReplayFrom::ALL.iter().for_each(|from| REPLAYED.add_to(from.as_str(), 0));
    GapReason::ALL.iter().for_each(|reason| GAPS.add_to(reason.as_str(), 0));
    DeadLetter::ALL.iter().for_each(|reason| DEAD_LETTERS.add_to(reason.as_str(), 0));
    MalformedKind::ALL.iter().for_each(|kind| MALFORMED.add_to(kind.as_str(), 0));
    LostLetter::ALL.iter().for_each(|reason| LOST_LETTERS.add_to(reason.as_str(), 0));
    FailureReason::ALL.iter().for_each(|reason| SIGNATURES.add_to(reason.as_str(), 0));
    Task::ALL.iter().for_each(|task| KUBERNETES_FAILURES.add_to(task.as_str(), 0));
    GROUPS_REMOVED.add(0);
    [ROOMS, DRAINING, LOG_UP, LEADER].iter().for_each(|gauge| gauge.set(0.0));
    BUILD_INFO.set_with(vec![Label::new("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

/// The page of `/metrics`, in Prometheus's text format 0.0.4.
#[must_use]
pub fn render() -> String {
    let exporter = EXPORTER.get().and_then(Option::as_ref);
    let mut text = exporter.map(PrometheusHandle::render).unwrap_or_default();
    own::render(&mut Page(&mut text));
    process::render(&mut Page(&mut text), started());
    text
}

/// When the process began, in seconds since the Unix epoch.
fn started() -> f64 {
    STARTED.get().map_or(0.0, |ms| *ms as f64 / 1e3)
}

/// The names of all series, of those as well that have no sample yet.
#[must_use]
pub fn names() -> BTreeSet<String> {
    let mut own = String::new();
    own::render(&mut Page(&mut own));
    process::render(&mut Page(&mut own), started());
    let own = own.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
    let exported = GAUGES.iter().map(|gauge| gauge.0).chain(COUNTERS.map(|counter| counter.0));
    own.chain(exported).map(str::to_owned).collect()
}

/// A stream was opened.
pub fn connected(protocol: Protocol) {
    CONNECTIONS.shift(protocol.as_str(), 1.0);
    OPENED.add(1);
}

/// A stream of this age ended.
pub fn disconnected(protocol: Protocol, reason: Disconnect, age: Duration) {
    CONNECTIONS.shift(protocol.as_str(), -1.0);
    CLOSED.add_to(reason.as_str(), 1);
    STREAM_AGE[EndedBy::of(reason) as usize].observe(age, 1);
}

/// How many streams may be open.
pub fn connections_limit(streams: usize) {
    CONNECTIONS_LIMIT.set(streams as f64);
}

/// A stream or socket was not taken.
pub fn connection_refused(reason: Refused) {
    REFUSED.add_to(reason.as_str(), 1);
}

/// How many rooms have streams.
pub fn rooms(rooms: usize) {
    ROOMS.set(rooms as f64);
}

/// Whether the pod shuts down.
pub fn draining(draining: bool) {
    DRAINING.set(f64::from(u8::from(draining)));
}

/// An event that was to be published was answered with a receipt or a problem.
pub fn published(outcome: Result<(), ProblemKind>, took: Duration) {
    let place = match outcome {
        Ok(()) => Some(0),
        Err(kind) => ProblemKind::ALL.iter().position(|k| *k == kind).map(|place| place + 1),
    };
    if let Some(number) = place.and_then(|place| PUBLISHED.get(place)) {
        number.add(1);
    }
    PUBLISH_SECONDS.observe(took, 1);
}

/// A publish body was read.
pub fn publish_bytes(bytes: u64) {
    PUBLISH_BYTES.add(bytes);
}

/// Records came from the log of this kind.
pub fn consumed_records(log: &'static str, records: u64) {
    if let Some((_, number)) = CONSUMED.iter().find(|(name, _)| *name == log) {
        number.add(records);
    }
}

/// Records that a stream wanted.
pub fn matched_records(records: u64) {
    MATCHED.add(records);
}

/// How far the pod is behind the log's end. Called about once a second and partition: it locks.
pub fn consumer_lag(topic: &str, partition: u32, records: u64) {
    static SHOWN: Mutex<Option<HashSet<(String, u32)>>> = Mutex::new(None);
    {
        let mut shown = SHOWN.lock();
        let shown = shown.get_or_insert_default();
        let series = (topic.to_owned(), partition);
        if !shown.contains(&series) {
            if shown.len() == MAX_LAG_SERIES {
                return;
            }
            shown.insert(series);
            if shown.len() == MAX_LAG_SERIES {
                tracing::warn!(MAX_LAG_SERIES, "the lag of further partitions is not shown");
            }
        }
    }
    let labels =
        vec![Label::new("topic", topic.to_owned()), Label::new("partition", partition.to_string())];
    LAG.set_with(labels, records as f64);
}

/// Whether the log can be reached.
pub fn log_up(up: bool) {
    LOG_UP.set(f64::from(u8::from(up)));
}

/// Something was written to streams.
pub fn sent_events(kind: SentKind, events: u64) {
    SENT[kind as usize].add(events);
}

/// Bytes of events were written to streams, in this coding.
pub fn sent_bytes(coding: Coding, bytes: u64) {
    SENT_BYTES[coding as usize].add(bytes);
}

/// Events were handed to a socket this long after they were published, in milliseconds: `events`
/// of one moment at once. A negative time is a clock that runs ahead of this one.
pub fn send_latency_ms(ms: i64, events: u64) {
    if events > 0 {
        let latency = Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        SEND_LATENCY.observe(latency, events);
    }
}

/// A batch of records was routed and its readers woken.
pub fn fanout(took: Duration) {
    FANOUT.observe(took, 1);
}

/// What the window takes up.
pub fn window_bytes(bytes: usize) {
    WINDOW_BYTES.set(bytes as u64);
}

/// A write failed.
pub fn send_failure(reason: SendFailure) {
    SEND_FAILURES.add_to(reason.as_str(), 1);
}

/// A resuming stream was owed events.
pub fn replayed_events(from: ReplayFrom, events: u64) {
    if events > 0 {
        REPLAYED.add_to(from.as_str(), events);
    }
}

/// A hole was said.
pub fn gap(reason: GapReason) {
    GAPS.add_to(reason.as_str(), 1);
}

/// Dead letters were not kept.
pub fn dead_letters_lost(reason: LostLetter, letters: u64) {
    LOST_LETTERS.add_to(reason.as_str(), letters);
}

/// A dead letter was written.
pub fn dead_letter(reason: DeadLetter) {
    DEAD_LETTERS.add_to(reason.as_str(), 1);
}

/// A record is no event.
pub fn malformed_record(kind: MalformedKind) {
    MALFORMED.add_to(kind.as_str(), 1);
}

/// A signature was refused.
pub fn signature_failure(reason: FailureReason) {
    SIGNATURES.add_to(reason.as_str(), 1);
}

/// When the certificate that is served ends, in seconds since the Unix epoch.
pub fn tls_not_after(seconds: i64) {
    TLS_NOT_AFTER.set(seconds as f64);
}

/// Whether this pod holds the Lease.
pub fn leader(leading: bool) {
    LEADER.set(f64::from(u8::from(leading)));
}

/// Something that the pod does in its cluster failed.
pub fn kubernetes_failure(task: Task) {
    KUBERNETES_FAILURES.add_to(task.as_str(), 1);
}

/// Consumer groups were removed.
pub fn groups_removed(groups: u64) {
    GROUPS_REMOVED.add(groups);
}

#[cfg(test)]
mod tests;
