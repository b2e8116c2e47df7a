//! The publishers: one epoll loop over a few keep-alive connections.
//!
//! They are paced by the clock and not by the server: what was to be sent at a time counts from that
//! time, also when the server was too slow for it to be sent then. Otherwise a server that stalls
//! would stall its own measurement.

mod connection;
mod payload;
mod pump;

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use crate::{
    stats::{Tally, Times},
    target::Target,
};

/// How events are posted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// A request for each, in Tidegate's publish body.
    #[default]
    Single,
    /// A request for each, the payload alone as its body, for other servers.
    Raw,
    /// A request for each burst, to Tidegate's NDJSON batch.
    Batch,
}

/// Which clock reading an event carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamp {
    /// When it was to be sent.
    #[default]
    Intended,
    /// When its request was written.
    Sent,
}

/// Who publishes what, and when.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub target: Arc<Target>,
    /// Rooms to publish to in turn.
    pub rooms: usize,
    /// Events per second, over all rooms.
    pub rate: f64,
    /// Events that are due at once, in one room; the bursts are so far apart that the rate holds.
    pub burst: u32,
    /// Neighbouring rooms whose events are due at once: a batch request has those of all of them.
    /// A divisor of `rooms`, or the last rooms get more than their part.
    pub across: usize,
    /// Size of an event's `data` in bytes.
    pub bytes: usize,
    /// For how long.
    pub duration: Duration,
    /// Connections. A room keeps to one, so that its order is the publisher's.
    pub connections: usize,
    /// Requests that one connection may have open at a time.
    pub pipeline: usize,
    /// Take the connections in turn instead: the order within a room is then the server's.
    pub spread: bool,
    /// How often a failed publish is tried again; with it, every event has an idempotency key.
    pub retries: u32,
    /// How events are posted.
    pub style: Style,
    /// Which clock reading they carry.
    pub stamp: Stamp,
    /// How long to wait for responses after the last event was due.
    pub patience: Duration,
}

impl Plan {
    /// How many events are due.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.bursts() * self.at_once()
    }

    /// How many are due at once.
    fn at_once(&self) -> u64 {
        u64::from(self.burst.max(1)) * self.across.max(1) as u64
    }

    fn bursts(&self) -> u64 {
        let events = self.rate * self.duration.as_secs_f64();
        // At most a few hundred million: the command line is bounded.
        let bursts = (events / self.at_once() as f64).round() as u64;
        if self.rate > 0.0 { bursts.max(1) } else { 0 }
    }

    /// When a burst is due, in nanoseconds after the start.
    fn due(&self, burst: u64) -> u64 {
        (burst as f64 * self.at_once() as f64 / self.rate * 1e9) as u64
    }
}

/// What the publishers saw.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Events by room that got a number.
    pub published: Vec<u64>,
    /// Events that the server confirmed.
    pub accepted: u64,
    /// Events that it refused for good, by status.
    pub refused: Tally,
    /// Of the refused, by room: readers are not owed them.
    pub refused_in: Vec<u64>,
    /// Events whose connection broke, or that were not answered in time.
    pub unknown: u64,
    /// Events that were due but never sent: the server was too slow for too long.
    pub unsent: u64,
    /// Requests that were tried again.
    pub retried: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Bytes written.
    pub bytes: u64,
    /// From when an event was due to its response.
    pub latency: Times,
    /// From when its request was written to its response.
    pub service: Times,
    /// From when it was due to when its request was written: the generator's and the queue's share.
    pub lateness: Times,
    /// When the first event was due, in Unix nanoseconds.
    pub started: u64,
    /// The first refusal's body, to see what is wrong.
    pub refusal: Option<String>,
}

/// Running publishers.
#[derive(Debug)]
pub struct Publishers(JoinHandle<io::Result<Outcome>>);

impl Publishers {
    /// Connects, and starts publishing.
    ///
    /// # Errors
    /// When the server does not take the connections.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let pump = pump::Pump::new(plan)?;
        let thread = std::thread::Builder::new().name("publishers".into()).spawn(|| pump.run())?;
        Ok(Self(thread))
    }

    /// All events were answered, or given up.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When epoll failed.
    pub fn finish(self) -> io::Result<Outcome> {
        self.0.join().map_err(|_| io::Error::other("the publisher thread panicked"))?
    }
}
