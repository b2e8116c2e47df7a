//! The recent window: the last records of all shards in the order in which this pod routed them,
//! bounded in bytes and age. Rings and resuming readers hold references into it.
//!
//! Records are chained by the hash of their `event_id`, oldest first, so that a resume or a page of
//! history finds its place in its own room's records and walks no others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hint::black_box;
use std::sync::Arc;

use tokio::time::Instant;

use super::item::{Budget, Item};
use crate::cursor::{Cursor, Offset, Shard, Tag};
use crate::log::record::Record;

/// What records are chained by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Chain(pub(super) u64);

#[derive(Debug)]
struct Stored {
    record: Record,
    chain: Chain,
    routed_at: Instant,
    /// The event, once a reader wanted it.
    item: Option<Arc<Item>>,
}

/// The numbers of a chain's records, oldest first. Most ids have one record in the window: it
/// costs no allocation.
#[derive(Debug)]
struct Links {
    first: u64,
    rest: VecDeque<u64>,
}

impl Links {
    /// Those at or after `from`.
    fn since(&self, from: u64) -> impl Iterator<Item = u64> {
        let rest = self.rest.range(self.rest.partition_point(|seq| *seq < from)..).copied();
        Some(self.first).filter(|seq| *seq >= from).into_iter().chain(rest)
    }
}

/// Where a record of a shard is.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: Offset,
    seq: u64,
    /// The latest time of this record and those of its shard before it, in milliseconds since the
    /// Unix epoch. Unlike the records' own times it never steps back.
    latest: i64,
}

/// The recent window.
#[derive(Debug)]
pub(super) struct Window {
    stored: VecDeque<Stored>,
    /// The number of the oldest record.
    first: u64,
    chains: HashMap<Chain, Links, foldhash::fast::FixedState>,
    /// For each shard its records, oldest first.
    places: HashMap<Shard, VecDeque<Place>, foldhash::fast::FixedState>,
    /// Shards whose log was replaced: records with lower numbers are of the former one.
    replaced: HashMap<Shard, u64, foldhash::fast::FixedState>,
    budget: Arc<Budget>,
    /// What was pushed and does not count yet.
    pushed_bytes: usize,
}

/// What a record costs beside itself: its places in the two indexes.
const INDEX_BYTES: usize = 96;

impl Window {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            stored: VecDeque::new(),
            first: 0,
            chains: HashMap::default(),
            places: HashMap::default(),
            replaced: HashMap::default(),
            budget,
            pushed_bytes: 0,
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

    /// Looks up where records of these chains will go, and does nothing.
    ///
    /// Ten thousand rooms' chains do not fit into the processor's nearest cache. One record after the
    /// other would wait for its own; so short a loop waits for many at a time.
    pub(super) fn touch(&self, chains: impl Iterator<Item = Chain>) {
        for chain in chains {
            let links = self.chains.get(&chain);
            black_box(links.and_then(|links| links.rest.back()));
        }
    }

    /// The same for the oldest records, which go next.
    fn touch_oldest(&self, most: usize) {
        for stored in self.stored.range(..most.min(self.stored.len())) {
            let links = self.chains.get(&stored.chain);
            black_box(links.and_then(|links| links.rest.front()));
        }
    }

    /// Counts in the budget what was pushed since the last time.
    pub(super) fn count_pushed(&mut self) {
        self.budget.take(std::mem::take(&mut self.pushed_bytes));
    }

    /// Appends a record and returns its number. It counts from [`Window::count_pushed`] on: one sum a
    /// batch, since every change of a shared number waits for all that was written before.
    pub(super) fn push(&mut self, record: Record, chain: Chain, now: Instant) -> u64 {
        let seq = self.next_seq();
        self.pushed_bytes += cost(&record);
        let places = self.places.entry(record.shard).or_default();
        let latest = places.back().map_or(i64::MIN, |p| p.latest).max(record.timestamp);
        places.push_back(Place { offset: record.offset, seq, latest });
        self.chains
            .entry(chain)
            .and_modify(|links| links.rest.push_back(seq))
            .or_insert_with(|| Links { first: seq, rest: VecDeque::new() });
        self.stored.push_back(Stored { record, chain, routed_at: now, item: None });
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

    /// The records of these chains from the number `from` on, oldest first.
    pub(super) fn oldest_first(
        &self,
        chains: &[Chain],
        from: u64,
    ) -> impl Iterator<Item = (u64, &Record, Option<&Arc<Item>>)> {
        let links = chains.iter().filter_map(|chain| self.chains.get(chain));
        let mut feeds: Vec<_> = links.map(|links| links.since(from)).collect();
        let firsts = feeds.iter_mut().enumerate();
        let mut nearest: BinaryHeap<Reverse<(u64, usize)>> =
            firsts.filter_map(|(nth, feed)| Some(Reverse((feed.next()?, nth)))).collect();
        let numbers = std::iter::from_fn(move || {
            let Reverse((seq, nth)) = nearest.pop()?;
            nearest.extend(feeds[nth].next().map(|next| Reverse((next, nth))));
            Some(seq)
        });
        numbers.filter_map(|seq| {
            let stored = self.at(seq)?;
            let here = !self.is_replaced(stored.record.shard, seq);
            here.then_some((seq, &stored.record, stored.item.as_ref()))
        })
    }

    /// Whether a record is of a log that was replaced since.
    fn is_replaced(&self, shard: Shard, seq: u64) -> bool {
        self.replaced.get(&shard).is_some_and(|begun| seq < *begun)
    }

    /// The tag of the record at exactly this place, if it is here.
    pub(super) fn tag_at(&self, shard: Shard, offset: Offset) -> Option<Tag> {
        let places = self.places.get(&shard)?;
        let at = places.binary_search_by_key(&offset, |p| p.offset).ok()?;
        Some(self.at(places[at].seq)?.record.tag)
    }

    /// The number of the first record of `shard` at or after `offset`.
    fn seq_from(&self, shard: Shard, offset: Offset) -> Option<u64> {
        let places = self.places.get(&shard)?;
        places.get(places.partition_point(|p| p.offset < offset)).map(|p| p.seq)
    }

    /// The number before which nothing is at or past `own` in any shard; [`u64::MAX`] if nothing is.
    pub(super) fn oldest_of(&self, own: &Cursor) -> u64 {
        let first = own.components().iter();
        first.filter_map(|(shard, at)| self.seq_from(*shard, at.next)).min().unwrap_or(u64::MAX)
    }

    /// The offset of the first record of `shard` that was routed after the number `seq`.
    pub(super) fn offset_after(&self, shard: Shard, seq: u64) -> Option<Offset> {
        self.offset_from(shard, seq + 1)
    }

    /// The offset of the first record of `shard` with the number `seq` or a later one.
    pub(super) fn offset_from(&self, shard: Shard, seq: u64) -> Option<Offset> {
        let places = self.places.get(&shard)?;
        places.get(places.partition_point(|p| p.seq < seq)).map(|p| p.offset)
    }

    /// The offset of the first record of `shard` whose time is at or after `since`, in
    /// milliseconds since the Unix epoch.
    pub(super) fn offset_since(&self, shard: Shard, since: i64) -> Option<Offset> {
        let places = self.places.get(&shard)?;
        places.get(places.partition_point(|p| p.latest < since)).map(|p| p.offset)
    }

    /// Lets go of what is too much or too old; `about` is how many records that may be. `gone` is told
    /// each shard and offset that went, and the latest time of what the shard has lost up to it.
    /// Stops at an event that a reader wanted, and returns it: what was encoded of it counts until
    /// all who have it let go.
    pub(super) fn evict(
        &mut self,
        bytes: usize,
        routed_before: Option<Instant>,
        about: usize,
        mut gone: impl FnMut(Shard, Offset, i64),
    ) -> Option<Arc<Item>> {
        let used = self.budget.used();
        let is_old = |oldest: &Stored| routed_before.is_some_and(|t| oldest.routed_at < t);
        if used <= bytes && !self.stored.front().is_some_and(is_old) {
            return None;
        }
        self.touch_oldest(about);
        let mut given_back = 0;
        let mut item = None;
        while item.is_none()
            && let Some(oldest) =
                self.stored.pop_front_if(|oldest| used > bytes + given_back || is_old(oldest))
        {
            let seq = self.first;
            self.first += 1;
            given_back += cost(&oldest.record);
            if let Some(links) = self.chains.get_mut(&oldest.chain) {
                match links.rest.pop_front() {
                    Some(next) => links.first = next,
                    None => drop(self.chains.remove(&oldest.chain)),
                }
            }
            let shard = oldest.record.shard;
            if let Some(places) = self.places.get_mut(&shard)
                // A record of a log that was replaced has no place, and its offset means nothing.
                && let Some(place) = places.pop_front_if(|place| place.seq == seq)
            {
                gone(shard, place.offset, place.latest);
            }
            item = oldest.item;
        }
        self.budget.give_back(given_back);
        let first = self.first;
        self.replaced.retain(|_, begun| *begun > first);
        item
    }

    /// Forgets a shard whose log was replaced: its offsets mean something else now. The records
    /// stay in their chains until they are evicted, and are passed over.
    pub(super) fn forget(&mut self, shard: Shard) {
        if let Some(places) = self.places.get_mut(&shard) {
            places.clear();
            let begun = self.next_seq();
            self.replaced.insert(shard, begun);
        }
    }
}

fn cost(record: &Record) -> usize {
    record.bytes() + size_of::<Stored>() + INDEX_BYTES
}
