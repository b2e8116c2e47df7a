//! The runs: each load on each server, in turn.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_rig::kafka::Kafka;
use tokio::process::Command;

use crate::figures::{Figure, last_line};
use crate::outcome::Outcome;
use crate::row::{Case, Row};
use crate::server::{Kind, Server, Surroundings};

/// In which pairs the peers have their turn: they need no interval, and take most of the time.
const PEERS_EVERY: u32 = 3;
/// What every run is told: a shorter wait than a person's before the first event, and an end for those
/// who fall behind. What they have not delivered by then is amiss.
const PATIENCE: [&str; 4] =
    ["--settle-ms=200", "--quiet-ms=1000", "--publish-timeout=3", "--catch-up=10"];

/// Whose system calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Syscalls {
    /// Nobody's.
    None,
    /// The gateway's, where a row has a target for them.
    Targets,
    /// Everybody's in every row with deliveries.
    All,
}

/// How it is run.
#[derive(Debug)]
pub struct Plan {
    /// Where everything is.
    pub near: Surroundings,
    /// How often each server has its turn.
    pub pairs: u32,
    /// How long each load publishes, in seconds.
    pub seconds: u32,
    /// Whose system calls are counted as well, with `perf stat`, in runs of their own.
    pub syscalls: Syscalls,
}

impl Plan {
    /// About how long a row takes.
    #[must_use]
    pub fn estimate(&self, row: &Row) -> Duration {
        let runs: usize = (0..self.pairs).map(|pair| row.cases(has_peers(pair)).len()).sum();
        let run = row.run_seconds(f64::from(self.seconds));
        let counted = self.counted(row).len() as f64 * row.run_seconds(1.5) * 2.0;
        let kafka = if row.gateway == Kind::TidegateKafka { 10.0 } else { 0.0 };
        Duration::from_secs_f64(runs as f64 * run + counted + kafka)
    }

    /// Runs a row.
    ///
    /// # Errors
    /// When a server does not start, or swarm fails.
    pub async fn run(&mut self, row: &'static Row) -> Result<Outcome> {
        // While it is needed only: a broker has threads of its own.
        let kafka = match row.gateway {
            Kind::TidegateKafka => Some(Kafka::start().await),
            _ => None,
        };
        self.near.brokers = kafka.as_ref().map(Kafka::brokers);
        let gateway = Case::of(row.gateway);
        if kafka.is_some() {
            // What a broker does for the first time takes it ten times as long.
            self.one(row, gateway, self.seconds, None).await?;
        }
        let mut runs: Vec<(Case, BTreeMap<u32, Value>)> =
            row.cases(true).into_iter().map(|case| (case, BTreeMap::new())).collect();
        for pair in 0..self.pairs {
            let mut cases = row.cases(has_peers(pair));
            // Nobody is always the first, or always after the same one.
            let first = pair as usize % cases.len();
            cases.rotate_left(first);
            for case in cases {
                let json = self.one(row, case, self.seconds, None).await?;
                let of = runs.iter_mut().find(|(of, _)| *of == case);
                of.context("a case of the row")?.1.insert(pair, json);
            }
        }
        let mut syscalls = Vec::new();
        for kind in self.counted(row) {
            if let Some(calls) = self.count(row, kind).await? {
                syscalls.push((kind, calls));
            }
        }
        Ok(Outcome { row, runs, syscalls })
    }

    /// Whose system calls are counted in a row.
    fn counted(&self, row: &Row) -> Vec<Kind> {
        let has_target = row.targets.iter().any(|target| target.figure == Figure::Syscalls);
        let cases = row.cases(true).into_iter().filter(|case| !case.without);
        match self.syscalls {
            Syscalls::Targets if has_target => vec![row.gateway],
            Syscalls::All if row.figures.contains(&Figure::Syscalls) => {
                cases.map(|case| case.kind).collect()
            }
            _ => Vec::new(),
        }
    }

    /// System calls per delivery: what the second half of a run of twice the length adds, so that
    /// connecting counts for nothing.
    async fn count(&self, row: &Row, kind: Kind) -> Result<Option<f64>> {
        let home = tempfile::tempdir()?;
        let mut seen = Vec::new();
        for seconds in [1, 2] {
            let file = home.path().join("perf");
            let json = self.one(row, Case::of(kind), seconds, Some(&file)).await?;
            let text = tokio::fs::read_to_string(&file).await.context("reading perf's figures")?;
            let calls = calls(&text).with_context(|| format!("perf's figures: {text}"))?;
            seen.push((calls, json["deliveries"].as_f64().unwrap_or_default()));
        }
        let (calls, deliveries) = (seen[1].0 - seen[0].0, seen[1].1 - seen[0].1);
        Ok((deliveries > 0.0).then(|| calls / deliveries))
    }

    async fn one(&self, row: &Row, case: Case, seconds: u32, perf: Option<&Path>) -> Result<Value> {
        let home = tempfile::tempdir()?;
        let server = Server::start(case.kind, &self.near, home.path()).await?;
        let figures = home.path().join("figures");
        let swarm = self.near.bin.join("swarm");
        let mut command = match perf {
            Some(file) => {
                let mut perf = Command::new("perf");
                perf.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o"]).arg(file);
                perf.args(["-p", &server.pid().to_string(), "--"]).arg(swarm);
                perf
            }
            None => Command::new(swarm),
        };
        let flags = row.flags(case);
        command
            .args(flags.iter().filter(|flag| !flag.starts_with("--seconds")))
            .args(server.flags(&self.near))
            .arg("--metrics-json")
            .arg(&figures)
            .stdout(Stdio::null());
        if flags[0] == "idle" {
            command.arg(PATIENCE[0]);
        } else {
            command.args(case.kind.style(row.batch)).args(PATIENCE);
            let seconds = row.flag("--seconds").map_or_else(|| seconds.to_string(), Into::into);
            command.arg(format!("--seconds={seconds}"));
        }
        let status = command.status().await.context("swarm, or perf, cannot be started")?;
        server.end().await;
        ensure!(status.success(), "{} on {}: swarm ended with {status}", row.name, case.kind);
        let text = tokio::fs::read_to_string(&figures).await.context("reading swarm's figures")?;
        let mut json = last_line(&text)?;
        json["server"]["kind"] = json!(case.kind.to_string());
        Ok(json)
    }
}

/// Whether the peers have their turn in a pair.
fn has_peers(pair: u32) -> bool {
    pair.is_multiple_of(PEERS_EVERY)
}

/// The count in a line of `perf stat -x,`.
fn calls(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    #[test]
    fn perfs_count_is_read() {
        let text = "# started on Sat\n\n1201,,raw_syscalls:sys_enter,9180,100.00,,\n";
        assert_eq!(calls(text), Some(1201.0));
        assert_eq!(calls("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n"), None);
    }

    fn plan(syscalls: Syscalls) -> Plan {
        let home = tempfile::tempdir().expect("a directory");
        let near = Surroundings::new("bin".into(), home.path().into()).expect("a certificate");
        Plan { near, pairs: 3, seconds: 1, syscalls }
    }

    #[test]
    fn calls_are_counted_where_they_are_asked_for() {
        let row = |name| rows::find(name).expect("a row");
        let counted = |syscalls, name| plan(syscalls).counted(row(name));
        assert_eq!(counted(Syscalls::Targets, "paced"), [Kind::Tidegate]);
        assert_eq!(counted(Syscalls::Targets, "six"), []);
        assert_eq!(counted(Syscalls::All, "kafka"), [Kind::TidegateKafka, Kind::Tidegate]);
        assert_eq!(counted(Syscalls::All, "idle"), []);
        assert_eq!(counted(Syscalls::None, "paced"), []);
    }

    #[test]
    fn peers_and_counting_are_part_of_the_estimate() {
        let row = rows::find("churn").expect("a row");
        let alone = plan(Syscalls::None).estimate(row).as_secs_f64();
        let peers = row.cases(true).len() - row.cases(false).len();
        let runs = 3 * row.cases(false).len() + peers;
        assert!((alone - runs as f64 * row.run_seconds(1.0)).abs() < 0.1, "{alone}");
        assert!(plan(Syscalls::All).estimate(row).as_secs_f64() > alone + 5.0);
    }
}
