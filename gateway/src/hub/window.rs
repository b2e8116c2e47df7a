//! The recent window: the last records of all shards in the order in which this pod routed them,
//! bounded in bytes and age. Rings and resuming readers hold references into it.
//!
//! Records are chained by the hash of their `event_id`, newest first, so that a resume walks its
//! own room's records and no others, and a record costs one map entry at most.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::item::{Budget, Item};
use crate::cursor::{Offset, Shard, Tag};
use crate::log::record::Record;

/// No record before this one in its chain.
const NONE: u64 = u64::MAX;

/// What records are chained by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Chain(pub(super) u64);

#[derive(Debug)]
struct Stored {
    record: Record,
    chain: Chain,
    /// The record before it in its chain.
    previous: u64,
    routed_at: Instant,
    /// The event, once a reader wanted it.
    item: Option<Arc<Item>>,
}

/// The recent window.
#[derive(Debug)]
pub(super) struct Window {
    stored: VecDeque<Stored>,
    /// The number of the oldest record.
    first: u64,
    newest: HashMap<Chain, u64, foldhash::fast::FixedState>,
    /// For each shard its records' offsets and numbers, oldest first.
    places: HashMap<Shard, VecDeque<(Offset, u64)>, foldhash::fast::FixedState>,
    budget: Arc<Budget>,
}

/// What a record costs beside itself: its places in the two indexes.
const INDEX_BYTES: usize = 64;

impl Window {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            stored: VecDeque::new(),
            first: 0,
            newest: HashMap::default(),
            places: HashMap::default(),
            budget,
        }
    }

    /// The number that the next record gets.
    pub(super) fn next_seq(&self) -> u64 {
        self.first + self.stored.len() as u64
    }

    /// The number of the oldest record that is still here.
    pub(super) fn first_seq(&self) -> u64 {
        self.first
    }

    /// Appends a record and returns its number.
    pub(super) fn push(&mut self, record: Record, chain: Chain, now: Instant) -> u64 {
        let seq = self.next_seq();
        self.budget.take(cost(&record));
        self.places.entry(record.shard).or_default().push_back((record.offset, seq));
        let previous = self.newest.insert(chain, seq).unwrap_or(NONE);
        self.stored.push_back(Stored { record, chain, previous, routed_at: now, item: None });
        seq
    }

    pub(super) fn set_item(&mut self, seq: u64, item: Arc<Item>) {
        if let Some(stored) = self.at_mut(seq) {
            stored.item = Some(item);
        }
    }

    fn at(&self, seq: u64) -> Option<&Stored> {
        self.stored.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    fn at_mut(&mut self, seq: u64) -> Option<&mut Stored> {
        self.stored.get_mut(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// The records of `chain`, newest first.
    pub(super) fn newest_first(
        &self,
        chain: Chain,
    ) -> impl Iterator<Item = (u64, &Record, Option<&Arc<Item>>)> {
        let mut next = self.newest.get(&chain).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let stored = self.at(next)?;
            let seq = std::mem::replace(&mut next, stored.previous);
            Some((seq, &stored.record, stored.item.as_ref()))
        })
    }

    /// The tag of the record at exactly this place, if it is here.
    pub(super) fn tag_at(&self, shard: Shard, offset: Offset) -> Option<Tag> {
        let places = self.places.get(&shard)?;
        let at = places.binary_search_by_key(&offset, |p| p.0).ok()?;
        Some(self.at(places[at].1)?.record.tag)
    }

    /// The number of the first record of `shard` at or after `offset`.
    pub(super) fn seq_from(&self, shard: Shard, offset: Offset) -> Option<u64> {
        let places = self.places.get(&shard)?;
        places.get(places.partition_point(|p| p.0 < offset)).map(|p| p.1)
    }

    /// Whether the oldest record is to go: the pod uses more than `bytes`, or it was routed
    /// before `routed_before`.
    fn oldest_is_due(&self, bytes: usize, routed_before: Option<Instant>) -> bool {
        self.stored.front().is_some_and(|oldest| {
            self.budget.used() > bytes || routed_before.is_some_and(|t| oldest.routed_at < t)
        })
    }

    /// Lets go of what is too much or too old; each shard and offset that went is told to `gone`.
    pub(super) fn evict(
        &mut self,
        bytes: usize,
        routed_before: Option<Instant>,
        mut gone: impl FnMut(Shard, Offset),
    ) {
        while self.oldest_is_due(bytes, routed_before) {
            let Some(oldest) = self.stored.pop_front() else { return };
            let seq = self.first;
            self.first += 1;
            self.budget.give_back(cost(&oldest.record));
            if self.newest.get(&oldest.chain) == Some(&seq) {
                self.newest.remove(&oldest.chain);
            }
            if let Some(places) = self.places.get_mut(&oldest.record.shard) {
                places.pop_front();
            }
            gone(oldest.record.shard, oldest.record.offset);
        }
    }

    /// Forgets a shard whose log was replaced: its offsets mean something else now.
    pub(super) fn forget(&mut self, shard: Shard) {
        if let Some(places) = self.places.get_mut(&shard) {
            // The records stay in their chains until they are evicted; `Positions` says from
            // where on the shard is covered, and nothing before that is replayed.
            places.clear();
        }
    }
}

fn cost(record: &Record) -> usize {
    record.bytes() + size_of::<Stored>() + INDEX_BYTES
}
