//! HTTP/1.0 and HTTP/2 without TLS, and what an HTTP/2 client cannot hold.

use std::time::Duration;

use ::http::{Request, Version};
use bytes::Bytes;
use tokio::time::timeout;

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::{self, PATIENCE, Wire};
use crate::support::http2;
use crate::support::tls::read_until;

const ROOM: &str = "/v1/subscribe/events/a/types/t";

#[tokio::test]
async fn a_client_of_http_1_0_gets_the_stream_unchunked_and_its_end_by_close() {
    let gateway = Gateway::ready(&[]).await;
    let mut wire = Wire::connect(gateway.public()).await;
    wire.send(format!("GET {ROOM} HTTP/1.0\r\n\r\n").as_bytes()).await;
    let (status, head) = timeout(PATIENCE, wire.head()).await.expect("in time").expect("a head");
    assert_eq!(status, 200, "{head}");
    assert_eq!(http::header(&head, "transfer-encoding"), None);
    assert_eq!(http::header(&head, "content-length"), None);
    let mut block = async || {
        let block = timeout(PATIENCE, wire.take_until(b"\n\n")).await.expect("in time");
        block.map(|block| String::from_utf8(block).expect("UTF-8"))
    };
    let connected = block().await.expect("a first block");
    assert!(connected.starts_with("retry: ") && connected.contains("tidegate.connected"));
    assert_eq!(gateway.metric("tidegate_connections", "http1.0").await, 1.0);
    gateway.publish("a", "t", r#"{"data":1,"final":true}"#).await;
    assert!(block().await.is_some_and(|event| event.contains("\"data\":1")));
    assert!(block().await.is_some_and(|goodbye| goodbye.contains("complete")));
    assert_eq!(block().await, None, "the connection is closed");

    let mut wire = Wire::connect(gateway.public()).await;
    let body = r#"{"data":2}"#;
    let head = format!(
        "POST /v1/sse/events/a/types/t HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    wire.send(head.as_bytes()).await;
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test]
async fn http2_by_prior_knowledge_carries_many_streams_on_one_connection() {
    let gateway = Gateway::ready(&[]).await;
    let base = format!("http://{}", gateway.public());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .tls_certs_only([])
        .build()
        .expect("a client");
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = client.get(format!("{base}{ROOM}")).send().await.expect("an answer");
        assert_eq!((stream.status().as_u16(), stream.version()), (200, Version::HTTP_2));
        let mut seen = String::new();
        read_until(&mut stream, &mut seen, "event: tidegate.connected").await;
        streams.push((stream, seen));
    }
    assert_eq!(gateway.metric("tidegate_connections", "\"h2\"").await, 20.0);
    let large = "x".repeat(100_000);
    gateway.publish("a", "t", &format!("{{\"data\":\"{large}\"}}")).await;
    for (stream, seen) in &mut streams {
        read_until(stream, seen, &format!("\"data\":\"{large}\"")).await;
    }
}

#[tokio::test]
async fn a_stream_without_window_is_reset_and_its_neighbour_goes_on() {
    let gateway = Gateway::ready(&["--stream-write-timeout", "500ms"]).await;
    let mut client = http2::connect(gateway.public(), 2_000).await;
    let mut stuck = http2::get(&mut client, ROOM).await.expect("an answer").into_body();
    let mut reading = http2::get(&mut client, ROOM).await.expect("an answer").into_body();
    eventually("both are open", PATIENCE, async || {
        gateway.metric("tidegate_connections", "\"h2\"").await == 2.0
    })
    .await;
    let body = format!("{{\"data\":\"{}\"}}", "x".repeat(3_000));
    for _ in 0..3 {
        assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
    }
    // This one gives back what it takes, the other nothing: it is reset, and only it.
    let mut seen = 0;
    let read = async {
        while seen < 9_000 {
            let data = reading.data().await.expect("not the end").expect("no reset");
            seen += data.len();
            reading.flow_control().release_capacity(data.len()).expect("released");
        }
    };
    timeout(PATIENCE, read).await.expect("the neighbour goes on");
    let reset = async {
        loop {
            match stuck.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.is_reset(),
                None => return false,
            }
        }
    };
    assert!(timeout(PATIENCE, reset).await.expect("in time"), "it is reset");
    eventually("its reader is gone", PATIENCE, async || {
        gateway.metric("tidegate_connections", "\"h2\"").await == 1.0
    })
    .await;
    assert_eq!(gateway.metric("tidegate_send_failures_total", "write_timeout").await, 1.0);
    assert_eq!(gateway.metric("tidegate_connections_closed_total", "\"stalled\"").await, 1.0);
    gateway.publish("a", "t", r#"{"data":"last"}"#).await;
    let data = timeout(PATIENCE, reading.data()).await.expect("in time").expect("not the end");
    assert!(data.expect("no reset").ends_with(b"\n\n"));
}

#[tokio::test]
async fn a_head_in_parts_that_do_not_come_holds_no_http2_connection() {
    let gateway = Gateway::ready(&["--limits-header-timeout", "500ms"]).await;
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    // HEADERS with `:method GET` and without END_HEADERS: the rest never comes.
    const HALF_A_HEAD: &[u8] = b"\0\0\x01\x01\x01\0\0\0\x01\x82";
    for begun in [
        &PREFACE[..10],
        PREFACE,
        &[PREFACE, SETTINGS].concat(),
        &[PREFACE, SETTINGS, HALF_A_HEAD].concat(),
    ] {
        let mut wire = Wire::connect(gateway.public()).await;
        wire.send(begun).await;
        let ended = async { while wire.fill().await {} };
        timeout(Duration::from_secs(10), ended).await.expect("closed");
    }
}

#[tokio::test]
async fn a_slow_body_over_http2_gets_its_problem() {
    let gateway = Gateway::ready(&["--limits-body-timeout", "300ms"]).await;
    let mut client = http2::connect(gateway.public(), 65_535).await;
    let request = Request::post("http://t/v1/sse/events/a/types/t")
        .header("content-type", "application/json");
    let (answer, mut body) = http2::begin(&mut client, request);
    body.send_data(Bytes::from_static(b"{\"data\":"), false).expect("sent");
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
    assert_eq!(answer.status(), 408);
}
