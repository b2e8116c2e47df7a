//! Where this pod is in every shard, and which shards can feed a room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cursor::{Cursor, Offset, Position, Shard, SourceId};
use crate::event::EventId;
use crate::log::record::Record;
use crate::log::{Role, Source};

/// The most rooms remembered that were seen on a shard which is not their key's.
const MAX_STRAYS: usize = 10_000;

/// What is known of one shard.
#[derive(Debug, Clone, Copy)]
pub struct ShardState {
    /// The next offset that this pod will route.
    pub position: Position,
    /// The first offset that the log still had when it last said so.
    pub log_start: Offset,
    /// From here on the window has every record up to `position`.
    pub covered_from: Offset,
    /// No record before `covered_from` has a later time, in milliseconds since the Unix epoch.
    pub uncovered_until: i64,
}

impl ShardState {
    /// Whether the window has all that the log has.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.covered_from <= self.log_start
    }

    /// Whether the window has every record from the first on whose time is `since` or later, in
    /// milliseconds since the Unix epoch.
    #[must_use]
    pub fn covers_since(&self, since: i64) -> bool {
        self.is_whole() || self.uncovered_until < since
    }
}

/// Nothing is known of the times of what lies before: any of it may be from just now.
const UNKNOWN_TIME: i64 = i64::MAX;

/// Where this pod is in every shard of every source.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    sources: Vec<Source>,
    shards: HashMap<Shard, ShardState, foldhash::fast::FixedState>,
    /// Sources that had fewer shards a while ago: rooms may still have records on the old shard.
    former: Vec<(SourceId, u32, Instant)>,
    /// Rooms with records on a shard that is not their key's, as another partitioner writes them.
    /// Shared, since a broadcast notes all positions.
    strays: Arc<HashMap<EventId, Vec<(Shard, Instant)>>>,
}

impl Positions {
    /// Takes the sources as the log has them now. A source that has grown keeps its former
    /// number of shards for `keep`, since what was written before the growth lies by that.
    pub fn set_sources(&mut self, sources: &[Source], keep: Duration) {
        let until = Instant::now() + keep;
        for new in sources {
            let moved = |old: &&Source| old.id == new.id && old.shards != new.shards && new.keyed;
            let grown = self.sources.iter().find(moved);
            if let Some(old) = grown {
                self.former.push((old.id, old.shards, until));
            }
        }
        self.sources = sources.to_vec();
    }

    /// Begins `shard` at `from`.
    pub fn start(&mut self, shard: Shard, from: Position, log_start: Offset) {
        let uncovered_until = if from.next <= log_start { i64::MIN } else { UNKNOWN_TIME };
        let state =
            ShardState { position: from, log_start, covered_from: from.next, uncovered_until };
        self.shards.insert(shard, state);
    }

    /// Takes note that what lies before the place where `shard` began is older than `time`, in
    /// milliseconds since the Unix epoch.
    pub fn older(&mut self, shard: Shard, time: i64) {
        if let Some(state) = self.shards.get_mut(&shard) {
            state.uncovered_until = state.uncovered_until.min(time.saturating_sub(1));
        }
    }

    /// The source that `shard` belongs to.
    #[must_use]
    pub fn source_of(&self, shard: Shard) -> Option<&Source> {
        self.sources.iter().find(|s| s.id == shard.source)
    }

    /// All sources.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// What is known of `shard`.
    #[must_use]
    pub fn get(&self, shard: Shard) -> Option<&ShardState> {
        self.shards.get(&shard)
    }

    /// Moves past `record`. A record that was passed already is refused.
    pub fn pass(&mut self, record: &Record) -> bool {
        let Some(state) = self.shards.get_mut(&record.shard) else { return false };
        if record.offset < state.position.next {
            return false;
        }
        state.position = Position { next: record.offset.next(), tag: record.tag };
        true
    }

    /// The window no longer has what lies before `offset`, none of which is later than `latest`.
    pub fn uncover(&mut self, shard: Shard, offset: Offset, latest: i64) {
        if let Some(state) = self.shards.get_mut(&shard) {
            state.covered_from = state.covered_from.max(offset);
            state.uncovered_until = match state.uncovered_until {
                // A log's times go up: what lies before its first record here is no later.
                UNKNOWN_TIME => latest,
                known => known.max(latest),
            };
        }
    }

    /// Remembers that `id` has records on `shard`, if that is not where its key belongs.
    /// Returns whether it was news.
    pub fn note_stray(&mut self, id: &str, shard: Shard, keep: Duration) -> bool {
        let key = id.as_bytes();
        let belongs = self.source_of(shard).is_none_or(|s| !s.keyed || s.shard_of(key) == shard);
        if belongs || self.former_shards(id).any(|s| s == shard) {
            return false;
        }
        let until = Instant::now() + keep;
        let strays = Arc::make_mut(&mut self.strays);
        if strays.len() == MAX_STRAYS && !strays.contains_key(id) {
            return false;
        }
        let Ok(id) = EventId::new(id) else { return false };
        let seen = strays.entry(id).or_default();
        if let Some(entry) = seen.iter_mut().find(|s| s.0 == shard) {
            entry.1 = until;
            return false;
        }
        seen.push((shard, until));
        true
    }

    /// Forgets former shard counts and strays whose time is over.
    pub fn forget_old(&mut self) {
        let now = Instant::now();
        self.former.retain(|f| f.2 > now);
        if self.strays.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.strays).retain(|_, seen| {
            seen.retain(|s| s.1 > now);
            !seen.is_empty()
        });
    }

    fn former_shards<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Shard> + 'a {
        self.former.iter().map(|&(source, shards, _)| {
            let index = crate::log::murmur2::partition(id.as_bytes(), shards);
            Shard { source, index }
        })
    }

    /// The shards that can feed the rooms of `id`.
    pub fn shards_for<'a>(&'a self, id: &'a EventId) -> impl Iterator<Item = Shard> + 'a {
        let own = self
            .sources
            .iter()
            .filter(|s| s.role == Role::Events)
            .flat_map(|s| s.shards_of(id.as_str().as_bytes()));
        let strays = self.strays.get(id).into_iter().flatten().map(|s| s.0);
        own.chain(self.broadcast_shards()).chain(self.former_shards(id.as_str())).chain(strays)
    }

    /// The shards that broadcasts come from.
    pub fn broadcast_shards(&self) -> impl Iterator<Item = Shard> + '_ {
        self.sources.iter().filter(|s| s.role == Role::Broadcast).flat_map(Source::all_shards)
    }

    /// The vector of `id`'s rooms: this pod's positions in every shard that can feed them.
    /// `None` while one of the gateway's own has not begun. Others' are left out meanwhile: a
    /// partition without a leader must not close rooms that it never had an event for. A cursor
    /// without it resumes at its start.
    #[must_use]
    pub fn vector(&self, id: &EventId) -> Option<Cursor> {
        let own = |shard| self.source_of(shard).is_none_or(Source::is_own);
        let is_whole = !self.sources.is_empty()
            && self.shards_for(id).all(|shard| self.shards.contains_key(&shard) || !own(shard));
        is_whole.then(|| self.vector_so_far(id))
    }

    /// The same, without shards that have not begun.
    #[must_use]
    pub fn vector_so_far(&self, id: &EventId) -> Cursor {
        let begun = |shard| Some((shard, self.shards.get(&shard)?.position));
        Cursor::new(self.shards_for(id).filter_map(begun))
    }

    /// The positions in the broadcast's shards alone.
    #[must_use]
    pub fn broadcast_vector(&self) -> Cursor {
        Cursor::new(
            self.broadcast_shards().filter_map(|s| Some((s, self.shards.get(&s)?.position))),
        )
    }
}

#[cfg(test)]
mod tests;
