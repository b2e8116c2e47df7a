//! The flags of `swarm resume`.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args, value_parser};

use super::args::{ServerArgs, between};
use crate::{resume::Plan, scenario::Resume, sockets::MOST_SOURCES, target::Origin};

/// Streams that resume on `--url`.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// The server that the streams lose, and that the missed events are published through
    /// [default: the one of --url]
    #[arg(long)]
    ids_from: Option<Origin>,
    /// End this process, the server of --ids-from, when its streams are dropped
    #[arg(long, value_parser = value_parser!(u32).range(2..=4_194_304))]
    kill_pid: Option<u32>,
    /// Streams
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=200_000))]
    connections: u32,
    /// Rooms that they are spread over
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=200_000))]
    rooms: u32,
    /// Events that each room misses
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=10_000))]
    events: u32,
    /// Size of an event's data in bytes
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(0..=1 << 20))]
    bytes: u32,
    /// Seconds between the last event and the loss
    #[arg(long, default_value_t = 1.0, value_parser = between(0.0, 600.0))]
    after: f64,
    /// Loopback addresses to connect from
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..=i64::from(MOST_SOURCES)))]
    sources: u32,
    /// Connections that may wait for their response at a time [default: all]
    #[arg(long, value_parser = value_parser!(u32).range(1..=200_000))]
    in_flight: Option<u32>,
    /// Seconds that the streams may take, to open and again to resume
    #[arg(long, default_value_t = 60.0, value_parser = between(0.1, 600.0))]
    patience: f64,
}

impl ResumeArgs {
    pub(super) fn resume(&self) -> Result<Resume> {
        ensure!(
            self.kill_pid.is_none() || self.ids_from.is_some(),
            "--kill-pid ends the server of --ids-from: name it"
        );
        let to = self.server.target()?;
        let from = match &self.ids_from {
            Some(origin) => Arc::new(to.on(origin.clone())),
            None => Arc::clone(&to),
        };
        let connections = self.connections as usize;
        Ok(Resume {
            plan: Plan {
                connections,
                rooms: (self.rooms as usize).min(connections),
                sources: self.sources,
                in_flight: self.in_flight.map_or(connections, |n| n as usize),
            },
            from,
            to,
            events: self.events,
            bytes: self.bytes as usize,
            after: Duration::from_secs_f64(self.after),
            kill: self.kill_pid,
            server: self.server.server(),
            patience: Duration::from_secs_f64(self.patience),
        })
    }
}
