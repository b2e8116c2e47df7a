//! The only place that names a metric. Each is a function with bounded labels: never a room, a
//! user or a raw path.
//!
//! What is touched once a delivery is a plain atomic of our own, appended to `/metrics`: the
//! exporter keeps every histogram sample until its upkeep, which is tens of megabytes at 500,000
//! deliveries a second.

mod hot;

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

use crate::auth::FailureReason;
use crate::disconnect::Disconnect;
use crate::wire::GapReason;

/// The most series of `tidegate_consumer_lag_records`: partitions beyond it are not shown.
const MAX_LAG_SERIES: usize = 256;

/// Buckets of a publish request's time, in seconds.
const PUBLISH_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// What was written to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentKind {
    /// An event of a room or a broadcast.
    Event,
    /// A heartbeat.
    Heartbeat,
}

/// Where replayed events came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayFrom {
    /// The recent window.
    Window,
}

impl ReplayFrom {
    fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
        }
    }
}

/// Installs the recorder and says what each series is. Further calls do nothing.
pub fn init() {
    if HANDLE.get().is_some() {
        return;
    }
    let matcher = Matcher::Full("tidegate_publish_seconds".to_owned());
    let builder = match PrometheusBuilder::new().set_buckets_for_metric(matcher, &PUBLISH_SECONDS) {
        Ok(builder) => builder,
        Err(error) => {
            tracing::error!(%error, "metrics cannot be set up");
            return;
        }
    };
    match builder.install_recorder() {
        Ok(handle) => {
            let _ = HANDLE.set(handle);
        }
        Err(error) => tracing::error!(%error, "metrics cannot be set up"),
    }
    describe();
}

fn describe() {
    describe_gauge!("tidegate_connections", "Open streams");
    describe_counter!("tidegate_connections_opened_total", "Streams that were opened");
    describe_counter!("tidegate_connections_closed_total", "Streams that ended, by reason");
    describe_counter!(
        "tidegate_connections_refused_total",
        "Streams and sockets that were refused"
    );
    describe_gauge!("tidegate_rooms", "Rooms with at least one stream");
    describe_gauge!("tidegate_draining", "1 while the pod shuts down");
    describe_counter!("tidegate_publish_requests_total", "Publish requests, by outcome");
    describe_histogram!(
        "tidegate_publish_seconds",
        metrics::Unit::Seconds,
        "Time from a publish request's head to its answer"
    );
    describe_counter!("tidegate_publish_bytes_total", "Bytes of publish bodies");
    describe_gauge!("tidegate_consumer_lag_records", "Records in the log that are not routed yet");
    describe_gauge!("tidegate_log_up", "1 while the log can be reached");
    describe_counter!("tidegate_send_failures_total", "Writes that failed, by reason");
    describe_counter!("tidegate_replayed_events_total", "Events that resuming streams were owed");
    describe_counter!("tidegate_gaps_total", "Holes that were said in streams, by reason");
    describe_counter!("tidegate_malformed_records_total", "Records that are no events, by kind");
    describe_counter!("tidegate_signature_failures_total", "Requests refused for their signature");
    describe_gauge!("tidegate_build_info", "1, with the version");
    let version = env!("CARGO_PKG_VERSION");
    gauge("tidegate_build_info", &[("version", version)], 1.0);
    gauge("tidegate_draining", &[], 0.0);
    gauge("tidegate_rooms", &[], 0.0);
}

/// The page of `/metrics`, in Prometheus's text format.
#[must_use]
pub fn render() -> String {
    let Some(handle) = HANDLE.get() else { return String::new() };
    handle.run_upkeep();
    let mut page = handle.render();
    hot::render(&mut page);
    page
}

#[expect(clippy::disallowed_macros, reason = "this is the place that names metrics")]
fn count(name: &'static str, labels: &[(&'static str, &'static str)], by: u64) {
    let labels: Vec<metrics::Label> = labels.iter().map(metrics::Label::from).collect();
    metrics::counter!(name, labels).increment(by);
}

#[expect(clippy::disallowed_macros, reason = "this is the place that names metrics")]
fn gauge(name: &'static str, labels: &[(&'static str, &'static str)], value: f64) {
    let labels: Vec<metrics::Label> = labels.iter().map(metrics::Label::from).collect();
    metrics::gauge!(name, labels).set(value);
}

#[expect(clippy::disallowed_macros, reason = "this is the place that names metrics")]
fn shift(name: &'static str, labels: &[(&'static str, &'static str)], by: f64) {
    let labels: Vec<metrics::Label> = labels.iter().map(metrics::Label::from).collect();
    metrics::gauge!(name, labels).increment(by);
}

/// A stream was opened.
pub fn connected(protocol: &'static str) {
    shift("tidegate_connections", &[("protocol", protocol)], 1.0);
    count("tidegate_connections_opened_total", &[], 1);
}

/// A stream ended.
pub fn disconnected(protocol: &'static str, reason: Disconnect) {
    shift("tidegate_connections", &[("protocol", protocol)], -1.0);
    count("tidegate_connections_closed_total", &[("reason", reason.as_str())], 1);
}

/// A stream or socket was refused.
pub fn connection_refused(reason: &'static str) {
    count("tidegate_connections_refused_total", &[("reason", reason)], 1);
}

/// How many rooms have streams.
pub fn rooms(rooms: usize) {
    gauge("tidegate_rooms", &[], rooms as f64);
}

/// Whether the pod shuts down.
pub fn draining(draining: bool) {
    gauge("tidegate_draining", &[], f64::from(u8::from(draining)));
}

/// A publish request was answered.
#[expect(clippy::disallowed_macros, reason = "this is the place that names metrics")]
pub fn published(outcome: &'static str, took: Duration) {
    count("tidegate_publish_requests_total", &[("outcome", outcome)], 1);
    metrics::histogram!("tidegate_publish_seconds").record(took.as_secs_f64());
}

/// A publish body was read.
pub fn publish_bytes(bytes: u64) {
    count("tidegate_publish_bytes_total", &[], bytes);
}

/// Records came from the log.
pub fn consumed_records(log: &'static str, records: u64) {
    hot::consumed(log, records);
}

/// Records that a stream wanted.
pub fn matched_records(records: u64) {
    hot::MATCHED.add(records);
}

/// How far the pod is behind the log's end.
#[expect(clippy::disallowed_macros, reason = "this is the place that names metrics")]
pub fn consumer_lag(topic: &str, partition: u32, records: u64) {
    static SHOWN: Mutex<Option<HashSet<(String, u32)>>> = Mutex::new(None);
    let mut shown = SHOWN.lock();
    let shown = shown.get_or_insert_default();
    let series = (topic.to_owned(), partition);
    if !shown.contains(&series) {
        if shown.len() == MAX_LAG_SERIES {
            return;
        }
        shown.insert(series);
    }
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    metrics::gauge!("tidegate_consumer_lag_records", &labels).set(records as f64);
}

/// Whether the log can be reached.
pub fn log_up(up: bool) {
    gauge("tidegate_log_up", &[], f64::from(u8::from(up)));
}

/// Something was written to streams.
pub fn sent_events(kind: SentKind, events: u64) {
    match kind {
        SentKind::Event => hot::SENT_EVENTS.add(events),
        SentKind::Heartbeat => hot::SENT_HEARTBEATS.add(events),
    }
}

/// Bytes of events were written to streams, without a coding.
pub fn sent_bytes(bytes: u64) {
    hot::SENT_BYTES.add(bytes);
}

/// Events were handed to a socket this long after they were published, in milliseconds.
pub fn send_latency_ms(ms: i64) {
    hot::SEND_LATENCY.observe(Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
}

/// A batch of records was routed and its readers woken.
pub fn fanout(took: Duration) {
    hot::FANOUT.observe(took);
}

/// What the window takes up.
pub fn window_bytes(bytes: usize) {
    hot::WINDOW_BYTES.set(bytes as u64);
}

/// A write failed.
pub fn send_failure(reason: &'static str) {
    count("tidegate_send_failures_total", &[("reason", reason)], 1);
}

/// A resuming stream was owed events.
pub fn replayed_events(from: ReplayFrom, events: u64) {
    if events > 0 {
        count("tidegate_replayed_events_total", &[("from", from.as_str())], events);
    }
}

/// A hole was said.
pub fn gap(reason: GapReason) {
    count("tidegate_gaps_total", &[("reason", reason.as_str())], 1);
}

/// A record is no event.
pub fn malformed_record(kind: &'static str) {
    count("tidegate_malformed_records_total", &[("kind", kind)], 1);
}

/// A signature was refused.
pub fn signature_failure(reason: FailureReason) {
    count("tidegate_signature_failures_total", &[("reason", reason.as_str())], 1);
}

/// The time as `published_at` counts it, in milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
