//! What a stream is opened with, and what it asks of its pod.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::wheel::Wheel;
use crate::auth::Grant;
use crate::auth::verifier::GrantState;
use crate::disconnect::Stalled;
use crate::event::Pattern;
use crate::hub::Item;
use crate::shutdown::Phase;
use crate::wire::Variant;
use crate::wire::chunk::Framing;

/// How a silent stream is kept open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatForm {
    /// `tidegate.heartbeat` with the cursor.
    Event,
    /// A bare comment.
    Comment,
}

/// What a stream is opened with.
#[derive(Debug)]
pub struct Terms {
    /// How events are spelled.
    pub variant: Variant,
    /// Who frames them.
    pub framing: Framing,
    /// How silence is.
    pub heartbeat_form: HeartbeatForm,
    /// How long silence may last.
    pub heartbeat: Duration,
    /// What a goodbye's `retry:` is jittered around.
    pub retry: Duration,
    /// What the request may do, and as long as that holds.
    pub grant: Grant,
    /// When the stream has lived long enough.
    pub ages_at: Option<Instant>,
    /// Whether the room's final event ends the stream: it is of exactly one room.
    pub completes: bool,
    /// Over how long a drain spreads its goodbyes.
    pub drain_window: Duration,
    /// What is read, for holes to name.
    pub rooms: Vec<Pattern>,
    /// Whether the client takes what is written.
    pub stalled: Stalled,
}

/// What a stream asks of its pod: mostly what ends streams from outside, looked at whenever one is
/// polled.
pub trait Ends: Send + Sync {
    /// What wakes streams when their time has come.
    fn wheel(&self) -> &Arc<Wheel>;
    /// Where the pod's shutdown is.
    fn phase(&self) -> Phase;
    /// Changes whenever the keys have.
    fn key_changes(&self) -> watch::Receiver<u64>;
    /// An event that is to be delivered by a time was written to the first stream of this pod.
    fn written(&self, item: &Item, deadline: i64);
    /// Whether `grant` still holds, and how long it will as the keys are now.
    fn grant(&self, grant: &Grant) -> (GrantState, Option<Instant>);
}
