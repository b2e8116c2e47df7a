//! One stream's life: first block, hole, events, heartbeats, and a named end.
//!
//! The ends come first: at every step a drain, an expiry, a revoked key or the age limit wins over
//! what is pending. A stream that ends says goodbye and when to come back; one whose reader was
//! too slow is simply cut, and resumes by its cursor, unless it is to go on after a hole.

mod terms;
pub mod wheel;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame as BodyFrame};
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::terms::{Ends, HeartbeatForm, Terms};
use self::wheel::Alarm;
use crate::auth::verifier::GrantState;
use crate::clock::now_ms;
use crate::disconnect::{Disconnect, Stalled};
use crate::hub::{BATCH_BYTES, Delivery, Gap, Manner};
use crate::outlet::Outlet;
use crate::replay::{Ended, Feed, Turn};
use crate::shutdown::Phase;
use crate::telemetry::metrics::{self, Protocol};
use crate::wire::{self, encoder::Encoder};

/// How long a client that does not take what is pending is waited for once it is told that the pod
/// goes.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A stream of one reader.
pub struct Connection<E: Ends> {
    feed: Feed,
    /// Blocks to write before anything else.
    pending: VecDeque<Bytes>,
    deliveries: Vec<Delivery>,
    terms: Terms,
    encoder: Encoder,
    ends: Arc<E>,
    keys: watch::Receiver<u64>,
    /// When the grant is to be looked at again.
    granted_until: Option<Instant>,
    /// Set for the earliest of heartbeat, expiry, age and drain.
    alarm: Alarm,
    /// For when it is set.
    armed: Option<Instant>,
    /// What is pending was taken from the feed by the poll that goes on.
    is_fresh: bool,
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
        let mut pending = VecDeque::new();
        let mut encoder = Encoder::new(terms.variant.coding, terms.framing);
        encoder.put_start(&mut pending);
        preamble.into_iter().for_each(|block| encoder.put_block(block, &mut pending));
        let alarm = Alarm::new(Arc::clone(ends.wheel()));
        Self {
            feed,
            pending,
            deliveries: Vec::new(),
            terms,
            encoder,
            ends,
            keys,
            granted_until: None,
            alarm,
            armed: None,
            is_fresh: false,
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
            self.put(wire::goodbye(goodbye, retry));
        }
        self.encoder.put_end(&mut self.pending);
    }

    fn put(&mut self, block: Bytes) {
        self.encoder.put_block(block, &mut self.pending);
    }

    /// Says a hole.
    fn write_gap(&mut self, gap: &Gap) {
        metrics::gap(gap.reason);
        self.put(wire::gap(gap.reason, gap.requested.as_ref(), &gap.resumed_at, &self.terms.rooms));
    }

    /// Turns what was taken from the rooms into bytes.
    fn write_deliveries(&mut self) {
        let now = now_ms();
        let (mut count, mut bytes) = (0, 0);
        let mut complete = false;
        // Events of one moment, as those of a burst are, are counted together.
        let mut late = (0, 0);
        self.pending.reserve(self.deliveries.len());
        for delivery in std::mem::take(&mut self.deliveries) {
            let Some(frame) = delivery.frame(self.terms.variant) else { continue };
            let id_line = delivery.id_line.as_ref();
            bytes += self.encoder.put_frame(frame, id_line, &mut self.pending);
            count += 1;
            if let Some(deadline) = delivery.item.head.deadline
                && delivery.item.note_written()
            {
                self.ends.written(&delivery.item, deadline);
            }
            let published_at = delivery.item.published_at();
            if published_at >= self.opened_ms {
                let ms = now.saturating_sub(published_at);
                if ms != late.0 {
                    metrics::send_latency_ms(late.0, late.1);
                    late = (ms, 0);
                }
                late.1 += 1;
            }
            if self.terms.completes && delivery.item.head.is_final {
                complete = true;
                break;
            }
        }
        metrics::send_latency_ms(late.0, late.1);
        metrics::sent_events(metrics::SentKind::Event, count);
        metrics::sent_bytes(self.encoder.coding(), bytes as u64);
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

    /// Sets the alarm for `at` or an end that comes before. True if the ends have to be looked at
    /// once more: who wakes all streams for them may have done so before the alarm was set.
    fn arm(&mut self, at: Instant, cx: &Context<'_>) -> bool {
        let end = self.next_end().filter(|_| self.ended.is_none());
        let at = end.map_or(at, |end| end.min(at));
        self.armed = Some(at);
        self.alarm.set(at, cx)
    }

    /// Whether the poll that goes on need not look for more when it has written what is pending: it
    /// took all there was, and is woken when more comes and when its next alarm is due.
    pub fn waits(&self) -> bool {
        let alarm = self.next_end().map_or(self.next_heartbeat, |at| at.min(self.next_heartbeat));
        self.is_fresh
            && self.ended.is_none()
            && self.feed.waits()
            && self.armed == Some(alarm)
            && self.last_written < alarm
    }

    /// When the stream is to be looked at for its end.
    fn next_end(&self) -> Option<Instant> {
        [self.granted_until, self.terms.ages_at, self.drain_at].into_iter().flatten().min()
    }

    /// Leaves a stream that waits to the fan-out, which writes what comes to `outlet`, as chunks,
    /// until the stream is polled again.
    pub fn park(&mut self, outlet: Outlet) {
        if self.ended.is_none() && self.pending.is_empty() {
            let manner = Manner {
                outlet,
                variant: self.terms.variant,
                encoder: self.encoder,
                until: self.next_end(),
                opened_ms: self.opened_ms,
            };
            self.feed.park(manner);
        }
    }

    /// Takes the stream back from the fan-out.
    fn unpark(&mut self) {
        let Some(unparked) = self.feed.unpark() else { return };
        self.encoder = unparked.encoder;
        if let Some(at) = unparked.wrote_at {
            self.last_written = at;
        }
        if !unparked.rest.is_empty() {
            self.pending.push_back(unparked.rest);
        }
    }

    /// What is to be written, framed: never empty, `None` at the end. Whoever takes a part of a
    /// block puts the rest back to the front.
    pub fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Option<&mut VecDeque<Bytes>>> {
        self.unpark();
        // What is left from an earlier poll: meanwhile that one was woken, perhaps by more.
        self.is_fresh = self.pending.is_empty();
        if self.is_fresh {
            ready!(self.poll_fill(cx));
        }
        Poll::Ready((!self.pending.is_empty()).then_some(&mut self.pending))
    }

    /// Waits while what is pending cannot be written; until `until` at most, and not for long once
    /// the pod is going. If the stream's end comes meanwhile, that is said behind what is pending.
    pub fn poll_blocked(&mut self, cx: &Context<'_>, until: Instant) -> Poll<()> {
        loop {
            let now = Instant::now();
            if self.ended.is_none()
                && let Some(reason) = self.end(now)
            {
                self.finish(reason);
            }
            let until = match (self.ended, self.drain_at) {
                (Some(Disconnect::Drain), Some(at)) => until.min(at + LAST_WORDS),
                _ => until,
            };
            if until <= now {
                return Poll::Ready(());
            }
            if !self.arm(until, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Takes note that the client takes nothing of what is pending.
    pub fn stalled(&self) {
        self.terms.stalled.set();
        metrics::send_failure(metrics::SendFailure::WriteTimeout);
    }

    /// Waits until something is pending, or the stream is over.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.pending.is_empty() || self.ended.is_some() {
                return Poll::Ready(());
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
                        self.put(wire::heartbeat(Some(&written)));
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
                        self.put(block);
                        continue;
                    }
                }
            }
            if !self.arm(self.next_heartbeat, cx) {
                return Poll::Pending;
            }
        }
    }
}

/// A span that differs from stream to stream, or all of a room would be written to at once:
/// 80 to 100 % of `span` less what an alarm may be late, so that silence is never longer than
/// promised.
fn jittered(span: Duration) -> Duration {
    let span = span.saturating_sub(wheel::TICK).max(span / 2);
    span.mul_f64(rand::rng().random_range(0.8..=1.0))
}

impl<E: Ends> Body for Connection<E> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let pending = ready!(self.get_mut().poll_pending(cx));
        Poll::Ready(pending.and_then(VecDeque::pop_front).map(|bytes| Ok(BodyFrame::data(bytes))))
    }
}

#[cfg(test)]
mod tests;
