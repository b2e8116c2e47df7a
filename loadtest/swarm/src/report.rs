//! Results, for people and for programs.

mod cycles;
mod resume;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

pub use cycles::cycles;
pub use resume::resume;
use serde_json::{Value, json};

use crate::{
    clock, publishers,
    scenario::{Idle, IdleReport, Load, LoadReport, Step},
    stats::round,
    subscribers,
    usage::{Cpu, Memory, Server},
};

/// A result: lines to read and one JSON object.
#[derive(Debug, Clone)]
pub struct Report {
    /// Lines for a person.
    pub lines: Vec<String>,
    /// The same and more for a program.
    pub json: Value,
}

impl Report {
    /// Writes the lines, then the JSON on one line; with a file, the JSON is appended there too.
    ///
    /// # Errors
    /// When the output or the file cannot be written.
    pub fn write(&self, file: Option<&Path>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{}", self.json)?;
        if let Some(path) = file {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{}", self.json)?;
        }
        Ok(())
    }
}

/// The report of a load.
#[must_use]
pub fn load(name: &str, load: &Load, report: &LoadReport) -> Report {
    let plan = &load.readers;
    let seen = &report.readers;
    let rate = seen.deliveries as f64 / report.seconds;
    let cpu = report.cpu.map(|cpu| {
        json!({
            "seconds": round(cpu.total()),
            "user_seconds": round(cpu.user),
            "us_per_delivery": round(report.per_delivery(cpu.total())),
            "user_us_per_delivery": round(report.per_delivery(cpu.user)),
        })
    });
    let json = json!({
        "scenario": name,
        "at_ms": clock::now() / 1_000_000,
        "target": plan.target.origin.host,
        "readers": plan.readers,
        "stalled": plan.stalled,
        "rooms": plan.rooms(),
        "publish": load.publishers.as_ref().map(publish_plan),
        "open_seconds": round(report.open_seconds),
        "seconds": round(report.seconds),
        "expected": report.expected,
        "deliveries": seen.deliveries,
        "deliveries_per_second": round(rate),
        "lost": report.lost(),
        "refused_deliveries": report.refused_deliveries,
        "doubled": seen.faults.doubled,
        "out_of_order": seen.faults.out_of_order,
        "latency_us": seen.latency.json(),
        "interval_us": seen.interval.json(),
        "streams": streams(seen),
        "published": report.publishers.as_ref().map(published),
        "server": {
            "pids": load.server.pids(),
            "cpu": cpu,
            "memory_before": report.memory_before.map(memory),
            "memory": report.memory.map(memory),
        },
        "generator": {
            "cpu_seconds": round(report.own_cpu.total()),
            "us_per_delivery": round(report.per_delivery(report.own_cpu.total())),
        },
        "clean": report.is_clean(),
    });
    Report { lines: load_lines(name, load, report, rate), json }
}

fn load_lines(name: &str, load: &Load, report: &LoadReport, rate: f64) -> Vec<String> {
    let plan = &load.readers;
    let seen = &report.readers;
    let mut head = format!("{name}: {} readers, {} rooms", plan.readers, plan.rooms());
    if seen.stalled > 0 {
        head += &format!(", {} stalled", seen.stalled);
    }
    if let Some(publish) = &load.publishers {
        head +=
            &format!(", {} B x {}/s in bursts of {}", publish.bytes, publish.rate, publish.burst);
    }
    let mut lines = vec![head];
    lines.push(format!(
        "  delivered {} of {} ({:.0}/s); lost {}, doubled {}, out of order {}; gaps {}, ended {}, failed {}",
        seen.deliveries,
        report.expected,
        rate,
        report.lost(),
        seen.faults.doubled,
        seen.faults.out_of_order,
        seen.gaps,
        seen.ended.total(),
        seen.failed.total(),
    ));
    if seen.latency.count() > 0 {
        let ms = |quantile| seen.latency.ms(quantile);
        lines.push(format!(
            "  publish to receive: p50 {} p99 {} p99.9 {} max {} ms",
            ms(0.5),
            ms(0.99),
            ms(0.999),
            ms(1.0)
        ));
    }
    if let Some(publish) = &report.publishers {
        lines.push(format!(
            "  publish to response: p50 {} p99 {} ms; accepted {}, refused {}, unknown {}, not sent {}, late by p99 {} ms",
            publish.latency.ms(0.5),
            publish.latency.ms(0.99),
            publish.accepted,
            publish.refused.total(),
            publish.unknown,
            publish.unsent,
            publish.lateness.ms(0.99),
        ));
        if let Some(refusal) = &publish.refusal {
            lines.push(format!("  first refusal: {refusal}"));
        }
    }
    if let Some(cpu) = report.cpu {
        lines.push(format!(
            "  server CPU: {:.2} us per delivery, user {:.2}; {:.1} s in all",
            report.per_delivery(cpu.total()),
            report.per_delivery(cpu.user),
            cpu.total(),
        ));
    }
    if let Some(memory) = report.memory {
        lines.push(format!("  server memory: {:.1} MiB PSS", memory.pss as f64 / 1_048_576.0));
    }
    lines.push(format!(
        "  generator CPU: {:.2} us per delivery; streams open after {:.2} s",
        report.per_delivery(report.own_cpu.total()),
        report.open_seconds,
    ));
    lines
}

fn publish_plan(plan: &publishers::Plan) -> Value {
    json!({
        "rate": plan.rate,
        "burst": plan.burst,
        "across": plan.across,
        "bytes": plan.bytes,
        "seconds": plan.duration.as_secs_f64(),
        "connections": plan.connections,
        "pipeline": plan.pipeline,
        "style": format!("{:?}", plan.style).to_lowercase(),
        "stamp": format!("{:?}", plan.stamp).to_lowercase(),
    })
}

fn published(outcome: &publishers::Outcome) -> Value {
    json!({
        "accepted": outcome.accepted,
        "refused": outcome.refused.json(),
        "refusal": outcome.refusal,
        "unknown": outcome.unknown,
        "unsent": outcome.unsent,
        "retried": outcome.retried,
        "broken_connections": outcome.broken,
        "bytes": outcome.bytes,
        "latency_us": outcome.latency.json(),
        "service_us": outcome.service.json(),
        "lateness_us": outcome.lateness.json(),
    })
}

fn streams(seen: &subscribers::Outcome) -> Value {
    json!({
        "opened": seen.opened,
        "coded": seen.coded,
        "readers": seen.readers,
        "stalled": seen.stalled,
        "failed": seen.failed.json(),
        "ended": seen.ended.json(),
        "left": seen.left,
        "faulty_readers": seen.faulty_readers,
        "unnumbered": seen.unnumbered,
        "connected": seen.connected,
        "heartbeats": seen.heartbeats,
        "gaps": seen.gaps,
        "goodbyes": seen.goodbyes,
        "bytes": seen.bytes,
        "reads": seen.reads,
        "connect_us": seen.connect.json(),
        "first_byte_us": seen.first_byte.json(),
        "open_us": seen.open.json(),
    })
}

fn memory(memory: Memory) -> Value {
    json!({ "pss_bytes": memory.pss, "rss_bytes": memory.rss })
}

/// The report of idle streams.
#[must_use]
pub fn idle(idle: &Idle, report: &IdleReport) -> Report {
    let mut lines = vec![
        format!("idle: {} rooms", idle.readers.rooms()),
        "  streams   PSS MiB  us/connect  connects/s  idle CPU us/stream/s".to_owned(),
    ];
    for step in &report.steps {
        let figure = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
        };
        lines.push(format!(
            "  {:>7}  {:>8}  {:>10}  {:>10.0}  {:>20}",
            step.open,
            figure(step.memory.map(|m| m.pss as f64 / 1_048_576.0), 1),
            figure(per_connect(step), 1),
            step.opened as f64 / step.seconds.max(1e-9),
            figure(per_idle_second(step, idle), 2),
        ));
    }
    let slope = report.bytes_per_stream();
    if let Some(bytes) = slope {
        lines.push(format!("  {bytes:.0} bytes per idle stream"));
    }
    let failed = report.readers.failed.total() + report.readers.ended.total();
    if failed > 0 {
        lines.push(format!("  {failed} streams failed or ended: {}", report.readers.failed.json()));
    }
    let json = json!({
        "scenario": "idle",
        "at_ms": clock::now() / 1_000_000,
        "target": idle.readers.target.origin.host,
        "rooms": idle.readers.rooms(),
        "steps": report.steps.iter().map(|step| idle_step(step, idle)).collect::<Vec<_>>(),
        "bytes_per_stream": slope.map(round),
        "streams": streams(&report.readers),
        "server": { "pids": Server::pids(&idle.server) },
        "clean": failed == 0,
    });
    Report { lines, json }
}

fn per_connect(step: &Step) -> Option<f64> {
    step.opening.map(|cpu| cpu.total() * 1e6 / step.opened.max(1) as f64)
}

fn per_idle_second(step: &Step, idle: &Idle) -> Option<f64> {
    let seconds = idle.hold.as_secs_f64();
    let cpu: Cpu = step.idling.filter(|_| seconds > 0.0 && step.open > 0)?;
    Some(cpu.total() * 1e6 / seconds / step.open as f64)
}

fn idle_step(step: &Step, idle: &Idle) -> Value {
    json!({
        "open": step.open,
        "opened": step.opened,
        "seconds": round(step.seconds),
        "memory": step.memory.map(memory),
        "us_per_connect": per_connect(step).map(round),
        "user_us_per_connect": step.opening.map(|cpu| round(cpu.user * 1e6 / step.opened.max(1) as f64)),
        "idle_us_per_stream_second": per_idle_second(step, idle).map(round),
    })
}
