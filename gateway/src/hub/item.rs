//! An event as readers share it: decoded once, encoded once a variant.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::positions::Positions;
use crate::cursor::{Cursor, Offset, Position, Shard};
use crate::event::Event;
use crate::log::decode::{self, Head, Malformed};
use crate::log::record::Record;
use crate::wire::{self, Frame, Variant};

/// What the window, its frames and its codings take up together, in bytes: one number a pod.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicUsize,
}

impl Budget {
    /// The bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What the rooms' `id:` is after an event.
#[derive(Debug)]
pub(super) enum After {
    /// Every room of the event's id has this vector.
    Room(Cursor),
    /// A broadcast: each room has its own, made from the positions at that moment.
    Broadcast(Arc<Positions>),
    /// Not known: it was read back from the window, and each reader writes its own line.
    Unknown,
}

/// An event of the window.
#[derive(Debug)]
pub struct Item {
    /// Its number in the order in which this pod routed events.
    pub seq: u64,
    /// Whom it reaches.
    pub head: Head,
    pub(super) after: After,
    record: Record,
    source: Arc<str>,
    json_depth: usize,
    frames: [OnceLock<Option<Frame>>; Variant::COUNT],
    budget: Arc<Budget>,
    taken: AtomicUsize,
}

impl Item {
    pub(super) fn new(
        seq: u64,
        record: Record,
        head: Head,
        after: After,
        source: Arc<str>,
        json_depth: usize,
        budget: Arc<Budget>,
    ) -> Self {
        let own = size_of::<Self>();
        budget.take(own);
        Self {
            seq,
            head,
            after,
            record,
            source,
            json_depth,
            frames: Default::default(),
            budget,
            taken: AtomicUsize::new(own),
        }
    }

    /// The shard it lies in.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.record.shard
    }

    /// Its offset there.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.record.offset
    }

    /// The position just after it.
    #[must_use]
    pub fn position_after(&self) -> Position {
        Position { next: self.record.offset.next(), tag: self.record.tag }
    }

    /// The log's time of it, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn published_at(&self) -> i64 {
        self.record.timestamp
    }

    /// How far a reader lags for not having it, in bytes: about what will be written.
    #[must_use]
    pub fn size(&self) -> usize {
        self.record.bytes()
    }

    /// The event, decoded.
    ///
    /// # Errors
    /// [`Malformed`] if its headers or its value are not an event's.
    pub fn event(&self) -> Result<Event, Malformed> {
        let place = decode::Place { source: &self.source, json_depth: self.json_depth };
        decode::event(&self.record, &self.head, &place)
    }

    /// Its bytes for `variant`, made at the first call. `None` if the record's value turned out
    /// to be no JSON: it is said once in the log and written to nobody.
    #[must_use]
    pub fn frame(&self, variant: Variant) -> Option<&Frame> {
        self.frames[variant.index()].get_or_init(|| self.encode(variant)).as_ref()
    }

    fn encode(&self, variant: Variant) -> Option<Frame> {
        let event = match self.event() {
            Ok(event) => event,
            Err(error) => {
                decode::report(&self.source, &self.record, &error);
                return None;
            }
        };
        let id_line = match &self.after {
            After::Room(cursor) => wire::id_line(cursor),
            After::Broadcast(_) | After::Unknown => Bytes::new(),
        };
        let frame = wire::frame(&event, &id_line, variant);
        self.taken.fetch_add(frame.bytes(), Ordering::Relaxed);
        self.budget.take(frame.bytes());
        Some(frame)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.budget.give_back(*self.taken.get_mut());
    }
}
