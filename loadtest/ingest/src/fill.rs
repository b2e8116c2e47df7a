//! Records as the gateway writes them, of many rooms.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use tidegate_swarm::clock;
use tokio::time::Instant;
use uuid::Uuid;

/// The partitions of the gateway's own topics, unless told otherwise.
pub const PARTITIONS: i32 = 12;

/// What is written.
#[derive(Debug, Clone)]
pub struct Load {
    /// The topic.
    pub topic: String,
    /// The rooms' ids; they take turns.
    pub rooms: Vec<String>,
    /// The rooms' event type.
    pub kind: String,
    /// The bytes of a value: `{"seq":n,"t":…,"pad":"…"}`, as swarm's readers check it.
    pub bytes: usize,
}

/// Counts what the log has.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged(Arc<AtomicU64>);

impl Acknowledged {
    /// Records that the log has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes a load's records, one after the other.
pub struct Filler {
    producer: BaseProducer<Acknowledged>,
    load: Load,
    acknowledged: Acknowledged,
    written: u64,
    value: String,
}

impl Filler {
    /// Connects. `linger` is how long records are gathered, in milliseconds.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn new(mut client: ClientConfig, load: Load, linger: u32) -> Result<Self> {
        let acknowledged = Acknowledged::default();
        client
            // As Java's, and the gateway's.
            .set("partitioner", "murmur2_random")
            .set("acks", "all")
            .set("linger.ms", linger.to_string())
            .set("queue.buffering.max.messages", "200000");
        let producer =
            client.create_with_context(acknowledged.clone()).context("making a producer")?;
        Ok(Self { producer, load, acknowledged, written: 0, value: String::new() })
    }

    /// Counts what the log has.
    #[must_use]
    pub fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.clone()
    }

    /// Writes as many further records.
    ///
    /// # Errors
    /// When the producer refuses one.
    pub fn write(&mut self, records: u64) -> Result<()> {
        let Self { producer, load, value, .. } = self;
        let rooms = load.rooms.len() as u64;
        for number in self.written..self.written + records {
            payload(value, number / rooms, load.bytes);
            let id = Uuid::now_v7().hyphenated().to_string();
            let headers = OwnedHeaders::new_with_capacity(2)
                .insert(Header { key: "event_type", value: Some(&load.kind) })
                .insert(Header { key: "message_id", value: Some(&id) });
            let room = &load.rooms[(number % rooms) as usize];
            let mut record =
                BaseRecord::to(&load.topic).key(room).payload(&*value).headers(headers);
            while let Err((error, refused)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                if error != full {
                    return Err(error).context("writing a record");
                }
                record = refused;
                producer.poll(Duration::from_millis(10));
            }
        }
        self.written += records;
        producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until it is `due`, and hears of what the log has meanwhile.
    pub fn wait_until(&self, due: Instant) {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // librdkafka counts milliseconds: less than one would be none, and a busy wait.
            self.producer.poll(left.max(Duration::from_millis(1)));
        }
    }

    /// Waits until the log has all of them.
    ///
    /// # Errors
    /// When it does not.
    pub fn finish(&self) -> Result<()> {
        self.producer.flush(Duration::from_secs(60)).context("waiting for the log")
    }
}

/// A value of exactly `bytes` bytes, or a few more if it is too short for its numbers.
fn payload(value: &mut String, seq: u64, bytes: usize) {
    value.clear();
    // Writing to memory does not fail.
    let _ = write!(value, "{{\"seq\":{seq},\"t\":{},\"pad\":\"", clock::now());
    while value.len() + 2 < bytes {
        value.push('x');
    }
    value.push_str("\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_size() {
        let mut value = String::new();
        payload(&mut value, 17, 200);
        assert_eq!(value.len(), 200);
        assert!(value.starts_with("{\"seq\":17,\"t\":") && value.ends_with("x\"}"), "{value}");
    }
}
