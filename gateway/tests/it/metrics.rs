//! What `/metrics` says of streams: late is what the pod delayed, and ages are told by who ended it.

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::PATIENCE;
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/a/types/t";

#[tokio::test]
async fn what_was_published_while_the_client_was_away_is_not_late() {
    let gateway = Gateway::ready(&[]).await;
    let old = gateway.publish("a", "t", r#"{"data":1}"#).await.json();
    let published_at = old["published_at"].as_i64().expect("a time");
    eventually("the clock is past that event", PATIENCE, async || {
        tidegate::clock::now_ms() > published_at
    })
    .await;
    let (mut stream, _) =
        Stream::connect(gateway.public(), &format!("{ROOM}?from=earliest"), &[]).await;
    assert_eq!(stream.next().await.json()["data"], 1);
    assert_eq!(gateway.metric("tidegate_sent_events_total", "\"event\"").await, 1.0);
    assert_eq!(gateway.metric("tidegate_send_latency_seconds_count", "").await, 0.0);

    gateway.publish("a", "t", r#"{"data":2}"#).await;
    assert_eq!(stream.next().await.json()["data"], 2);
    assert_eq!(gateway.metric("tidegate_send_latency_seconds_count", "").await, 1.0);
}

#[tokio::test]
async fn ages_of_streams_are_told_by_who_ended_them() {
    let gateway = Gateway::ready(&[]).await;
    let (left, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    let (mut completed, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    drop(left);
    let ended = async |by: &str| {
        let by = format!("ended_by=\"{by}\"");
        gateway.metric("tidegate_stream_age_seconds_count", &by).await
    };
    eventually("the client's end is counted", PATIENCE, async || ended("client").await == 1.0)
        .await;
    assert_eq!(ended("gateway").await, 0.0);

    gateway.publish("a", "t", r#"{"data":0,"final":true}"#).await;
    while completed.block().await.is_some() {}
    eventually("the pod's end is counted", PATIENCE, async || ended("gateway").await == 1.0).await;
    assert_eq!(ended("client").await, 1.0);
    let sum = gateway.metric("tidegate_stream_age_seconds_sum", "").await;
    assert!((0.0..60.0).contains(&sum), "{sum}");
}

#[tokio::test]
async fn the_limit_stands_beside_the_streams() {
    let gateway = Gateway::ready(&["--limits-connections=7"]).await;
    assert_eq!(gateway.metric("tidegate_connections_limit", "").await, 7.0);
}
