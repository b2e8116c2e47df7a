//! What one run of `swarm` came to.

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Figure {
    /// The server's CPU time per delivery, user and system, in microseconds.
    Cpu,
    /// Of it, user time; good to a few per cent over seconds of CPU time.
    UserCpu,
    /// System calls per delivery.
    Syscalls,
    /// Deliveries per second, from the first event to the last delivery.
    Rate,
    /// Publish to receive in milliseconds: the median.
    P50,
    /// The 99th percentile.
    P99,
    /// The 99.9th percentile.
    P999,
    /// Deliveries that never came, came twice or came out of order.
    Amiss,
    /// Proportional set size per idle stream in KiB: the slope between the first and the last step.
    Stream,
    /// CPU time per connect in microseconds, in the last step.
    Connect,
    /// Seconds until all streams of the last step were open.
    Open,
}

impl Figure {
    /// Reads it from swarm's JSON; `None` if the run has none.
    #[must_use]
    pub fn read(self, json: &Value) -> Option<f64> {
        let step = || json["steps"].as_array()?.last();
        let number = |name: &str| json[name].as_f64();
        let ms = |quantile: &str| Some(json["latency_us"][quantile].as_f64()? / 1e3);
        let cpu = &json["server"]["cpu"];
        match self {
            Self::Cpu => cpu["us_per_delivery"].as_f64(),
            Self::UserCpu => cpu["user_us_per_delivery"].as_f64(),
            Self::Syscalls => number("syscalls_per_delivery"),
            Self::Rate => number("deliveries_per_second"),
            Self::P50 => ms("p50"),
            Self::P99 => ms("p99"),
            Self::P999 => ms("p999"),
            Self::Amiss => ["lost", "doubled", "out_of_order"].into_iter().map(number).sum(),
            Self::Stream => Some(number("bytes_per_stream")? / 1024.0),
            Self::Connect => step()?["us_per_connect"].as_f64(),
            Self::Open => step()?["seconds"].as_f64(),
        }
    }

    /// How many digits after the point say something.
    #[must_use]
    pub fn digits(self) -> usize {
        match self {
            Self::Rate | Self::Amiss => 0,
            Self::Connect => 1,
            Self::Syscalls => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU µs/delivery",
            Self::UserCpu => "user µs",
            Self::Syscalls => "syscalls/delivery",
            Self::Rate => "deliveries/s",
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::P999 => "p99.9 ms",
            Self::Amiss => "amiss",
            Self::Stream => "KiB/stream",
            Self::Connect => "CPU µs/connect",
            Self::Open => "s to open",
        })
    }
}

/// The JSON that swarm appended to its file: the last line.
///
/// # Errors
/// When there is none, or it is no JSON.
pub fn last_line(text: &str) -> Result<Value> {
    let line = text.lines().last().context("swarm has written no figures")?;
    serde_json::from_str(line).with_context(|| format!("swarm's figures: {line}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_found_where_swarm_writes_them() {
        let load = json!({
            "deliveries_per_second": 50_000.0, "lost": 1, "doubled": 2, "out_of_order": 0,
            "latency_us": {"p50": 1500.0, "p99": 3000.0, "p999": 4000.0},
            "server": {"cpu": {"us_per_delivery": 5.5, "user_us_per_delivery": 0.5}},
        });
        let idle = json!({
            "bytes_per_stream": 2048.0,
            "steps": [{"seconds": 1.0}, {"seconds": 2.0, "us_per_connect": 40.0}],
        });
        for (figure, json, value) in [
            (Figure::Cpu, &load, 5.5),
            (Figure::UserCpu, &load, 0.5),
            (Figure::Rate, &load, 50_000.0),
            (Figure::P50, &load, 1.5),
            (Figure::P999, &load, 4.0),
            (Figure::Amiss, &load, 3.0),
            (Figure::Stream, &idle, 2.0),
            (Figure::Connect, &idle, 40.0),
            (Figure::Open, &idle, 2.0),
        ] {
            assert_eq!(figure.read(json), Some(value), "{figure}");
        }
        assert_eq!(Figure::Amiss.read(&idle), None);
        assert_eq!(Figure::Stream.read(&load), None);
        assert!(last_line("").is_err() && last_line("{").is_err());
    }
}
