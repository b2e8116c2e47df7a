//! A reader's wish for a part of a shard, and what it was given so far.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cursor::{Offset, Position, Tag};
use crate::event::{Pattern, User};
use crate::hub::Item;
use crate::hub::wanted::{feeds, is_for};
use crate::log::decode::Head;
use crate::log::{Stretch, Unread};

/// How much is read for one chunk, in bytes: a reader learns how far it is, and that it may end.
const TURN_BYTES: usize = 8 * 1024 * 1024;
/// The most events in a chunk.
const CHUNK_EVENTS: usize = 512;
/// The most bytes of events in a chunk; one event always is.
const CHUNK_BYTES: usize = 256 * 1024;

/// Whose events are read.
#[derive(Debug)]
pub(in crate::replay) struct Filter {
    pub(in crate::replay) patterns: Vec<Pattern>,
    pub(in crate::replay) user: Option<User>,
}

impl Filter {
    pub(super) fn takes(&self, head: &Head) -> bool {
        is_for(head, self.user.as_ref()) && feeds(&self.patterns, head)
    }
}

/// A part of what was asked for.
#[derive(Debug)]
pub(in crate::replay) struct Chunk {
    pub(in crate::replay) items: Vec<Arc<Item>>,
    /// Everything before this was read.
    pub(in crate::replay) next: Position,
    /// How many bytes were read for it.
    pub(in crate::replay) scanned: usize,
}

/// What was found where a reader is.
#[derive(Debug)]
pub(in crate::replay) enum Found {
    Chunk(Chunk),
    /// The log begins later, here.
    Trimmed(Position),
    /// The reader's cursor is of another log; this one begins here.
    OtherLog(Position),
}

pub(super) type Answer = Result<Found, Unread>;

/// One reader's place in a shard.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) next: Position,
    pub(super) until: Offset,
    pub(super) filter: Arc<Filter>,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
    /// The record before `next` was looked at, or cannot be.
    pub(super) is_checked: bool,
    pub(super) items: Vec<Arc<Item>>,
    pub(super) bytes: usize,
    pub(super) scanned: usize,
    /// When it was last given something, counted in stretches.
    pub(super) turn: u64,
}

impl Want {
    /// Where it has to be read from.
    pub(super) fn first(&self) -> Offset {
        let before = self.next.next.0.saturating_sub(u128::from(!self.is_checked));
        Offset(before)
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= CHUNK_EVENTS || self.bytes >= CHUNK_BYTES
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_full() || self.next.next >= self.until || self.scanned >= TURN_BYTES
    }

    pub(super) fn answer(self) {
        let Self { items, next, scanned, answer, .. } = self;
        // Nobody waits any more: so be it.
        let _ = answer.send(Ok(Found::Chunk(Chunk { items, next, scanned })));
    }
}

/// Moves a reader past a stretch.
pub(super) fn pass(want: &mut Want, stretch: &Stretch) {
    let next = stretch.next.min(want.until);
    if next <= want.next.next {
        return;
    }
    let before = Offset(next.0.saturating_sub(1));
    let found = stretch.records.binary_search_by_key(&before, |record| record.offset);
    let tag = match found {
        Ok(nth) => stretch.records[nth].tag,
        // Of a log with an epoch every position has its tag.
        Err(_) if want.next.tag.is_epoch() => want.next.tag,
        Err(_) => Tag::UNKNOWN,
    };
    want.next = Position { next, tag };
}
