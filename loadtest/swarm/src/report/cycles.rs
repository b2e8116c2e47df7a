//! The report of streams that came and went.

use serde_json::json;

use super::{Report, memory};
use crate::{
    clock,
    scenario::{Cycles, CyclesReport},
    stats::round,
    usage::Server,
};

const MIB: f64 = 1_048_576.0;

/// The report of streams that came and went.
#[must_use]
pub fn cycles(cycles: &Cycles, report: &CyclesReport) -> Report {
    let mut lines = vec![
        format!(
            "cycles: {} streams in all, {} at a time, {} rooms",
            cycles.cycles,
            cycles.readers.readers,
            cycles.readers.rooms()
        ),
        "     gone  seconds   RSS MiB   PSS MiB".to_owned(),
    ];
    let mib = |bytes: Option<u64>| {
        bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / MIB))
    };
    for reading in &report.readings {
        lines.push(format!(
            "  {:>7}  {:>7.1}  {:>8}  {:>8}",
            reading.cycles,
            reading.seconds,
            mib(reading.memory.map(|m| m.rss)),
            mib(reading.memory.map(|m| m.pss)),
        ));
    }
    lines.push(format!("  with streams open at most {} MiB RSS", mib(report.most.map(|m| m.rss))));
    let last = report.readings.len().saturating_sub(1);
    let change = |from, to| report.grown(from, to).map(|bytes| bytes as f64 / MIB);
    if let Some((start, first)) = change(0, last).zip(change(last.min(1), last)) {
        lines.push(format!(
            "  RSS {start:+.1} MiB since the start, {first:+.1} MiB since the first reading after it"
        ));
    }
    if report.failed > 0 {
        lines.push(format!("  {} streams failed or ended", report.failed));
    }
    let readings = report.readings.iter().map(|reading| {
        json!({
            "cycles": reading.cycles,
            "seconds": round(reading.seconds),
            "memory": reading.memory.map(memory),
        })
    });
    let json = json!({
        "scenario": "cycles",
        "at_ms": clock::now() / 1_000_000,
        "target": cycles.readers.target.origin.host,
        "cycles": cycles.cycles,
        "streams": cycles.readers.readers,
        "readings": readings.collect::<Vec<_>>(),
        "most": report.most.map(memory),
        "grown_bytes": report.grown(0, last),
        "failed": report.failed,
        "server": { "pids": Server::pids(&cycles.server) },
        "clean": report.failed == 0,
    });
    Report { lines, json }
}
