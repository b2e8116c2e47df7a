//! Series that are touched at every event: fixed atomics, no lock and no allocation.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A counter, or a gauge of whole numbers.
///
/// A cache line each: two cores that count different things do not wait for each other.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Number(AtomicU64);

impl Number {
    pub(super) const fn new() -> Self {
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

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of the buckets, in microseconds: 0.5 ms to 60 s.
const BOUNDS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A histogram of durations with fixed buckets.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Histogram {
    /// One more than the bounds: the last is for what exceeds them all.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub(super) const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BOUNDS_US.len() + 1],
            sum_us: AtomicU64::new(0),
        }
    }

    /// Counts `times` observations of `value`. A sum that overflows begins anew, as a counter of
    /// a process that was started again does.
    pub(super) fn observe(&self, value: Duration, times: u64) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(times, Relaxed);
        self.sum_us.fetch_add(us.wrapping_mul(times), Relaxed);
    }
}

/// Writes series in Prometheus's text format 0.0.4.
#[derive(Debug)]
pub(super) struct Page<'a>(pub(super) &'a mut String);

impl Page<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, number: &Number) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {}\n", number.get());
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, number: &Number) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {}\n", number.get());
    }

    /// A counter with one label.
    pub(super) fn counters<'n>(
        &mut self,
        name: &str,
        label: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'static str, &'n Number)>,
    ) {
        self.head(name, "counter", help);
        for (value, number) in samples {
            let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {}", number.get());
        }
        self.0.push('\n');
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let mut below = 0_u64;
        let bounds = BOUNDS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
        for (bucket, bound) in histogram.buckets.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            below += bucket.load(Relaxed);
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let sum = histogram.sum_us.load(Relaxed) as f64 / 1e6;
        // The count is the last bucket's: read apart, the two could differ.
        let _ = writeln!(self.0, "{name}_sum {sum}\n{name}_count {below}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(histogram: &Histogram) -> String {
        let mut page = String::new();
        Page(&mut page).histogram("x", "Help", histogram);
        page
    }

    #[test]
    fn a_histogram_renders_cumulative_buckets() {
        let histogram = Histogram::new();
        histogram.observe(Duration::from_micros(500), 1);
        histogram.observe(Duration::from_millis(3), 4);
        histogram.observe(Duration::from_secs(100), 1);
        let page = page(&histogram);
        assert!(page.starts_with("# HELP x Help\n# TYPE x histogram\nx_bucket{le=\"0.0005\"} 1\n"));
        assert!(page.contains("x_bucket{le=\"0.0025\"} 1\nx_bucket{le=\"0.005\"} 5\n"), "{page}");
        assert!(page.contains("x_bucket{le=\"60\"} 5\nx_bucket{le=\"+Inf\"} 6\n"));
        assert!(page.ends_with("x_sum 100.0125\nx_count 6\n\n"), "{page}");
    }

    #[test]
    fn a_bucket_holds_its_bound() {
        for (us, le) in [(500, "0.0005"), (501, "0.001"), (60_000_000, "60"), (60_000_001, "+Inf")]
        {
            let histogram = Histogram::new();
            histogram.observe(Duration::from_micros(us), 1);
            let page = page(&histogram);
            let first = page.lines().find(|l| l.ends_with(" 1")).expect("a bucket");
            assert_eq!(first, format!("x_bucket{{le=\"{le}\"}} 1"), "{us} us");
        }
    }

    #[test]
    fn a_time_beyond_counting_breaks_nothing() {
        let histogram = Histogram::new();
        histogram.observe(Duration::MAX, 3);
        assert!(page(&histogram).contains("x_count 3\n"));
    }
}
