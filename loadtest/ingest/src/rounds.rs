//! The rounds: one topic, read by the bare consumer and by gateways in turn.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tidegate_rig::kafka::Kafka;
use tidegate_swarm::target::{Origin, Target};

use crate::bare;
use crate::fill::{Filler, Load, PARTITIONS};
use crate::meter::{self, Run};
use crate::pod::{self, Pod};

/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long records are gathered, in milliseconds: full batches, as a busy log has them.
const LINGER_MS: u32 = 20;
/// What the rooms' ids start with.
const PREFIX: &str = "ingest";
/// The rooms' event type.
const KIND: &str = "tick";

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the gateway's release build is.
    pub bin: PathBuf,
    /// Records of a topic.
    pub records: u64,
    /// Rooms that they are of.
    pub rooms: usize,
    /// The bytes of a value.
    pub bytes: usize,
    /// Of how many rooms there are readers, one each, in the gateway's second run.
    pub read_rooms: usize,
}

/// What a round came to.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// The bare consumer.
    pub bare: Run,
    /// The gateway, with no reader.
    pub gateway: Run,
    /// The gateway, with readers.
    pub read: Run,
}

impl Plan {
    /// The records of `topic`.
    ///
    /// # Errors
    /// When the rooms have no names.
    pub fn load(&self, topic: &str) -> Result<Load> {
        // Only the rooms' names are asked for, and those are the same everywhere.
        let nowhere: Origin = "http://127.0.0.1:1".parse()?;
        let target = Target::new(nowhere, PREFIX, KIND)?;
        let rooms = (0..self.rooms).map(|room| target.room(room)).collect();
        Ok(Load { topic: topic.to_owned(), rooms, kind: KIND.to_owned(), bytes: self.bytes })
    }

    /// Runs round number `nth`.
    ///
    /// # Errors
    /// When one of the three does not read everything, or a reader misses anything.
    pub async fn round(&self, kafka: &Kafka, nth: u32) -> Result<Round> {
        let topic = format!("tidegate.ingest-{nth}");
        kafka.create_topic(&topic, PARTITIONS).await;
        let read = self.with_readers(kafka, &topic).await.context("the gateway with readers")?;
        // What is compared takes turns at being first.
        let (bare, gateway) = if nth.is_multiple_of(2) {
            let bare = self.bare(kafka, &topic).await?;
            (bare, self.gateway(kafka, &topic).await?)
        } else {
            let gateway = self.gateway(kafka, &topic).await?;
            (self.bare(kafka, &topic).await?, gateway)
        };
        kafka.delete_topic(&topic).await;
        Ok(Round { bare, gateway, read })
    }

    async fn bare(&self, kafka: &Kafka, topic: &str) -> Result<Run> {
        let read = bare::read(kafka.client(), topic, self.records, PATIENCE).await;
        read.context("the bare consumer")
    }

    async fn gateway(&self, kafka: &Kafka, topic: &str) -> Result<Run> {
        let pod = Pod::start(&self.bin, &kafka.brokers(), topic).await?;
        let read = async || Ok(pod.consumed().await);
        let run = meter::follow(&pod.server(), self.records, PATIENCE, read).await;
        let run = run.context("the gateway")?;
        pod.ready().await?;
        pod.end().await;
        Ok(run)
    }

    /// The topic is filled while the gateway stands still: its readers have their seats before the
    /// first record comes, and the broker has nothing else to do when it goes on.
    async fn with_readers(&self, kafka: &Kafka, topic: &str) -> Result<Run> {
        let pod = Pod::start(&self.bin, &kafka.brokers(), topic).await?;
        pod.ready().await?;
        let readers = pod.readers(pod.target(PREFIX, KIND)?, self.read_rooms).await?;
        pod.signal("STOP").await?;
        self.fill(kafka, topic).await?;
        pod.signal("CONT").await?;
        let read = async || Ok(pod.consumed().await);
        let run = meter::follow(&pod.server(), self.records, PATIENCE, read).await?;

        let of_room = |room: usize| {
            let (records, rooms) = (self.records, self.rooms as u64);
            records / rooms + u64::from((room as u64) < records % rooms)
        };
        pod::all(readers, (0..self.read_rooms).map(of_room).collect()).await?;
        pod.end().await;
        Ok(run)
    }

    async fn fill(&self, kafka: &Kafka, topic: &str) -> Result<()> {
        let mut filler = Filler::new(kafka.client(), self.load(topic)?, LINGER_MS)?;
        let records = self.records;
        let filled = tokio::task::spawn_blocking(move || {
            filler.write(records)?;
            filler.finish()
        });
        filled.await?
    }
}
