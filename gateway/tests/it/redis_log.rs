//! The Redis log against a real Redis.

mod failures;
mod gateway;
mod keys;

use std::time::Duration;

use tidegate::config::Config;
use tidegate::cursor::{Offset, Tag};
use tidegate::event::{Audience, EventType, IdempotencyKey, MessageId, NewEvent};
use tidegate::log::{Log, PublishError, Receipt, Role, Source};
use tokio::time::Instant;

use crate::support::config::on_redis;
use crate::support::eventually;
use crate::support::pod::{Pod, SOON, event};
use crate::support::recording::Recording;
use crate::support::redis::Redis;

impl Pod {
    /// Waits until it cannot reach the log.
    async fn is_cut_off(&self) {
        eventually("unreachable", SOON, async || {
            self.seen.told(|told| told.unreachable().is_some())
        })
        .await;
    }

    /// The tag that the pod's positions have now.
    fn tag(&self) -> Tag {
        self.seen.told(|told| told.starts.last().expect("it has begun").1.tag)
    }

    /// Publishes until the log takes it again.
    async fn publish_again(&self, id: &str, data: &str) -> Receipt {
        let mut receipt = None;
        eventually("the log takes events again", SOON, async || {
            receipt = self.try_publish(&event(id, data)).await.ok();
            receipt.is_some()
        })
        .await;
        receipt.expect("published")
    }
}

fn keyed(id: &str, data: &str, key: &str) -> NewEvent {
    let mut event = event(id, data);
    let key = IdempotencyKey::new(key).expect("a key");
    event.message_id = MessageId::from_key(&event.audience, &key);
    event.idempotency_key = Some(key);
    event
}

fn broadcast(data: &str) -> NewEvent {
    let kind = EventType::new("t").expect("a type");
    NewEvent { audience: Audience::Broadcast(kind), ..event("a", data) }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Settings with keys that no other test has.
fn settings(redis: &Redis) -> Config {
    on_redis(&redis.url(), &format!("t{:016x}", rand::random::<u64>()))
}

/// The name of the stream with this number.
fn stream(config: &Config, n: u32) -> String {
    format!("{}:{{events}}:{n}", config.redis.prefix)
}

/// The stream of a room.
fn stream_of(config: &Config, id: &str) -> String {
    let source = Source::new("", Role::Events, config.redis.shards);
    stream(config, source.shard_of(id.as_bytes()).index)
}

/// An entry's id as Redis writes it.
fn id_of(offset: Offset) -> String {
    format!("{}-{}", offset.0 >> 64, offset.0 as u64)
}

#[tokio::test]
async fn every_pod_reads_every_room_and_broadcast_in_order() {
    let config = settings(Redis::shared().await);
    let pods = [Pod::ready(&config).await, Pod::ready(&config).await];
    let mut receipts = Vec::new();
    for n in 0..30 {
        for room in ["a", "b", "c", "ä/ö"] {
            receipts.push((room, pods[n % 2].publish(room, &n.to_string()).await));
        }
        pods[n % 2].try_publish(&broadcast(&n.to_string())).await.expect("published");
    }
    let source = Source::new(
        &format!("{}:{{events}}", config.redis.prefix),
        Role::Events,
        config.redis.shards,
    );
    for pod in &pods {
        for key in ["a", "b", "c", "ä/ö", "t"] {
            pod.sees(key, &numbers(0..30)).await;
        }
        pod.seen.told(|told| {
            told.assert_in_order();
            assert_eq!(told.sources.len(), 1);
            assert_eq!(told.sources[0][0], source);
            assert_eq!(told.starts.len(), config.redis.shards as usize + 1);
            // What the publisher was told is what every pod reads.
            for (room, receipt) in &receipts {
                assert_eq!(receipt.shard, source.shard_of(room.as_bytes()));
                let at = (receipt.shard, receipt.offset);
                let record = told.records.iter().find(|r| (r.shard, r.offset) == at);
                let record = record.expect("read back");
                assert_eq!((record.key.as_str(), record.timestamp), (*room, receipt.timestamp));
                assert_eq!(record.tag, receipt.tag);
                assert!(record.tag.is_epoch() && record.caught_up);
            }
        });
    }
    assert_eq!(pods[0].tag(), pods[1].tag());
}

#[tokio::test]
async fn events_published_at_once_keep_the_order_in_which_they_were_begun() {
    let config = settings(Redis::shared().await);
    let pod = Pod::ready(&config).await;
    let events: Vec<_> = numbers(0..1000).iter().map(|n| event("a", n)).collect();
    let published = events.iter().map(|event| pod.try_publish(event));
    for receipt in futures_util::future::join_all(published).await {
        receipt.expect("published");
    }
    pod.sees("a", &numbers(0..1000)).await;
}

#[tokio::test]
async fn an_entry_carries_the_contracts_fields() {
    let redis = Redis::shared().await;
    let config = settings(redis);
    let pod = Pod::ready(&config).await;
    let sent = keyed("a", r#"{"x":1}"#, "k");
    let receipt = pod.try_publish(&sent).await.expect("published");
    let name = stream_of(&config, "a");
    type Entries = Vec<(String, Vec<String>)>;
    let entries: Entries = redis.command(&["XRANGE", &name, "-", "+"]).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].0, id_of(receipt.offset));
    let message_id = sent.message_id.to_string();
    let fields = [
        ("key", "a"),
        ("event_type", "t"),
        ("message_id", &message_id),
        ("idempotency_key", "k"),
        ("h.X-Trace", "1"),
        ("data", r#"{"x":1}"#),
    ];
    let fields: Vec<_> = fields.iter().flat_map(|(name, value)| [*name, *value]).collect();
    assert_eq!(entries[0].1, fields);
    let prefix = &config.redis.prefix;
    let epoch: u32 = redis.command(&["GET", &format!("{prefix}:{{events}}:epoch")]).await;
    assert_eq!(receipt.tag, Tag::of_epoch(epoch));
    pod.try_publish(&broadcast("1")).await.expect("published");
    let count: u64 = redis.command(&["XLEN", &format!("{prefix}:{{broadcast}}")]).await;
    assert_eq!(count, 1);
}

#[tokio::test]
async fn an_entry_that_others_append_is_read_too() {
    let redis = Redis::shared().await;
    let config = settings(redis);
    let pod = Pod::ready(&config).await;
    let name = stream_of(&config, "a");
    let id: String =
        redis.command(&["XADD", &name, "*", "data", "7", "event_type", "t", "key", "a"]).await;
    pod.sees("a", &["7".to_owned()]).await;
    let record = pod.seen.told(|told| told.records[0].clone());
    assert_eq!(id_of(record.offset), id);
    let source = format!("{}:{{events}}", config.redis.prefix);
    let of_place = MessageId::from_place(&source, record.shard.index, &id);
    assert_eq!(record.message_id, of_place.to_string());
}

#[tokio::test]
async fn a_pod_that_starts_reads_its_window_back_and_says_where_that_begins() {
    let redis = Redis::shared().await;
    let mut config = settings(redis);
    config.redis.shards = 1;
    let name = stream(&config, 0);
    // Long ago by the server's clock, which is what counts.
    let mut old = Vec::new();
    for n in 0..3 {
        let id = format!("{}-0", 1000 + n);
        let entry = ["XADD", &name, &id, "key", "a", "event_type", "t", "data", "\"old\""];
        old.push(redis.command::<String>(&entry).await);
    }
    let first = Pod::ready(&config).await;
    for n in 0..5 {
        first.publish("a", &n.to_string()).await;
    }
    let second = Pod::ready(&config).await;
    second.sees("a", &numbers(0..5)).await;
    second.seen.told(|told| {
        assert!(told.records.iter().all(|record| !record.caught_up));
        let (_, from, log_start) = told.starts[0];
        // Just after the last entry that is too old: whoever has read that missed nothing.
        assert_eq!(id_of(from.next), "1002-1");
        assert_eq!(log_start, Offset(0), "nothing was ever trimmed");
    });
    // A log's events are where they are, whatever a later pod would have.
    config.redis.shards = 4;
    let third = Pod::ready(&config).await;
    third.publish("b", "1").await;
    assert_eq!(third.seen.told(|told| told.sources[0][0].shards), 1);
}

#[tokio::test]
async fn the_lag_is_what_is_in_the_log_and_was_not_handed_on() {
    let redis = Redis::shared().await;
    let mut config = settings(redis);
    config.redis.shards = 1;
    let pod = Pod::ready(&config).await;
    pod.publish("a", "1").await;
    let source = (format!("{}:{{events}}", config.redis.prefix), 0);
    eventually("the lag is said", SOON, async || {
        pod.seen.told(|told| told.lag.get(&source) == Some(&0))
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_closed_takes_and_hands_on_nothing() {
    let config = settings(Redis::shared().await);
    let pod = Pod::ready(&config).await;
    pod.publish("a", "1").await;
    pod.sees("a", &["1".to_owned()]).await;
    pod.log.close(Instant::now() + SOON).await;
    let refused = pod.try_publish(&event("a", "2")).await;
    assert!(matches!(refused, Err(PublishError::NotAccepted(_))), "{refused:?}");
    let other = Pod::ready(&config).await;
    other.publish("a", "3").await;
    other.sees("a", &["1".to_owned(), "3".to_owned()]).await;
    pod.sees("a", &["1".to_owned()]).await;
}

#[tokio::test]
async fn what_is_too_old_is_trimmed_but_for_the_last() {
    let redis = Redis::shared().await;
    let mut config = settings(redis);
    config.redis.shards = 1;
    config.redis.max_age = Some(Duration::from_secs(60));
    let name = stream(&config, 0);
    let field = "x".repeat(1000);
    for n in 1..=500 {
        redis.command::<String>(&["XADD", &name, &format!("{n}-0"), "data", &field]).await;
    }
    let pod = Pod::ready(&config).await;
    eventually("trimmed", SOON, async || {
        pod.publish("a", "1").await;
        redis.command::<u64>(&["XLEN", &name]).await < 300
    })
    .await;
    type Entries = Vec<(String, Vec<String>)>;
    let kept: Entries = redis.command(&["XRANGE", &name, "500-0", "500-0"]).await;
    assert_eq!(kept.len(), 1, "the last entry that is too old stays");
    let first: Entries = redis.command(&["XRANGE", &name, "-", "+", "COUNT", "1"]).await;
    let late = Pod::ready(&config).await;
    late.seen.told(|told| {
        let (_, from, log_start) = told.starts[0];
        assert_eq!(id_of(from.next), "500-1");
        assert_eq!(id_of(log_start), first[0].0);
    });
}

#[tokio::test]
async fn a_stream_keeps_about_as_many_entries_as_it_may() {
    let redis = Redis::shared().await;
    let mut config = settings(redis);
    config.redis.shards = 1;
    config.redis.max_len = Some(50);
    config.redis.max_age = None;
    let pod = Pod::ready(&config).await;
    let data = format!("\"{}\"", "x".repeat(1000));
    for _ in 0..300 {
        pod.publish("a", &data).await;
    }
    let length: u64 = redis.command(&["XLEN", &stream(&config, 0)]).await;
    assert!((50..100).contains(&length), "{length}");
}
