//! Dead letters on Kafka: records of a topic of their own, under their places as keys.
//!
//! Kafka has no "write this unless it is there". Before a pod writes letters it reads what has been
//! written since their records were, and leaves out what it finds; that two pods look at the same
//! moment makes the only repeats, which readers drop. The look goes as far back as the records do,
//! so a pod that starts and reads its window back writes nothing again, and what nobody was there
//! to see gets its letter.

mod known;
mod reading;

use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use tokio::time::Instant;

use super::client::LogLines;
use super::options::Options;
use super::producer::{Placed, Producer};
use super::side::{SideTopic, blocking};
use super::topics::{self, Lookup};
use crate::config::Kafka;
use crate::log::letter::{Found, Letter, Parcel, Place, Purge, Replay};
use crate::log::{Kept, PublishError};
use known::Known;
use reading::Reading;

/// The topic of the dead letters.
#[derive(Clone)]
pub(in crate::log) struct Letters {
    topic: SideTopic,
    known: Arc<Mutex<Known>>,
}

impl Letters {
    pub(super) fn new(kafka: &Kafka, options: &Options, lines: &LogLines) -> Self {
        let topic = SideTopic::new(&kafka.dead_letters_topic, kafka, options, lines);
        Self { topic, known: Arc::default() }
    }

    /// Makes the topic if it is not there and may be made.
    pub(in crate::log) async fn prepare(&self, deadline: Instant) -> Result<(), String> {
        self.topic.prepare(deadline).await
    }

    /// Keeps letters that are not there yet.
    pub(in crate::log) async fn keep(
        &self,
        producer: &Producer,
        letters: &[Letter],
        deadline: Instant,
    ) -> Vec<Result<Kept, PublishError>> {
        if let Err(why) = self.prepare(deadline).await {
            return vec![Err(PublishError::NotAccepted(why)); letters.len()];
        }
        let known = self.look(letters, deadline).await;
        let keep = async |letter: &Letter, known: bool| {
            if known {
                return Ok(Kept::Known);
            }
            let parcel = letter.parcel();
            self.write(producer, &parcel, deadline).await?;
            self.known.lock().remember(parcel.key.as_bytes());
            Ok(Kept::Written)
        };
        let kept = join_all(letters.iter().zip(known).map(|(letter, known)| keep(letter, known)));
        let kept = kept.await;
        if kept.iter().any(Result::is_err) {
            self.topic.doubt();
        }
        kept
    }

    /// Which of the letters are there. If that cannot be found out none is: a repeat is better than
    /// a letter that is lost.
    async fn look(&self, letters: &[Letter], deadline: Instant) -> Vec<bool> {
        let places: Vec<String> = letters.iter().map(|letter| letter.place.to_string()).collect();
        let oldest = letters.iter().map(|letter| letter.record.timestamp).min().unwrap_or(0);
        let own = self.clone();
        let found = blocking(deadline, move || {
            let mut known = own.known.lock();
            known.look(own.topic.name(), oldest, || own.topic.reader())?;
            Ok(places.iter().map(|place| known.has(place.as_bytes())).collect())
        });
        found.await.unwrap_or_else(|why: String| {
            tracing::debug!(why, "whether dead letters are there already is not known");
            vec![false; letters.len()]
        })
    }

    /// Marks a letter.
    pub(in crate::log) async fn mark(
        &self,
        producer: &Producer,
        place: &Place,
        replay: &Replay,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        self.write(producer, &replay.parcel(place), deadline).await.map(drop)
    }

    async fn write(
        &self,
        producer: &Producer,
        parcel: &Parcel,
        deadline: Instant,
    ) -> Result<Placed, PublishError> {
        let fields = parcel.fields.iter().map(|(name, value)| (name.as_str(), &value[..]));
        self.topic.append(producer, &parcel.key, parcel.value.as_deref(), fields, deadline).await
    }

    /// Begins to read.
    pub(in crate::log) fn scan(&self) -> LetterScan {
        LetterScan { topic: self.topic.clone(), under_way: None }
    }

    /// Deletes records up to a place.
    pub(in crate::log) async fn purge(
        &self,
        purge: Purge,
        deadline: Instant,
    ) -> Result<u64, String> {
        self.prepare(deadline).await?;
        let topic = self.topic.clone();
        let reach = blocking(deadline, move || {
            let client = topic.reader()?;
            let time = match purge {
                Purge::All => None,
                Purge::Before(time) => Some(time),
            };
            reading::reach(&client, topic.name(), time)
        });
        let mut doomed = TopicPartitionList::new();
        let mut count = 0;
        for part in reach.await? {
            let before = match purge {
                Purge::All => part.high,
                Purge::Before(_) => part.since,
            };
            if before > part.low {
                count += u64::try_from(before - part.low).unwrap_or_default();
                let offset = rdkafka::Offset::Offset(before);
                doomed
                    .add_partition_offset(self.topic.name(), part.number, offset)
                    .map_err(|error| error.to_string())?;
            }
        }
        if count > 0 {
            self.delete(&doomed, deadline).await?;
        }
        Ok(count)
    }

    async fn delete(&self, doomed: &TopicPartitionList, deadline: Instant) -> Result<(), String> {
        let admin: AdminClient<LogLines> = self
            .topic
            .options()
            .admin()
            .create_with_context(self.topic.lines().clone())
            .map_err(|error| error.to_string())?;
        let left = deadline.saturating_duration_since(Instant::now());
        let options = AdminOptions::new().request_timeout(Some(left)).operation_timeout(Some(left));
        let deleted = admin.delete_records(doomed, &options).await;
        topics::retire(admin);
        let deleted = deleted.map_err(|error| error.to_string())?;
        for element in deleted.elements() {
            element
                .error()
                .map_err(|error| format!("{}/{}: {error}", element.topic(), element.partition()))?;
        }
        Ok(())
    }
}

/// A reading of the topic.
pub struct LetterScan {
    topic: SideTopic,
    under_way: Option<(Lookup, Reading)>,
}

impl Drop for LetterScan {
    fn drop(&mut self) {
        topics::retire(self.under_way.take());
    }
}

impl std::fmt::Debug for LetterScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LetterScan").field("topic", &self.topic.name()).finish_non_exhaustive()
    }
}

impl LetterScan {
    pub(in crate::log) async fn next(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<Vec<Found>>, String> {
        if self.under_way.is_none() {
            self.topic.prepare(deadline).await?;
        }
        let topic = self.topic.clone();
        let under_way = self.under_way.take();
        let batch = blocking(deadline, move || {
            let (client, mut reading) = match under_way {
                Some(under_way) => under_way,
                None => {
                    let client = topic.reader()?;
                    let parts = reading::reach(&client, topic.name(), None)?;
                    let ends = parts.into_iter().map(|part| (part.number, part.low, part.high));
                    let reading = Reading::begin(&client, topic.name(), ends)?;
                    (client, reading)
                }
            };
            let mut found = Vec::new();
            reading.read(&client, deadline, |message| found.push(reading::found(message)))?;
            Ok((found, (client, reading)))
        });
        let (found, under_way) = batch.await?;
        self.under_way = Some(under_way);
        Ok((!found.is_empty()).then_some(found))
    }
}
