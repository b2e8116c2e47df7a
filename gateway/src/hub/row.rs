//! Readers who wait with their sockets, in rows: what comes is written to a row in one go, without a
//! task between.
//!
//! A stream's task parks its reader when everything was written, and takes it back whenever it is
//! polled. In between only the fan-out writes to the socket, and only what all readers at one place
//! share. The task is woken for everything else: a socket that takes no more, an event that is not
//! for everybody, a stream whose time is over, a ring that was cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::batch::{Batches, Pending};
use super::room::Room;
use crate::clock::now_ms;
use crate::outlet::Outlet;
use crate::telemetry::metrics;
use crate::wire::Variant;
use crate::wire::content::Coding;
use crate::wire::encoder::Encoder;

/// How many seats a row has. Its lock is held while all of them are written to: a third of a
/// millisecond.
pub(super) const SEATS: usize = 64;

/// How a parked reader is written to.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The socket.
    pub outlet: Outlet,
    /// How events are spelled.
    pub variant: Variant,
    /// How far the stream's coding has come.
    pub encoder: Encoder,
    /// When its task has to look whether the stream is over.
    pub until: Option<Instant>,
    /// When the stream was opened, in milliseconds since the Unix epoch: what is older counts in no
    /// latency.
    pub opened_ms: i64,
}

/// What was done for a reader while it was parked.
#[derive(Debug)]
pub struct Unparked {
    /// How far the stream's coding has come.
    pub encoder: Encoder,
    /// When it was last written to.
    pub wrote_at: Option<Instant>,
    /// The rest of a batch that the socket took in part.
    pub rest: Bytes,
}

#[derive(Debug)]
pub(super) struct Parked {
    pub(super) manner: Manner,
    /// Wakes its task.
    pub(super) waker: Waker,
    /// Its place in the ring.
    pub(super) place: u64,
    /// Events with a lower number were written.
    pub(super) next_seq: u64,
    wrote_at: Option<Instant>,
    rest: Option<Box<Bytes>>,
    /// Its task was woken: nothing is written before that has had its turn.
    is_woken: bool,
}

impl Parked {
    pub(super) fn new(manner: Manner, waker: Waker, place: u64, next_seq: u64) -> Self {
        Self { manner, waker, place, next_seq, wrote_at: None, rest: None, is_woken: false }
    }

    /// What its task has to know of it.
    pub(super) fn unparked(self) -> Unparked {
        let rest = self.rest.map_or_else(Bytes::new, |rest| *rest);
        Unparked { encoder: self.manner.encoder, wrote_at: self.wrote_at, rest }
    }

    /// Writes what is pending.
    fn write(&mut self, room: &Arc<Room>, batches: &mut Batches, now: Instant, sent: &mut Sent) {
        if !self.is_woken && self.is_for_task(room, batches, now, sent) {
            self.wake();
        }
    }

    /// Leaves it to its task.
    fn wake(&mut self) {
        self.is_woken = true;
        // Not dropped here: the last waker of a task drops the task, and with it a seat.
        self.waker.wake_by_ref();
    }

    /// Writes what is pending; true if its task has to go on from here.
    fn is_for_task(
        &mut self,
        room: &Arc<Room>,
        batches: &mut Batches,
        now: Instant,
        sent: &mut Sent,
    ) -> bool {
        if self.manner.until.is_some_and(|until| until <= now) {
            return true;
        }
        loop {
            let batch = match batches.get(room, self.place, self.manner.variant) {
                Pending::Nothing => return false,
                Pending::ForTask => return true,
                Pending::Batch(batch) => batch,
            };
            // A socket that takes nothing, or never will: its task finds out which.
            let Ok(wrote) = self.manner.outlet.write(&batch.bytes) else { return true };
            self.place = batch.end;
            self.next_seq = batch.next_seq;
            self.wrote_at = Some(now);
            self.manner.encoder.pass(&batch.piece);
            sent.events += batch.events;
            sent.bytes[self.manner.variant.coding as usize] += batch.block_bytes;
            for (published_at, events) in &batch.published {
                if *published_at >= self.manner.opened_ms {
                    sent.note(*published_at, *events);
                }
            }
            if wrote < batch.bytes.len() {
                self.rest = Some(Box::new(batch.bytes.slice(wrote..)));
                return true;
            }
            if batch.is_all {
                return false;
            }
        }
    }
}

/// A row of seats of one room.
#[derive(Debug)]
pub(super) struct Row {
    /// Which thread writes to it, modulo how many there are.
    pub(super) lane: usize,
    slots: Mutex<Vec<Option<Parked>>>,
    /// How many seats are parked. Grows only under the lock of the ring, which says whether there
    /// is something new.
    parked: AtomicU32,
    /// It is in its lane's queue.
    is_queued: AtomicBool,
}

impl Row {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            lane: NEXT.fetch_add(1, Ordering::Relaxed),
            slots: Mutex::default(),
            parked: AtomicU32::new(0),
            is_queued: AtomicBool::new(false),
        }
    }

    /// How many readers wait here.
    pub(super) fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed) as usize
    }

    /// Parks who `parks` returns, if anybody, at `slot`. Nobody is written to meanwhile.
    pub(super) fn park(
        &self,
        slot: usize,
        parks: impl FnOnce(&AtomicU32) -> Option<Parked>,
    ) -> bool {
        let mut slots = self.slots.lock();
        let Some(parked) = parks(&self.parked) else { return false };
        if slots.len() <= slot {
            // Most rooms are small: the first reader does not pay for three more.
            if slots.capacity() <= slot {
                let more = (slot + 1).next_power_of_two() - slots.len();
                slots.reserve_exact(more);
            }
            slots.resize_with(slot + 1, || None);
        }
        slots[slot] = Some(parked);
        true
    }

    /// Takes back who is parked at `slot`.
    pub(super) fn unpark(&self, slot: usize) -> Option<Parked> {
        let parked = self.slots.lock().get_mut(slot)?.take()?;
        self.parked.fetch_sub(1, Ordering::Relaxed);
        Some(parked)
    }

    /// Gives the memory back: nobody has a seat here.
    pub(super) fn clear(&self) {
        *self.slots.lock() = Vec::new();
    }

    /// Takes note that it is to be written to; false if it is queued for that already.
    pub(super) fn queue(&self) -> bool {
        !self.is_queued.swap(true, Ordering::AcqRel)
    }

    /// It has come to the front of its queue. What is pushed from now on queues it again.
    pub(super) fn unqueue(&self) {
        self.is_queued.swap(false, Ordering::AcqRel);
    }

    /// Leaves everybody here to their tasks.
    pub(super) fn give_back(&self) {
        self.slots.lock().iter_mut().flatten().for_each(Parked::wake);
    }

    /// Writes what is pending to everybody who waits here.
    pub(super) fn write(&self, room: &Arc<Room>, batches: &mut Batches) {
        let now = Instant::now();
        let mut sent = Sent::default();
        for parked in self.slots.lock().iter_mut().flatten() {
            parked.write(room, batches, now, &mut sent);
        }
        sent.count();
    }
}

/// What was written to a row.
#[derive(Debug, Default)]
struct Sent {
    events: u64,
    /// By coding.
    bytes: [u64; Coding::ALL.len()],
    /// How many events were published at each time.
    published: Vec<(i64, u64)>,
}

impl Sent {
    fn note(&mut self, published_at: i64, events: u64) {
        match self.published.iter_mut().find(|(at, _)| *at == published_at) {
            Some((_, count)) => *count += events,
            None => self.published.push((published_at, events)),
        }
    }

    fn count(&self) {
        if self.events == 0 {
            return;
        }
        let now = now_ms();
        for (published_at, events) in &self.published {
            metrics::send_latency_ms(now.saturating_sub(*published_at), *events);
        }
        metrics::sent_events(metrics::SentKind::Event, self.events);
        for (coding, bytes) in Coding::ALL.into_iter().zip(self.bytes) {
            if bytes > 0 {
                metrics::sent_bytes(coding, bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
