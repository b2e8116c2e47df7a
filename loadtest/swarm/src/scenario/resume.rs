//! Streams that lose their server at once, and resume on another.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{check_files, wait_until};
use crate::{
    clock,
    publishers::{self, Publishers, Stamp, Style},
    resume::{Clients, Outcome, Plan},
    target::Target,
    usage::{Cpu, Server},
};

/// Rooms that are published to in a second: no more than fills the log while nobody is measured.
const ROOMS_PER_SECOND: f64 = 500.0;

/// How long is listened for events that come twice, once every stream has all it is owed.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// Takes streams from one server to another.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The streams.
    pub plan: Plan,
    /// The server that they lose, and that the missed events go through.
    pub from: Arc<Target>,
    /// The server that they resume on.
    pub to: Arc<Target>,
    /// Events that each room misses.
    pub events: u32,
    /// Size of an event's `data` in bytes.
    pub bytes: usize,
    /// Pause between the last event and the loss.
    pub after: Duration,
    /// The process to end when the streams are dropped.
    pub kill: Option<u32>,
    /// Whose CPU time is read.
    pub server: Server,
    /// How long the streams may take to open, and again to resume.
    pub patience: Duration,
}

/// What it came to.
#[derive(Debug, Clone)]
pub struct ResumeReport {
    /// What the streams saw since the loss.
    pub clients: Outcome,
    /// From the loss to the last event of the last stream, in seconds.
    pub seconds: f64,
    /// The server's CPU time for that.
    pub cpu: Option<Cpu>,
    /// This process's.
    pub own_cpu: Cpu,
}

impl ResumeReport {
    /// Every stream got what it had missed, once and in order, and was told of no hole.
    #[must_use]
    pub fn is_clean(&self, resume: &Resume) -> bool {
        let seen = &self.clients;
        seen.complete == resume.plan.connections as u64
            && seen.faults == crate::sequence::Faults::default()
            && seen.gaps == 0
    }
}

impl Resume {
    /// Runs it.
    ///
    /// # Errors
    /// When the machine's limits do not allow it, a named process is gone, the events cannot be
    /// published, or the streams do not open in the first place. What the server that they resume
    /// on does wrong is in the report.
    pub fn run(&self) -> Result<ResumeReport> {
        check_files(self.plan.connections)?;
        let mut clients = Clients::new(self.plan)?;
        clients.run(&self.from, self.patience)?;
        let open = clients.complete();
        ensure!(open == self.plan.connections, "only {open} of the streams opened");
        self.publish()?;
        wait_until(self.after, || false);

        let server = self.server.cpu().context("reading the server's CPU time")?;
        let own = Server::own().cpu()?.unwrap_or_default();
        if let Some(pid) = self.kill {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
            kill_process(pid, Signal::KILL).context("ending the server of the streams")?;
        }
        let lost_at = clock::now();
        clients.lose(u64::from(self.events));
        clients.run(&self.to, self.patience)?;
        let seconds = (clock::now() - lost_at) as f64 / 1e9;
        let after = self.server.cpu().context("reading the server's CPU time")?;
        let own_cpu = Server::own().cpu()?.unwrap_or_default().since(own);
        clients.listen(&self.to, AFTERWARDS)?;
        Ok(ResumeReport {
            clients: clients.finish(),
            seconds,
            cpu: server.zip(after).map(|(before, after)| after.since(before)),
            own_cpu,
        })
    }

    /// Publishes what the streams are to miss. They are open meanwhile, and read nothing.
    fn publish(&self) -> Result<()> {
        let seconds = self.plan.rooms as f64 / ROOMS_PER_SECOND;
        let plan = publishers::Plan {
            target: Arc::clone(&self.from),
            rooms: self.plan.rooms,
            rate: ROOMS_PER_SECOND * f64::from(self.events),
            burst: self.events,
            across: 1,
            bytes: self.bytes,
            duration: Duration::from_secs_f64(seconds),
            connections: self.plan.rooms.min(4),
            pipeline: 1,
            spread: false,
            retries: 0,
            style: Style::Batch,
            stamp: Stamp::Intended,
            patience: self.patience,
        };
        let due = plan.events();
        let outcome = Publishers::start(plan).context("connecting publishers")?.finish()?;
        let all = outcome.accepted == due
            && outcome.published.iter().all(|n| *n == u64::from(self.events));
        ensure!(all, "{} of {due} events were taken: {:?}", outcome.accepted, outcome.refusal);
        Ok(())
    }
}
