//! The log: where events are kept and ordered. What is said here is the contract that every kind of
//! log keeps, and `tests/it/log_contract.rs` holds each of them to it.
//!
//! * A record gets a place, `(shard, offset)`, when the log has it durably, and keeps it.
//! * Within a shard records are handed on in the order of their offsets, each once. Offsets have
//!   legal holes.
//! * A room's records lie on one shard of each keyed source: that of [`Source::shard_of`]. On the
//!   others they lie anywhere, and each shard has an order of its own.
//! * Every process is handed every record of every source; nothing moves a shared position.
//! * What a log still has can be read back from any place ([`Log::read`]), beside what it hands on.
//! * [`Log::publish`] says what is true: the record's place, or that it certainly is not in the
//!   log, or that nobody can know.
//! * Dead letters lie beside the events, under their record's place, bounded or for as long as the
//!   log keeps them. They are no source: no dead letter is ever handed on.
//!
//! Logs know neither the hub nor HTTP: they hand on to a [`Sink`].

pub mod decode;
pub mod kafka;
mod leftovers;
pub mod letter;
pub mod mapping;
pub mod memory;
pub mod murmur2;
#[cfg(test)]
pub(crate) mod nobody;
pub mod note;
pub mod record;
pub mod redis;
mod stretch;

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{Config, LogKind};
use crate::cursor::{Offset, Position, Shard, SourceId, Tag};
use crate::event::{MessageId, NewEvent};
use letter::{Letter, Place, Purge, Replay, Scan};
use mapping::Mapping;
use note::Note;
use record::Record;
pub use stretch::{Span, Stretch, Unread};

/// What a source's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Events of rooms, keyed by `event_id`.
    Events,
    /// Events for every stream, keyed by their type.
    Broadcast,
}

/// A topic, or a set of streams, that the log reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The hash of `name`, as cursors have it.
    pub id: SourceId,
    /// The topic's name.
    pub name: Arc<str>,
    /// What its records are.
    pub role: Role,
    /// How many shards it has now.
    pub shards: u32,
    /// What its records mean; `None` where they are the gateway's own.
    pub mapping: Option<Arc<Mapping>>,
    /// A room's records lie where the room's key belongs. If not, any shard can feed any room.
    pub keyed: bool,
}

impl Source {
    /// A source called `name`, keyed.
    #[must_use]
    pub fn new(name: &str, role: Role, shards: u32) -> Self {
        let id = SourceId::of(name);
        Self { id, name: name.into(), role, shards, mapping: None, keyed: true }
    }

    /// The same source, whose records others write and `mapping` reads.
    #[must_use]
    pub fn with_mapping(self, mapping: Arc<Mapping>) -> Self {
        Self { mapping: Some(mapping), ..self }
    }

    /// The same source, whose records lie on any shard.
    #[must_use]
    pub fn unkeyed(self) -> Self {
        Self { keyed: false, ..self }
    }

    /// Whether it is one of the gateway's own, without which it cannot serve.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.mapping.is_none()
    }

    /// Where records with this key lie, if it is keyed: murmur2, as Java's producer has it.
    #[must_use]
    pub fn shard_of(&self, key: &[u8]) -> Shard {
        Shard { source: self.id, index: murmur2::partition(key, self.shards) }
    }

    /// All shards.
    pub fn all_shards(&self) -> impl Iterator<Item = Shard> + use<> {
        let source = self.id;
        (0..self.shards).map(move |index| Shard { source, index })
    }

    /// The shards whose records can be of a room with this key.
    pub fn shards_of(&self, key: &[u8]) -> impl Iterator<Item = Shard> + use<> {
        let (first, count) = match self.keyed {
            true => (self.shard_of(key).index, self.shards.min(1)),
            false => (0, self.shards),
        };
        let source = self.id;
        (first..first + count).map(move |index| Shard { source, index })
    }
}

/// Which of a shard's first records are read back only for their idempotency keys: what was used
/// in the `dedupe.window` before the recent window decides about duplicates in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysOnly {
    /// Those older than this, by the log's own time, in milliseconds since the Unix epoch.
    pub before_ms: i64,
    /// And only those below this offset: what is appended from now on is news, whatever its time.
    pub below: Offset,
}

impl KeysOnly {
    /// Whether `record` is one of them.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        record.timestamp < self.before_ms && record.offset < self.below
    }
}

/// What a log hands its records to. Called from one thread at a time; must not block.
pub trait Sink: Send + 'static {
    /// The sources and their shards, at first and whenever they have changed.
    fn sources(&mut self, sources: &[Source]);

    /// Records of `shard` will be handed on from `from`; nothing before that was or will be.
    /// `log_start` is the first offset that the log still has. The first records may be handed on
    /// for the sake of their keys only: see [`KeysOnly`].
    fn start(
        &mut self,
        shard: Shard,
        from: Position,
        log_start: Offset,
        keys_only: Option<KeysOnly>,
    );

    /// What lies before the place where `shard` was just begun is older than `time`, in
    /// milliseconds since the Unix epoch. Said where a log knows it.
    fn older(&mut self, shard: Shard, time: i64) {
        let _ = (shard, time);
    }

    /// The next records. Those of one shard are in order and follow what came before.
    fn records(&mut self, batch: &mut Vec<Record>);

    /// How many records of `shard` are in the log and were not handed on yet.
    fn lag(&mut self, shard: Shard, source: &str, records: u64);

    /// Everything that the log held when it was opened has been handed on.
    fn caught_up(&mut self);

    /// The log can be reached, or why not.
    fn reachable(&mut self, state: Result<(), String>);

    /// All sources that the settings name are read, or which are not and why.
    fn sources_read(&mut self, state: Result<(), String>) {
        let _ = state;
    }
}

/// Where a published record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its shard.
    pub shard: Shard,
    /// Its offset.
    pub offset: Offset,
    /// The tag of the position after it.
    pub tag: Tag,
    /// The log's time of it, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The event was dropped for its idempotency key: all of this is of the first one with the
    /// same, whose id this is.
    pub duplicate: Option<MessageId>,
}

/// Why there is no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The record is certainly not in the log: publish it again.
    #[error("the log did not take the event: {0}")]
    NotAccepted(String),
    /// The record may be in the log: retry with the same `Idempotency-Key`.
    #[error("the log did not say whether it took the event: {0}")]
    OutcomeUnknown(String),
    /// The log never takes a record of this size.
    #[error("the log does not take an event of this size: {0}")]
    TooLarge(String),
}

/// What became of a dead letter that the log took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is written.
    Written,
    /// Another pod, or this one before, has written it.
    Known,
}

/// A log of one of the kinds.
#[derive(Debug)]
pub enum Log {
    /// In this process; gone with it.
    Memory(memory::MemoryLog),
    /// Apache Kafka.
    Kafka(Box<kafka::KafkaLog>),
    /// Redis Streams.
    Redis(Box<redis::RedisLog>),
}

impl Log {
    /// Opens the configured log and begins to hand records to `sink`. Returns at once: a log that
    /// cannot be reached is tried again for ever, and `sink` hears of it.
    ///
    /// # Errors
    /// Settings that the log's library refuses.
    pub fn open(config: &Config, sink: impl Sink) -> anyhow::Result<Self> {
        match config.log.kind {
            LogKind::Memory => Ok(Self::Memory(memory::MemoryLog::open(&config.memory, sink))),
            LogKind::Kafka => Ok(Self::Kafka(Box::new(kafka::KafkaLog::open(config, sink)?))),
            LogKind::Redis => Ok(Self::Redis(Box::new(redis::RedisLog::open(config, sink)?))),
        }
    }

    /// Appends `event` and waits until the log has it durably, at the latest until `deadline`.
    ///
    /// # Errors
    /// [`PublishError`] says whether the event can be in the log.
    pub async fn publish(
        &self,
        event: &NewEvent,
        deadline: Instant,
    ) -> Result<Receipt, PublishError> {
        match self {
            Self::Memory(log) => log.publish(event),
            Self::Kafka(log) => log.publish(event, deadline).await,
            Self::Redis(log) => log.publish(event, deadline).await,
        }
    }

    /// The same for an event with which no other comes.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn publish_alone(
        &self,
        event: &NewEvent,
        deadline: Instant,
    ) -> Result<Receipt, PublishError> {
        match self {
            Self::Memory(log) => log.publish_alone(event),
            Self::Kafka(_) | Self::Redis(_) => self.publish(event, deadline).await,
        }
    }

    /// Reads back a part of a shard, without moving anything: what is handed on to the sink does not
    /// change.
    ///
    /// # Errors
    /// [`Unread`] if the log has no such shard, or cannot be reached until `deadline`.
    pub async fn read(&self, span: Span, deadline: Instant) -> Result<Stretch, Unread> {
        match self {
            Self::Memory(log) => log.read(&span),
            Self::Kafka(log) => log.read(span, deadline).await,
            Self::Redis(log) => log.read(span, deadline).await,
        }
    }

    /// The offset of the first record of `shard` that is not older than `time`, in milliseconds
    /// since the Unix epoch; the end if there is none.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn seek(&self, shard: Shard, time: i64, deadline: Instant) -> Result<Offset, Unread> {
        match self {
            Self::Memory(log) => log.seek(shard, time),
            Self::Kafka(log) => log.seek(shard, time, deadline).await,
            Self::Redis(log) => log.seek(shard, time, deadline).await,
        }
    }

    /// Has a place for dead letters made, if it is not there. Nothing is lost without it: they are
    /// tried for a while, and so is this.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn prepare_letters(&self, deadline: Instant) -> Result<(), String> {
        match self {
            Self::Kafka(log) => log.letters().prepare(deadline).await,
            Self::Memory(_) | Self::Redis(_) => Ok(()),
        }
    }

    /// Keeps dead letters durably. Of several pods that keep the same one most see that it is
    /// there; the embedded log and Redis keep it once, on Kafka it can be there twice.
    ///
    /// # Errors
    /// For each letter [`PublishError`] says whether it can have been kept.
    pub async fn dead_letters(
        &self,
        letters: &[Letter],
        deadline: Instant,
    ) -> Vec<Result<Kept, PublishError>> {
        match self {
            Self::Memory(log) => letters.iter().map(|letter| log.keep(letter)).collect(),
            Self::Kafka(log) => log.letters().keep(log.producer(), letters, deadline).await,
            Self::Redis(log) => log.letters().keep(letters, deadline).await,
        }
    }

    /// Marks the dead letter at `place` as published again.
    ///
    /// # Errors
    /// [`PublishError`] says whether it can be marked.
    pub async fn mark(
        &self,
        place: &Place,
        replay: &Replay,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        match self {
            Self::Memory(log) => log.mark(place, replay),
            Self::Kafka(log) => log.letters().mark(log.producer(), place, replay, deadline).await,
            Self::Redis(log) => log.letters().mark(place, replay, deadline).await,
        }
    }

    /// Reads all dead letters and markers, oldest first, repeats among them.
    #[must_use]
    pub fn letters(&self) -> Scan<'_> {
        match self {
            Self::Memory(log) => Scan::Memory(log.scan_letters()),
            Self::Kafka(log) => Scan::Kafka(log.letters().scan()),
            Self::Redis(log) => Scan::Redis(log.letters().scan()),
        }
    }

    /// Removes dead letters and markers for good; returns how many records that were.
    ///
    /// # Errors
    /// Why not, or not all.
    pub async fn purge_letters(&self, purge: Purge, deadline: Instant) -> Result<u64, String> {
        match self {
            Self::Memory(log) => Ok(log.purge_letters(purge)),
            Self::Kafka(log) => log.letters().purge(purge, deadline).await,
            Self::Redis(log) => log.letters().purge(purge, deadline).await,
        }
    }

    /// The source called `name`, which says what its records mean; `None` if it is none of this
    /// log's. Its number of shards is not looked up.
    #[must_use]
    pub fn source_of(&self, name: &str) -> Option<Source> {
        match self {
            Self::Memory(_) => memory::source_of(name),
            Self::Kafka(log) => log.source_of(name),
            Self::Redis(log) => log.source_of(name),
        }
    }

    /// The shard that notes lie in; `None` where there is one pod, which needs none.
    #[must_use]
    pub fn notes(&self) -> Option<Shard> {
        match self {
            Self::Memory(_) => None,
            Self::Kafka(log) => Some(log.notes()),
            Self::Redis(log) => Some(log.notes()),
        }
    }

    /// Appends notes for the other pods.
    ///
    /// # Errors
    /// [`PublishError`]: some may have been appended.
    pub async fn note(&self, notes: &[Note], deadline: Instant) -> Result<(), PublishError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Kafka(log) => log.note(notes, deadline).await,
            Self::Redis(log) => log.note(notes, deadline).await,
        }
    }

    /// Flushes what is being published, stops handing records on and leaves nothing behind, as far
    /// as that can be had until `deadline`.
    pub async fn close(&self, deadline: Instant) {
        match self {
            Self::Memory(log) => log.close(),
            Self::Kafka(log) => log.close(deadline).await,
            Self::Redis(log) => log.close(deadline).await,
        }
    }
}
