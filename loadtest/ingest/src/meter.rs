//! Following a consumer from its first records to its last.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tidegate_swarm::usage::Server;
use tokio::time::{Instant, sleep};

/// How often a consumer is looked at. A look at a gateway is a scrape of its metrics, which costs it
/// CPU time that counts.
const EVERY: Duration = Duration::from_millis(25);

/// What a consumer did between two looks at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Records that it read.
    pub records: u64,
    /// How long that took.
    pub seconds: f64,
    /// Its process's CPU time meanwhile, in seconds.
    pub cpu: f64,
}

impl Run {
    /// Records per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// Microseconds of CPU time per record.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.records as f64
    }
}

/// One look.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    records: u64,
    cpu: f64,
}

/// Follows a consumer until it has read `records`. Counted is from the first look that sees some of
/// them read: starting, connecting and joining are no part of it.
///
/// # Errors
/// When it does not get there within `patience`, or is there at the first look.
pub async fn follow(
    process: &Server,
    records: u64,
    patience: Duration,
    mut read: impl AsyncFnMut() -> Result<u64>,
) -> Result<Run> {
    let deadline = Instant::now() + patience;
    let mut first: Option<Look> = None;
    loop {
        let look = Look { records: read().await?, at: Instant::now(), cpu: cpu(process)? };
        match first {
            Some(first) if look.records >= records => {
                return Ok(Run {
                    records: look.records - first.records,
                    seconds: (look.at - first.at).as_secs_f64(),
                    cpu: look.cpu - first.cpu,
                });
            }
            None if look.records >= records => bail!("{records} records are too few to measure"),
            None if look.records > 0 => first = Some(look),
            _ if look.at > deadline => bail!("{} of {records} records were read", look.records),
            _ => {}
        }
        sleep(EVERY).await;
    }
}

fn cpu(process: &Server) -> Result<f64> {
    let cpu = process.cpu().context("reading CPU times")?;
    Ok(cpu.context("no process is named")?.total())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_came_before_the_first_look_does_not_count() {
        let counts = [0, 0, 10, 50, 100];
        let mut looks = counts.iter();
        let read = async || Ok(*looks.next().expect("no further look"));
        let run = follow(&Server::own(), 100, Duration::from_secs(60), read).await;
        assert_eq!(run.expect("a run").records, 90);
        let at_once = follow(&Server::own(), 100, Duration::ZERO, async || Ok(100)).await;
        assert!(at_once.is_err());
    }
}
