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

/// Upper bounds of what is waited for, in microseconds: 0.5 ms to 60 s.
pub(super) const WAITS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Upper bounds of ages, in microseconds: 1 s to 10,000 s by ten steps a decade (the R10 series of
/// ISO 3), so that a timeout on the way to a client shows as one bucket, or two.
pub(super) const AGES_US: [u64; 41] = {
    const STEPS: [u64; 10] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
    let mut bounds = [0; 41];
    let (mut n, mut unit) = (0, 10_000);
    while n < bounds.len() {
        bounds[n] = STEPS[n % STEPS.len()] * unit;
        n += 1;
        if n.is_multiple_of(STEPS.len()) {
            unit *= 10;
        }
    }
    bounds
};

/// A histogram of durations with `N` fixed buckets.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Histogram<const N: usize> {
    /// The upper bounds of the buckets, in microseconds.
    bounds: &'static [u64; N],
    buckets: [AtomicU64; N],
    /// What exceeds all bounds.
    beyond: AtomicU64,
    sum_us: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    pub(super) const fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; N],
            beyond: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
        }
    }

    /// Counts `times` observations of `value`. A sum that overflows begins anew, as a counter of
    /// a process that was started again does.
    pub(super) fn observe(&self, value: Duration, times: u64) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < us);
        self.buckets.get(bucket).unwrap_or(&self.beyond).fetch_add(times, Relaxed);
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

    /// A gauge, or a counter, of seconds or of whatever is no whole number.
    pub(super) fn fraction(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}\n");
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        histogram: &Histogram<N>,
    ) {
        self.head(name, "histogram", help);
        self.buckets(name, "", histogram);
        self.0.push('\n');
    }

    /// A histogram with one label.
    pub(super) fn histograms<'h, const N: usize>(
        &mut self,
        name: &str,
        label: &str,
        help: &str,
        series: impl IntoIterator<Item = (&'static str, &'h Histogram<N>)>,
    ) {
        self.head(name, "histogram", help);
        for (value, histogram) in series {
            self.buckets(name, &format!("{label}=\"{value}\""), histogram);
        }
        self.0.push('\n');
    }

    fn buckets<const N: usize>(&mut self, name: &str, labels: &str, histogram: &Histogram<N>) {
        let (comma, labelled) = match labels {
            "" => ("", String::new()),
            _ => (",", format!("{{{labels}}}")),
        };
        let bounds = histogram.bounds.iter().map(|us| (*us as f64 / 1e6).to_string());
        let counts = histogram.buckets.iter().chain([&histogram.beyond]);
        let mut below = 0_u64;
        for (count, bound) in counts.zip(bounds.chain(["+Inf".to_owned()])) {
            below += count.load(Relaxed);
            let _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let sum = histogram.sum_us.load(Relaxed) as f64 / 1e6;
        // The count is the last bucket's: read apart, the two could differ.
        let _ = writeln!(self.0, "{name}_sum{labelled} {sum}\n{name}_count{labelled} {below}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(histogram: &Histogram<16>) -> String {
        let mut page = String::new();
        Page(&mut page).histogram("x", "Help", histogram);
        page
    }

    #[test]
    fn a_histogram_renders_cumulative_buckets() {
        let histogram = Histogram::new(&WAITS_US);
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
            let histogram = Histogram::new(&WAITS_US);
            histogram.observe(Duration::from_micros(us), 1);
            let page = page(&histogram);
            let first = page.lines().find(|l| l.ends_with(" 1")).expect("a bucket");
            assert_eq!(first, format!("x_bucket{{le=\"{le}\"}} 1"), "{us} us");
        }
    }

    #[test]
    fn ages_are_counted_in_ten_steps_a_decade() {
        assert_eq!(AGES_US[..3], [1_000_000, 1_250_000, 1_600_000]);
        assert_eq!((AGES_US[17], AGES_US[40]), (50_000_000, 10_000_000_000));
        let steps = AGES_US.windows(2).map(|pair| pair[1] as f64 / pair[0] as f64);
        assert!(steps.into_iter().all(|step| (1.2..1.3).contains(&step)), "{AGES_US:?}");
    }

    #[test]
    fn a_label_stands_before_the_bound() {
        let histogram = Histogram::new(&WAITS_US);
        histogram.observe(Duration::from_secs(2), 1);
        let mut text = String::new();
        Page(&mut text).histograms("x", "by", "Help", [("a", &histogram), ("b", &histogram)]);
        assert_eq!(text.matches("# TYPE x histogram").count(), 1);
        assert!(text.contains("x_bucket{by=\"b\",le=\"+Inf\"} 1\nx_sum{by=\"b\"} 2\n"), "{text}");
        assert!(text.ends_with("x_count{by=\"b\"} 1\n\n"), "{text}");
    }

    #[test]
    fn a_time_beyond_counting_breaks_nothing() {
        let histogram = Histogram::new(&WAITS_US);
        histogram.observe(Duration::MAX, 3);
        assert!(page(&histogram).contains("x_count 3\n"));
    }
}
