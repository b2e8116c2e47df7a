//! One stream's life: first block, hole, events, heartbeats, and a named end.
//!
//! The ends come first: at every step a drain, an expiry, a revoked key or the age limit wins over
//! what is pending. A stream that ends says goodbye and when to come back; one whose reader was
//! too slow is simply cut, and resumes by its cursor, unless it is to go on after a hole.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame as BodyFrame};
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::auth::Grant;
use crate::auth::verifier::GrantState;
use crate::clock::now_ms;
use crate::disconnect::{Disconnect, Stalled};
use crate::event::Pattern;
use crate::hub::{Delivery, Gap, Item};
use crate::replay::{Ended, Feed, Turn};
use crate::shutdown::Phase;
use crate::telemetry::metrics::{self, Protocol};
use crate::wire::{self, Variant};

/// How many bytes are taken from the rooms at once.
const BATCH_BYTES: usize = 64 * 1024;

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
    /// Where the pod's shutdown is.
    fn phase(&self) -> Phase;
    /// Changes whenever the keys have.
    fn key_changes(&self) -> watch::Receiver<u64>;
    /// An event that is to be delivered by a time was written to the first stream of this pod.
    fn written(&self, item: &Item, deadline: i64);
    /// Whether `grant` still holds, and how long it will as the keys are now.
    fn grant(&self, grant: &Grant) -> (GrantState, Option<Instant>);
}

/// A stream of one reader.
pub struct Connection<E: Ends> {
    feed: Feed,
    /// Blocks to write before anything else.
    pending: VecDeque<Bytes>,
    deliveries: Vec<Delivery>,
    terms: Terms,
    ends: Arc<E>,
    keys: watch::Receiver<u64>,
    /// When the grant is to be looked at again.
    granted_until: Option<Instant>,
    /// Armed for the earliest of heartbeat, expiry, age and drain.
    timer: Pin<Box<Sleep>>,
    last_written: Instant,
    /// How long silence lasts this time.
    silence: Duration,
    next_heartbeat: Instant,
    drain_at: Option<Instant>,
    ended: Option<Disconnect>,
    /// When it was opened, as `published_at` counts. What is older was published while the client
    /// was away: that is not this pod's delay.
    opened_ms: i64,
    /// What is given back when the stream is over, whatever ended it.
    guard: Guard,
}

/// Counts the stream while it lives, and its end.
struct Guard {
    /// `None`: it is dropped.
    reason: Option<Disconnect>,
    stalled: Stalled,
    protocol: Protocol,
    opened: Instant,
    _permit: Box<dyn Send + Sync>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let reason = self.reason.unwrap_or_else(|| self.stalled.why_dropped());
        metrics::disconnected(self.protocol, reason, self.opened.elapsed());
    }
}

impl<E: Ends> Connection<E> {
    /// A stream that writes `preamble` and then what `feed` brings. `permit` is dropped
    /// with it.
    pub fn new(
        feed: Feed,
        preamble: impl IntoIterator<Item = Bytes>,
        terms: Terms,
        ends: Arc<E>,
        protocol: Protocol,
        permit: Box<dyn Send + Sync>,
    ) -> Self {
        metrics::connected(protocol);
        let now = Instant::now();
        // Looked at once after following began: the keys may have changed since the grant.
        let mut keys = ends.key_changes();
        keys.mark_changed();
        let guard = Guard {
            reason: None,
            stalled: terms.stalled.clone(),
            protocol,
            opened: now,
            _permit: permit,
        };
        let silence = jittered(terms.heartbeat);
        let next_heartbeat = now + silence;
        Self {
            feed,
            pending: preamble.into_iter().collect(),
            deliveries: Vec::new(),
            terms,
            ends,
            keys,
            granted_until: None,
            timer: Box::pin(tokio::time::sleep_until(next_heartbeat)),
            last_written: now,
            silence,
            next_heartbeat,
            drain_at: None,
            ended: None,
            opened_ms: now_ms(),
            guard,
        }
    }

    /// The end that has come, if one has.
    fn end(&mut self, now: Instant) -> Option<Disconnect> {
        match self.ends.phase() {
            Phase::Running | Phase::Unready => {}
            Phase::Closing => {
                let window = self.terms.drain_window;
                let at = *self.drain_at.get_or_insert_with(|| {
                    now + crate::shutdown::close_after(window, &mut rand::rng())
                });
                if at <= now {
                    return Some(Disconnect::Drain);
                }
            }
            Phase::Done => return Some(Disconnect::Drain),
        }
        let keys_changed = self.keys.has_changed().unwrap_or(false);
        if keys_changed || self.granted_until.is_some_and(|at| at <= now) {
            self.keys.mark_unchanged();
            let (state, until) = self.ends.grant(&self.terms.grant);
            self.granted_until = until;
            match state {
                GrantState::Good { .. } => {}
                GrantState::Expired => return Some(Disconnect::Expired),
                GrantState::Revoked => return Some(Disconnect::Revoked),
            }
        }
        self.terms.ages_at.is_some_and(|at| at <= now).then_some(Disconnect::MaxAge)
    }

    /// Ends the stream: with a goodbye where the reason has one.
    fn finish(&mut self, reason: Disconnect) {
        self.ended = Some(reason);
        self.guard.reason = Some(reason);
        self.deliveries.clear();
        if let Some(goodbye) = reason.goodbye() {
            let retry = crate::shutdown::jittered_retry(self.terms.retry, &mut rand::rng());
            self.pending.push_back(wire::goodbye(goodbye, retry));
        }
    }

    /// Says a hole.
    fn write_gap(&mut self, gap: &Gap) {
        metrics::gap(gap.reason);
        self.pending.push_back(wire::gap(
            gap.reason,
            gap.requested.as_ref(),
            &gap.resumed_at,
            &self.terms.rooms,
        ));
    }

    /// Turns what was taken from the rooms into bytes.
    fn write_deliveries(&mut self) {
        let now = now_ms();
        let (mut count, mut bytes) = (0, 0);
        let mut complete = false;
        for delivery in std::mem::take(&mut self.deliveries) {
            let Some(frame) = delivery.frame(self.terms.variant) else { continue };
            let before = self.pending.len();
            match &delivery.id_line {
                None => self.pending.push_back(frame.block()),
                Some(line) => {
                    self.pending.push_back(line.clone());
                    self.pending.push_back(frame.body());
                }
            }
            bytes += self.pending.iter().skip(before).map(Bytes::len).sum::<usize>();
            count += 1;
            if let Some(deadline) = delivery.item.head.deadline
                && delivery.item.note_written()
            {
                self.ends.written(&delivery.item, deadline);
            }
            let published_at = delivery.item.published_at();
            if published_at >= self.opened_ms {
                metrics::send_latency_ms(now.saturating_sub(published_at), 1);
            }
            if self.terms.completes && delivery.item.head.is_final {
                complete = true;
                break;
            }
        }
        metrics::sent_events(metrics::SentKind::Event, count);
        metrics::sent_bytes(bytes as u64);
        if complete {
            self.finish(Disconnect::Complete);
        }
    }

    fn heartbeat(&mut self) -> Option<Bytes> {
        match self.terms.heartbeat_form {
            HeartbeatForm::Comment => Some(wire::heartbeat_comment()),
            // Nothing is said while something is pending: that will break the silence itself.
            HeartbeatForm::Event => {
                self.feed.current().map(|cursor| wire::heartbeat(Some(&cursor)))
            }
        }
    }

    /// Arms the timer for what comes first, and asks to be woken by it.
    fn arm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = [self.granted_until, self.terms.ages_at, self.drain_at]
            .into_iter()
            .flatten()
            .fold(self.next_heartbeat, Instant::min);
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx)
    }

    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(block) = self.pending.pop_front() {
                return Poll::Ready(Some(block));
            }
            if self.ended.is_some() {
                return Poll::Ready(None);
            }
            let now = Instant::now();
            if let Some(reason) = self.end(now) {
                self.finish(reason);
                continue;
            }
            match self.feed.poll_next(cx, BATCH_BYTES, &mut self.deliveries) {
                Poll::Ready(Ok(turn)) => {
                    self.last_written = now;
                    match turn {
                        Turn::Events => self.write_deliveries(),
                        Turn::Gap(gap) => self.write_gap(&gap),
                    }
                    continue;
                }
                Poll::Ready(Err(Ended::Lagged)) => {
                    self.finish(Disconnect::Slow);
                    continue;
                }
                Poll::Ready(Err(Ended::Later(written))) => {
                    if self.terms.heartbeat_form == HeartbeatForm::Event {
                        // What was read for it and was not its own need not be read again.
                        self.pending.push_back(wire::heartbeat(Some(&written)));
                    }
                    self.finish(Disconnect::Overloaded);
                    continue;
                }
                Poll::Pending => {}
            }
            if self.next_heartbeat <= now {
                // The timer is not moved at every event; it is looked at when it fires.
                let due = self.last_written + self.silence;
                if due > now {
                    self.next_heartbeat = due;
                } else {
                    self.silence = jittered(self.terms.heartbeat);
                    self.last_written = now;
                    self.next_heartbeat = now + self.silence;
                    if let Some(block) = self.heartbeat() {
                        metrics::sent_events(metrics::SentKind::Heartbeat, 1);
                        return Poll::Ready(Some(block));
                    }
                }
            }
            if self.arm(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// A span that differs from stream to stream, or all of a room would be written to at once:
/// 80 to 100 % of `span`, so that silence is never longer than promised.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(rand::rng().random_range(0.8..=1.0))
}

impl<E: Ends> Body for Connection<E> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.get_mut().poll_block(cx).map(|block| block.map(|bytes| Ok(BodyFrame::data(bytes))))
    }
}
