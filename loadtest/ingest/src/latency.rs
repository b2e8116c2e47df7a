//! From Kafka to a stream: single records, one reader.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_rig::kafka::Kafka;
use tidegate_swarm::stats::Times;
use tidegate_swarm::subscribers::{Plan as Readers, Readers as Reading};
use tokio::time::{Instant, sleep};

use crate::fill::{Filler, Load, PARTITIONS};
use crate::pod::Pod;

const TOPIC: &str = "tidegate.ingest-latency";
const PREFIX: &str = "latency";
const KIND: &str = "tick";
/// The bytes of a value.
const BYTES: usize = 1024;
/// How long it may take until the stream is open, and for the last events.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let reading = Reading::start(&Readers {
        target: Arc::new(target),
        readers: 1,
        per_room: 1,
        threads: 1,
        sources: 1,
        connect_rate: 0.0,
        in_flight: 1,
        stalled: 0.0,
        stalled_buffer: 0,
        leave_after: None,
        reconnect: false,
        resume: false,
        from_start: true,
    })?;
    reading.want(1);
    let opened_by = Instant::now() + PATIENCE;
    while reading.open() < 1 {
        ensure!(Instant::now() < opened_by && !reading.broken(), "the stream does not open");
        sleep(Duration::from_millis(20)).await;
    }
    // A head is there before the reader has its seat.
    sleep(Duration::from_millis(500)).await;

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
    let last = Instant::now() + PATIENCE;
    while reading.received() < all && Instant::now() < last {
        sleep(Duration::from_millis(20)).await;
    }
    let seen = reading.finish(Some(vec![all]))?;
    let amiss = seen.faults.lost + seen.faults.doubled + seen.faults.out_of_order;
    ensure!(amiss == 0 && seen.deliveries == all, "{} of {all} events came", seen.deliveries);
    pod.end().await;
    kafka.delete_topic(TOPIC).await;
    Ok(seen.latency)
}
