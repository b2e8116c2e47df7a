//! A room on this pod: a ring of references into the window, and who reads it.
//!
//! A reader is a place in the ring. It has no queue: one that is too slow falls off the tail and
//! nobody else notices.

mod seat;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::batch::{self, Pending};
use super::fallen::Fallen;
use super::gathering::{Next, Rounds};
use super::item::{After, Item};
use super::lanes::Woken;
use super::row::{Row, SEATS};
use crate::event::Pattern;
use crate::wire::{self, Variant};

pub(super) use seat::Seat;

/// A reader whose stream has to end: it fell off the tail of a ring, or its log was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged;

/// What comes next for a seat is not in the ring any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// It fell off the tail.
    Fallen,
    /// The ring was cut: what is in it does not follow what the reader has.
    Cut,
}

#[derive(Debug)]
struct Entry {
    item: Arc<Item>,
    /// A broadcast's `id:` line in this room; made when the first reader writes it.
    id_line: Option<Bytes>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// The place of the oldest entry.
    first: u64,
    bytes: usize,
    /// Seats at a place before this one are cut.
    begun: u64,
    /// The newest of each kind beyond the tail.
    fallen: Fallen,
    /// One slot a reader: whom to wake when something comes.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// Where those are parked who need not be woken; the slots in the same order.
    rows: Vec<Seats>,
    rounds: Rounds,
}

/// A row, and how many have a seat in it.
#[derive(Debug)]
struct Seats {
    row: Arc<Row>,
    taken: usize,
}

/// A room that has readers.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) pattern: Pattern,
    ring: Mutex<Ring>,
    /// The ring's end, beside its lock.
    end: AtomicU64,
}

impl Room {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self { pattern, ring: Mutex::default(), end: AtomicU64::new(0) }
    }

    /// Takes a seat at the end of the ring: what is pushed from now on, the first of it with the
    /// number `next_seq` or a later one, will be read.
    pub(super) fn sit(self: &Arc<Self>, next_seq: u64) -> Seat {
        let mut ring = self.ring.lock();
        let slot = ring.free.pop().unwrap_or_else(|| {
            ring.wakers.push(None);
            ring.wakers.len() - 1
        });
        let place = ring.end();
        Seat {
            room: Arc::clone(self),
            row: ring.sit(slot),
            place,
            slot,
            is_parked: false,
            next_seq,
            wants_fallen: false,
        }
    }

    /// Appends an event. What no longer fits in `most_bytes`, or has left the window
    /// (`first_seq`), falls off the tail.
    pub(super) fn push(&self, item: Arc<Item>, most_bytes: usize, first_seq: u64) {
        let mut ring = self.ring.lock();
        ring.bytes += item.size();
        ring.rounds.gather(item.size(), most_bytes);
        ring.entries.push_back(Entry { item, id_line: None });
        // The newest stays, however large: a reader that is up to date must get it.
        while ring.entries.len() > 1 && ring.bytes > most_bytes {
            let place = ring.first;
            if let Some(entry) = ring.drop_oldest()
                && ring.fallen.seats > 0
            {
                ring.fallen.note(place, entry.item);
            }
        }
        ring.trim(first_seq);
        self.end.store(ring.end(), Ordering::Release);
    }

    /// Where the ring ends: the place of what will be pushed next.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// What is pending for a parked reader at `place`.
    pub(super) fn pending(&self, place: u64, variant: Variant) -> Pending {
        let mut taken = Vec::new();
        let end = {
            let mut ring = self.ring.lock();
            let Ok(skip) = ring.skip(place) else { return Pending::ForTask };
            ring.copy(&self.pattern, skip, batch::EVENTS, &mut taken);
            ring.end()
        };
        // Without the lock: events may have to be encoded.
        Pending::of(&taken, place, end, variant)
    }

    /// Lets everybody who sits here fall off the tail: what comes next does not follow what they
    /// have.
    pub(super) fn cut(&self) {
        let mut ring = self.ring.lock();
        ring.first = ring.end() + 1;
        ring.begun = ring.first;
        ring.entries.clear();
        ring.bytes = 0;
        ring.fallen.clear();
        self.end.store(ring.end(), Ordering::Release);
    }

    /// Lets go of what has left the window.
    pub(super) fn trim(&self, first_seq: u64) {
        let mut ring = self.ring.lock();
        ring.trim(first_seq);
        ring.fallen.trim(first_seq);
    }

    /// Moves out everybody who waits, to be woken without the lock.
    pub(super) fn wake(self: &Arc<Self>, into: &mut Woken) {
        self.ring.lock().wake(self, into);
    }

    /// Moves out everybody who waits if something new at `now` is to be read at once.
    pub(super) fn next_round(self: &Arc<Self>, now: Instant, into: &mut Woken) -> Next {
        let mut ring = self.ring.lock();
        let readers = ring.readers();
        let next = ring.rounds.next(readers, now);
        if next == Next::Wake {
            ring.wake(self, into);
        }
        next
    }

    /// Moves out everybody who waits: a round begins that was due.
    pub(super) fn begin_round(self: &Arc<Self>, now: Instant, into: &mut Woken) {
        let mut ring = self.ring.lock();
        ring.rounds.begin(now);
        ring.wake(self, into);
    }

    pub(super) fn readers(&self) -> usize {
        self.ring.lock().readers()
    }
}

impl Ring {
    /// Moves out everybody who waits in `room`, whose ring it is.
    fn wake(&mut self, room: &Arc<Room>, into: &mut Woken) {
        into.wakers.extend(self.wakers.iter_mut().filter_map(Option::take));
        for Seats { row, .. } in &self.rows {
            let parked = row.parked();
            if parked > 0 {
                into.rows.push((Arc::clone(room), Arc::clone(row)));
                into.parked += parked;
            }
        }
    }

    /// The row of `slot`, whose seat is taken.
    fn sit(&mut self, slot: usize) -> Arc<Row> {
        let at = slot / SEATS;
        if self.rows.len() <= at {
            self.rows.reserve_exact(1);
            self.rows.push(Seats { row: Arc::new(Row::new()), taken: 0 });
        }
        let seats = &mut self.rows[at];
        seats.taken += 1;
        Arc::clone(&seats.row)
    }

    /// Gives the seat of `slot` back.
    fn leave(&mut self, slot: usize) {
        self.free.push(slot);
        let seats = &mut self.rows[slot / SEATS];
        seats.taken -= 1;
        if seats.taken == 0 {
            seats.row.clear();
        }
    }

    /// Copies up to `most` entries from the one at `skip` on, each with its shared `id:` line where
    /// the item has none of its own.
    fn copy(
        &mut self,
        pattern: &Pattern,
        skip: usize,
        most: usize,
        into: &mut Vec<(Arc<Item>, Option<Bytes>)>,
    ) {
        into.reserve(self.entries.len().saturating_sub(skip).min(most));
        for entry in self.entries.iter_mut().skip(skip).take(most) {
            if let (None, After::Broadcast(positions)) = (&entry.id_line, &entry.item.after) {
                let vector = positions.vector_so_far(&pattern.id);
                entry.id_line = Some(wire::id_line(&vector));
            }
            into.push((Arc::clone(&entry.item), entry.id_line.clone()));
        }
    }

    fn readers(&self) -> usize {
        self.wakers.len() - self.free.len()
    }

    /// The place of the next entry that will be pushed.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Has `waker` woken when something comes. Returns who was to be woken, to be dropped outside
    /// of the lock: the last waker of a task drops the task, and with it a seat.
    fn wait(&mut self, slot: usize, waker: &Waker) -> Option<Waker> {
        let slot = &mut self.wakers[slot];
        if slot.as_ref().is_some_and(|own| own.will_wake(waker)) {
            return None;
        }
        slot.replace(waker.clone())
    }

    fn drop_oldest(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.item.size();
        self.first += 1;
        Some(entry)
    }

    /// How many entries lie before `place`.
    fn skip(&self, place: u64) -> Result<usize, Missed> {
        match place.checked_sub(self.first) {
            Some(skip) => Ok(usize::try_from(skip).unwrap_or(usize::MAX)),
            None if place < self.begun => Err(Missed::Cut),
            None => Err(Missed::Fallen),
        }
    }

    fn trim(&mut self, first_seq: u64) {
        while self.entries.front().is_some_and(|e| e.item.seq < first_seq) {
            self.drop_oldest();
        }
    }
}
