//! Dead letters: records that can never be delivered, kept with the reason why.
//!
//! A letter's key is its record's place, `source/shard/offset`: any pod that trips over the record
//! may write the letter, and readers drop repeats. It is itself a record (`fields`), with the same
//! names on every log:
//!
//! | part | carries |
//! | --- | --- |
//! | key | the place |
//! | value | the original's value, as it is |
//! | `reason`, `detail`, `pod`, `at` | why, in words, who wrote it, and when (ms since the epoch) |
//! | `original_key`, `original_timestamp` | the original's key, if it has one, and its log's time |
//! | `o.<name>`, `x.<hex of name>` | its fields in their order; `x.` for a name that is not UTF-8 |
//! | `left_out` | how many bytes of it were too many to be kept; absent if it is whole |
//!
//! So the original can be told apart from what is said about it, whatever its fields are called,
//! and is restored as the log handed it on. A letter that was published again gets a marker: a
//! record under the same key with `replayed` (the event's id), `pod` and `at`, and no value.

mod desk;
mod fields;
mod mailman;
mod outbox;
mod revive;
mod scan;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

pub use self::desk::{Desk, DeskError, Filter, Outcome, Page, Replayed, Shelved, Which};
pub use self::fields::{Entry, LetterError, Parcel, Replay};
pub use self::mailman::Mailman;
pub use self::outbox::{Outbox, outbox};
pub use self::revive::{Lasting, Limits, revive};
pub use self::scan::{Found, NoSpot, Purge, Scan, Spot};

use super::record::Record;
use crate::clock::now_ms;
use crate::telemetry::metrics::DeadLetter;

/// The longest name of a source in a place, in bytes.
const MAX_SOURCE_BYTES: usize = 1024;
/// The longest offset in a place: a Redis entry's id.
const MAX_OFFSET_BYTES: usize = 41;
/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 32;
/// The longest detail, in bytes. Longer ones are cut.
const MAX_DETAIL_BYTES: usize = 1024;
/// The most fields of an original that are kept. A Redis script takes no more than some thousand
/// arguments.
const MAX_FIELDS: usize = 1000;

/// Where a record lies, and so the key of its dead letter: `source/shard/offset`, the offset in
/// decimal, on Redis the entry's id. Notes of deliveries have it as their key, too, with the offset
/// always in decimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    source: Box<str>,
    shard: u32,
    offset: Box<str>,
}

/// Why a text is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of a dead letter is written source/shard/offset")]
pub struct NoPlace;

impl Place {
    /// The place at `offset`, as its log writes offsets.
    #[must_use]
    pub fn new(source: &str, shard: u32, offset: &str) -> Self {
        Self { source: source.into(), shard, offset: offset.into() }
    }

    /// The source's name.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The shard's number in the source.
    #[must_use]
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// The offset as its log writes it.
    #[must_use]
    pub fn offset(&self) -> &str {
        &self.offset
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.source, self.shard, self.offset)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        // From the end: a source's name may have slashes.
        let mut parts = text.rsplitn(3, '/');
        let mut next = || parts.next().ok_or(NoPlace);
        let (offset, shard, source) = (next()?, next()?, next()?);
        let number: u32 = shard.parse().map_err(|_| NoPlace)?;
        let is_good = number.to_string() == shard
            && (1..=MAX_SOURCE_BYTES).contains(&source.len())
            && !source.chars().any(char::is_control)
            && (1..=MAX_OFFSET_BYTES).contains(&offset.len())
            && offset.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        if is_good { Ok(Self::new(source, number, offset)) } else { Err(NoPlace) }
    }
}

/// Why a record is a dead letter, in a word. Open: a later release knows more of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason(Box<str>);

impl Reason {
    /// Reads a word of lower-case letters, digits and `_`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_good = (1..=MAX_REASON_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        is_good.then(|| Self(text.into()))
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same among those that this release writes.
    #[must_use]
    pub fn label(&self) -> Option<DeadLetter> {
        DeadLetter::ALL.iter().copied().find(|reason| reason.as_str() == &*self.0)
    }
}

impl From<DeadLetter> for Reason {
    fn from(reason: DeadLetter) -> Self {
        Self(reason.as_str().into())
    }
}

/// The record that a letter is about, as its log handed it on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Original {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its fields: names and values, in their order.
    pub fields: Vec<(Bytes, Bytes)>,
    /// Its value.
    pub value: Option<Bytes>,
    /// The log's time of it, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// How many bytes of it were too many to be kept; 0 if it is whole.
    pub left_out: u64,
}

impl Original {
    /// The value of its first field called `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| &value[..])
    }

    fn fields_bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where its record lies.
    pub place: Place,
    /// Why it cannot be delivered.
    pub reason: Reason,
    /// The same for people.
    pub detail: Box<str>,
    /// The pod that wrote the letter.
    pub pod: Box<str>,
    /// When, by that pod's clock, in milliseconds since the Unix epoch.
    pub at: i64,
    /// The record.
    pub record: Original,
}

impl Letter {
    /// A letter about `record`, of which parts are left out beyond `most` bytes.
    #[must_use]
    pub fn of(record: &Record, place: Place, reason: DeadLetter, pod: &str, most: usize) -> Self {
        let copied = Bytes::copy_from_slice;
        // Copied, or a small record would keep the buffer alive that it shares with its neighbours;
        // but not what is left out anyway.
        let value = record.value().map(|v| if v.len() > most { v } else { copied(&v) });
        let letter = Self {
            place,
            reason: reason.into(),
            detail: "".into(),
            pod: pod.into(),
            at: now_ms(),
            record: Original {
                key: record.key().map(copied),
                fields: record.fields().map(|(name, v)| (copied(name), copied(v))).collect(),
                value,
                timestamp: record.timestamp,
                left_out: 0,
            },
        };
        letter.fit(most)
    }

    /// The same with what is the matter in words, cut where it is too long.
    #[must_use]
    pub fn with_detail(mut self, detail: &str) -> Self {
        self.detail = detail[..detail.floor_char_boundary(MAX_DETAIL_BYTES)].into();
        self
    }

    /// How many bytes of the original it carries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Original { key, value, .. } = &self.record;
        let part = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        part(key) + self.record.fields_bytes() + part(value)
    }

    /// Leaves parts of the original out until it has at most `most` bytes: the value first, then
    /// the fields, then the key.
    #[must_use]
    pub fn fit(mut self, most: usize) -> Self {
        let before = self.bytes();
        if before > most {
            self.record.value = None;
        }
        if self.bytes() > most || self.record.fields.len() > MAX_FIELDS {
            self.record.fields = Vec::new();
        }
        if self.bytes() > most {
            self.record.key = None;
        }
        let lost = (before - self.bytes()) as u64;
        self.record.left_out = self.record.left_out.saturating_add(lost);
        self
    }

    /// The next smaller letter about the same record, for a log that does not take this one; `None`
    /// if there is nothing left to leave out.
    #[must_use]
    pub fn smaller(&self) -> Option<Self> {
        let value = self.record.value.as_ref().map_or(0, Bytes::len);
        match (self.bytes(), value) {
            (0, _) => None,
            (_, 0) => Some(self.clone().fit(0)),
            (all, value) => Some(self.clone().fit(all - value)),
        }
    }
}

#[cfg(test)]
mod tests;
