//! Streams that come and go: does what they took come back?

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{check_files, wait_until};
use crate::{
    clock,
    subscribers::{Plan, Readers},
    usage::{Memory, Server},
};

/// Opens streams and closes them all, over and over, and reads the server's memory in between.
#[derive(Debug, Clone)]
pub struct Cycles {
    /// The readers of one round.
    pub readers: Plan,
    /// How many streams are opened in all.
    pub cycles: u64,
    /// Memory is read before the first round, after the last and after each of as many parts.
    pub readings: u64,
    /// Whose memory is read.
    pub server: Server,
    /// How long a round's readers may take to open.
    pub open: Duration,
    /// How long a round's streams stay open once all are.
    pub hold: Duration,
    /// Pause between a round's end and a reading.
    pub settle: Duration,
}

/// The server's memory while no stream was open.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Streams that have come and gone so far.
    pub cycles: u64,
    /// Seconds since the start.
    pub seconds: f64,
    /// The memory.
    pub memory: Option<Memory>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct CyclesReport {
    /// The readings, the first from before the first stream.
    pub readings: Vec<Reading>,
    /// The largest memory that was seen with streams open.
    pub most: Option<Memory>,
    /// Streams that could not be opened, or that the server ended.
    pub failed: u64,
}

impl CyclesReport {
    /// Bytes by which the server's resident memory grew between two readings.
    #[must_use]
    pub fn grown(&self, from: usize, to: usize) -> Option<i64> {
        let resident = |nth: usize| Some(self.readings.get(nth)?.memory?.rss.cast_signed());
        Some(resident(to)? - resident(from)?)
    }
}

impl Cycles {
    /// Runs it.
    ///
    /// # Errors
    /// When the machine's limits do not allow it, a named process is gone, or epoll fails.
    pub fn run(&self) -> Result<CyclesReport> {
        let streams = self.readers.readers;
        check_files(streams)?;
        ensure!(streams > 0, "there have to be streams");
        let began = clock::now();
        let mut report = CyclesReport::default();
        let mut cycles = 0;
        let mut read_at = 0;
        loop {
            if cycles >= read_at {
                wait_until(self.settle, || false);
                let seconds = (clock::now() - began) as f64 / 1e9;
                report.readings.push(Reading { cycles, seconds, memory: self.memory()? });
                let part = self.cycles.div_ceil(self.readings.max(1)).max(1);
                read_at = (cycles + part).min(self.cycles);
            }
            if cycles >= self.cycles {
                return Ok(report);
            }
            let left = usize::try_from(self.cycles - cycles).unwrap_or(usize::MAX);
            cycles += self.round(left.min(streams), &mut report)?;
        }
    }

    /// Opens so many streams, and closes them.
    fn round(&self, streams: usize, report: &mut CyclesReport) -> Result<u64> {
        let readers = Readers::start(&Plan { readers: streams, ..self.readers.clone() })?;
        readers.want(streams);
        wait_until(self.open, || readers.settled() >= streams || readers.broken());
        wait_until(self.hold, || readers.broken());
        let now = self.memory()?;
        report.most = report.most.into_iter().chain(now).max_by_key(|memory| memory.rss);
        let seen = readers.finish(None)?;
        report.failed += seen.failed.total() + seen.ended.total();
        Ok(streams as u64)
    }

    fn memory(&self) -> Result<Option<Memory>> {
        self.server.memory().context("reading the server's memory")
    }
}
