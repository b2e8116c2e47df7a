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
    /// From the request for a stream to the first byte of the answer, in milliseconds: the 99th
    /// percentile.
    FirstByte,
    /// Between two events of a stream in milliseconds: the median.
    IntervalP50,
    /// Between two events of a stream: the 99th percentile.
    IntervalP99,
    /// Deliveries that never came, or not in time, came twice or came out of order.
    Amiss,
    /// Events that the server did not take, or not in time.
    NotTaken,
    /// The server's proportional set size at the end, in MiB.
    Memory,
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
        let ms = |times: &Value, quantile: &str| Some(times[quantile].as_f64()? / 1e3);
        let (latency, interval) = (&json["latency_us"], &json["interval_us"]);
        let cpu = &json["server"]["cpu"];
        match self {
            Self::Cpu => cpu["us_per_delivery"].as_f64(),
            Self::UserCpu => cpu["user_us_per_delivery"].as_f64(),
            Self::Syscalls => number("syscalls_per_delivery"),
            Self::Rate => number("deliveries_per_second"),
            Self::P50 => ms(latency, "p50"),
            Self::P99 => ms(latency, "p99"),
            Self::P999 => ms(latency, "p999"),
            Self::FirstByte => ms(&json["streams"]["first_byte_us"], "p99"),
            Self::IntervalP50 => ms(interval, "p50"),
            Self::IntervalP99 => ms(interval, "p99"),
            Self::Amiss => ["lost", "doubled", "out_of_order"].into_iter().map(number).sum(),
            Self::NotTaken => {
                let published = &json["published"];
                let refused = published["refused"].as_object()?.values().filter_map(Value::as_f64);
                Some(
                    refused.sum::<f64>()
                        + published["unsent"].as_f64()?
                        + published["unknown"].as_f64()?,
                )
            }
            Self::Memory => Some(json["server"]["memory"]["pss_bytes"].as_f64()? / 1_048_576.0),
            Self::Stream => Some(number("bytes_per_stream")? / 1024.0),
            Self::Connect => step()?["us_per_connect"].as_f64(),
            Self::Open => step()?["seconds"].as_f64(),
        }
    }

    /// How many digits after the point say something.
    #[must_use]
    pub fn digits(self) -> usize {
        match self {
            Self::Rate | Self::Amiss | Self::NotTaken => 0,
            Self::Connect | Self::Memory => 1,
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
            Self::FirstByte => "first byte p99 ms",
            Self::IntervalP50 => "interval p50 ms",
            Self::IntervalP99 => "interval p99 ms",
            Self::Amiss => "amiss",
            Self::NotTaken => "not taken",
            Self::Memory => "MiB",
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
            "interval_us": {"p50": 20_000.0, "p99": 21_000.0},
            "streams": {"first_byte_us": {"p99": 2500.0}},
            "published": {"refused": {"status 503": 2, "status 422": 1}, "unsent": 10, "unknown": 4},
            "server": {
                "cpu": {"us_per_delivery": 5.5, "user_us_per_delivery": 0.5},
                "memory": {"pss_bytes": 3_145_728},
            },
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
            (Figure::FirstByte, &load, 2.5),
            (Figure::IntervalP50, &load, 20.0),
            (Figure::IntervalP99, &load, 21.0),
            (Figure::Amiss, &load, 3.0),
            (Figure::NotTaken, &load, 17.0),
            (Figure::Memory, &load, 3.0),
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
