//! The runs: each load on each server, in turn.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::figures::{Figure, last_line};
use crate::row::Row;
use crate::server::{Kind, Server};
use crate::stats::Estimate;

/// How it is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the programs are.
    pub bin: PathBuf,
    /// How often each server has its turn.
    pub pairs: u32,
    /// How long each load publishes, in seconds.
    pub seconds: u32,
    /// Whether system calls are counted as well, with `perf stat`, in runs of their own.
    pub syscalls: bool,
}

/// What a row came to.
#[derive(Debug)]
pub struct Outcome {
    /// The row.
    pub row: &'static Row,
    /// What each server's runs came to, in the order of the pairs.
    pub runs: Vec<(Kind, Vec<Value>)>,
    /// System calls per delivery.
    pub syscalls: HashMap<Kind, f64>,
}

impl Outcome {
    fn of(&self, kind: Kind) -> Option<&[Value]> {
        self.runs.iter().find(|(of, _)| *of == kind).map(|(_, runs)| runs.as_slice())
    }

    /// A server's figure over the pairs. Of system calls there is one run only.
    #[must_use]
    pub fn figure(&self, kind: Kind, figure: Figure) -> Option<Estimate> {
        if figure == Figure::Syscalls {
            return Estimate::of(&[*self.syscalls.get(&kind)?]);
        }
        let values: Option<Vec<f64>> = self.of(kind)?.iter().map(|run| figure.read(run)).collect();
        Estimate::of(&values?)
    }

    /// A figure as a multiple of another server's, pair by pair.
    #[must_use]
    pub fn ratio(&self, kind: Kind, figure: Figure, against: Kind) -> Option<Estimate> {
        let pairs = self.of(kind)?.iter().zip(self.of(against)?);
        let values: Option<Vec<f64>> = pairs
            .map(|(run, other)| Some(figure.read(run)? / figure.read(other).filter(|n| *n > 0.0)?))
            .collect();
        Estimate::of(&values?)
    }
}

impl Plan {
    /// Runs a row.
    ///
    /// # Errors
    /// When a server does not start, or swarm fails.
    pub async fn run(&self, row: &'static Row) -> Result<Outcome> {
        let mut servers = vec![Kind::Tidegate];
        servers.extend(row.others.iter().filter(|kind| kind.is_there()));
        let mut runs: Vec<(Kind, Vec<Value>)> = servers.iter().map(|k| (*k, Vec::new())).collect();
        for pair in 0..self.pairs {
            // Nobody is always the first, or always after the same one.
            let count = runs.len();
            for turn in 0..count {
                let at = (turn + pair as usize) % count;
                let json = self.one(row, runs[at].0, self.seconds, None).await?;
                runs[at].1.push(json);
            }
        }
        let mut syscalls = HashMap::new();
        if self.syscalls && row.figures.contains(&Figure::Syscalls) {
            for kind in servers {
                if let Some(calls) = self.count(row, kind).await? {
                    syscalls.insert(kind, calls);
                }
            }
        }
        Ok(Outcome { row, runs, syscalls })
    }

    /// System calls per delivery: what the second half of a run of twice the length adds, so that
    /// connecting counts for nothing.
    async fn count(&self, row: &Row, kind: Kind) -> Result<Option<f64>> {
        let home = tempfile::tempdir()?;
        let mut seen = Vec::new();
        for seconds in [self.seconds, self.seconds * 2] {
            let file = home.path().join("perf");
            let json = self.one(row, kind, seconds, Some(&file)).await?;
            let text = tokio::fs::read_to_string(&file).await.context("reading perf's figures")?;
            let calls = calls(&text).with_context(|| format!("perf's figures: {text}"))?;
            seen.push((calls, json["deliveries"].as_f64().unwrap_or_default()));
        }
        let (calls, deliveries) = (seen[1].0 - seen[0].0, seen[1].1 - seen[0].1);
        Ok((deliveries > 0.0).then(|| calls / deliveries))
    }

    /// One run on a server of its own.
    async fn one(&self, row: &Row, kind: Kind, seconds: u32, perf: Option<&Path>) -> Result<Value> {
        let home = tempfile::tempdir()?;
        let server = Server::start(kind, &self.bin, home.path()).await?;
        let figures = home.path().join("figures");
        let swarm = self.bin.join("swarm");
        let mut command = match perf {
            Some(file) => {
                let mut perf = Command::new("perf");
                perf.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o"]).arg(file);
                perf.args(["-p", &server.pid().to_string(), "--"]).arg(swarm);
                perf
            }
            None => Command::new(swarm),
        };
        command
            .args(row.swarm)
            .args(kind.paths())
            .args(["--url", &server.url(), "--pid", &server.pid().to_string()])
            .arg("--metrics-json")
            .arg(&figures)
            .stdout(Stdio::null());
        if row.swarm[0] == "fanout" {
            command.args(kind.style(row.batch)).args(["--seconds", &seconds.to_string()]);
        }
        let status = command.status().await.context("swarm, or perf, cannot be started")?;
        server.end().await;
        ensure!(status.success(), "{} on {kind}: swarm ended with {status}", row.name);
        let text = tokio::fs::read_to_string(&figures).await.context("reading swarm's figures")?;
        let mut json = last_line(&text)?;
        json["server"]["kind"] = json!(kind.to_string());
        Ok(json)
    }
}

/// The count in a line of `perf stat -x,`.
fn calls(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::ROWS;

    #[test]
    fn ratios_are_those_of_pairs() {
        let run = |us: f64| json!({"server": {"cpu": {"us_per_delivery": us}}});
        let of = |values: [f64; 3]| values.map(run).to_vec();
        let outcome = Outcome {
            row: &ROWS[0],
            runs: vec![(Kind::Tidegate, of([2.0, 40.0, 6.0])), (Kind::Floor, of([1.0, 10.0, 3.0]))],
            syscalls: HashMap::from([(Kind::Floor, 1.0)]),
        };
        let ratio = outcome.ratio(Kind::Tidegate, Figure::Cpu, Kind::Floor);
        assert_eq!(ratio.map(|e| (e.median, e.low, e.high)), Some((2.0, 2.0, 4.0)));
        assert_eq!(outcome.figure(Kind::Tidegate, Figure::Cpu).map(|e| e.median), Some(6.0));
        assert_eq!(outcome.figure(Kind::Floor, Figure::Syscalls).map(|e| e.median), Some(1.0));
        assert_eq!(outcome.figure(Kind::Axum, Figure::Cpu), None);
        assert_eq!(outcome.figure(Kind::Tidegate, Figure::Rate), None);
    }

    #[test]
    fn perfs_count_is_read() {
        let text = "# started on Sat\n\n1201,,raw_syscalls:sys_enter,9180,100.00,,\n";
        assert_eq!(calls(text), Some(1201.0));
        assert_eq!(calls("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n"), None);
    }
}
