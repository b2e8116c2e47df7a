//! The outcome as Markdown.

use std::fmt::Write as _;

use tidegate_compare::stats::Estimate;
use tidegate_swarm::stats::Times;

use crate::meter::Run;
use crate::rounds::{Plan, Round};
use crate::sustain::Sustained;

/// What ingest is to reach: this part of the bare consumer's rate.
const LEAST: f64 = 0.7;
/// From Kafka to a stream: the median and the 99th percentile, in milliseconds.
const LATENCY: [(f64, f64); 2] = [(0.5, 1.5), (0.99, 5.0)];

/// A figure of each round.
type Figure = fn(&Run) -> f64;
/// A consumer's runs.
type Of = fn(&Round) -> &Run;

/// The rounds' table, and whether the target is reached.
#[must_use]
pub fn rounds(plan: &Plan, rounds: &[Round]) -> String {
    let mut text = format!(
        "### {} records of {} B in {} rooms, {} rounds\n\n\
         |  | records/s | of the bare consumer's | CPU µs/record | times the bare consumer's |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
        plan.records,
        plan.bytes,
        plan.rooms,
        rounds.len()
    );
    let with_readers = format!("gateway, readers of {} rooms", plan.read_rooms);
    let consumers: [(&str, Of); 3] = [
        ("bare `BaseConsumer`", |round| &round.bare),
        ("gateway, no reader", |round| &round.gateway),
        (&with_readers, |round| &round.read),
    ];
    for (name, of) in consumers {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            span(rounds, of, Run::rate, 0),
            ratio(rounds, of, Run::rate),
            span(rounds, of, Run::cpu_us, 2),
            ratio(rounds, of, Run::cpu_us),
        );
    }
    let reached = |of: Of| Estimate::of(&ratios(rounds, of, Run::rate)).map(|e| e.median);
    if let Some(median) = reached(|round| &round.gateway) {
        let verdict = if median >= LEAST { "reached" } else { "NOT reached" };
        let _ = writeln!(
            text,
            "\n- records/s: {median:.2} × the bare consumer's, at least {LEAST}: {verdict}"
        );
    }
    text
}

fn span(rounds: &[Round], of: Of, figure: Figure, digits: usize) -> String {
    let values: Vec<f64> = rounds.iter().map(|round| figure(of(round))).collect();
    shown(Estimate::of(&values), digits)
}

fn ratios(rounds: &[Round], of: Of, figure: Figure) -> Vec<f64> {
    rounds.iter().map(|round| figure(of(round)) / figure(&round.bare)).collect()
}

fn ratio(rounds: &[Round], of: Of, figure: Figure) -> String {
    shown(Estimate::of(&ratios(rounds, of, figure)), 2)
}

fn shown(estimate: Option<Estimate>, digits: usize) -> String {
    estimate.map_or_else(
        || "–".to_owned(),
        |e| format!("{:.digits$} ({:.digits$} to {:.digits$})", e.median, e.low, e.high),
    )
}

/// What a sustained rate came to.
#[must_use]
pub fn sustained(run: &Sustained) -> String {
    let most = run.lags.iter().max().copied().unwrap_or(0);
    let last = run.lags.last().copied().unwrap_or(0);
    let mut sorted = run.lags.clone();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let as_ms = |records: u64| records as f64 / run.rate * 1e3;
    format!(
        "### {:.0} records a second, of {:.0} wanted, for {:.0} s\n\n\
         | lag | records | as time |\n| --- | ---: | ---: |\n\
         | median | {median} | {:.0} ms |\n| most | {most} | {:.0} ms |\n| at the end | {last} | {:.0} ms |\n\n\
         - read to the end {:.0} ms after the last record was written\n\
         - the gateway's own gauge said {} at most (it looks every 3 s)\n\
         - {:.2} µs of CPU time per record, {:.0} MiB resident at most\n",
        run.rate,
        run.wanted,
        run.seconds,
        as_ms(median),
        as_ms(most),
        as_ms(last),
        run.rest.as_secs_f64() * 1e3,
        run.gauge_most,
        run.cpu * 1e6 / (run.rate * run.seconds),
        run.rss_most as f64 / 1_048_576.0,
    )
}

/// What single records' latency came to.
#[must_use]
pub fn latency(rate: f64, times: &Times) -> String {
    let mut text = format!(
        "### Kafka to stream, one reader, {rate:.0} events a second\n\n\
         p50 {} ms, p99 {} ms, p99.9 {} ms, most {} ms\n\n",
        times.ms(0.5),
        times.ms(0.99),
        times.ms(0.999),
        times.ms(1.0)
    );
    for (quantile, most) in LATENCY {
        let verdict = if times.ms(quantile) <= most { "reached" } else { "NOT reached" };
        let _ = writeln!(text, "- p{:.0}: at most {most} ms: {verdict}", quantile * 100.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn ratios_are_those_of_a_round() {
        let run = |seconds: f64| Run { records: 1_000_000, seconds, cpu: seconds / 2.0 };
        let round = |bare: f64, gateway: f64| Round {
            bare: run(bare),
            gateway: run(gateway),
            read: run(gateway * 2.0),
        };
        let plan = Plan {
            bin: PathBuf::new(),
            records: 1_000_000,
            rooms: 10_000,
            bytes: 200,
            read_rooms: 100,
        };
        let text = rounds(&plan, &[round(0.5, 1.0), round(1.0, 2.0), round(0.25, 0.5)]);
        for line in [
            "| bare `BaseConsumer` | 2000000 (1000000 to 4000000) | 1.00 (1.00 to 1.00) | 0.25 (0.12 to 0.50) | 1.00 (1.00 to 1.00) |",
            "- records/s: 0.50 × the bare consumer's, at least 0.7: NOT reached",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nin\n{text}");
        }
    }
}
