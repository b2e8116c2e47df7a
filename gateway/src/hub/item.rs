//! An event as readers share it: decoded once, encoded once a variant.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::positions::Positions;
use crate::cursor::{Cursor, Offset, Position, Shard};
use crate::event::Event;
use crate::log::Source;
use crate::log::decode::{self, Head, Malformed};
use crate::log::letter::Outbox;
use crate::log::record::Record;
use crate::wire::content::Coding;
use crate::wire::{self, Frame, Payload, Variant, coding};

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

/// What decides how an event is spelled.
#[derive(Debug, Clone, Copy)]
pub struct Spelling {
    /// How deep a value's JSON may nest.
    pub json_depth: usize,
    /// The least payload that `compress=lz4` compresses, in bytes.
    pub lz4_min_bytes: usize,
}

/// What all items of a hub share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) spelling: Spelling,
    pub(super) budget: Arc<Budget>,
    /// Takes what turns out to be no event.
    pub(super) letters: Outbox,
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
    source: Source,
    shared: Arc<Shared>,
    /// The payload in lz4, made at the first ask.
    lz4: OnceLock<Box<str>>,
    /// Most are never asked for.
    frames: [OnceLock<Option<Box<Frame>>>; Variant::COUNT],
    taken: AtomicUsize,
    /// A stream of this pod was written it.
    is_written: AtomicBool,
}

impl Item {
    pub(super) fn new(
        seq: u64,
        record: Record,
        head: Head,
        after: After,
        source: Source,
        shared: Arc<Shared>,
    ) -> Self {
        let own = size_of::<Self>();
        shared.budget.take(own);
        Self {
            seq,
            head,
            after,
            record,
            source,
            shared,
            lz4: OnceLock::new(),
            frames: Default::default(),
            taken: AtomicUsize::new(own),
            is_written: AtomicBool::new(false),
        }
    }

    /// Takes note that a stream was written it; true the first time.
    #[must_use]
    pub fn note_written(&self) -> bool {
        !self.is_written.swap(true, Ordering::Relaxed)
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
        decode::event(&self.record, &self.head, &self.source, self.shared.spelling.json_depth)
    }

    /// Its bytes for `variant`, made at the first call. `None` if the record's value turned out
    /// to be no JSON: it is said once in the log and written to nobody.
    #[must_use]
    pub fn frame(&self, variant: Variant) -> Option<&Frame> {
        let frame = self.frames[variant.index()].get_or_init(|| self.encode(variant).map(Box::new));
        frame.as_deref()
    }

    fn encode(&self, variant: Variant) -> Option<Frame> {
        self.grow(size_of::<Frame>());
        let plain = Variant { coding: Coding::Identity, ..variant };
        if plain != variant
            && let Some(frame) = self.frames[plain.index()].get()
        {
            return Some(self.counted(frame.as_deref()?.coded(variant.coding)));
        }
        let event = match self.event() {
            Ok(event) => event,
            Err(error) => {
                decode::report(&self.source.name, &self.record, &error);
                self.shared.letters.post_malformed(&self.source.name, &self.record, &error);
                return None;
            }
        };
        if variant.lz4 && event.data.len() < self.shared.spelling.lz4_min_bytes {
            // Not worth a coding: such readers share the plain frame's bytes.
            return self.frame(Variant { lz4: false, ..variant }).cloned();
        }
        let frame = self.spell(&event, variant);
        // Without its coding it does not stay: perhaps nobody reads it so.
        Some(self.counted(if plain == variant { frame } else { frame.coded(variant.coding) }))
    }

    fn spell(&self, event: &Event, variant: Variant) -> Frame {
        let id_line = match &self.after {
            After::Room(cursor) => wire::id_line(cursor),
            After::Broadcast(_) | After::Unknown => Bytes::new(),
        };
        let payload = if variant.lz4 {
            let text = self.lz4.get_or_init(|| {
                let text = coding::lz4_base64(&event.data).into_boxed_str();
                self.grow(text.len());
                text
            });
            let encoding = if event.is_base64 { coding::BASE64_LZ4 } else { coding::LZ4 };
            Payload::Coded { encoding, text }
        } else {
            Payload::Json
        };
        wire::frame(event, &id_line, variant.unnamed, payload)
    }

    fn counted(&self, frame: Frame) -> Frame {
        self.grow(frame.bytes());
        frame
    }

    /// Counts the record in the pod's budget, too: it is not in the window, which does that.
    pub(super) fn count_record(&self) {
        self.grow(self.record.bytes());
    }

    /// Counts what was made of the event in the pod's budget.
    fn grow(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.shared.budget.take(bytes);
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.shared.budget.give_back(*self.taken.get_mut());
    }
}

#[cfg(test)]
mod tests;
