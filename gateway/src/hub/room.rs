//! A room on this pod: a ring of references into the window, and who reads it.
//!
//! A reader is a place in the ring. It has no queue: one that is too slow falls off the tail and
//! nobody else notices.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;

use super::item::{After, Item};
use crate::event::Pattern;
use crate::wire;

/// A reader that fell off the tail of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged;

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
    /// One slot a reader: whom to wake when something comes.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// A room that has readers.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) pattern: Pattern,
    ring: Mutex<Ring>,
}

/// A reader's seat in a room: its place in the ring and its slot among the wakers.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) room: Arc<Room>,
    place: u64,
    slot: usize,
}

impl Room {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self { pattern, ring: Mutex::default() }
    }

    /// Takes a seat at the end of the ring: what is pushed from now on will be read.
    pub(super) fn sit(self: &Arc<Self>) -> Seat {
        let mut ring = self.ring.lock();
        let slot = ring.free.pop().unwrap_or_else(|| {
            ring.wakers.push(None);
            ring.wakers.len() - 1
        });
        Seat { room: Arc::clone(self), place: ring.first + ring.entries.len() as u64, slot }
    }

    /// Appends an event. What no longer fits in `most_bytes`, or has left the window
    /// (`first_seq`), falls off the tail.
    pub(super) fn push(&self, item: Arc<Item>, most_bytes: usize, first_seq: u64) {
        let mut ring = self.ring.lock();
        ring.bytes += item.size();
        ring.entries.push_back(Entry { item, id_line: None });
        // The newest stays, however large: a reader that is up to date must get it.
        while ring.entries.len() > 1 && ring.bytes > most_bytes {
            ring.drop_oldest();
        }
        ring.trim(first_seq);
    }

    /// Lets everybody who sits here fall off the tail: what comes next does not follow what they
    /// have.
    pub(super) fn cut(&self) {
        let mut ring = self.ring.lock();
        ring.first += ring.entries.len() as u64 + 1;
        ring.entries.clear();
        ring.bytes = 0;
    }

    /// Lets go of what has left the window.
    pub(super) fn trim(&self, first_seq: u64) {
        self.ring.lock().trim(first_seq);
    }

    /// Moves out everybody who waits, to be woken without the lock.
    pub(super) fn take_wakers(&self, into: &mut Vec<Waker>) {
        into.extend(self.ring.lock().wakers.iter_mut().filter_map(Option::take));
    }

    pub(super) fn readers(&self) -> usize {
        let ring = self.ring.lock();
        ring.wakers.len() - ring.free.len()
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.item.size();
            self.first += 1;
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
    ) -> Result<(), Lagged> {
        let mut ring = self.room.ring.lock();
        let Some(skip) = self.place.checked_sub(ring.first) else { return Err(Lagged) };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let before = into.len();
        for entry in ring.entries.iter_mut().skip(skip).take(most) {
            if let (None, After::Broadcast(positions)) = (&entry.id_line, &entry.item.after) {
                let vector = positions.vector_so_far(&self.room.pattern.id);
                entry.id_line = Some(wire::id_line(&vector));
            }
            into.push((Arc::clone(&entry.item), entry.id_line.clone()));
        }
        self.place += (into.len() - before) as u64;
        Ok(())
    }

    /// The number of the next pending event, if there is one.
    pub(super) fn peek(&self) -> Result<Option<u64>, Lagged> {
        let ring = self.room.ring.lock();
        let Some(skip) = self.place.checked_sub(ring.first) else { return Err(Lagged) };
        let at = usize::try_from(skip).unwrap_or(usize::MAX);
        Ok(ring.entries.get(at).map(|e| e.item.seq))
    }

    /// Asks to be woken, unless something is pending already.
    pub(super) fn wait(&self, waker: &Waker) -> bool {
        let mut ring = self.room.ring.lock();
        if self.place != ring.first + ring.entries.len() as u64 {
            return false;
        }
        let slot = &mut ring.wakers[self.slot];
        if slot.as_ref().is_some_and(|w| w.will_wake(waker)) {
            return true;
        }
        let old = slot.replace(waker.clone());
        drop(ring);
        // Outside of the lock: the last waker of a task drops the task, and with it a seat.
        drop(old);
        true
    }

    /// Whether nothing is pending.
    pub(super) fn is_drained(&self) -> bool {
        let ring = self.room.ring.lock();
        self.place == ring.first + ring.entries.len() as u64
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut ring = self.room.ring.lock();
        let old = ring.wakers[self.slot].take();
        ring.free.push(self.slot);
        drop(ring);
        // Outside of the lock: the last waker of a task drops the task, and with it a seat.
        drop(old);
    }
}
