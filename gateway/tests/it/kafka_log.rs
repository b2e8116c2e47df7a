//! The Kafka log against a real Apache Kafka.

use std::path::Path;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidegate::config::{Assignment, Config};
use tidegate::cursor::Offset;
use tidegate::event::{Audience, EventId, EventType, MessageId, NewEvent, Room, TraceContext};
use tidegate::log::kafka::KafkaLog;
use tidegate::log::{PublishError, Receipt, Role, Source};
use tokio::time::Instant;

use crate::support::config::on_kafka;
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::recording::Recording;

/// How long anything may take that takes milliseconds on an idle machine.
const SOON: Duration = Duration::from_secs(20);

/// A pod's log and what it handed on.
struct Pod {
    log: KafkaLog,
    seen: Recording,
    patience: Duration,
}

impl Pod {
    fn open(config: &Config) -> Self {
        let seen = Recording::default();
        let log = KafkaLog::open(config, seen.clone()).expect("good settings");
        Self { log, seen, patience: config.publish.timeout }
    }

    /// Opens one and waits until it is caught up.
    async fn ready(config: &Config) -> Self {
        let pod = Self::open(config);
        eventually("caught up", SOON, async || pod.seen.told(|told| told.caught_up.is_some()))
            .await;
        pod
    }

    async fn try_publish(&self, event: &NewEvent) -> Result<Receipt, PublishError> {
        self.log.publish(event, Instant::now() + self.patience).await
    }

    async fn publish(&self, id: &str, data: &str) -> Receipt {
        self.try_publish(&event(id, data)).await.expect("published")
    }

    /// Waits until the values of `key` are these.
    async fn sees(&self, key: &str, values: &[String]) {
        eventually(&format!("{} values of {key}", values.len()), SOON, async || {
            self.seen.told(|told| told.values_of(key).len() >= values.len())
        })
        .await;
        assert_eq!(self.seen.told(|told| told.values_of(key)), values);
    }

    async fn close(&self) {
        self.log.close(Instant::now() + SOON).await;
    }
}

fn event(id: &str, data: &str) -> NewEvent {
    NewEvent {
        audience: Audience::Room(Room {
            id: EventId::new(id).expect("an id"),
            kind: EventType::new("t").expect("a type"),
        }),
        message_id: MessageId::fresh(),
        event_name: None,
        from_user: None,
        to_user: None,
        data: data.to_owned().into(),
        headers: vec![("X-Trace".into(), "1".into())],
        is_final: false,
        idempotency_key: None,
        deliver_within_ms: None,
        replay_of: None,
        trace: TraceContext::default(),
    }
}

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
async fn every_pod_sees_everything_and_leaves_no_group_behind() {
    let kafka = Kafka::shared().await;
    let config = settings(kafka);
    // Both make the topics.
    let (one, other) = tokio::join!(Pod::ready(&config), Pod::ready(&config));
    assert_ne!(one.log.group(), other.log.group());
    for n in 0..20 {
        let pod = if n % 2 == 0 { &one } else { &other };
        pod.publish("room", &n.to_string()).await;
    }
    one.sees("room", &numbers(0..20)).await;
    other.sees("room", &numbers(0..20)).await;
    let groups = kafka.groups().await;
    assert!(groups.iter().any(|name| name == one.log.group()), "{groups:?}");
    one.close().await;
    // The other one goes on.
    other.publish("room", "20").await;
    other.sees("room", &numbers(0..21)).await;
    other.close().await;
    let groups = kafka.groups().await;
    assert!(!groups.iter().any(|name| name.starts_with(&config.kafka.group_prefix)), "{groups:?}");
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

    config.log.window_age = Duration::from_millis(1);
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
async fn new_partitions_are_read_from_their_start_while_running() {
    both(Assignment::Group, Assignment::Manual, async |assignment| {
        let kafka = Kafka::shared().await;
        let mut config = settings(kafka);
        config.kafka.assignment = assignment;
        config.kafka.partitions = 1;
        let pod = Pod::ready(&config).await;
        pod.publish("room", "0").await;
        kafka.grow_topic(&config.kafka.events_topic, 4).await;
        // Straight into a new partition, before anybody has read it.
        let producer: BaseProducer = kafka.client().create().expect("a producer");
        let record =
            BaseRecord::to(&config.kafka.events_topic).partition(3).key("new").payload("first");
        producer.send(record).expect("queued");
        producer.flush(SOON).expect("written");
        pod.sees("new", &["first".to_owned()]).await;
        pod.sees("room", &["0".to_owned()]).await;
        pod.seen.told(|told| {
            told.assert_in_order();
            let last = told.sources.last().expect("told");
            assert_eq!(last.iter().map(|s| s.shards).collect::<Vec<_>>(), [4, 1]);
            let of_new = told.starts.iter().find(|(shard, ..)| shard.index == 3).expect("started");
            assert_eq!((of_new.1.next, of_new.2), (Offset(0), Offset(0)));
        });
        pod.close().await;
    })
    .await;
}

/// Runs a test with two values at the same time: they mostly wait.
async fn both<T>(one: T, other: T, test: impl AsyncFn(T)) {
    tokio::join!(test(one), test(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_assignment_makes_no_group() {
    let kafka = Kafka::shared().await;
    let mut config = settings(kafka);
    config.kafka.assignment = Assignment::Manual;
    let pod = Pod::ready(&config).await;
    for n in 0..5 {
        pod.publish("room", &n.to_string()).await;
    }
    pod.sees("room", &numbers(0..5)).await;
    let groups = kafka.groups().await;
    assert!(!groups.iter().any(|name| name.starts_with(&config.kafka.group_prefix)), "{groups:?}");
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_pod_whose_group_was_deleted_loses_and_repeats_nothing() {
    both("consumer", "classic", async |protocol| {
        let kafka = Kafka::shared().await;
        let mut config = settings(kafka);
        let options = &mut config.kafka.options;
        options.insert("group.protocol".to_owned(), protocol.to_owned());
        // A member that does not poll for so long is out of the group.
        options.insert("max.poll.interval.ms".to_owned(), "6000".to_owned());
        options.insert("session.timeout.ms".to_owned(), "6000".to_owned());
        let pod = Pod::ready(&config).await;
        for n in 0..10 {
            pod.publish("room", &n.to_string()).await;
        }
        pod.sees("room", &numbers(0..10)).await;
        {
            let frozen = pod.seen.stand_still();
            for n in 10..20 {
                pod.publish("room", &n.to_string()).await;
            }
            let deadline = Instant::now() + SOON;
            while let Err(code) = kafka.delete_group(pod.log.group()).await {
                assert!(Instant::now() < deadline, "the group was never empty: {code}");
            }
            drop(frozen);
        }
        for n in 20..30 {
            pod.publish("room", &n.to_string()).await;
        }
        pod.sees("room", &numbers(0..30)).await;
        pod.seen.told(|told| {
            told.assert_in_order();
            assert_eq!(told.starts.len(), 3 + 1, "no shard began anew");
        });
        let groups = kafka.groups().await;
        assert!(groups.iter().any(|name| name == pod.log.group()), "joined again: {groups:?}");
        pod.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_begins_anew() {
    let kafka = Kafka::shared().await;
    let mut config = settings(kafka);
    config.kafka.partitions = 1;
    let pod = Pod::ready(&config).await;
    for n in 0..10 {
        pod.publish("room", &n.to_string()).await;
    }
    pod.sees("room", &numbers(0..10)).await;
    kafka.delete_topic(&config.kafka.events_topic).await;
    eventually("the missing topic is told", SOON, async || {
        pod.seen.told(|told| {
            told.unreachable().is_some_and(|why| why.contains(&config.kafka.events_topic))
        })
    })
    .await;
    kafka.create_topic(&config.kafka.events_topic, 1).await;
    let again = async {
        loop {
            if let Ok(receipt) = pod.try_publish(&event("room", "10")).await {
                break receipt;
            }
        }
    };
    assert_eq!(again.await.offset, Offset(0));
    pod.sees("room", &numbers(0..11)).await;
    pod.seen.told(|told| {
        let source = events(&config).id;
        let starts: Vec<_> =
            told.starts.iter().filter(|s| s.0.source == source).map(|s| s.1.next).collect();
        assert_eq!(starts, [Offset(0), Offset(0)]);
        assert!(told.is_reachable());
    });
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_that_must_not_be_made_is_named_until_it_is_there() {
    let kafka = Kafka::shared().await;
    let mut config = settings(kafka);
    config.kafka.create_topics = false;
    let pod = Pod::open(&config);
    eventually("the topic is named", SOON, async || {
        pod.seen.told(|told| {
            told.unreachable().is_some_and(|why| {
                why.contains(&config.kafka.events_topic) && why.contains("kafka.create_topics")
            })
        })
    })
    .await;
    kafka.create_topic(&config.kafka.events_topic, 2).await;
    kafka.create_topic(&config.kafka.broadcast_topic, 1).await;
    pod.publish("room", "0").await;
    pod.sees("room", &numbers(0..1)).await;
    assert!(pod.seen.told(|told| told.is_reachable()));
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marks_of_transactions_do_not_keep_a_pod_from_catching_up() {
    let kafka = Kafka::shared().await;
    let config = settings(kafka);
    kafka.create_topic(&config.kafka.events_topic, 1).await;
    let topic = config.kafka.events_topic.clone();
    let mut client = kafka.client();
    client.set("transactional.id", &topic);
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = client.create().expect("a producer");
        producer.init_transactions(SOON).expect("ready");
        for (value, commit) in [("kept", true), ("dropped", false)] {
            producer.begin_transaction().expect("begun");
            producer.send(BaseRecord::to(&topic).key("room").payload(value)).expect("queued");
            producer.flush(SOON).expect("written");
            if commit {
                producer.commit_transaction(SOON).expect("committed");
            } else {
                producer.abort_transaction(SOON).expect("aborted");
            }
        }
    })
    .await
    .expect("no panic");
    let pod = Pod::ready(&config).await;
    pod.publish("room", "next").await;
    pod.sees("room", &["kept".to_owned(), "next".to_owned()]).await;
    eventually("no lag", SOON, async || {
        pod.seen.told(|told| told.lag.get(&(config.kafka.events_topic.clone(), 0)) == Some(&0))
    })
    .await;
    pod.close().await;
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
        let refused = KafkaLog::open(&config, Recording::default()).expect_err(name);
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

/// What became of the events of a publisher that never stops.
#[derive(Default)]
struct Outcomes {
    accepted: Vec<(NewEvent, Receipt)>,
    not_accepted: Vec<NewEvent>,
    unknown: Vec<NewEvent>,
    slowest: Duration,
}

impl Outcomes {
    /// Publishes, several at a time, while `meanwhile` happens.
    async fn during(pod: &Pod, meanwhile: impl Future<Output = ()>) -> Self {
        let mut outcomes = Self::default();
        let mut meanwhile = std::pin::pin!(meanwhile);
        let mut n = 0;
        loop {
            let events: Vec<NewEvent> = (0..5)
                .map(|room| {
                    n += 1;
                    event(&format!("room-{room}"), &n.to_string())
                })
                .collect();
            let began = Instant::now();
            let mut over = false;
            let results = {
                let publishing = events.iter().map(|event| pod.try_publish(event));
                let mut publishing = std::pin::pin!(futures_util::future::join_all(publishing));
                tokio::select! {
                    results = &mut publishing => results,
                    () = &mut meanwhile => {
                        over = true;
                        publishing.await
                    }
                }
            };
            outcomes.slowest = outcomes.slowest.max(began.elapsed());
            for (event, result) in events.into_iter().zip(results) {
                match result {
                    Ok(receipt) => outcomes.accepted.push((event, receipt)),
                    Err(PublishError::NotAccepted(_)) => outcomes.not_accepted.push(event),
                    Err(PublishError::OutcomeUnknown(_)) => outcomes.unknown.push(event),
                    Err(error) => panic!("{error}"),
                }
            }
            if over {
                return outcomes;
            }
        }
    }

    /// That what was said is what is in the log.
    async fn assert_true(&self, pod: &Pod) {
        eventually("all that were accepted are seen", SOON, async || {
            pod.seen.told(|told| self.accepted.iter().all(|(event, _)| told.times(&id(event)) == 1))
        })
        .await;
        pod.seen.told(|told| {
            told.assert_in_order();
            for (event, _) in &self.accepted {
                assert_eq!(told.times(&id(event)), 1, "accepted");
            }
            for event in &self.not_accepted {
                assert_eq!(told.times(&id(event)), 0, "not accepted");
            }
            for event in &self.unknown {
                assert!(told.times(&id(event)) <= 1, "unknown");
            }
        });
    }
}

fn id(event: &NewEvent) -> String {
    event.message_id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_is_told_stays_true_through_outages() {
    let kafka = Kafka::start().await;
    let mut config = settings(&kafka);
    config.publish.timeout = Duration::from_secs(2);
    let pod = Pod::ready(&config).await;
    let patience = config.publish.timeout + Duration::from_secs(1);
    // So that the producer has its id: without one nothing is sent at all.
    pod.publish("before", "0").await;

    let frozen = Outcomes::during(&pod, async {
        kafka.freeze().await;
        eventually("the outage is told", SOON, async || pod.seen.told(|t| !t.is_reachable())).await;
        kafka.thaw().await;
        eventually("reachable again", SOON, async || pod.seen.told(|told| told.is_reachable()))
            .await;
    })
    .await;
    assert!(!frozen.unknown.is_empty(), "sent, and nobody answered");
    assert!(frozen.slowest < patience, "{:?}", frozen.slowest);

    let killed = Outcomes::during(&pod, async {
        kafka.kill().await;
        eventually("the outage is told", SOON, async || pod.seen.told(|t| !t.is_reachable())).await;
        let certain = |told: &Result<_, _>| matches!(told, Err(PublishError::NotAccepted(_)));
        while !certain(&pod.try_publish(&event("probe", "0")).await) {}
        kafka.restart().await;
        eventually("reachable again", SOON, async || pod.seen.told(|told| told.is_reachable()))
            .await;
    })
    .await;
    assert!(!killed.not_accepted.is_empty(), "never sent, and so certain");
    assert!(killed.slowest < patience, "{:?}", killed.slowest);

    let restarted = Outcomes::during(&pod, async {
        kafka.stop().await;
        kafka.restart().await;
        eventually("reachable again", SOON, async || pod.seen.told(|told| told.is_reachable()))
            .await;
    })
    .await;

    // All goes on by itself.
    pod.publish("after", "0").await;
    pod.sees("after", &numbers(0..1)).await;
    for outcomes in [frozen, killed, restarted] {
        outcomes.assert_true(&pod).await;
    }
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_may_come_late_and_go_early() {
    let kafka = Kafka::stopped(&[]).await;
    let mut config = settings(&kafka);
    config.publish.timeout = Duration::from_secs(2);
    let pod = Pod::open(&config);
    eventually("told why", SOON, async || pod.seen.told(|told| told.unreachable().is_some())).await;
    let began = Instant::now();
    let refused = pod.try_publish(&event("room", "0")).await;
    assert!(matches!(refused, Err(PublishError::NotAccepted(_))), "never sent: {refused:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    kafka.restart().await;
    eventually("caught up", SOON, async || pod.seen.told(|told| told.caught_up.is_some())).await;
    pod.publish("room", "1").await;
    pod.sees("room", &["1".to_owned()]).await;

    let third = Pod::ready(&config).await;
    kafka.freeze().await;
    let began = Instant::now();
    third.log.close(Instant::now() + Duration::from_secs(2)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    kafka.thaw().await;

    let other = Pod::ready(&config).await;
    kafka.kill().await;
    // One that has noticed, and one that may not have.
    let began = Instant::now();
    other.log.close(Instant::now() + Duration::from_secs(3)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    eventually("the outage is told", SOON, async || pod.seen.told(|told| !told.is_reachable()))
        .await;
    let began = Instant::now();
    pod.log.close(Instant::now() + Duration::from_secs(3)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_without_the_new_group_protocol_get_a_classic_group() {
    let kafka = Kafka::start_with(&[("group.coordinator.rebalance.protocols", "classic")]).await;
    let config = settings(&kafka);
    let pod = Pod::ready(&config).await;
    for n in 0..5 {
        pod.publish("room", &n.to_string()).await;
    }
    pod.sees("room", &numbers(0..5)).await;
    pod.seen.told(|told| assert_eq!(told.starts.len(), 3 + 1, "no shard began anew"));
    pod.close().await;
    assert!(!kafka.groups().await.iter().any(|name| name == pod.log.group()));
}
