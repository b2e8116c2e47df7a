//! A room on this pod: a ring of references into the window, and who reads it.
//!
//! A reader is a place in the ring. It has no queue: one that is too slow falls off the tail and
//! nobody else notices.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::batch::Pending;
use super::fallen::Fallen;
use super::gathering::{Next, Rounds};
use super::item::{After, Item};
use super::lanes::Woken;
use super::row::{Manner, Parked, Row, SEATS, Unparked};
use crate::event::Pattern;
use crate::wire::{self, Variant};

/// How many events are taken at once for parked readers.
const BATCH: usize = 64;

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

/// A reader's seat in a room: its place in the ring and its slot among the wakers.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) room: Arc<Room>,
    row: Arc<Row>,
    place: u64,
    slot: usize,
    /// The fan-out writes to its socket, and knows its place.
    is_parked: bool,
    /// Events with a lower number were taken, or routed before it was taken.
    next_seq: u64,
    /// Whether it wants what fell off the tail kept.
    wants_fallen: bool,
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
            ring.copy(&self.pattern, skip, BATCH, &mut taken);
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

impl Seat {
    /// What is pending, up to `most` events; each with its shared `id:` line where the item has
    /// none of its own.
    pub(super) fn take(
        &mut self,
        most: usize,
        into: &mut Vec<(Arc<Item>, Option<Bytes>)>,
    ) -> Result<(), Missed> {
        self.take_and(most, into, |_, _| None::<()>).map(drop)
    }

    /// The same; if that is all, also asks for `waker` to be woken when more comes, and says so.
    pub(super) fn take_or_wait(
        &mut self,
        most: usize,
        into: &mut Vec<(Arc<Item>, Option<Bytes>)>,
        waker: &Waker,
    ) -> Result<bool, Missed> {
        let asked = self.take_and(most, into, |ring, slot| Some(ring.wait(slot, waker)))?;
        // Dropped outside of the lock.
        Ok(asked.is_some())
    }

    /// What is pending, and under the same lock `at_end` of it if that is all.
    fn take_and<T>(
        &mut self,
        most: usize,
        into: &mut Vec<(Arc<Item>, Option<Bytes>)>,
        at_end: impl FnOnce(&mut Ring, usize) -> Option<T>,
    ) -> Result<Option<T>, Missed> {
        let mut ring = self.room.ring.lock();
        let skip = ring.skip(self.place)?;
        let before = into.len();
        ring.copy(&self.room.pattern, skip, most, into);
        self.place += (into.len() - before) as u64;
        if let Some((last, _)) = into[before..].last() {
            self.next_seq = last.seq + 1;
        }
        Ok(if self.place == ring.end() { at_end(&mut ring, self.slot) } else { None })
    }

    /// The number of the next pending event, if there is one.
    pub(super) fn peek(&self) -> Result<Option<u64>, Missed> {
        let ring = self.room.ring.lock();
        Ok(ring.entries.get(ring.skip(self.place)?).map(|e| e.item.seq))
    }

    /// Events with a lower number were taken, or routed before the seat was.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The number of the oldest event in the ring if the seat has fallen off its tail, and
    /// `first_seq`, the window's, if the ring is empty.
    pub(super) fn oldest_if_fallen(&self, first_seq: u64) -> Result<Option<u64>, Lagged> {
        let ring = self.room.ring.lock();
        match ring.skip(self.place) {
            Ok(_) => Ok(None),
            Err(Missed::Cut) => Err(Lagged),
            Err(Missed::Fallen) => {
                Ok(Some(ring.entries.front().map_or(first_seq, |entry| entry.item.seq)))
            }
        }
    }

    /// Goes on at the first event whose number is not lower than `seq`.
    pub(super) fn skip_to(&mut self, seq: u64) {
        let ring = self.room.ring.lock();
        self.place = ring.first + ring.entries.partition_point(|e| e.item.seq < seq) as u64;
        self.next_seq = seq;
    }

    /// From now on the newest of each kind is kept for this seat when it falls off the tail.
    pub(super) fn keep_fallen(&mut self) {
        if !std::mem::replace(&mut self.wants_fallen, true) {
            self.room.ring.lock().fallen.seats += 1;
        }
    }

    /// Takes everything that is pending, with the newest of each kind that fell off the tail
    /// before it could be taken; in no order. The next event's number will not be lower than
    /// `next_seq`.
    pub(super) fn take_all(&mut self, next_seq: u64, into: &mut Vec<Arc<Item>>) {
        let ring = self.room.ring.lock();
        into.extend(ring.fallen.since(self.place).cloned());
        let skip = ring.skip(self.place).unwrap_or_default();
        into.extend(ring.entries.iter().skip(skip).map(|entry| Arc::clone(&entry.item)));
        self.place = ring.end();
        self.next_seq = next_seq;
    }

    /// Asks to be woken, unless something is pending already.
    pub(super) fn wait(&self, waker: &Waker) -> bool {
        let mut ring = self.room.ring.lock();
        if self.place != ring.end() {
            return false;
        }
        let old = ring.wait(self.slot, waker);
        drop(ring);
        drop(old);
        true
    }

    /// Leaves the seat to the fan-out, which from now on writes to its socket. Only for a reader that
    /// asked to be woken; false if something has come since.
    pub(super) fn park(&mut self, manner: Manner) -> bool {
        let (room, place, slot, next_seq) = (&self.room, self.place, self.slot, self.next_seq);
        self.is_parked = self.row.park(slot % SEATS, |parked| {
            let mut ring = room.ring.lock();
            if place != ring.end() {
                return None;
            }
            let waker = ring.wakers[slot].take()?;
            // Under this lock: what is pushed next finds it.
            parked.fetch_add(1, Ordering::Relaxed);
            Some(Parked::new(manner, waker, place, next_seq))
        });
        self.is_parked
    }

    #[cfg(test)]
    pub(super) fn row(&self) -> Arc<Row> {
        Arc::clone(&self.row)
    }

    /// Takes the seat back, if it is parked. From then on nobody else writes to its socket.
    pub(super) fn unpark(&mut self) -> Option<Unparked> {
        if !std::mem::take(&mut self.is_parked) {
            return None;
        }
        let parked = self.row.unpark(self.slot % SEATS)?;
        self.place = parked.place;
        self.next_seq = parked.next_seq;
        Some(parked.unparked())
    }

    /// Whether nothing is pending.
    pub(super) fn is_drained(&self) -> bool {
        let ring = self.room.ring.lock();
        self.place == ring.end()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.unpark();
        let mut ring = self.room.ring.lock();
        let old = ring.wakers[self.slot].take();
        ring.leave(self.slot);
        if self.wants_fallen {
            ring.fallen.seats -= 1;
            if ring.fallen.seats == 0 {
                ring.fallen.clear();
            }
        }
        drop(ring);
        // Outside of the lock: the last waker of a task drops the task, and with it a seat.
        drop(old);
    }
}
