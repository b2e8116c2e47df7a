//! What is run: readers, publishers and the readings around them.

mod cycles;
mod idle;
mod resume;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use cycles::{Cycles, CyclesReport, Reading};
pub use idle::{Idle, IdleReport, Step};
pub use resume::{Resume, ResumeReport};

use crate::{
    clock, publishers, sockets, subscribers,
    usage::{Cpu, Memory, Server},
};

/// Open files beside the readers' sockets.
const SPARE_FILES: u64 = 100;

/// Readers of a running load and the publishers that feed them.
#[derive(Debug, Clone)]
pub struct Load {
    /// The readers.
    pub readers: subscribers::Plan,
    /// The publishers; `None` only reads what others publish.
    pub publishers: Option<publishers::Plan>,
    /// Whose CPU time and memory is read.
    pub server: Server,
    /// How long the readers may take to open.
    pub open: Duration,
    /// Pause between the last reader's opening and the first event.
    pub settle: Duration,
    /// The end, once everything was published and nothing has come for so long.
    pub quiet: Duration,
    /// The end in any case, so long after everything was published: what a server that is behind has
    /// not delivered by then counts as lost.
    pub catch_up: Duration,
    /// How long to read when nothing is published.
    pub read: Duration,
}

/// What a load came to.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// The readers' side.
    pub readers: subscribers::Outcome,
    /// The publishers' side.
    pub publishers: Option<publishers::Outcome>,
    /// Deliveries that were due to healthy readers; 0 if that cannot be known.
    pub expected: u64,
    /// Of the lost, those that the server had refused to take.
    pub refused_deliveries: u64,
    /// The measured phase in seconds: from the first event's due time to the last delivery.
    pub seconds: f64,
    /// The server's CPU time in the measured phase.
    pub cpu: Option<Cpu>,
    /// This process's, for the same work.
    pub own_cpu: Cpu,
    /// The server's memory while all streams were open and nothing had been published.
    pub memory_before: Option<Memory>,
    /// The server's memory at the end of the measured phase.
    pub memory: Option<Memory>,
    /// How long it took to open all streams, in seconds.
    pub open_seconds: f64,
}

impl LoadReport {
    /// Numbers that never came although the server had not refused them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.readers.faults.lost.saturating_sub(self.refused_deliveries)
    }

    /// Microseconds of CPU time per delivery.
    #[must_use]
    pub fn per_delivery(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.readers.deliveries.max(1) as f64
    }

    /// Nothing was lost, doubled or out of order, and there was something at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let faults = self.readers.faults;
        let nobody = self.readers.readers == 0;
        self.lost() == 0
            && faults.doubled == 0
            && faults.out_of_order == 0
            && self.readers.failed.total() == 0
            && (nobody || self.readers.deliveries > 0)
    }
}

/// Refuses a number of readers that this process has no files for.
pub(crate) fn check_files(readers: usize) -> Result<()> {
    let limit = sockets::raise_open_files();
    ensure!(
        readers as u64 + SPARE_FILES <= limit,
        "{readers} readers need more open files than the {limit} this process may have (ulimit -Hn)"
    );
    Ok(())
}

/// Waits until `done`, at most so long; `false` if it did not come to that.
pub(crate) fn wait_until(most: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = clock::now() + clock::nanos(most);
    while !done() {
        if clock::now() >= deadline {
            return false;
        }
        sockets::pause();
    }
    true
}

impl Load {
    /// Runs it.
    ///
    /// # Errors
    /// When the machine's limits do not allow it, a named process is gone, or epoll fails. What the
    /// server does wrong is in the report.
    pub fn run(&self) -> Result<LoadReport> {
        check_files(self.readers.readers)?;
        let began = clock::now();
        let readers = subscribers::Readers::start(&self.readers)?;
        readers.want(self.readers.readers);
        wait_until(self.open, || readers.settled() >= self.readers.readers || readers.broken());
        let open_seconds = (clock::now() - began) as f64 / 1e9;
        // A stream is live once its head is there; what the server still has to do for the last
        // ones must not be in the measured phase.
        wait_until(self.settle, || false);

        let memory_before = self.server.memory().context("reading the server's memory")?;
        let before = self.read_cpu()?;
        let started = clock::now();
        let publishers = match &self.publishers {
            Some(plan) => Some(self.publish(plan, &readers)?),
            None => {
                wait_until(self.read, || readers.broken());
                None
            }
        };
        let after = self.read_cpu()?;
        let memory = self.server.memory().context("reading the server's memory")?;

        let published = publishers.as_ref().map(|outcome| outcome.published.clone());
        let expected = publishers.as_ref().map_or(0, |o| self.due(o));
        let refused = publishers.as_ref().map_or(0, |o| self.expected(&o.refused_in));
        let outcome = readers.finish(published)?;
        let started = publishers.as_ref().map_or(started, |p| p.started);
        let last = outcome.last_delivery.max(started + 1);
        Ok(LoadReport {
            expected,
            refused_deliveries: refused.min(outcome.faults.lost),
            seconds: (last - started) as f64 / 1e9,
            cpu: before.0.zip(after.0).map(|(before, after)| after.since(before)),
            own_cpu: after.1.since(before.1),
            memory_before,
            memory,
            open_seconds,
            readers: outcome,
            publishers,
        })
    }

    fn expected(&self, events: &[u64]) -> u64 {
        if self.readers.may_miss() { 0 } else { self.readers.expected(events) }
    }

    /// What is due to the readers: nobody is owed what the server did not get or take.
    fn due(&self, outcome: &publishers::Outcome) -> u64 {
        self.expected(&outcome.published) - self.expected(&outcome.refused_in)
    }

    fn read_cpu(&self) -> Result<(Option<Cpu>, Cpu)> {
        let server = self.server.cpu().context("reading the server's CPU time")?;
        Ok((server, Server::own().cpu()?.unwrap_or_default()))
    }

    fn publish(
        &self,
        plan: &publishers::Plan,
        readers: &subscribers::Readers,
    ) -> Result<publishers::Outcome> {
        let publishers = publishers::Publishers::start(plan.clone())
            .with_context(|| format!("connecting publishers to {}", plan.target.origin.addr))?;
        let most = plan.duration + plan.patience + Duration::from_secs(1);
        wait_until(most, || publishers.is_finished());
        let outcome = publishers.finish()?;
        let expected = self.due(&outcome);
        let mut last = (readers.received(), clock::now());
        let quiet = clock::nanos(self.quiet);
        wait_until(self.catch_up, || {
            let received = readers.received();
            if received != last.0 {
                last = (received, clock::now());
            }
            let all = expected > 0 && received >= expected;
            all || readers.broken() || clock::now() - last.1 >= quiet
        });
        Ok(outcome)
    }
}
