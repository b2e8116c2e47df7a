//! The report of streams that resumed.

use serde_json::json;

use super::Report;
use crate::{
    clock,
    scenario::{Resume, ResumeReport},
    stats::round,
};

/// The report of streams that resumed on another server.
#[must_use]
pub fn resume(resume: &Resume, report: &ResumeReport) -> Report {
    let seen = &report.clients;
    let faults = seen.faults;
    let times = [
        ("response head", "head_us", &seen.head),
        ("first block", "connected_us", &seen.connected),
        ("first missed event", "first_event_us", &seen.first),
        ("last missed event", "last_event_us", &seen.last),
        ("the same since the loss", "since_loss_us", &seen.since_loss),
    ];
    let plan = resume.plan;
    let mut lines = vec![
        format!(
            "resume: {} streams, {} rooms, {} missed events x {} B each",
            plan.connections, plan.rooms, resume.events, resume.bytes
        ),
        format!(
            "  complete {} of {}; lost {}, doubled {}, out of order {}; gaps {}, goodbyes {}, ended {}, failed {}",
            seen.complete,
            plan.connections,
            faults.lost,
            faults.doubled,
            faults.out_of_order,
            seen.gaps,
            seen.goodbyes,
            seen.ended.total(),
            seen.failed.total(),
        ),
        format!("  {:<26}{:>10}{:>10}{:>10}{:>10}", "ms to", "p50", "p90", "p99", "max"),
    ];
    for (name, _, times) in times {
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|quantile| times.ms(quantile));
        lines.push(format!("  {name:<26}{p50:>10.1}{p90:>10.1}{p99:>10.1}{max:>10.1}"));
    }
    let per_stream = |seconds: f64| seconds * 1e6 / plan.connections.max(1) as f64;
    if let Some(cpu) = report.cpu {
        lines.push(format!(
            "  server CPU: {:.2} s, {:.0} us per stream",
            cpu.total(),
            per_stream(cpu.total())
        ));
    }
    lines.push(format!(
        "  generator CPU: {:.2} s; all complete after {:.2} s",
        report.own_cpu.total(),
        report.seconds
    ));
    let mut json = json!({
        "scenario": "resume",
        "at_ms": clock::now() / 1_000_000,
        "target": resume.to.origin.host,
        "ids_from": resume.from.origin.host,
        "killed": resume.kill.is_some(),
        "connections": plan.connections,
        "rooms": plan.rooms,
        "events": resume.events,
        "bytes": resume.bytes,
        "complete": seen.complete,
        "deliveries": seen.deliveries,
        "lost": faults.lost,
        "doubled": faults.doubled,
        "out_of_order": faults.out_of_order,
        "missed": faults.missed,
        "gaps": seen.gaps,
        "goodbyes": seen.goodbyes,
        "attempts": seen.attempts,
        "failed": seen.failed.json(),
        "ended": seen.ended.json(),
        "seconds": round(report.seconds),
        "server": {
            "pids": resume.server.pids(),
            "cpu_seconds": report.cpu.map(|cpu| round(cpu.total())),
            "us_per_stream": report.cpu.map(|cpu| round(per_stream(cpu.total()))),
        },
        "generator": { "cpu_seconds": round(report.own_cpu.total()) },
        "clean": report.is_clean(resume),
    });
    for (_, key, times) in times {
        json[key] = times.json();
    }
    Report { lines, json }
}
