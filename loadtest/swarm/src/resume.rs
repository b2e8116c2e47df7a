//! Streams that lose their server at once and resume on another: what each waits for.
//!
//! Unlike [`crate::subscribers`], which measures deliveries, this one keeps the times of every
//! stream's way back, honours `retry:`, and lets all of them connect at the same moment.

mod client;
mod clients;

pub use clients::Clients;

use crate::{
    sequence::Faults,
    stats::{Tally, Times},
};

/// How many streams there are, and how they connect.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Streams.
    pub connections: usize,
    /// Rooms; stream `n` is in room `n % rooms`.
    pub rooms: usize,
    /// Loopback addresses to connect from.
    pub sources: u32,
    /// Connections that may wait for their response at a time.
    pub in_flight: usize,
}

/// What the streams saw on their way back. Every time is counted from a stream's first `connect`,
/// over all the connections that it needed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// To the first head of a response that is an event stream.
    pub head: Times,
    /// To the first `tidegate.connected`.
    pub connected: Times,
    /// To the first event that was missed.
    pub first: Times,
    /// To the last event that was missed.
    pub last: Times,
    /// From the loss of the server to the last event that was missed.
    pub since_loss: Times,
    /// Streams that got all they had missed.
    pub complete: u64,
    /// Events that came.
    pub deliveries: u64,
    /// What was wrong with their numbers.
    pub faults: Faults,
    /// `tidegate.gap` events.
    pub gaps: u64,
    /// `tidegate.goodbye` events.
    pub goodbyes: u64,
    /// Connections that were begun.
    pub attempts: u64,
    /// Connections that became no stream, by cause.
    pub failed: Tally,
    /// Streams that ended, by how.
    pub ended: Tally,
}
