//! One reader of one or several rooms: where it is, what it has, and what comes next.
//!
//! The hand-over: a reader takes its seats first, then what the window holds after its cursor is
//! noted, both under the hub's lock. So each event is in exactly one of the two, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use super::Hub;
use super::batch;
use super::item::{After, Item};
use super::overflow::Next;
use super::resume::Gap;
use super::room::{Lagged, Missed, Seat};
use super::row::{Manner, Unparked};
use super::wanted::is_for;
use crate::config::Slow;
use crate::cursor::Cursor;
use crate::event::User;
use crate::wire::{self, Frame, Variant};

/// An event as one reader writes it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event.
    pub item: Arc<Item>,
    /// The reader's own `id:` line, or the room's for a broadcast; `None`: the frame's.
    pub id_line: Option<Bytes>,
}

impl Delivery {
    /// The frame to write, `None` if the event cannot be spelled.
    #[must_use]
    pub fn frame(&self, variant: Variant) -> Option<&Frame> {
        self.item.frame(variant)
    }
}

/// A reader.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    seats: Vec<Seat>,
    user: Option<User>,
    /// What is to be written before the rings are looked at again: what the window held after the
    /// cursor, or what follows after the reader fell off a ring's tail.
    first: VecDeque<Next>,
    /// The reader's own vector, while the rooms' is not at or past it. A reader of several rooms
    /// always has one: the rooms' vectors say nothing of each other.
    own: Option<Cursor>,
    /// Until when the vector keeps components that the pod does not know. A source that is no longer
    /// read must not give each reader lines of its own for ever.
    unknown_until: Option<Instant>,
    taken: Vec<(Arc<Item>, Option<Bytes>)>,
    /// It has taken all there was, and who polled for that is woken when more comes.
    waits: bool,
    /// What becomes of it when it falls off the tail of a ring.
    slow: Slow,
}

impl Subscription {
    pub(super) fn new(
        hub: Arc<Hub>,
        seats: Vec<Seat>,
        user: Option<User>,
        replay: VecDeque<Arc<Item>>,
        own: Option<Cursor>,
    ) -> Self {
        let unknown_until = own
            .as_ref()
            .filter(|own| hub.knows_less_than(own))
            .map(|_| Instant::now() + hub.bounds.window_age);
        Self {
            hub,
            seats,
            user,
            first: replay.into_iter().map(Next::Event).collect(),
            own,
            unknown_until,
            taken: Vec::new(),
            waits: false,
            slow: Slow::Disconnect,
        }
    }

    /// Says what becomes of the reader when it is too slow; otherwise it is cut.
    pub fn when_slow(&mut self, slow: Slow) {
        self.slow = slow;
        if slow == Slow::Latest {
            self.seats.iter_mut().for_each(Seat::keep_fallen);
        }
    }

    /// The hole that [`Self::poll_next`] came to instead of events.
    pub fn take_gap(&mut self) -> Option<Gap> {
        match self.first.pop_front_if(|next| matches!(next, Next::Gap(_)))? {
            Next::Gap(gap) => {
                self.own = Some(gap.resumed_at.clone());
                Some(*gap)
            }
            Next::Event(_) => None,
        }
    }

    /// Whether what was polled for last was all there was: who polled is woken when more comes, and
    /// need not look again before that.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Leaves the reader to the fan-out, if all it waits for is what everybody in its room gets: it
    /// is written to as `manner` says, and whoever polled last is woken for everything else.
    pub fn park(&mut self, manner: Manner) {
        if self.waits
            && self.own.is_none()
            && self.first.is_empty()
            && let [seat] = self.seats.as_mut_slice()
        {
            seat.park(manner);
        }
    }

    #[cfg(test)]
    pub(super) fn row(&self) -> Arc<super::row::Row> {
        self.seats[0].row()
    }

    /// Takes the reader back from the fan-out, if it was left to it. To be called before anything
    /// else is.
    pub fn unpark(&mut self) -> Option<Unparked> {
        self.seats.first_mut()?.unpark()
    }

    /// The next events, in order, up to about `most_bytes`; or none, if there is a hole before
    /// them, which [`Self::take_gap`] then has. Waits while there is nothing.
    ///
    /// # Errors
    /// [`Lagged`] if the reader was so slow that events it has not had are gone from the ring, and
    /// is to be cut for it.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        most_bytes: usize,
        out: &mut Vec<Delivery>,
    ) -> Poll<Result<(), Lagged>> {
        self.waits = false;
        loop {
            let bytes = self.take_first(most_bytes, out);
            if matches!(self.first.front(), Some(Next::Gap(_))) {
                return Poll::Ready(Ok(()));
            }
            if self.first.is_empty() && bytes < most_bytes {
                let took = self.take_live(cx.waker());
                out.reserve(self.taken.len());
                for (item, id_line) in std::mem::take(&mut self.taken) {
                    self.deliver(item, id_line, out);
                }
                // What it has got so far comes first, and then the end or the hole.
                if let Err(missed) = took
                    && out.is_empty()
                {
                    self.first = self.overflow(missed)?;
                    continue;
                }
            }
            if !out.is_empty() {
                return Poll::Ready(Ok(()));
            }
            // Only others' events may have been pending: go on until a seat really waits.
            if self.waits
                || self.first.is_empty() && self.seats.iter().all(|seat| seat.wait(cx.waker()))
            {
                return Poll::Pending;
            }
        }
    }

    /// What follows now that events are gone from a ring which the reader has not had.
    fn overflow(&mut self, missed: Missed) -> Result<VecDeque<Next>, Lagged> {
        let Self { hub, seats, own, user, .. } = self;
        match (missed, self.slow) {
            (Missed::Cut, _) | (_, Slow::Disconnect) => Err(Lagged),
            (Missed::Fallen, Slow::Drop) => hub.go_on_at_oldest(seats, own.as_ref()),
            (Missed::Fallen, Slow::Latest) => {
                hub.go_on_with_latest(seats, own.as_ref(), user.as_ref())
            }
        }
    }

    /// Writes what comes before the rings, up to the next hole; returns how many bytes that is.
    fn take_first(&mut self, most_bytes: usize, out: &mut Vec<Delivery>) -> usize {
        let mut bytes = 0;
        while bytes < most_bytes
            && let Some(Next::Event(item)) =
                self.first.pop_front_if(|next| matches!(next, Next::Event(_)))
        {
            bytes += item.size();
            self.deliver(item, None, out);
        }
        bytes
    }

    /// Takes what is pending into `taken`, several rooms merged in the order of their routing. If one
    /// room has no more, `waker` waits for it.
    fn take_live(&mut self, waker: &Waker) -> Result<(), Missed> {
        if let [seat] = self.seats.as_mut_slice() {
            self.waits = seat.take_or_wait(batch::EVENTS, &mut self.taken, waker)?;
            return Ok(());
        }
        while self.taken.len() < batch::EVENTS {
            // Before the rooms are looked at, one after the other: of two events that are routed
            // meanwhile only the later may be seen, and taking it would lose the earlier.
            let settled = self.hub.settled();
            let mut oldest: Option<u64> = None;
            for seat in &self.seats {
                let seq = seat.peek()?;
                oldest = match (oldest, seq) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            let Some(oldest) = oldest else { return Ok(()) };
            if oldest >= settled {
                self.hub.settle();
                continue;
            }
            let before = self.taken.len();
            for seat in &mut self.seats {
                // An event of several of the rooms, or a broadcast, is written once.
                if seat.peek()? == Some(oldest) {
                    seat.take(1, &mut self.taken)?;
                    self.taken.truncate(before + 1);
                }
            }
        }
        Ok(())
    }

    /// Lets go of what the pod has not come to know in time.
    fn forget_unknown(&mut self) {
        if self.unknown_until.is_some_and(|until| until <= Instant::now()) {
            self.unknown_until = None;
            if let Some(own) = &mut self.own {
                self.hub.keep_known(own);
            }
        }
    }

    /// Writes `item` into `out` unless the reader has it already or it is somebody else's.
    fn deliver(&mut self, item: Arc<Item>, room_line: Option<Bytes>, out: &mut Vec<Delivery>) {
        self.forget_unknown();
        if self.own.as_mut().is_some_and(|own| !pass(own, &item)) {
            return;
        }
        if !is_for(&item.head, self.user.as_ref()) {
            return;
        }
        // Not during a replay: what is read back from the window has no line that could be shared,
        // nor has a broadcast that is not taken from a ring.
        let may_share = self.seats.len() == 1 && self.first.is_empty();
        let id_line = match (&self.own, &item.after) {
            (None, _) => room_line,
            (Some(own), After::Room(room)) if may_share && room.covers(own) => {
                self.own = None;
                None
            }
            (Some(own), _) if item.head.is_final && self.seats.len() == 1 => {
                Some(wire::id_line(&own.clone().flagged(true)))
            }
            (Some(own), _) => Some(wire::id_line(own)),
        };
        out.push(Delivery { item, id_line });
    }

    /// What a heartbeat may say now: the current position in every shard, if everything below it
    /// was written or was not for this reader. `None` while something is pending.
    pub fn current(&mut self) -> Option<Cursor> {
        if !self.first.is_empty() {
            return None;
        }
        let head = self.hub.head_if_drained(&self.seats)?;
        self.forget_unknown();
        let Some(own) = &mut self.own else { return Some(head) };
        own.advance_all(&head);
        let current = own.clone();
        if self.seats.len() == 1 && head.covers(&current) {
            self.own = None;
        }
        Some(current)
    }

    /// Whether events of a replay are still to be written.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        !self.first.is_empty()
    }
}

/// Moves a reader's own vector past `item`; false if it has it already.
pub(crate) fn pass(own: &mut Cursor, item: &Item) -> bool {
    if own.get(item.shard()).is_some_and(|p| p.next > item.offset()) {
        return false;
    }
    own.advance(item.shard(), item.position_after());
    true
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(std::mem::take(&mut self.seats));
    }
}
