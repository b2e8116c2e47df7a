//! Series that the exporter keeps: touched once a stream or less often.

use metrics::Label;

/// A counter: its name, the name of its label (`""` if it has none), and its help.
pub(super) struct Counter(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
);

/// A gauge, likewise.
pub(super) struct Gauge(pub(super) &'static str, pub(super) &'static str, pub(super) &'static str);

#[expect(clippy::disallowed_macros, reason = "metrics.rs names them, and this is a part of it")]
impl Counter {
    pub(super) fn describe(&self) {
        metrics::describe_counter!(self.0, self.2);
    }

    pub(super) fn add(&self, by: u64) {
        metrics::counter!(self.0).increment(by);
    }

    /// Adds to the series with this value of the label.
    pub(super) fn add_to(&self, value: &'static str, by: u64) {
        metrics::counter!(self.0, vec![Label::from_static_parts(self.1, value)]).increment(by);
    }
}

#[expect(clippy::disallowed_macros, reason = "metrics.rs names them, and this is a part of it")]
impl Gauge {
    pub(super) fn describe(&self) {
        metrics::describe_gauge!(self.0, self.2);
    }

    pub(super) fn set(&self, to: f64) {
        metrics::gauge!(self.0).set(to);
    }

    /// Changes the series with this value of the label.
    pub(super) fn shift(&self, value: &'static str, by: f64) {
        metrics::gauge!(self.0, vec![Label::from_static_parts(self.1, value)]).increment(by);
    }

    /// Sets the series with these labels.
    pub(super) fn set_with(&self, labels: Vec<Label>, to: f64) {
        metrics::gauge!(self.0, labels).set(to);
    }
}
