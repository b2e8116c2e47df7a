//! Promises of delivery that outlive pods, and what they need when it is not there.

use std::time::Duration;

use serde_json::json;

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::redis::Redis;

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
    eventually("its time is over", SOON, async || http::now_ms() > published_at + 5_000).await;
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
