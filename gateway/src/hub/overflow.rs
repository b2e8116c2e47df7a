//! What becomes of a reader that fell off the tail of a ring and does not want to be cut: it is
//! told of the hole and goes on, as its policy says.
//!
//! A hole's cursor has to be exact: everything before it was written or is missing, and resuming
//! from it gives all that follows. So it is made of the positions at the moment when the first
//! event that follows was routed: in each shard, the first record from that number on.

#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::item::Item;
use super::resume::{self, Gap};
use super::room::{Lagged, Seat};
use super::subscription::pass;
use super::wanted::is_for;
use super::{Hub, State};
use crate::cursor::{Cursor, Shard};
use crate::event::{Audience, User};
use crate::wire::GapReason;

/// What a reader gets before it looks at the rings again.
#[derive(Debug)]
pub(super) enum Next {
    /// A hole.
    Gap(Box<Gap>),
    /// An event.
    Event(Arc<Item>),
}

impl Hub {
    /// Lets a reader whose vector is `own`, or its room's, go on at the oldest event from which on
    /// its rings have everything.
    ///
    /// Of several rooms the one whose ring begins last decides: a cursor cannot say that a reader
    /// is further in one of them.
    ///
    /// # Errors
    /// [`Lagged`] if a ring was cut.
    pub(super) fn go_on_at_oldest(
        &self,
        seats: &mut [Seat],
        own: Option<&Cursor>,
    ) -> Result<VecDeque<Next>, Lagged> {
        let state = self.state.lock();
        let first_seq = state.window.first_seq();
        let mut oldest = None;
        for seat in seats.iter() {
            oldest = oldest.max(seat.oldest_if_fallen(first_seq)?);
        }
        let Some(oldest) = oldest else { return Ok(VecDeque::new()) };
        let before = place_of(&state, seats, own);
        for seat in seats.iter_mut() {
            seat.skip_to(oldest);
        }
        let mut way = Way::new(&state, seats, own, before);
        Ok(way.gap_before(oldest).map(Next::Gap).into_iter().collect())
    }

    /// Lets a reader whose vector is `own`, or its room's, go on with the newest event of each id
    /// and type that is pending, in order, and after them with what comes.
    ///
    /// What lies between two of these is a hole too, and said: the cursor of an event never covers
    /// what was not written.
    ///
    /// # Errors
    /// [`Lagged`] if a ring was cut.
    pub(super) fn go_on_with_latest(
        &self,
        seats: &mut [Seat],
        own: Option<&Cursor>,
        user: Option<&User>,
    ) -> Result<VecDeque<Next>, Lagged> {
        let mut pending = Vec::new();
        let (end, mut lost_before, before) = {
            let state = self.state.lock();
            let end = state.window.next_seq();
            let mut lost_before = None;
            for seat in seats.iter() {
                lost_before = lost_before.max(seat.oldest_if_fallen(end)?);
            }
            let before = place_of(&state, seats, own);
            for seat in seats.iter_mut() {
                seat.take_all(end, &mut pending);
            }
            (end, lost_before, before)
        };
        // Without the lock: a ring may hold thousands.
        pending.sort_unstable_by_key(|item| item.seq);
        pending.dedup_by_key(|item| item.seq);
        pending.retain(|item| is_for(&item.head, user) && !own.is_some_and(|own| has(own, item)));
        let newest = newest_of_each(&pending);

        let state = self.state.lock();
        let mut way = Way::new(&state, seats, own, before);
        let mut next = VecDeque::new();
        let mut missing = true;
        for (item, is_newest) in pending.into_iter().zip(newest) {
            if !is_newest {
                missing = true;
                continue;
            }
            // Of what fell off only the newest of each is left: anything may lie between, as far as the
            // oldest in the rings, which the reader may have.
            if let Some(seq) = lost_before {
                missing = true;
                lost_before = (item.seq < seq).then_some(seq);
            }
            if std::mem::take(&mut missing) {
                next.extend(way.gap_before(item.seq).map(Next::Gap));
            }
            if pass(&mut way.at, &item) {
                next.push_back(Next::Event(item));
            }
        }
        if missing || lost_before.is_some() {
            next.extend(way.gap_before(end).map(Next::Gap));
        }
        Ok(next)
    }
}

/// Whether a reader with this vector has `item`.
fn has(own: &Cursor, item: &Item) -> bool {
    own.get(item.shard()).is_some_and(|p| p.next > item.offset())
}

/// For each of `items`, in their order, whether it is the last of its id and type.
fn newest_of_each(items: &[Arc<Item>]) -> Vec<bool> {
    let mut seen: HashSet<&Audience, RandomState> = HashSet::default();
    let mut newest: Vec<bool> =
        items.iter().rev().map(|item| seen.insert(&item.head.audience)).collect();
    newest.reverse();
    newest
}

/// Where a reader is: its own vector, or what its room's was when it took the last event. `None`
/// if the window does not reach so far back.
fn place_of(state: &State, seats: &[Seat], own: Option<&Cursor>) -> Option<Cursor> {
    if let Some(own) = own {
        return Some(own.clone());
    }
    let [seat] = seats else { return None };
    let vector = state.positions.vector_so_far(&seat.room.pattern.id);
    let shards: Vec<Shard> = vector.components().iter().map(|c| c.0).collect();
    let reaches = seat.next_seq() >= state.window.first_seq();
    reaches.then(|| before(state, &shards, seat.next_seq()))
}

/// The positions in `shards` before the event with the number `seq` was routed.
fn before(state: &State, shards: &[Shard], seq: u64) -> Cursor {
    let State { positions, window, .. } = state;
    Cursor::new(shards.iter().filter_map(|&shard| {
        let head = positions.get(shard)?.position;
        let next = window.offset_from(shard, seq).unwrap_or(head.next);
        Some((shard, resume::position(window, shard, next, head)))
    }))
}

/// A reader's way over its holes.
struct Way<'a> {
    state: &'a State,
    /// Those that can feed it.
    shards: Vec<Shard>,
    /// Where it is; empty while that is its room's place.
    at: Cursor,
    /// Where it was at first.
    first: Option<Cursor>,
}

impl<'a> Way<'a> {
    fn new(state: &'a State, seats: &[Seat], own: Option<&Cursor>, first: Option<Cursor>) -> Self {
        let at = own.cloned().unwrap_or_default();
        let mut all = at.clone();
        for seat in seats {
            all.advance_all(&state.positions.vector_so_far(&seat.room.pattern.id));
        }
        let shards = all.components().iter().map(|c| c.0).collect();
        Self { state, shards, at, first }
    }

    /// Goes to the event with the number `seq` and returns the hole before it, if it is one: not
    /// for a reader that came from a pod which is further.
    fn gap_before(&mut self, seq: u64) -> Option<Box<Gap>> {
        let to = before(self.state, &self.shards, seq);
        if self.at.covers(&to) {
            return None;
        }
        let is_first = self.at.components().is_empty();
        let requested = if is_first { self.first.take() } else { Some(self.at.clone()) };
        self.at.advance_all(&to);
        let resumed_at = self.at.clone();
        Some(Box::new(Gap { reason: GapReason::Overflow, requested, resumed_at }))
    }
}
