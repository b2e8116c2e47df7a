//! Gateways on Redis, as their clients see them.

use serde_json::json;
use tidegate::clock::now_ms;

use super::*;
use crate::support::gateway::Gateway;
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/a/types/t";

async fn gateway(redis: &Redis) -> Gateway {
    let url = format!("--redis-url={}", redis.url());
    Gateway::ready(&["--log-kind=redis", &url, "--publish-timeout=2s"]).await
}

async fn publish(to: &Gateway, data: u64) {
    eventually("published", SOON, async || {
        to.publish("a", "t", &json!({ "data": data }).to_string()).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_starts_resumes_a_client_of_one_that_is_gone() {
    let redis = Redis::start().await;
    let (goes, stays) = (gateway(&redis).await, gateway(&redis).await);
    let (mut stream, _) = Stream::connect(goes.public(), ROOM, &[]).await;
    publish(&stays, 0).await;
    stream.expect_data(json!(0)).await;
    let id = stream.last_id.clone().expect("an id");
    drop(goes);
    for n in 1..20 {
        publish(&stays, n).await;
    }
    let comes = gateway(&redis).await;
    let (mut stream, _) = Stream::connect(comes.public(), ROOM, &[("last-event-id", &id)]).await;
    let expected: Vec<_> = (1..20).map(|n| json!(n)).collect();
    assert_eq!(stream.take(19).await, expected);
}

#[tokio::test]
async fn streams_stay_open_while_redis_is_away_and_lose_nothing() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let (mut stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    publish(&gateway, 1).await;
    redis.kill().await;
    let away = gateway.publish("a", "t", r#"{"data":2}"#).await;
    assert_eq!(away.status, 503, "{}", away.text());
    assert!(away.header("retry-after").is_some());
    assert_eq!(gateway.admin_get("/livez").await.status, 200);
    assert_eq!(gateway.admin_get("/readyz").await.status, 200, "a lost Redis unreadies no pod");
    redis.restart().await;
    publish(&gateway, 3).await;
    stream.expect_data(json!(1)).await;
    let mut next = stream.take(1).await;
    if next[0] == 2 {
        assert!(away.text().contains("outcome-unknown"), "not-accepted was not true");
        next = stream.take(1).await;
    }
    assert_eq!(next[0], 3);
}

#[tokio::test]
async fn a_client_is_told_that_its_log_was_replaced() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let (mut stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    publish(&gateway, 1).await;
    stream.expect_data(json!(1)).await;
    let id = stream.last_id.clone().expect("an id");
    redis.stop().await;
    redis.wipe().await;
    redis.restart().await;
    publish(&gateway, 2).await;
    // Nobody knows what the old log held last: who stayed is cut, and hears of it on coming back.
    assert_eq!(stream.block().await, None, "cut");
    let (mut back, _) = Stream::connect(gateway.public(), ROOM, &[("last-event-id", &id)]).await;
    let gap = back.next().await;
    assert_eq!(gap.event.as_deref(), Some("tidegate.gap"));
    assert_eq!(gap.json()["reason"], "recreated");
    back.expect_data(json!(2)).await;
}

#[tokio::test]
async fn a_duplicate_says_so_long_after_the_first_one_if_its_key_was_used_all_along() {
    let redis = Redis::start().await;
    let url = format!("--redis-url={}", redis.url());
    let flags = ["--log-kind=redis", &url, "--dedupe-window=1500ms"];
    let gateway = Gateway::ready(&flags).await;
    let key = [("content-type", "application/json"), ("idempotency-key", "k")];
    let publish = async || {
        let path = "/v1/sse/events/a/types/t";
        crate::support::http::post(gateway.public(), path, &key, br#"{"data":1}"#).await.json()
    };
    let first = publish().await;
    assert_eq!(first.get("duplicate"), None);
    let published_at = first["published_at"].as_i64().expect("a time");
    eventually("older than the window", SOON, async || {
        let again = publish().await;
        assert_eq!(again["duplicate"], true, "{again}");
        assert_eq!(
            (&again["message_id"], &again["published_at"]),
            (&first["message_id"], &first["published_at"])
        );
        now_ms() - published_at > 2500
    })
    .await;
}
