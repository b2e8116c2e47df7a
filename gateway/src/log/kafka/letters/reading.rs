//! Reading partitions from a place to what is their end.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Instant;

use crate::log::kafka::message::offset;
use crate::log::kafka::native;
use crate::log::kafka::topics::{self, LOOKUP_TIMEOUT, Lookup, Since};
use crate::log::letter::{Found, Parcel, Spot};

/// How long a poll waits before the deadline is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How many records are read at once.
const BATCH: usize = 256;
/// About how many bytes are read at once.
const BATCH_BYTES: usize = 4 << 20;

/// From where to where a partition reaches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) number: i32,
    /// The first offset.
    pub(super) low: i64,
    /// The first offset since the time that was asked for; `high` if nothing follows it.
    pub(super) since: i64,
    /// The one after the last.
    pub(super) high: i64,
}

/// Looks up the partitions of `topic`, and where in them `time` is.
pub(super) fn reach(client: &Lookup, topic: &str, time: Option<i64>) -> Result<Vec<Part>, String> {
    let metadata = client
        .fetch_metadata(Some(topic), LOOKUP_TIMEOUT)
        .map_err(|error| format!("the brokers do not answer: {}", topics::text(&error)))?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut parts = Vec::with_capacity(partitions);
    for number in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        let (low, high) = client
            .fetch_watermarks(topic, number, LOOKUP_TIMEOUT)
            .map_err(|error| format!("{topic}/{number}: {}", topics::text(&error)))?;
        parts.push(Part { number, low, since: low, high: high.max(low) });
    }
    if let Some(time) = time {
        let wanted: Vec<_> =
            parts.iter().map(|part| Since { topic, partition: part.number, time }).collect();
        let since = topics::since(client, &wanted)?;
        for (part, since) in parts.iter_mut().zip(since) {
            part.since = since.unwrap_or(part.high).clamp(part.low, part.high);
        }
    }
    Ok(parts)
}

/// A reading that is under way: the partitions that are not at their ends yet.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its number, and the offset after the last record that is read.
    left: Vec<(i32, i64)>,
}

impl Reading {
    /// Assigns partitions, each from an offset to one.
    pub(super) fn begin(
        client: &Lookup,
        topic: &str,
        parts: impl Iterator<Item = (i32, i64, i64)>,
    ) -> Result<Self, String> {
        let mut list = TopicPartitionList::new();
        let mut left = Vec::new();
        for (number, from, to) in parts.filter(|(_, from, to)| from < to) {
            list.add_partition_offset(topic, number, KafkaOffset::Offset(from))
                .map_err(|error| error.to_string())?;
            left.push((number, to));
        }
        client.assign(&list).map_err(|error| error.to_string())?;
        Ok(Self { left })
    }

    /// Whether all was read.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Reads a batch; nothing at the end.
    pub(super) fn read(
        &mut self,
        client: &Lookup,
        deadline: Instant,
        mut take: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), String> {
        let (mut count, mut bytes) = (0, 0);
        let mut why = "the brokers did not answer in time".to_owned();
        while !self.is_over() && count < BATCH && bytes < BATCH_BYTES {
            if Instant::now() >= deadline {
                return Err(why);
            }
            match client.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    let end = self.left.iter().find(|(number, _)| *number == message.partition());
                    if let Some(&(number, end)) = end {
                        if message.offset() < end {
                            count += 1;
                            bytes += message.payload_len() + message.key_len();
                            take(&message);
                        }
                        if message.offset() + 1 >= end {
                            self.finish(number);
                        }
                    }
                }
                // The last offsets may be no records.
                Some(Err(KafkaError::PartitionEOF(number))) => self.finish(number),
                Some(Err(error)) => {
                    why = topics::text(&error);
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
                        return Err("they were removed while they were read".to_owned());
                    }
                }
            }
        }
        if self.is_over() {
            stop(client);
        }
        Ok(())
    }

    fn finish(&mut self, number: i32) {
        self.left.retain(|(other, _)| *other != number);
    }
}

/// Fetches nothing any more.
fn stop<C: ConsumerContext>(client: &BaseConsumer<C>) {
    if let Err(error) = client.unassign() {
        tracing::debug!(%error, "the dead letters' reader cannot be stopped");
    }
}

/// What a record of the topic is.
pub(super) fn found(message: &BorrowedMessage<'_>) -> Found {
    Found {
        spot: Spot {
            shard: u32::try_from(message.partition()).unwrap_or_default(),
            offset: offset(message.offset()),
        },
        entry: Parcel::open(message.key(), native::headers(message), message.payload()),
    }
}
