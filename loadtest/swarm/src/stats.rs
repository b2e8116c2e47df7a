//! Latencies and counts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest time that is told apart from longer ones, in microseconds.
const LONGEST: u64 = 600_000_000;

/// A histogram of times, kept in microseconds to three digits.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants and valid")]
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("constant bounds"))
    }
}

impl Times {
    /// Counts one, in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record((nanos / 1_000).max(1));
    }

    /// Counts the time between two readings of the clock; backwards is nothing.
    #[inline]
    pub fn record_between(&mut self, from: u64, to: u64) {
        self.record(to.saturating_sub(from));
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// A quantile in milliseconds.
    #[must_use]
    pub fn ms(&self, quantile: f64) -> f64 {
        round(self.0.value_at_quantile(quantile) as f64 / 1_000.0)
    }

    /// The quantiles that are reported, in microseconds; `null` when nothing was counted.
    #[must_use]
    pub fn json(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        json!({
            "count": self.0.len(),
            "mean": round(self.0.mean()),
            "p50": self.0.value_at_quantile(0.5),
            "p90": self.0.value_at_quantile(0.9),
            "p99": self.0.value_at_quantile(0.99),
            "p999": self.0.value_at_quantile(0.999),
            "max": self.0.max(),
        })
    }
}

/// Three digits behind the point are all that a measurement is good for.
#[must_use]
pub fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Counts by a name, of which there are few.
#[derive(Debug, Clone, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// How many names are told apart; the rest are counted as `other`.
    const NAMES: usize = 32;

    /// Counts one.
    pub fn count(&mut self, name: &str) {
        self.add_to(name, 1);
    }

    fn add_to(&mut self, name: &str, n: u64) {
        match self.0.get_mut(name) {
            Some(count) => *count += n,
            None => {
                let name = if self.0.len() < Self::NAMES { name } else { "other" };
                *self.0.entry(name.into()).or_default() += n;
            }
        }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (name, n) in &other.0 {
            self.add_to(name, *n);
        }
    }

    /// All counts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// As an object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_reported_in_microseconds() {
        let mut times = Times::default();
        assert_eq!(times.json(), Value::Null);
        for ms in 1..=100 {
            times.record(ms * 1_000_000);
        }
        times.record_between(10, 5);
        assert_eq!(times.json()["max"].as_u64().unwrap() / 1_000, 100);
        assert!((times.ms(0.5) - 50.0).abs() < 0.1);
    }

    #[test]
    fn a_tally_has_a_bounded_number_of_names() {
        let mut tally = Tally::default();
        for n in 0..1_000 {
            tally.count(&n.to_string());
        }
        assert_eq!(tally.total(), 1_000);
        assert!(tally.0.len() <= Tally::NAMES + 1);
    }
}
