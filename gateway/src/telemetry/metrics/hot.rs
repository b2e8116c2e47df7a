//! Series that are touched at every delivery: fixed atomics, no lock, no allocation.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A counter or a gauge of whole numbers.
#[derive(Debug)]
pub(super) struct Number(AtomicU64);

impl Number {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn add(&self, by: u64) {
        if by > 0 {
            self.0.fetch_add(by, Relaxed);
        }
    }

    pub(super) fn set(&self, to: u64) {
        self.0.store(to, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of the latency buckets, in microseconds: 0.5 ms to 60 s.
const BOUNDS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A histogram with fixed buckets.
#[derive(Debug)]
pub(super) struct Histogram {
    /// One more than the bounds: the last is for what exceeds them all.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BOUNDS_US.len() + 1],
            sum_us: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, value: Duration) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    fn render(&self, page: &mut String, name: &str, help: &str) {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut below = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            below += bucket.load(Relaxed);
            let bound = bound as f64 / 1e6;
            let _ = writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        below += self.buckets[BOUNDS_US.len()].load(Relaxed);
        let sum = self.sum_us.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(page, "{name}_bucket{{le=\"+Inf\"}} {below}");
        let _ = writeln!(page, "{name}_sum {sum}\n{name}_count {below}\n");
    }
}

pub(super) static MATCHED: Number = Number::new();
pub(super) static SENT_EVENTS: Number = Number::new();
pub(super) static SENT_HEARTBEATS: Number = Number::new();
pub(super) static SENT_BYTES: Number = Number::new();
pub(super) static WINDOW_BYTES: Number = Number::new();
pub(super) static SEND_LATENCY: Histogram = Histogram::new();
pub(super) static FANOUT: Histogram = Histogram::new();
static CONSUMED: [(&str, Number); 2] = [("memory", Number::new()), ("kafka", Number::new())];

pub(super) fn consumed(log: &str, records: u64) {
    if let Some((_, number)) = CONSUMED.iter().find(|(name, _)| *name == log) {
        number.add(records);
    }
}

/// Appends the series to the exporter's page.
pub(super) fn render(page: &mut String) {
    let mut series = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(page, "{name}{labels} {value}");
        }
        page.push('\n');
    };
    let consumed: Vec<_> = CONSUMED
        .iter()
        .filter(|(_, number)| number.get() > 0)
        .map(|(log, number)| (format!("{{log=\"{log}\"}}"), number.get()))
        .collect();
    series(
        "tidegate_consumed_records_total",
        "counter",
        "Records that the pod read from its log",
        &consumed,
    );
    series(
        "tidegate_matched_records_total",
        "counter",
        "Records that at least one stream of the pod wanted",
        &[(String::new(), MATCHED.get())],
    );
    series(
        "tidegate_sent_events_total",
        "counter",
        "Blocks handed to sockets, by kind",
        &[
            ("{kind=\"event\"}".to_owned(), SENT_EVENTS.get()),
            ("{kind=\"heartbeat\"}".to_owned(), SENT_HEARTBEATS.get()),
        ],
    );
    series(
        "tidegate_sent_bytes_total",
        "counter",
        "Bytes of events handed to sockets, by content coding",
        &[("{coding=\"identity\"}".to_owned(), SENT_BYTES.get())],
    );
    series(
        "tidegate_window_bytes",
        "gauge",
        "What the recent window takes up, frames included",
        &[(String::new(), WINDOW_BYTES.get())],
    );
    SEND_LATENCY.render(
        page,
        "tidegate_send_latency_seconds",
        "Time from an event's timestamp in the log until it was handed to a socket",
    );
    FANOUT.render(
        page,
        "tidegate_fanout_seconds",
        "Time from reading a batch from the log until its readers were woken",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_renders_cumulative_buckets() {
        let histogram = Histogram::new();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(100));
        let mut page = String::new();
        histogram.render(&mut page, "x", "Help");
        assert!(page.starts_with("# HELP x Help\n# TYPE x histogram\nx_bucket{le=\"0.0005\"} 1\n"));
        assert!(page.contains("x_bucket{le=\"0.005\"} 2\n"));
        assert!(page.contains("x_bucket{le=\"60\"} 2\nx_bucket{le=\"+Inf\"} 3\n"));
        assert!(page.contains("x_count 3\n"));
    }
}
