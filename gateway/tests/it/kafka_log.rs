//! The Kafka log against a real Apache Kafka.

mod groups;
mod missing;
mod outages;
mod sources;
mod topics;

use std::path::Path;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidegate::config::{Assignment, Config};
use tidegate::cursor::Offset;
use tidegate::event::NewEvent;
use tidegate::log::{Log, PublishError, Receipt, Role, Source};
use tokio::time::Instant;

use crate::support::config::on_kafka;
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::pod::{Pod, SOON, event};
use crate::support::recording::Recording;

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Settings with topics that no other test has.
fn settings(kafka: &Kafka) -> Config {
    on_kafka(kafka.brokers(), &format!("t{:016x}", rand::random::<u64>()))
}

fn events(config: &Config) -> Source {
    Source::new(&config.kafka.events_topic, Role::Events, config.kafka.partitions)
}

/// Runs a test with two values at the same time: they mostly wait.
async fn both<T>(one: T, other: T, test: impl AsyncFn(T)) {
    tokio::join!(test(one), test(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_keeps_its_order_on_the_partition_of_its_key() {
    let config = settings(Kafka::shared().await);
    let pod = Pod::ready(&config).await;
    let mut receipts = Vec::new();
    for n in 0..30 {
        for room in ["a", "b", "c", "ä/ö"] {
            receipts.push((room, pod.publish(room, &n.to_string()).await));
        }
    }
    let source = events(&config);
    for room in ["a", "b", "c", "ä/ö"] {
        pod.sees(room, &numbers(0..30)).await;
        assert!(
            receipts
                .iter()
                .filter(|(of, _)| *of == room)
                .all(|(_, receipt)| receipt.shard == source.shard_of(room.as_bytes()))
        );
    }
    pod.seen.told(|told| {
        told.assert_in_order();
        // What the publisher was told is what every pod reads.
        for (room, receipt) in &receipts {
            let record = told
                .records
                .iter()
                .find(|r| (r.shard, r.offset) == (receipt.shard, receipt.offset))
                .expect("read back");
            assert_eq!((record.key.as_str(), record.timestamp), (*room, receipt.timestamp));
            assert_eq!(record.tag, receipt.tag);
            assert!(record.caught_up, "it came after the start");
        }
        assert_eq!(told.sources.len(), 1);
        assert_eq!(told.starts.len(), 3 + 1);
        assert!(told.is_reachable());
    });
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_puts_a_room_where_the_gateway_looks_for_it() {
    let kafka = Kafka::shared().await;
    let config = settings(kafka);
    let pod = Pod::ready(&config).await;
    let rooms = ["a", "ab", "abc", "abcd", "abcde", "Grüße", "cart-42", "日本"];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/Produce.java");
    let args: Vec<&str> = [config.kafka.events_topic.as_str()].into_iter().chain(rooms).collect();
    kafka.run_java(&source, &args).await;
    let source = events(&config);
    for room in rooms {
        pod.sees(room, &["\"java\"".to_owned()]).await;
        let of_java =
            pod.seen.told(|told| told.records.iter().find(|r| r.key == room).expect("seen").shard);
        assert_eq!(of_java, source.shard_of(room.as_bytes()), "{room}");
        assert_eq!(pod.publish(room, "1").await.shard, of_java, "{room}");
    }
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_starts_reads_its_window_back_before_it_is_caught_up() {
    let mut config = settings(Kafka::shared().await);
    let first = Pod::ready(&config).await;
    for n in 0..20 {
        first.publish("room", &n.to_string()).await;
    }
    first.close().await;

    let again = Pod::ready(&config).await;
    again.sees("room", &numbers(0..20)).await;
    again.seen.told(|told| assert!(told.records.iter().all(|record| !record.caught_up)));
    again.close().await;

    // Nothing before now, for its keys neither.
    config.log.window_age = Duration::from_millis(1);
    config.dedupe.window = Duration::from_millis(1);
    let at_head = Pod::ready(&config).await;
    at_head.seen.told(|told| {
        assert!(told.records.is_empty());
        let shard = events(&config).shard_of(b"room");
        let (_, from, log_start) =
            told.starts.iter().find(|(of, ..)| *of == shard).expect("started");
        assert_eq!((from.next, *log_start), (Offset(20), Offset(0)));
    });
    at_head.publish("room", "20").await;
    at_head.sees("room", &["20".to_owned()]).await;
    at_head.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_broker_never_takes_is_too_large() {
    let mut config = settings(Kafka::shared().await);
    config.limits.body_bytes = 4 << 20;
    let pod = Pod::ready(&config).await;
    for bytes in [2 << 20, 8 << 20] {
        let refused = pod.try_publish(&event("room", &"x".repeat(bytes))).await;
        assert!(matches!(refused, Err(PublishError::TooLarge(_))), "{refused:?}");
    }
    pod.publish("room", "0").await;
    pod.sees("room", &numbers(0..1)).await;
    pod.close().await;
}

#[tokio::test]
async fn options_that_would_break_a_promise_are_refused_by_name() {
    for (name, value) in [
        ("enable.auto.commit", "true"),
        ("partitioner", "random"),
        ("enable.idempotence", "false"),
        ("acks", "1"),
        ("no.such.option", "1"),
        ("linger.ms", "soon"),
    ] {
        let mut config = on_kafka("127.0.0.1:1".to_owned(), "refused");
        config.kafka.options.insert(name.to_owned(), value.to_owned());
        let refused = Log::open(&config, Recording::default()).expect_err(name);
        assert!(refused.to_string().contains(name), "{refused}");
    }
}
