//! Notes on Kafka: records of a topic with one partition, made when the first one is written.

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::client::LogLines;
use super::options::Options;
use super::producer::Producer;
use super::side::SideTopic;
use crate::config::Kafka;
use crate::cursor::{Shard, SourceId};
use crate::log::PublishError;
use crate::log::note::Note;

/// The topic of the notes.
pub(super) struct Notes(SideTopic);

impl Notes {
    pub(super) fn new(kafka: &Kafka, options: &Options, lines: &LogLines) -> Self {
        Self(SideTopic::new(&kafka.deliveries_topic, kafka, options, lines))
    }

    pub(super) fn topic(&self) -> &str {
        self.0.name()
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
        self.0.prepare(deadline).await.map_err(PublishError::NotAccepted)?;
        let written = try_join_all(notes.iter().map(async |note| {
            let fields = note.fields();
            let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
            self.0.append(producer, &note.key(), None, fields, deadline).await
        }));
        let written = written.await;
        if written.is_err() {
            self.0.doubt();
        }
        written.map(drop)
    }
}
