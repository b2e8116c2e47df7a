//! The least that can read a topic: a `BaseConsumer` that looks at keys and headers.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tidegate_swarm::usage::Server;

use crate::fill::PARTITIONS;
use crate::meter::{self, Run};

/// What the gateway's consumer is told about fetching (its `log/kafka/options.rs`).
const FETCHING: [(&str, &str); 6] = [
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.queue.backoff.ms", "2"),
    ("queued.max.messages.kbytes", "32768"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
];

/// Reads `records` of a topic from its beginning, in this process, which does nothing else.
///
/// # Errors
/// When they are not read within `patience`.
pub async fn read(
    mut client: ClientConfig,
    topic: &str,
    records: u64,
    patience: Duration,
) -> Result<Run> {
    // Names a group, or librdkafka assigns nothing; never joins it.
    client.set("group.id", "bare");
    for (name, value) in FETCHING {
        client.set(name, value);
    }
    let consumer: BaseConsumer = client.create().context("making a consumer")?;
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;

    let count = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
        move || poll(&consumer, &count, &stop)
    });
    let read = async || Ok(count.load(Ordering::Relaxed));
    let run = meter::follow(&Server::own(), records, patience, read).await;
    stop.store(true, Ordering::Relaxed);
    reader.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))??;
    run
}

fn poll(consumer: &BaseConsumer, count: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let message = message?;
        black_box(message.key());
        for header in message.headers().iter().flat_map(|headers| headers.iter()) {
            black_box((header.key, header.value));
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
