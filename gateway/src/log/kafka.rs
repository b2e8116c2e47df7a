//! The log on Apache Kafka, through librdkafka.
//!
//! * Every pod has a consumer group of its own, so that every pod is handed every record. Nothing
//!   is ever committed: the pod's place is in its memory (`positions`), and each assignment
//!   begins there. Deleting the group is harmless.
//! * No value is looked at: key, headers and value are copied out of librdkafka's buffers, and
//!   that is all.
//! * A publish says what is true (`producer`): librdkafka knows of every message whether it was
//!   ever sent.
//! * Groups that outlived their pods can be listed and removed (`groups`).
//! * Dead letters are in a topic of their own (`letters`), which is no source.
//! * The broker may be away at any time, at the start too. Nothing here ends because of it.
//!
//! Threads: `kafka-consumer` polls and hands on, `kafka-relay` hands on what comes in bulk (`relay`),
//! `kafka-watch` looks for new partitions,
//! `kafka-reader` reads back what is older than the window (`readers`), `kafka-producer` takes
//! delivery reports; librdkafka has its own beside them.

mod catalog;
mod client;
mod consumer;
mod groups;
mod letters;
mod message;
mod native;
mod notes;
mod options;
mod positions;
mod producer;
mod readers;
mod relay;
mod side;
mod survey;
mod topics;

use std::fmt;

use tokio::time::Instant;

use super::note::Note;
use super::record::{field, fields_of};
use super::{PublishError, Receipt, Sink, Source, Span, Stretch, Unread};
use crate::config::{Assignment, Config};
use crate::cursor::{Offset, Shard, SourceId, Tag};
use crate::event::{Audience, NewEvent};
use client::LogLines;
use consumer::Consumer;
pub use groups::{Group, Groups, GroupsError, Removal};
pub use letters::LetterScan;
use letters::Letters;
use notes::Notes;
use options::Options;
pub use options::check_option;
use producer::Producer;
use readers::Readers;

/// The log on a Kafka cluster.
pub struct KafkaLog {
    consumer: Consumer,
    producer: Producer,
    letters: Letters,
    readers: Readers,
    notes: Notes,
    /// None with manual assignment, which makes no group.
    groups: Option<Groups>,
    group: String,
    events: Target,
    broadcast: Target,
}

/// Where a kind of event goes.
#[derive(Debug)]
struct Target {
    topic: String,
    source: SourceId,
}

impl Target {
    fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), source: SourceId::of(topic) }
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("group", &self.group).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Begins to read the topics of `config` into `sink`, and to look for the brokers. Returns at
    /// once.
    ///
    /// # Errors
    /// Settings that librdkafka refuses, and options that would break what the gateway promises.
    pub fn open(config: &Config, sink: impl Sink) -> anyhow::Result<Self> {
        let group = groups::name(&config.kafka.group_prefix, &config.pod.name);
        let options = Options::new(config, &group)?;
        let lines = LogLines::default();
        let producer = Producer::start(options.clone(), lines.clone())?;
        let letters = Letters::new(&config.kafka, &options, &lines);
        let readers = Readers::start(options.clone(), lines.clone())?;
        let notes = Notes::new(&config.kafka, &options, &lines);
        let groups = match config.kafka.assignment {
            Assignment::Group => {
                Some(Groups::new(&config.kafka.group_prefix, &group, &options, &lines))
            }
            Assignment::Manual => None,
        };
        let consumer = Consumer::start(config, group.clone(), options, lines, sink)?;
        Ok(Self {
            consumer,
            producer,
            letters,
            readers,
            notes,
            groups,
            group,
            events: Target::new(&config.kafka.events_topic),
            broadcast: Target::new(&config.kafka.broadcast_topic),
        })
    }

    /// The name of this process's consumer group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Appends `event` and waits until all in-sync replicas have it, at the latest until
    /// `deadline`.
    ///
    /// # Errors
    /// [`PublishError`] says whether the event can be in the log.
    pub async fn publish(
        &self,
        event: &NewEvent,
        deadline: Instant,
    ) -> Result<Receipt, PublishError> {
        let target = match &event.audience {
            Audience::Room(_) => &self.events,
            Audience::Broadcast(_) => &self.broadcast,
        };
        let key = event.audience.record_key();
        let fields = fields_of(event);
        let headers = producer::headers(fields.iter().map(|(name, value)| (&**name, &**value)));
        let placed =
            self.producer.send(&target.topic, key, Some(&event.data), headers, deadline).await?;
        let message_id = fields
            .iter()
            .find(|(name, _)| name == field::MESSAGE_ID)
            .map(|(_, value)| value.as_bytes())
            .unwrap_or_default();
        Ok(Receipt {
            shard: Shard {
                source: target.source,
                index: u32::try_from(placed.partition).unwrap_or_default(),
            },
            offset: message::offset(placed.offset),
            tag: Tag::of_record(key.as_bytes(), placed.timestamp, event.data.len(), message_id),
            timestamp: placed.timestamp,
            duplicate: None,
        })
    }

    fn topic_of(&self, shard: Shard) -> Result<String, Unread> {
        if shard == self.notes.shard() {
            return Ok(self.notes.topic().to_owned());
        }
        self.consumer.topic_of(shard).ok_or(Unread::NoSuchShard)
    }

    /// The shard that notes lie in.
    #[must_use]
    pub fn notes(&self) -> Shard {
        self.notes.shard()
    }

    /// Appends notes.
    ///
    /// # Errors
    /// [`PublishError`]: some may have been appended.
    pub async fn note(&self, notes: &[Note], deadline: Instant) -> Result<(), PublishError> {
        self.notes.write(&self.producer, notes, deadline).await
    }

    /// Reads back a part of a partition.
    ///
    /// # Errors
    /// [`Unread`] if no topic of the gateway's has it, or the brokers do not answer until
    /// `deadline`.
    pub async fn read(&self, span: Span, deadline: Instant) -> Result<Stretch, Unread> {
        let topic = self.topic_of(span.shard)?;
        self.readers.read(topic, span, deadline).await
    }

    /// The offset of the first record of `shard` that is not older than `time`, in milliseconds
    /// since the Unix epoch; the end if there is none.
    ///
    /// # Errors
    /// As [`KafkaLog::read`].
    pub async fn seek(&self, shard: Shard, time: i64, deadline: Instant) -> Result<Offset, Unread> {
        let topic = self.topic_of(shard)?;
        self.readers.seek(topic, shard, time, deadline).await
    }

    /// The groups of all pods of the release; `None` where pods make none.
    #[must_use]
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// The dead letters.
    pub(super) fn letters(&self) -> &Letters {
        &self.letters
    }

    /// What writes the dead letters, too.
    pub(super) fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The source called `name`.
    pub(super) fn source_of(&self, name: &str) -> Option<Source> {
        self.consumer.source_of(name)
    }

    /// Waits for what is being published, stops handing records on, leaves the group and deletes
    /// it, as far as that can be had until `deadline`.
    pub async fn close(&self, deadline: Instant) {
        tokio::join!(self.producer.close(deadline), self.consumer.close(deadline));
    }
}
