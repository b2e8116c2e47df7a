//! What a stream costs that nothing happens on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{check_files, wait_until};
use crate::{
    clock,
    subscribers::{Outcome, Plan, Readers},
    usage::{Cpu, Memory, Server},
};

/// Opens streams step by step and reads the server's memory at each.
#[derive(Debug, Clone)]
pub struct Idle {
    /// The readers; as many as the last step.
    pub readers: Plan,
    /// How many streams are open at each step, ascending.
    pub steps: Vec<usize>,
    /// Whose memory and CPU time is read.
    pub server: Server,
    /// How long a step's readers may take to open.
    pub open: Duration,
    /// Pause before the memory is read.
    pub settle: Duration,
    /// How long the idle streams' CPU time is watched at each step.
    pub hold: Duration,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Streams that were open.
    pub open: usize,
    /// Streams opened in this step.
    pub opened: usize,
    /// Seconds that took.
    pub seconds: f64,
    /// The server's memory with all of them open.
    pub memory: Option<Memory>,
    /// The server's CPU time while they opened.
    pub opening: Option<Cpu>,
    /// Its CPU time while nothing happened.
    pub idling: Option<Cpu>,
}

/// What the idle streams came to.
#[derive(Debug, Clone)]
pub struct IdleReport {
    /// Every step.
    pub steps: Vec<Step>,
    /// What the readers saw.
    pub readers: Outcome,
}

impl IdleReport {
    /// Bytes of the server's memory per stream: the slope from the first step to the last, or the
    /// whole of a single step.
    #[must_use]
    pub fn bytes_per_stream(&self) -> Option<f64> {
        let (first, last) = (self.steps.first()?, self.steps.last()?);
        let streams = last.open.checked_sub(first.open).filter(|n| *n > 0)?;
        Some((last.memory?.pss as f64 - first.memory?.pss as f64) / streams as f64)
    }
}

impl Idle {
    /// Runs it.
    ///
    /// # Errors
    /// When the machine's limits do not allow it, a named process is gone, or epoll fails.
    pub fn run(&self) -> Result<IdleReport> {
        check_files(self.readers.readers)?;
        ensure!(self.steps.is_sorted(), "the steps must ascend");
        let readers = Readers::start(&self.readers)?;
        let mut steps = Vec::new();
        let mut before = 0;
        for &wanted in &self.steps {
            let began = clock::now();
            let cpu = self.cpu()?;
            readers.want(wanted);
            wait_until(self.open, || readers.settled() >= wanted || readers.broken());
            let seconds = (clock::now() - began) as f64 / 1e9;
            wait_until(self.settle, || false);
            let opened_by = self.cpu()?;
            let memory = self.server.memory().context("reading the server's memory")?;
            wait_until(self.hold, || false);
            let idled_by = self.cpu()?;
            let open = readers.open();
            steps.push(Step {
                open,
                opened: open.saturating_sub(before),
                seconds,
                memory,
                opening: cpu.zip(opened_by).map(|(from, to)| to.since(from)),
                idling: opened_by.zip(idled_by).map(|(from, to)| to.since(from)),
            });
            before = open;
        }
        Ok(IdleReport { steps, readers: readers.finish(None)? })
    }

    fn cpu(&self) -> Result<Option<Cpu>> {
        self.server.cpu().context("reading the server's CPU time")
    }
}
