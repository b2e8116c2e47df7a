//! What could go wrong with a socket that leaves hyper: other requests on it, bytes that nobody
//! asked for, ends of every kind. What streams promise on it is in `ways.rs`.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

use crate::support::eventually;
use crate::support::gateway::{Gateway, SWIFT_DRAIN};
use crate::support::http::{PATIENCE, Wire, header};

const ROOM: &str = "/v1/subscribe/events/a/types/t";
const ASK: &str = "GET /v1/subscribe/events/a/types/t HTTP/1.1\r\nhost: t\r\n\r\n";
const PUBLISH: &str = "POST /v1/sse/events/a/types/t HTTP/1.1\r\nhost: t\r\n\
                       content-type: application/json\r\ncontent-length: 10\r\n\r\n{\"data\":1}";

/// Reads a stream's head; says whether its socket was handed over.
async fn head(wire: &mut Wire) -> bool {
    let (status, head) = timeout(PATIENCE, wire.head()).await.expect("in time").expect("a head");
    assert_eq!(status, 200, "{head}");
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
    header(&head, "connection") == Some("close")
}

/// The next chunk as text, which is a block; `None` at the last one.
async fn block(wire: &mut Wire) -> Option<String> {
    let chunk = timeout(PATIENCE, wire.chunk()).await.expect("in time")?;
    let text = String::from_utf8(chunk).expect("UTF-8");
    assert!(text.ends_with("\n\n"), "a chunk is a block: {text:?}");
    Some(text)
}

/// Whether the connection is at its end, however that came.
async fn is_over(wire: &mut Wire) -> bool {
    timeout(PATIENCE, wire.fill()).await.is_ok_and(|more| !more) && wire.buffer.is_empty()
}

async fn closed(gateway: &Gateway, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    gateway.metric("tidegate_connections_closed_total", &label).await
}

#[tokio::test]
async fn what_came_before_the_stream_on_its_connection_changes_nothing() {
    let gateway = Gateway::ready(&[]).await;
    let mut wire = Wire::connect(gateway.public()).await;
    // Two at once, the second half of the second later, and a HEAD, which is no stream.
    let (first, rest) = ASK.split_at(20);
    wire.send(format!("{PUBLISH}{PUBLISH}{}{first}", ASK.replace("GET", "HEAD")).as_bytes()).await;
    for _ in 0..2 {
        assert_eq!(wire.answer().await.status, 200);
    }
    let (status, of_head) = wire.head().await.expect("a head");
    assert_eq!((status, header(&of_head, "connection")), (200, None), "{of_head}");
    assert_eq!(gateway.metric("tidegate_connections_opened_total", "").await, 0.0);
    wire.send(rest.as_bytes()).await;
    assert!(head(&mut wire).await);
    assert!(block(&mut wire).await.is_some_and(|first| first.contains("tidegate.connected")));
    gateway.publish("a", "t", r#"{"data":2,"final":true}"#).await;
    assert!(block(&mut wire).await.is_some_and(|event| event.contains("\"data\":2")));
    assert!(block(&mut wire).await.is_some_and(|goodbye| goodbye.contains("complete")));
    assert_eq!(block(&mut wire).await, None);
    assert!(is_over(&mut wire).await);
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_a_head() {
    let gateway = Gateway::ready(&[]).await;
    let mut wire = Wire::connect(gateway.public()).await;
    wire.socket.set_nodelay(true).expect("set");
    for byte in ASK.as_bytes().chunks(1) {
        wire.send(byte).await;
        tokio::task::yield_now().await;
    }
    assert!(head(&mut wire).await);
    assert!(block(&mut wire).await.is_some());
}

#[tokio::test]
async fn a_get_with_a_body_keeps_its_connection() {
    let gateway = Gateway::ready(&[]).await;
    let framed = [
        ("content-length: 8", "GET / XX"),
        ("transfer-encoding: chunked", "8\r\nGET / XX\r\n0\r\n\r\n"),
    ];
    for (framing, body) in framed {
        let mut wire = Wire::connect(gateway.public()).await;
        wire.send(ASK.replace("\r\n\r\n", &format!("\r\n{framing}\r\n\r\n")).as_bytes()).await;
        assert!(!head(&mut wire).await);
        assert!(block(&mut wire).await.is_some());
        wire.send(body.as_bytes()).await;
        gateway.publish("a", "t", r#"{"data":2,"final":true}"#).await;
        assert!(block(&mut wire).await.is_some_and(|event| event.contains("\"data\":2")));
        assert!(block(&mut wire).await.is_some_and(|goodbye| goodbye.contains("complete")));
        assert_eq!(block(&mut wire).await, None);
    }
    // Without a byte in it a body is none.
    let mut wire = Wire::connect(gateway.public()).await;
    wire.send(ASK.replace("\r\n\r\n", "\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
    assert!(head(&mut wire).await);
}

#[tokio::test]
async fn what_a_client_says_on_its_stream_is_thrown_away() {
    let gateway = Gateway::ready(&[]).await;
    // Pipelined with the request, and later.
    for later in [false, true] {
        let mut wire = Wire::connect(gateway.public()).await;
        let early = if later { "" } else { PUBLISH };
        wire.send(format!("{ASK}{early}").as_bytes()).await;
        assert!(head(&mut wire).await);
        assert!(block(&mut wire).await.is_some_and(|first| first.contains("tidegate.connected")));
        if later {
            wire.send(PUBLISH.as_bytes()).await;
        }
        gateway.publish("a", "t", r#"{"data":2}"#).await;
        assert!(block(&mut wire).await.is_some_and(|event| event.contains("\"data\":2")));
    }
    let taken = gateway.metric("tidegate_publish_requests_total", "outcome=\"ok\"").await;
    assert_eq!(taken, 2.0, "nothing that was said on a stream was done");
}

#[tokio::test]
async fn a_client_that_talks_on_and_on_is_cut() {
    let gateway = Gateway::ready(&["--stream-heartbeat", "1h"]).await;
    for pipelined in [false, true] {
        let before = closed(&gateway, "client_gone").await;
        let mut wire = Wire::connect(gateway.public()).await;
        let talk = vec![b'x'; 300 * 1024];
        let asked = if pipelined { [ASK.as_bytes(), &talk].concat() } else { ASK.into() };
        // It may be cut while it talks.
        let _ = wire.socket.write_all(&asked).await;
        if !pipelined {
            assert!(head(&mut wire).await);
            let _ = wire.socket.write_all(&talk).await;
        }
        eventually("it is cut", PATIENCE, async || {
            closed(&gateway, "client_gone").await == before + 1.0
        })
        .await;
    }
    assert_eq!(gateway.metric("tidegate_connections", "").await, 0.0);
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_gone() {
    let gateway = Gateway::ready(&["--stream-heartbeat", "1h"]).await;
    // With the request already, and later.
    for later in [false, true] {
        let mut wire = Wire::connect(gateway.public()).await;
        wire.send(ASK.as_bytes()).await;
        if later {
            assert!(head(&mut wire).await);
            assert!(block(&mut wire).await.is_some());
        }
        let began = Instant::now();
        wire.socket.shutdown().await.expect("shut");
        while timeout(PATIENCE, wire.fill()).await.expect("the other side closes too") {}
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    // The first may be gone before there is a stream: on a busy machine its end is there as soon as
    // its request.
    eventually("the streams are counted", PATIENCE, async || {
        closed(&gateway, "client_gone").await >= 1.0
    })
    .await;
    assert_eq!(gateway.admin_get("/v1/connections").await.json()["total"], 0);
}

#[tokio::test]
async fn a_connection_that_breaks_is_noticed_in_silence() {
    let gateway = Gateway::ready(&["--stream-heartbeat", "1h"]).await;
    let mut wire = Wire::connect(gateway.public()).await;
    wire.send(ASK.as_bytes()).await;
    assert!(head(&mut wire).await);
    // The first block is not read: closing with it in the buffer is a reset.
    eventually("the first block is there", PATIENCE, async || {
        wire.socket.peek(&mut [0; 1]).await.is_ok_and(|n| n > 0)
    })
    .await;
    drop(wire);
    eventually("it is noticed", PATIENCE, async || closed(&gateway, "client_gone").await == 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_never_comes_into_a_chunk_that_is_half_written() {
    let gateway = Gateway::ready(&SWIFT_DRAIN).await;
    let mut wire = Wire::connect_small(gateway.public()).await;
    wire.send(ASK.as_bytes()).await;
    assert!(head(&mut wire).await);
    assert!(block(&mut wire).await.is_some());
    let body = json!({"data": "x".repeat(900_000)}).to_string();
    for _ in 0..3 {
        assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
    }
    // The first bytes of the first event are here, its last are not written yet.
    assert!(timeout(PATIENCE, wire.fill()).await.expect("in time"));
    let ended = gateway.begin_drain().await;
    let mut blocks = Vec::new();
    while let Some(block) = block(&mut wire).await {
        blocks.push(block);
    }
    let (goodbye, events) = blocks.split_last().expect("blocks");
    assert!(goodbye.contains("\"reason\":\"drain\""), "{goodbye:.200}");
    assert!(!events.is_empty());
    for event in events {
        assert!(event.starts_with("id: ") && event.len() > 900_000, "{event:.200}");
    }
    assert!(is_over(&mut wire).await, "closed after the last chunk");
    assert!(ended.await.expect("ended").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_let_go_by_a_drain_before_its_writes_time_out() {
    let gateway = Gateway::ready(&SWIFT_DRAIN).await;
    let mut wire = Wire::connect_small(gateway.public()).await;
    wire.send(ASK.as_bytes()).await;
    assert!(head(&mut wire).await);
    let body = json!({"data": "x".repeat(900_000)}).to_string();
    for _ in 0..3 {
        assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
    }
    let began = Instant::now();
    assert!(gateway.terminate().await.success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_range_of_other_requests_is_answered_as_before() {
    let gateway = Gateway::ready(&[]).await;
    let mut wire = Wire::connect(gateway.public()).await;
    for (request, status) in [
        (ASK.replace("types/t", "types/open"), 400),
        (ASK.replace("/v1/subscribe", "/v1/nothing"), 404),
        (ASK.replace("GET", "PUT"), 405),
        (PUBLISH.to_owned(), 200),
    ] {
        wire.send(request.as_bytes()).await;
        assert_eq!(wire.answer().await.status, status, "{request}");
    }
    wire.send(format!("HEAD {ROOM} HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes()).await;
    assert_eq!(wire.head().await.expect("a head").0, 200);
    wire.send(ASK.as_bytes()).await;
    assert!(head(&mut wire).await);
}
