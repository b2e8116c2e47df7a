//! From Kafka to a stream: single records, one reader.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tidegate_rig::kafka::Kafka;
use tidegate_swarm::stats::Times;
use tokio::time::Instant;

use crate::fill::{Filler, Load, PARTITIONS};
use crate::pod::{self, Pod};

const TOPIC: &str = "tidegate.ingest-latency";
const PREFIX: &str = "latency";
const KIND: &str = "tick";
/// The bytes of a value.
const BYTES: usize = 1024;

/// Has `rate` records a second of one room written to the log for `time`, and returns how long it took
/// from just before each one's producing until its reader had it.
///
/// # Errors
/// When the reader misses any.
pub async fn run(bin: &Path, kafka: &Kafka, rate: f64, time: Duration) -> Result<Times> {
    kafka.create_topic(TOPIC, PARTITIONS).await;
    let pod = Pod::start(bin, &kafka.brokers(), TOPIC).await?;
    pod.ready().await?;
    let target = pod.target(PREFIX, KIND)?;
    let rooms = vec![target.room(0)];
    let readers = pod.readers(target, 1).await?;

    let load = Load { topic: TOPIC.to_owned(), rooms, kind: KIND.to_owned(), bytes: BYTES };
    let mut filler = Filler::new(kafka.client(), load, 0)?;
    let all = (rate * time.as_secs_f64()) as u64;
    let written = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        for nth in 0..all {
            let due = began + Duration::from_secs_f64(nth as f64 / rate);
            filler.wait_until(due);
            filler.write(1)?;
        }
        filler.finish()
    });
    written.await??;
    let seen = pod::all(readers, vec![all]).await?;
    pod.end().await;
    kafka.delete_topic(TOPIC).await;
    Ok(seen.latency)
}
