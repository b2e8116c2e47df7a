//! Promises of delivery that outlive pods, and what they need when it is not there.

use std::time::Duration;

use serde_json::json;
use tidegate::clock::now_ms;
use tidegate::cursor::Offset;
use tidegate::log::Span;
use tidegate::log::kafka::KafkaLog;
use tidegate::log::note::Note;
use tokio::time::Instant;

use crate::support::config;
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::recording::Recording;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

/// How long the slowest of it may take.
const SOON: Duration = Duration::from_secs(30);

/// Nothing is in the window of a pod that starts, so every promise is noted.
const NO_WINDOW: [&str; 4] =
    ["--log-window-age=1ms", "--dedupe-window=1ms", "--drain-grace=0", "--drain-window=0"];

/// Settings of pods on a Kafka, with topics of their own.
fn on_kafka(kafka: &Kafka, name: &str) -> Vec<String> {
    let mut flags = vec![
        "--log-kind=kafka".to_owned(),
        format!("--kafka-brokers={}", kafka.brokers()),
        format!("--kafka-group-prefix={name}"),
        "--kafka-partitions=2".to_owned(),
    ];
    for topic in ["events", "broadcast", "dead-letters", "deliveries"] {
        flags.push(format!("--kafka-{topic}-topic={name}.{topic}"));
    }
    flags.extend(NO_WINDOW.map(str::to_owned));
    flags
}

/// Settings of pods on a Redis, with keys of their own.
fn on_redis(redis: &Redis, name: &str) -> Vec<String> {
    let mut flags = vec![
        "--log-kind=redis".to_owned(),
        format!("--redis-url={}", redis.url()),
        format!("--redis-prefix={name}"),
    ];
    flags.extend(NO_WINDOW.map(str::to_owned));
    flags
}

async fn pod(flags: &[String]) -> Gateway {
    Gateway::ready(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Publishes an event that is to be delivered within a second; says when it was published.
async fn promise(to: &Gateway, room: &str) -> i64 {
    let headers = [("content-type", "application/json"), ("x-deliver-within", "1s")];
    let path = format!("/v1/sse/events/{room}/types/t");
    let body = json!({ "data": room }).to_string();
    let answer = http::post(to.public(), &path, &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["published_at"].as_i64().expect("a time")
}

/// The rooms of the letters.
async fn letters(of: &Gateway) -> Vec<String> {
    let page = of.admin_get("/v1/dead-letters?reason=undelivered").await.json();
    let letters = page["letters"].as_array().expect("letters").iter();
    letters.map(|letter| letter["record"]["key"].as_str().expect("a room").to_owned()).collect()
}

async fn an_overdue_promise_gets_its_letter(flags: &[String]) {
    let first = pod(flags).await;
    let published_at = promise(&first, "unread").await;
    assert!(first.terminate().await.success());
    // Longer than any pod waits for the others' notes.
    eventually("its time is over", SOON, async || now_ms() > published_at + 5_000).await;
    let second = pod(flags).await;
    eventually("its letter", SOON, async || letters(&second).await == ["unread"]).await;
}

#[tokio::test]
async fn a_promise_that_ran_out_while_no_pod_was_there_gets_its_letter_on_kafka() {
    an_overdue_promise_gets_its_letter(&on_kafka(Kafka::shared().await, "overdue")).await;
}

#[tokio::test]
async fn a_promise_that_ran_out_while_no_pod_was_there_gets_its_letter_on_redis() {
    an_overdue_promise_gets_its_letter(&on_redis(Redis::shared().await, "overdue")).await;
}

/// What was noted of the events of a topic with one partition: their offsets, and what became of
/// them.
async fn notes(kafka: &Kafka, name: &str) -> Vec<(u128, String)> {
    let mut config = config::on_kafka(kafka.brokers(), name);
    config.kafka.deliveries_topic = format!("{name}.deliveries");
    let log = KafkaLog::open(&config, Recording::default()).expect("good settings");
    let (from, until) = (Offset(0), Offset(u128::MAX));
    let all = Span { shard: log.notes(), from, until, most_bytes: usize::MAX };
    let read = log.read(all, Instant::now() + SOON).await.expect("read");
    let notes = read.records.iter().map(|record| Note::of(record).expect("a note"));
    let mut notes: Vec<_> =
        notes.map(|note| (note.offset, format!("{:?}", note.delivery).to_lowercase())).collect();
    notes.sort_unstable();
    log.close(Instant::now() + SOON).await;
    notes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_notes_that_is_missing_holds_letters_up_and_loses_none() {
    let kafka = Kafka::shared().await;
    let name = "unnoted";
    for topic in ["events", "broadcast", "dead-letters"] {
        kafka.create_topic(&format!("{name}.{topic}"), 1).await;
    }
    let deliveries = format!("{name}.deliveries");
    let mut flags = on_kafka(kafka, name);
    flags.extend(["--kafka-create-topics=false", "--publish-timeout=3s"].map(str::to_owned));
    flags.push("--telemetry-log-level=info,tidegate::undelivered=debug".to_owned());
    let stays = pod(&flags).await;
    let path = "/v1/subscribe/events/read/types/t";
    let (mut stream, _) = Stream::connect(stays.public(), path, &[]).await;
    promise(&stays, "read").await;
    stream.expect_data(json!("read")).await;
    promise(&stays, "unread").await;
    let goes = pod(&flags).await;
    let last = promise(&goes, "unread-too").await;
    // Its own note is lost with it; who has read the event knows of it all the same.
    assert!(goes.terminate().await.success(), "nor is a pod held that goes");
    eventually("their time is over", SOON, async || now_ms() > last + 5_000).await;
    assert!(letters(&stays).await.is_empty(), "nobody could have said that it was written");
    assert!(stays.log().contains("kafka.create_topics"), "it is said what is missing");

    kafka.create_topic(&deliveries, 1).await;
    eventually("letters", SOON, async || letters(&stays).await == ["unread", "unread-too"]).await;
    let noted = |offset, what: &str| (offset, what.to_owned());
    let mut expected = vec![
        noted(0, "promised"),
        noted(0, "written"),
        noted(1, "promised"),
        noted(1, "undelivered"),
        noted(2, "undelivered"),
    ];
    eventually("all notes", SOON, async || notes(kafka, name).await == expected).await;

    // And so again, when it goes under the eyes of the pod.
    kafka.delete_topic(&deliveries).await;
    promise(&stays, "read").await;
    stream.expect_data(json!("read")).await;
    let last = promise(&stays, "unread").await;
    eventually("their time is over", SOON, async || now_ms() > last + 5_000).await;
    assert_eq!(letters(&stays).await.len(), 2);
    kafka.create_topic(&deliveries, 1).await;
    eventually("a third letter", SOON, async || letters(&stays).await.len() == 3).await;
    expected = vec![
        noted(3, "promised"),
        noted(3, "written"),
        noted(4, "promised"),
        noted(4, "undelivered"),
    ];
    eventually("all notes", SOON, async || notes(kafka, name).await == expected).await;
}
