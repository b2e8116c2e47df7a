//! A stretch of a shard, read back from a log: what a reader is given that comes back with a cursor
//! from before the recent window.

use super::record::Record;
use crate::cursor::{Offset, Shard};

/// What to read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The shard.
    pub shard: Shard,
    /// The first offset of interest.
    pub from: Offset,
    /// The first offset that is of no interest any more. No more than `from`: nothing is read, and
    /// the answer says where the shard begins and ends.
    pub until: Offset,
    /// About how many bytes of records to read at most; one record always is.
    pub most_bytes: usize,
}

/// What a log has of a span.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The records in order, the first one at or after the span's beginning.
    pub records: Vec<Record>,
    /// Everything before this was read, or is not there (offsets have legal holes).
    pub next: Offset,
    /// The first offset that the log still has. Past the span's beginning: what lies between is
    /// gone.
    pub log_start: Offset,
    /// The offset that the next record will get. Whoever asks for more is ahead of this log, and
    /// had it from another.
    pub end: Offset,
}

impl Stretch {
    /// What `records` say of `span`, in a shard that reaches from `log_start` to `end`.
    /// `is_all` says that they are all that the shard has in the span.
    #[must_use]
    pub fn new(
        span: &Span,
        records: Vec<Record>,
        is_all: bool,
        log_start: Offset,
        end: Offset,
    ) -> Self {
        let next = match records.last() {
            _ if is_all => span.until.min(end).max(span.from),
            Some(last) => last.offset.next(),
            None => span.from,
        };
        Self { records, next, log_start, end }
    }
}

/// Why nothing was read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The log does not have this shard.
    #[error("the log has no such shard")]
    NoSuchShard,
    /// The log cannot be reached, or is too slow: to be tried again.
    #[error("the log cannot be read back: {0}")]
    Unreachable(String),
}
