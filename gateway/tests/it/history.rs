//! History: pages of what was published, and streams that begin with it.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::{self, Answer, PATIENCE};
use crate::support::stream::Stream;

const ROOM: &str = "/v1/events/cart-7/types/updated/history";
const STREAM: &str = "/v1/subscribe/events/cart-7/types/updated";

async fn get(gateway: &Gateway, query: &str) -> Answer {
    http::get(gateway.public(), &format!("{ROOM}?{query}"), &[]).await
}

async fn page(gateway: &Gateway, query: &str) -> Value {
    let answer = get(gateway, query).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

fn data(page: &Value) -> Vec<Value> {
    page["events"].as_array().expect("events").iter().map(|e| e["data"].clone()).collect()
}

/// Publishes numbers from 0 and waits until the pod has read them.
async fn publish(gateway: &Gateway, count: usize) -> Vec<Value> {
    let mut receipts = Vec::new();
    for n in 0..count {
        let body = json!({"data": n, "event_name": "Cart"}).to_string();
        let receipt = gateway.publish("cart-7", "updated", &body).await;
        assert_eq!(receipt.status, 200, "{}", receipt.text());
        receipts.push(receipt.json());
    }
    eventually("the pod has read them", PATIENCE, async || {
        data(&page(gateway, "limit=1000").await).len() == count
    })
    .await;
    receipts
}

#[tokio::test]
async fn a_page_has_envelopes_with_their_cursors_and_says_where_the_next_one_begins() {
    let gateway = Gateway::ready(&[]).await;
    let empty = page(&gateway, "").await;
    assert_eq!((&empty["events"], &empty["gap"]), (&json!([]), &Value::Null));
    assert!(empty["next"].as_str().is_some_and(|next| !next.is_empty()));

    let (mut live, _) = Stream::connect(gateway.public(), STREAM, &[]).await;
    let receipts = publish(&gateway, 101).await;
    let first = page(&gateway, "").await;
    assert_eq!(data(&first).len(), 100, "100 unless asked for");
    for (event, receipt) in first["events"].as_array().expect("events").iter().zip(&receipts) {
        let block = live.next().await;
        let mut envelope = event.as_object().expect("an envelope").clone();
        assert_eq!(envelope.remove("cursor"), block.id.map(Value::from), "as the stream's id");
        assert_eq!(event["cursor"], receipt["cursor"]);
        assert_eq!(Value::from(envelope), block_json(&block.data));
    }
    let next = first["next"].as_str().expect("a cursor").to_owned();
    let rest = page(&gateway, &format!("after={next}")).await;
    assert_eq!(data(&rest), [json!(100)]);
    let end = page(&gateway, &format!("after={}", rest["next"].as_str().expect("a cursor"))).await;
    assert_eq!(data(&end), [] as [Value; 0]);

    // The end of history is where a stream goes on.
    let end = end["next"].as_str().expect("a cursor");
    let (mut stream, _) =
        Stream::connect(gateway.public(), STREAM, &[("last-event-id", end)]).await;
    gateway.publish("cart-7", "updated", r#"{"data":"live"}"#).await;
    assert_eq!(stream.take(1).await, [json!("live")]);
}

fn block_json(data: &str) -> Value {
    serde_json::from_str(data).expect("JSON")
}

#[tokio::test]
async fn a_large_page_is_whole() {
    let gateway = Gateway::ready(&[]).await;
    let filler = "x".repeat(20_000);
    for n in 0..40 {
        let body = json!({"data": {"n": n, "filler": filler}}).to_string();
        assert_eq!(gateway.publish("cart-7", "updated", &body).await.status, 200);
    }
    eventually("the pod has read them", PATIENCE, async || {
        data(&page(&gateway, "").await).len() == 40
    })
    .await;
    let numbers: Vec<Value> =
        data(&page(&gateway, "").await).iter().map(|d| d["n"].clone()).collect();
    assert_eq!(numbers, (0..40).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn history_begins_at_a_time_or_a_duration_back_and_a_cursor_beats_that() {
    let gateway = Gateway::ready(&[]).await;
    let receipts = publish(&gateway, 3).await;
    let all = [json!(0), json!(1), json!(2)];
    for from in ["earliest", "1h", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00%2B02:00"] {
        assert_eq!(data(&page(&gateway, &format!("from={from}")).await), all, "{from}");
        let path = format!("{STREAM}?from={from}");
        let (mut stream, first) = Stream::connect(gateway.public(), &path, &[]).await;
        assert_eq!(first.json()["start"], "from");
        assert_eq!(stream.take(3).await, all);
        // The connected block's id is the position before the first event.
        let before = first.id.expect("an id");
        assert_eq!(data(&page(&gateway, &format!("after={before}")).await), all);
    }
    assert_eq!(data(&page(&gateway, "from=2099-01-01T00:00:00Z").await), [] as [Value; 0]);
    let cursor = receipts[1]["cursor"].as_str().expect("a cursor");
    let query = format!("from=earliest&after={cursor}");
    assert_eq!(data(&page(&gateway, &query).await), [json!(2)]);
    let path = format!("{STREAM}?from=earliest");
    let (mut stream, first) =
        Stream::connect(gateway.public(), &path, &[("last-event-id", cursor)]).await;
    assert_eq!(first.json()["start"], "resume");
    assert_eq!(stream.take(1).await, [json!(2)]);
}

#[tokio::test]
async fn what_is_no_cursor_is_a_gap_and_what_is_no_parameter_is_a_problem() {
    let gateway = Gateway::ready(&[]).await;
    publish(&gateway, 1).await;
    for rubbish in ["rubbish!", "AAAA", "EP____8", ""] {
        let page = page(&gateway, &format!("after={rubbish}")).await;
        assert_eq!(page["events"], json!([]));
        assert_eq!(page["gap"]["reason"], "invalid");
        assert_eq!(page["gap"]["requested"], Value::Null);
        assert_eq!(page["gap"]["resumed_at"], page["next"], "the head");
        let next = page["next"].as_str().expect("a cursor");
        assert_eq!(self::page(&gateway, &format!("after={next}")).await["gap"], Value::Null);
    }
    for query in ["limit=0", "limit=1001", "limit=x", "from=yesterday", "from=", "from=15"] {
        let answer = get(&gateway, query).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let detail = get(&gateway, "from=yesterday").await.json()["detail"].to_string();
    assert!(["earliest", "RFC 3339", "duration"].iter().all(|w| detail.contains(w)), "{detail}");
    let path = format!("{STREAM}?from=yesterday");
    let answer = http::get(gateway.public(), &path, &[("accept", "text/event-stream")]).await;
    assert_eq!(answer.status, 400);
    let answer = http::get(gateway.public(), "/v1/events/a/types/a%2Fb/history", &[]).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn history_shows_nobody_the_events_of_others_and_all_types_to_a_wildcard() {
    let gateway = Gateway::ready(&[]).await;
    for (kind, to) in [("s", None), ("t", Some("ann")), ("t", Some("bob")), ("s", Some("ann"))] {
        let user = to.map_or(json!({}), |to| json!({"to_user": to}));
        let body = json!({"data": format!("{kind}-{}", to.unwrap_or("all")), "user": user});
        assert_eq!(gateway.publish("a", kind, &body.to_string()).await.status, 200);
    }
    let read = async |kind: &str, user: &str| {
        let path = format!("/v1/events/a/types/{kind}/history");
        let user = (!user.is_empty()).then_some(("x-user", user));
        data(&http::get(gateway.public(), &path, user.as_slice()).await.json())
    };
    eventually("the pod has read them", PATIENCE, async || read("*", "ann").await.len() == 3).await;
    assert_eq!(read("*", "ann").await, [json!("s-all"), json!("t-ann"), json!("s-ann")]);
    assert_eq!(read("*", "").await, [json!("s-all")]);
    assert_eq!(read("t", "bob").await, [json!("t-bob")]);
    assert_eq!(read("s", "bob").await, [json!("s-all")]);
}

#[tokio::test]
async fn a_final_events_cursor_is_complete_and_history_goes_on_all_the_same() {
    let gateway = Gateway::ready(&[]).await;
    let body = r#"{"data":"last","final":true}"#;
    let receipt = gateway.publish("cart-7", "updated", body).await.json();
    gateway.publish("cart-7", "updated", r#"{"data":"more"}"#).await;
    eventually("the pod has read them", PATIENCE, async || {
        data(&page(&gateway, "").await).len() == 2
    })
    .await;
    let all = page(&gateway, "").await;
    assert_eq!(all["events"][0]["final"], true);
    assert_eq!(all["events"][0]["cursor"], receipt["cursor"]);
    let cursor = receipt["cursor"].as_str().expect("a cursor");
    assert_eq!(http::get(gateway.public(), STREAM, &[("last-event-id", cursor)]).await.status, 204);
    assert_eq!(data(&page(&gateway, &format!("after={cursor}")).await), [json!("more")]);
    let first = page(&gateway, "limit=1").await["next"].as_str().expect("a cursor").to_owned();
    let (mut stream, _) =
        Stream::connect(gateway.public(), STREAM, &[("last-event-id", &first)]).await;
    assert_eq!(stream.take(1).await, [json!("more")], "no other cursor is complete");
}

#[tokio::test]
async fn history_wants_the_signature_of_a_subscriber() {
    let flags = ["--auth-mode=hmac", "--auth-keys=k1:0123456789abcdef0123456789abcdef"];
    let gateway = Gateway::ready(&flags).await;
    assert_eq!(get(&gateway, "").await.status, 401);
    let signed = |action: &str, kind: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["sign", action, "cart-7", kind])
            .args(&flags[1..])
            .output()
            .expect("sign runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.split_whitespace().next().unwrap_or_default().to_owned()
    };
    for (action, kind, status) in [
        ("subscribe", "updated", 200),
        ("subscribe", "*", 200),
        ("publish", "updated", 401),
        ("subscribe", "other", 401),
    ] {
        let signature = signed(action, kind);
        assert!(signature.starts_with("v1."), "{signature}");
        let by_header =
            http::get(gateway.public(), ROOM, &[("x-signature", signature.as_str())]).await;
        let cookie = format!("tidegate_signature={signature}");
        let by_cookie = http::get(gateway.public(), ROOM, &[("cookie", cookie.as_str())]).await;
        let by_query = get(&gateway, &format!("signature={signature}")).await;
        for answer in [by_header, by_cookie, by_query] {
            assert_eq!(answer.status, status, "{action} {kind}: {}", answer.text());
        }
    }
}
