//! Records as the gateway writes them, of many rooms.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidegate_swarm::clock;
use tokio::time::Instant;
use uuid::Uuid;

/// The partitions of the gateway's own topics, unless told otherwise.
pub const PARTITIONS: i32 = 12;

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

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

/// Writes a load's records, one after the other.
pub struct Filler {
    producer: BaseProducer,
    load: Load,
    written: u64,
    value: String,
}

impl Filler {
    /// Connects. `linger` is how long records are gathered, in milliseconds.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn new(mut client: ClientConfig, load: Load, linger: u32) -> Result<Self> {
        client
            // As Java's, and the gateway's.
            .set("partitioner", "murmur2_random")
            .set("acks", "all")
            .set("linger.ms", linger.to_string())
            .set("queue.buffering.max.messages", "200000");
        let producer = client.create().context("making a producer")?;
        Ok(Self { producer, load, written: 0, value: String::new() })
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

    /// Waits until it is `due`.
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

/// How many records were ever written to `topic`, as the broker has it.
///
/// # Errors
/// When it does not answer.
pub fn written(client: &BaseConsumer, topic: &str) -> Result<u64> {
    let mut sum = 0;
    for partition in 0..PARTITIONS {
        let (_, high) = client.fetch_watermarks(topic, partition, ANSWER)?;
        sum += u64::try_from(high).unwrap_or(0);
    }
    Ok(sum)
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
