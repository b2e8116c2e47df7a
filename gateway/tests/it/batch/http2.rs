//! What only HTTP/2 has: a batch beside other streams of one connection, with and without TLS.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use serde_json::json;

use super::client::Batch;
use super::line;
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::PATIENCE;
use crate::support::http2;
use crate::support::tls::{Files, Pair};

const ROOM: &str = "/v1/subscribe/events/a/types/t";

/// Opens the room's stream on this connection and reads its first block.
async fn subscribe(client: &mut SendRequest<Bytes>) -> (RecvStream, String) {
    let mut stream = http2::get(client, ROOM).await.expect("an answer").into_body();
    let mut seen = String::new();
    until(&mut stream, &mut seen, "tidegate.connected").await;
    (stream, seen)
}

/// Reads the stream until `text` was in it.
async fn until(stream: &mut RecvStream, seen: &mut String, text: &str) {
    while !seen.contains(text) {
        let data = http2::data(stream).await.expect("the stream goes on");
        seen.push_str(std::str::from_utf8(&data).expect("UTF-8"));
    }
}

/// Tokens go up and events come down on one connection, each before the next is sent.
async fn tokens_go_up_and_events_come_down(mut client: SendRequest<Bytes>) {
    let (mut stream, mut seen) = subscribe(&mut client).await;
    let mut batch = Batch::open_on(&mut client, "/v1/sse/batch?event_id=a").await;
    for n in 1..=30 {
        batch.send(&line(n)).await;
        let receipt = batch.answer().await.expect("a receipt");
        assert_eq!((&receipt["line"], &receipt["status"]), (&json!(n), &json!(200)));
        until(&mut stream, &mut seen, &format!("\"data\":{n},")).await;
        assert!(seen.contains(receipt["message_id"].as_str().expect("an id")));
    }
    let last = json!({"event_id": "a", "event_type": "t", "data": "done", "final": true});
    batch.send(&format!("{last}\n")).await;
    assert_eq!(batch.answer().await.expect("a receipt")["status"], 200);
    until(&mut stream, &mut seen, "\"reason\":\"complete\"").await;
    assert_eq!(http2::data(&mut stream).await, None, "the room's stream ends");
    batch.send(&line(32)).await;
    assert_eq!(batch.answer().await.expect("a receipt")["line"], 32, "the batch goes on");
    batch.finish().await;
    assert_eq!(batch.answer().await, None, "a clean end");
}

#[tokio::test]
async fn tokens_go_up_and_events_come_down_on_one_connection() {
    let gateway = Gateway::ready(&[]).await;
    tokens_go_up_and_events_come_down(http2::connect(gateway.public(), 65_535).await).await;
}

#[tokio::test]
async fn tokens_go_up_and_events_come_down_on_one_connection_over_tls() {
    let pair = Pair::until(2099);
    let files = Files::with(&pair);
    let flags = files.flags();
    let gateway = Gateway::ready(&flags.each_ref().map(String::as_str)).await;
    let session = pair.session(gateway.public(), &["h2"]).await.expect("a session");
    assert_eq!(session.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    tokens_go_up_and_events_come_down(http2::over(session, 65_535).await).await;
}

#[tokio::test]
async fn a_batch_that_is_reset_ends_alone() {
    let gateway = Gateway::ready(&[]).await;
    let mut client = http2::connect(gateway.public(), 65_535).await;
    let (mut stream, mut seen) = subscribe(&mut client).await;
    let mut lost = Batch::open_on(&mut client, "/v1/sse/batch").await;
    let mut kept = Batch::open_on(&mut client, "/v1/sse/batch").await;
    lost.send(&line(1)).await;
    assert_eq!(lost.answer().await.expect("a receipt")["status"], 200);
    // Half a line: nobody will ever send its end, and nobody is told of it.
    lost.send(&line(2)[..10]).await;
    lost.reset();
    for n in 3..=5 {
        kept.send(&line(n)).await;
        assert_eq!(kept.answer().await.expect("a receipt")["status"], 200);
    }
    until(&mut stream, &mut seen, "\"data\":5,").await;
    assert!(!seen.contains("\"data\":2,"));
    kept.finish().await;
    assert_eq!(kept.answer().await, None, "a clean end");
}

#[tokio::test]
async fn a_client_that_leaves_the_answers_unread_is_asked_for_no_more_lines() {
    const LINES: u64 = 3_000;
    let gateway = Gateway::ready(&[]).await;
    // So small a window holds some ten receipts; the gateway keeps a bounded number more.
    let mut client = http2::connect(gateway.public(), 2_000).await;
    let mut batch = Batch::open_on(&mut client, "/v1/sse/batch").await;
    let all: String = (1..=LINES).map(line).collect();
    batch.send(&all).await;
    batch.finish().await;
    let (mut answered, mut looks) = (0.0, 0);
    eventually("it stops reading", PATIENCE, async || {
        let now = gateway.metric("tidegate_publish_requests_total", "ok").await;
        looks = if now > 0.0 && now == answered { looks + 1 } else { 0 };
        answered = now;
        looks == 20
    })
    .await;
    assert!(answered < 500.0, "{answered} of {LINES} lines were read");
    for n in 1..=LINES {
        assert_eq!(batch.answer().await.expect("a receipt")["line"], n);
    }
    assert_eq!(batch.answer().await, None, "a clean end");
}
