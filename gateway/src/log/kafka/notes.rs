//! Notes on Kafka: records of a topic with one partition, made when the first one is written.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join_all;
use rdkafka::message::{Header, OwnedHeaders};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::client::LogLines;
use super::options::Options;
use super::producer::Producer;
use super::topics::{self, Lookup};
use crate::config::Kafka;
use crate::cursor::{Shard, SourceId};
use crate::log::PublishError;
use crate::log::note::Note;

/// The topic of the notes.
pub(super) struct Notes {
    kafka: Kafka,
    options: Options,
    lines: LogLines,
    /// The topic was there when it was looked for last.
    is_there: AtomicBool,
}

impl Notes {
    pub(super) fn new(kafka: &Kafka, options: &Options, lines: &LogLines) -> Self {
        let (options, lines) = (options.clone(), lines.clone());
        Self { kafka: kafka.clone(), options, lines, is_there: AtomicBool::new(false) }
    }

    pub(super) fn topic(&self) -> &str {
        &self.kafka.deliveries_topic
    }

    /// Its only shard.
    pub(super) fn shard(&self) -> Shard {
        Shard { source: SourceId::of(self.topic()), index: 0 }
    }

    /// Appends notes.
    pub(super) async fn write(
        &self,
        producer: &Producer,
        notes: &[Note],
        deadline: Instant,
    ) -> Result<(), PublishError> {
        self.prepare(deadline).await.map_err(PublishError::NotAccepted)?;
        let written = try_join_all(notes.iter().map(async |note| {
            let key = note.key();
            let fields = note.fields();
            let headers = fields.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
            producer.send(self.topic(), &key, None, headers, deadline).await
        }));
        let written = written.await;
        if written.is_err() {
            // Perhaps because somebody has deleted it.
            self.is_there.store(false, Ordering::Relaxed);
        }
        written.map(drop)
    }

    /// Makes the topic if it is not there and may be made.
    async fn prepare(&self, deadline: Instant) -> Result<(), String> {
        if self.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (kafka, options, lines) =
            (self.kafka.clone(), self.options.clone(), self.lines.clone());
        let made = spawn_blocking(move || {
            let lookup = options.lookup().create_with_context(lines.clone());
            let client: Lookup = lookup.map_err(|error| error.to_string())?;
            topics::ensure_one(&client, &kafka, &kafka.deliveries_topic, &options, &lines)
        });
        match tokio::time::timeout_at(deadline, made).await {
            Ok(Ok(made)) => made?,
            Ok(Err(panicked)) => return Err(panicked.to_string()),
            Err(_) => return Err("the brokers did not answer in time".to_owned()),
        }
        self.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }
}
