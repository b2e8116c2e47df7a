//! The middle of a session: records come in and are handed on.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset as KafkaOffset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::time::Instant;

use super::session::Finding;
use super::{Context, End, Reader};
use crate::config::Assignment;
use crate::log::Sink;
use crate::log::kafka::message;
use crate::log::kafka::options::GroupProtocol;
use crate::log::kafka::positions::{Part, Taken};
use crate::log::kafka::topics::LOOKUP_TIMEOUT;
use crate::log::record::{Record, RecordWriter};

/// How long a poll waits for a record before the thread looks at anything else.
const POLL: Duration = Duration::from_millis(50);
/// The most records in a batch.
const BATCH_RECORDS: usize = 1024;
/// About how many bytes a batch has at most.
const BATCH_BYTES: usize = 1024 * 1024;
/// How long the recent window is read back before the pod counts as caught up all the same: a
/// window that takes longer to read than this must not keep a pod out of service.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);

impl<S: Sink> Reader<S> {
    /// Hands records on until something ends it.
    pub(super) fn read(&mut self, client: &BaseConsumer<Context>) -> End {
        let began = Instant::now();
        let mut writer = RecordWriter::default();
        let mut batch: Vec<Record> = Vec::with_capacity(BATCH_RECORDS);
        while !self.stop.wanted() {
            let mut bytes = 0;
            let mut wait = POLL;
            while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
                match client.poll(wait) {
                    None => break,
                    Some(Ok(message)) => match self.take(&message, &mut writer) {
                        Ok(Some(record)) => {
                            bytes += record.bytes();
                            batch.push(record);
                        }
                        Ok(None) => {}
                        Err(end) => {
                            self.hand_on(&mut batch);
                            return end;
                        }
                    },
                    Some(Err(error)) => {
                        if let Some(end) = self.fault(client, &error) {
                            // What was taken counts as handed on.
                            self.hand_on(&mut batch);
                            return end;
                        }
                    }
                }
                wait = Duration::ZERO;
            }
            self.hand_on(&mut batch);
            if self.positions.lock().is_doubted() {
                return End::Again("a topic was made anew".to_owned());
            }
            if let Some(finding) = self.findings.as_ref().and_then(|found| found.try_recv().ok())
                && let Err(reason) = self.found(client, finding)
            {
                return End::Again(reason);
            }
            if !self.caught_up {
                self.catch_up(client, began);
            }
        }
        End::Stop
    }

    /// A message as a record, if it is the next one of its partition.
    ///
    /// # Errors
    /// The log is not the one that was read before.
    fn take(
        &self,
        message: &BorrowedMessage<'_>,
        writer: &mut RecordWriter,
    ) -> Result<Option<Record>, End> {
        let mut positions = self.positions.lock();
        if positions.is_doubted() {
            // Of the topic that was, or of the new one: the next session finds out.
            return Ok(None);
        }
        let Some(part) = positions.part(message.topic(), message.partition()) else {
            return Ok(None);
        };
        let record = message::record(message, positions.shard(part), writer);
        match positions.advance(part, message.offset(), record.timestamp, record.tag) {
            Taken::Next => Ok(Some(record)),
            Taken::Passed => Ok(None),
            Taken::Replaced => {
                let (topic, partition) = (message.topic(), message.partition());
                Err(End::Again(format!("{topic}/{partition} has become another log")))
            }
        }
    }

    fn hand_on(&mut self, batch: &mut Vec<Record>) {
        if !batch.is_empty() {
            self.sink.records(batch);
            batch.clear();
        }
    }

    /// What an error of librdkafka's means for the session.
    fn fault(&mut self, client: &BaseConsumer<Context>, error: &KafkaError) -> Option<End> {
        if let Some((code, reason)) = client.client().fatal_error() {
            return Some(match code {
                RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion
                    if self.protocol == GroupProtocol::Consumer
                        && self.kafka.assignment == Assignment::Group =>
                {
                    End::OldBroker
                }
                _ => {
                    self.reach(Err(format!("the group {} cannot be joined: {reason}", self.group)));
                    End::Again(reason)
                }
            });
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::LogTruncation) => {
                Some(End::Again("the log does not have the next offset".to_owned()))
            }
            // What is known already may say more.
            Some(RDKafkaErrorCode::AllBrokersDown) if self.reached == Some(Ok(())) => {
                self.reach(Err("no broker can be reached".to_owned()));
                None
            }
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                self.reach(Err(format!(
                    "the brokers do not let the pod into its group {}: allow READ and DELETE on \
                     groups that begin with kafka.group_prefix, or set kafka.assignment=manual",
                    self.group
                )));
                None
            }
            // Written by the context already; librdkafka goes on by itself.
            _ => None,
        }
    }

    /// Takes over what the watching thread found.
    fn found(&mut self, client: &BaseConsumer<Context>, finding: Finding) -> Result<(), String> {
        let survey = match finding {
            Ok(survey) => survey,
            Err(reason) => {
                self.reach(Err(reason));
                return Ok(());
            }
        };
        self.tell_unread(&survey);
        match self.settle(&survey, false) {
            Ok(begun) if begun.is_empty() => {}
            Ok(begun) => self.read_also(client, &begun)?,
            // A look-up that failed is tried with the next survey.
            Err(reason) => tracing::debug!(reason, "new partitions cannot be looked up yet"),
        }
        let topics = self.positions.lock().names();
        if topics != self.taken_up {
            tracing::info!(topics = topics.len(), "the topics have changed");
            self.take_up(client).map_err(|error| error.to_string())?;
        }
        self.reads();
        self.measure(client);
        Ok(())
    }

    /// Reads partitions whose place has just become known.
    fn read_also(&mut self, client: &BaseConsumer<Context>, begun: &[Part]) -> Result<(), String> {
        if self.kafka.assignment == Assignment::Manual {
            return self.take_up(client).map_err(|error| error.to_string());
        }
        let mut positions = self.positions.lock();
        let mut resumed = TopicPartitionList::new();
        for &part in begun {
            let name = Arc::clone(positions.name(part));
            // One that is not held is assigned later, at its place.
            let Some(place) = positions.get_mut(part).filter(|place| place.held) else { continue };
            let next = place.next.unwrap_or_default();
            place.held = false;
            // What was fetched before this is dropped by librdkafka.
            client.seek(&name, part.1, KafkaOffset::Offset(next), LOOKUP_TIMEOUT).map_err(
                |error| format!("{name}/{} cannot be read from {next}: {error}", part.1),
            )?;
            resumed.add_partition(&name, part.1);
        }
        if resumed.count() > 0 {
            client.resume(&resumed).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Whether all partitions whose place is known are being read: only then can the log be called
    /// reachable. A pod that the group does not let in gets no events.
    fn reads(&mut self) -> bool {
        let positions = self.positions.lock();
        let reads = positions.iter().all(|(_, place)| place.next.is_none() || place.assigned);
        drop(positions);
        if reads {
            self.failures = 0;
            self.reach(Ok(()));
        }
        reads
    }

    /// Moves on past the marks that transactions leave, which have offsets and are no records.
    /// Everything that was polled has been taken.
    fn pass_marks(&mut self, client: &BaseConsumer<Context>) {
        let Ok(consumed) = client.position() else { return };
        let mut positions = self.positions.lock();
        for element in consumed.elements() {
            if let Some(part) = positions.part(element.topic(), element.partition())
                && let KafkaOffset::Offset(offset) = element.offset()
                && let Some(place) = positions.get_mut(part)
                && place.next.is_some_and(|next| next < offset)
            {
                place.next = Some(offset);
            }
        }
    }

    /// Tells the sink how far behind each partition is.
    fn measure(&mut self, client: &BaseConsumer<Context>) {
        self.pass_marks(client);
        let positions = self.positions.lock();
        let behind: Vec<_> = positions
            .iter()
            .filter_map(|(part, place)| {
                let records = u64::try_from(place.reach?.high - place.next?).unwrap_or(0);
                Some((positions.shard(part), Arc::clone(positions.name(part)), records))
            })
            .collect();
        drop(positions);
        for (shard, name, records) in behind {
            self.sink.lag(shard, &name, records);
        }
    }

    /// Tells the sink once everything was handed on that was there when the log was opened.
    fn catch_up(&mut self, client: &BaseConsumer<Context>, began: Instant) {
        if !self.reads() {
            return;
        }
        self.pass_marks(client);
        let positions = self.positions.lock();
        let missing = positions
            .iter()
            .filter(|(_, place)| match (place.next, place.until) {
                (Some(next), Some(until)) => next < until,
                (next, _) => next.is_none() && place.from_window,
            })
            .count();
        drop(positions);
        let late = began.elapsed() > CATCH_UP_LIMIT;
        if missing == 0 || late {
            if missing > 0 {
                tracing::warn!(
                    partitions = missing,
                    "the recent window is still being read; the pod serves all the same"
                );
            }
            self.caught_up = true;
            self.sink.caught_up();
        }
    }
}
