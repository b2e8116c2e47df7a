//! A reader's seat in a room.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::Bytes;

use super::{Lagged, Missed, Ring, Room};
use crate::hub::item::Item;
use crate::hub::row::{Manner, Parked, Row, SEATS, Unparked};

/// A reader's seat in a room: its place in the ring and its slot among the wakers.
#[derive(Debug)]
pub(in crate::hub) struct Seat {
    pub(in crate::hub) room: Arc<Room>,
    pub(super) row: Arc<Row>,
    pub(super) place: u64,
    pub(super) slot: usize,
    /// The fan-out writes to its socket, and knows its place.
    pub(super) is_parked: bool,
    /// Events with a lower number were taken, or routed before it was taken.
    pub(super) next_seq: u64,
    /// Whether it wants what fell off the tail kept.
    pub(super) wants_fallen: bool,
}

impl Seat {
    /// What is pending, up to `most` events; each with its shared `id:` line where the item has
    /// none of its own.
    pub(in crate::hub) fn take(
        &mut self,
        most: usize,
        into: &mut Vec<(Arc<Item>, Option<Bytes>)>,
    ) -> Result<(), Missed> {
        self.take_and(most, into, |_, _| None::<()>).map(drop)
    }

    /// The same; if that is all, also asks for `waker` to be woken when more comes, and says so.
    pub(in crate::hub) fn take_or_wait(
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
    pub(in crate::hub) fn peek(&self) -> Result<Option<u64>, Missed> {
        let ring = self.room.ring.lock();
        Ok(ring.entries.get(ring.skip(self.place)?).map(|e| e.item.seq))
    }

    /// Events with a lower number were taken, or routed before the seat was.
    pub(in crate::hub) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The number of the oldest event in the ring if the seat has fallen off its tail, and
    /// `first_seq`, the window's, if the ring is empty.
    pub(in crate::hub) fn oldest_if_fallen(&self, first_seq: u64) -> Result<Option<u64>, Lagged> {
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
    pub(in crate::hub) fn skip_to(&mut self, seq: u64) {
        let ring = self.room.ring.lock();
        self.place = ring.first + ring.entries.partition_point(|e| e.item.seq < seq) as u64;
        self.next_seq = seq;
    }

    /// From now on the newest of each kind is kept for this seat when it falls off the tail.
    pub(in crate::hub) fn keep_fallen(&mut self) {
        if !std::mem::replace(&mut self.wants_fallen, true) {
            self.room.ring.lock().fallen.seats += 1;
        }
    }

    /// Takes everything that is pending, with the newest of each kind that fell off the tail
    /// before it could be taken; in no order. The next event's number will not be lower than
    /// `next_seq`.
    pub(in crate::hub) fn take_all(&mut self, next_seq: u64, into: &mut Vec<Arc<Item>>) {
        let ring = self.room.ring.lock();
        into.extend(ring.fallen.since(self.place).cloned());
        let skip = ring.skip(self.place).unwrap_or_default();
        into.extend(ring.entries.iter().skip(skip).map(|entry| Arc::clone(&entry.item)));
        self.place = ring.end();
        self.next_seq = next_seq;
    }

    /// Asks to be woken, unless something is pending already.
    pub(in crate::hub) fn wait(&self, waker: &Waker) -> bool {
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
    pub(in crate::hub) fn park(&mut self, manner: Manner) -> bool {
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
    pub(in crate::hub) fn row(&self) -> Arc<Row> {
        Arc::clone(&self.row)
    }

    /// Takes the seat back, if it is parked. From then on nobody else writes to its socket.
    pub(in crate::hub) fn unpark(&mut self) -> Option<Unparked> {
        if !std::mem::take(&mut self.is_parked) {
            return None;
        }
        let parked = self.row.unpark(self.slot % SEATS)?;
        self.place = parked.place;
        self.next_seq = parked.next_seq;
        Some(parked.unparked())
    }

    /// Whether nothing is pending.
    pub(in crate::hub) fn is_drained(&self) -> bool {
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
