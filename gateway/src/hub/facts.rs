//! What the log itself was asked, because the recent window does not say it.

use std::collections::HashMap;

use crate::cursor::{Offset, Shard, Tag};

/// What has to be asked of the log before it can be said where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// Where the shard begins and ends, and which record lies just before `next`.
    Reach {
        /// The shard.
        shard: Shard,
        /// The position in question.
        next: Offset,
    },
    /// The first record that is not older than a time.
    Time {
        /// The shard.
        shard: Shard,
        /// Milliseconds since the Unix epoch, by the log's clock.
        time: i64,
    },
}

/// From where to where a shard reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The first offset that the log still has.
    pub log_start: Offset,
    /// The offset that the next record will get.
    pub end: Offset,
    /// The tag of the record just before the position in question, if there is one.
    pub before: Tag,
}

/// The answers.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    reaches: HashMap<(Shard, Offset), Reach>,
    times: HashMap<(Shard, i64), Offset>,
}

impl Facts {
    /// Takes note of an answer to [`Question::Reach`].
    pub fn learn_reach(&mut self, shard: Shard, next: Offset, reach: Reach) {
        self.reaches.insert((shard, next), reach);
    }

    /// Takes note of an answer to [`Question::Time`].
    pub fn learn_time(&mut self, shard: Shard, time: i64, offset: Offset) {
        self.times.insert((shard, time), offset);
    }

    pub(super) fn reach(&self, shard: Shard) -> Option<Reach> {
        self.reach_at(shard, Offset(0))
    }

    pub(super) fn reach_at(&self, shard: Shard, next: Offset) -> Option<Reach> {
        self.reaches.get(&(shard, next)).copied()
    }

    pub(super) fn time(&self, shard: Shard, time: i64) -> Option<Offset> {
        self.times.get(&(shard, time)).copied()
    }
}
