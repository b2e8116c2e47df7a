//! What a stream is fed from: a replay at first, its rooms in the end.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::{Reading, Step};
use crate::config::Slow;
use crate::cursor::Cursor;
use crate::hub::{Delivery, Gap, Item, Lagged, Manner, Subscription, Unparked};
use crate::telemetry::metrics::{self, ReplayFrom};
use crate::wire;

/// How often a stream whose replay brings nothing looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);

/// What a stream is fed from.
#[derive(Debug)]
pub struct Feed {
    state: State,
    /// What becomes of the reader when it is too slow for its rooms.
    slow: Slow,
}

#[derive(Debug)]
enum State {
    Live(Subscription),
    Replaying(Box<Replaying>),
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Events.
    Events,
    /// A hole.
    Gap(Gap),
}

/// Why nothing comes any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The reader was so slow that events it has not had are gone from the ring.
    Lagged,
    /// The replay takes too long, or the log does not answer. The reader comes back with this
    /// cursor, up to which it has all.
    Later(Cursor),
}

type NextStep = Pin<Box<dyn Future<Output = (Reading, Step)> + Send>>;

/// A replay that is being written.
struct Replaying {
    /// What is read next; `None` while there is something to write.
    step: Option<NextStep>,
    reading: Option<Reading>,
    events: VecDeque<(Arc<Item>, Cursor)>,
    /// Where the reader is once it was written `events`.
    after: Option<Cursor>,
    /// Up to here the reader was written everything.
    written: Cursor,
    /// The rooms wake nobody who has no seat.
    look: Pin<Box<Sleep>>,
}

impl fmt::Debug for Replaying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replaying")
            .field("events", &self.events.len())
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// What the rooms bring.
    #[must_use]
    pub fn live(subscription: Subscription) -> Self {
        Self { state: State::Live(subscription), slow: Slow::Disconnect }
    }

    /// What `reading` brings, and then the rooms. The stream's first id is `written`.
    pub(super) fn replaying(reading: Reading, written: Cursor) -> Self {
        let replaying = Replaying {
            step: None,
            reading: Some(reading),
            events: VecDeque::new(),
            after: None,
            written,
            look: Box::pin(tokio::time::sleep(LOOK)),
        };
        Self { state: State::Replaying(Box::new(replaying)), slow: Slow::Disconnect }
    }

    /// Says what becomes of the reader when it is too slow for its rooms; otherwise it is cut.
    pub fn when_slow(&mut self, slow: Slow) {
        self.slow = slow;
        if let State::Live(subscription) = &mut self.state {
            subscription.when_slow(slow);
        }
    }

    /// What comes next, in order: events, up to about `most_bytes`, into `out`, or a hole. Waits
    /// while there is nothing.
    ///
    /// # Errors
    /// [`Ended`] if nothing comes any more.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        most_bytes: usize,
        out: &mut Vec<Delivery>,
    ) -> Poll<Result<Turn, Ended>> {
        loop {
            let replaying = match &mut self.state {
                State::Live(subscription) => {
                    return subscription.poll_next(cx, most_bytes, out).map(|taken| match taken {
                        Ok(()) if !out.is_empty() => Ok(Turn::Events),
                        Ok(()) => Ok(subscription.take_gap().map_or(Turn::Events, Turn::Gap)),
                        Err(Lagged) => Err(Ended::Lagged),
                    });
                }
                State::Replaying(replaying) => replaying,
            };
            if replaying.take(most_bytes, out) {
                return Poll::Ready(Ok(Turn::Events));
            }
            match std::task::ready!(replaying.poll_step(cx)) {
                Step::Events(events, after) => {
                    metrics::replayed_events(ReplayFrom::Log, events.len() as u64);
                    replaying.events = events.into();
                    replaying.after = Some(after);
                }
                Step::Gap(gap) => {
                    replaying.written.clone_from(&gap.resumed_at);
                    return Poll::Ready(Ok(Turn::Gap(gap)));
                }
                Step::Live(opened) => {
                    metrics::replayed_events(ReplayFrom::Window, opened.replayed as u64);
                    let mut subscription = opened.subscription;
                    subscription.when_slow(self.slow);
                    self.state = State::Live(subscription);
                    if let Some(gap) = opened.gap {
                        return Poll::Ready(Ok(Turn::Gap(gap)));
                    }
                }
                Step::Later => {
                    return Poll::Ready(Err(Ended::Later(replaying.written.clone())));
                }
            }
        }
    }

    /// Whether what was polled for last was all there was: who polled is woken when more comes.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(&self.state, State::Live(subscription) if subscription.waits())
    }

    /// Leaves the reader to the fan-out, if it is live and that can do all there is to do.
    pub fn park(&mut self, manner: Manner) {
        if let State::Live(subscription) = &mut self.state {
            subscription.park(manner);
        }
    }

    /// Takes the reader back from the fan-out, before anything else is asked of it.
    pub fn unpark(&mut self) -> Option<Unparked> {
        match &mut self.state {
            State::Live(subscription) => subscription.unpark(),
            State::Replaying(_) => None,
        }
    }

    /// What a heartbeat may say now: everything below it was written or was not for this reader.
    /// `None` while something is pending.
    pub fn current(&mut self) -> Option<Cursor> {
        match &mut self.state {
            State::Live(subscription) => subscription.current(),
            State::Replaying(replaying) => Some(replaying.written.clone()),
        }
    }
}

impl Replaying {
    /// Takes what is to be written; false if there is nothing.
    fn take(&mut self, most_bytes: usize, out: &mut Vec<Delivery>) -> bool {
        let mut bytes = 0;
        while bytes < most_bytes
            && let Some((item, after)) = self.events.pop_front()
        {
            bytes += item.size();
            let id_line = Some(wire::id_line(&after));
            self.written = after.flagged(false);
            out.push(Delivery { item, id_line });
        }
        if self.events.is_empty()
            && let Some(after) = self.after.take()
        {
            self.written = after;
        }
        bytes > 0
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut next = match (self.step.take(), self.reading.take()) {
            (Some(step), _) => step,
            (None, Some(mut reading)) => Box::pin(async move {
                let step = reading.step().await;
                (reading, step)
            }),
            // Only after the last step.
            (None, None) => return Poll::Ready(Step::Later),
        };
        match next.as_mut().poll(cx) {
            Poll::Ready((reading, step)) => {
                self.reading = Some(reading);
                Poll::Ready(step)
            }
            Poll::Pending => {
                self.step = Some(next);
                if self.look.as_mut().poll(cx).is_ready() {
                    self.look.as_mut().reset(Instant::now() + LOOK);
                    let _ = self.look.as_mut().poll(cx);
                }
                Poll::Pending
            }
        }
    }
}
