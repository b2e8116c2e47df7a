//! Content codings of streams: who gets one, and how it ends. What a coded stream promises on each way
//! is in `ways.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::time::timeout;

use crate::support::decoding::{Decoder, noise};
use crate::support::gateway::{Gateway, SWIFT_DRAIN};
use crate::support::http::{PATIENCE, Wire, header};

const ROOM: &str = "/v1/subscribe/events/a/types/t";

/// Asks for a stream and returns its head.
async fn ask(wire: &mut Wire, query: &str, accepted: &str) -> String {
    let request = format!("GET {ROOM}{query} HTTP/1.1\r\nhost: t\r\naccept: text/event-stream\r\n");
    wire.send(format!("{request}{accepted}\r\n").as_bytes()).await;
    let (status, head) = timeout(PATIENCE, wire.head()).await.expect("in time").expect("a head");
    assert_eq!(status, 200, "{head}");
    assert_eq!(header(&head, "vary"), Some("Accept-Encoding"), "{head}");
    head
}

/// The next chunk, and what it decodes to; `None` at the last one.
async fn chunk(wire: &mut Wire, decoder: &mut Decoder) -> Option<String> {
    let chunk = timeout(PATIENCE, wire.chunk()).await.expect("in time")?;
    Some(String::from_utf8(decoder.decode(&chunk)).expect("UTF-8"))
}

#[tokio::test]
async fn a_client_gets_the_coding_that_it_accepts_if_the_operator_wants_it() {
    let gzip = "accept-encoding: gzip, zstd\r\n";
    let cases = [
        (vec![], gzip, None),
        (vec!["--stream-gzip=true"], gzip, Some("gzip")),
        (vec!["--stream-gzip=true"], "accept-encoding: zstd\r\n", None),
        (vec!["--stream-gzip=true"], "", None),
        (vec!["--stream-zstd=true"], gzip, Some("zstd")),
        (vec!["--stream-zstd=true", "--stream-gzip=true"], gzip, Some("gzip")),
    ];
    for (flags, accepted, expected) in cases {
        let gateway = Gateway::ready(&flags).await;
        let mut wire = Wire::connect(gateway.public()).await;
        let head = ask(&mut wire, "", accepted).await;
        assert_eq!(header(&head, "content-encoding"), expected, "{flags:?} {accepted}");
    }
}

#[tokio::test]
async fn several_headers_are_one_list() {
    let flags = ["--stream-gzip=true", "--stream-zstd=true"];
    let gateway = Gateway::ready(&flags).await;
    let mut wire = Wire::connect(gateway.public()).await;
    let accepted = "accept-encoding: gzip;q=0.5\r\naccept-encoding: br, zstd;q=0.6\r\n";
    let head = ask(&mut wire, "", accepted).await;
    assert_eq!(header(&head, "content-encoding"), Some("zstd"));
}

#[tokio::test]
async fn a_refusal_is_said_without_a_coding() {
    let gateway = Gateway::ready(&["--stream-gzip=true", "--limits-connections=1"]).await;
    let mut first = Wire::connect(gateway.public()).await;
    ask(&mut first, "", "accept-encoding: gzip\r\n").await;
    let mut refused = Wire::connect(gateway.public()).await;
    let head = ask(&mut refused, "", "accept-encoding: gzip\r\n").await;
    assert_eq!(header(&head, "content-encoding"), None);
    let goodbye = chunk(&mut refused, &mut Decoder::Identity).await.expect("a goodbye");
    assert!(goodbye.contains("\"reason\":\"overloaded\""), "{goodbye}");
}

#[tokio::test]
async fn lz4_in_the_envelope_and_gzip_around_it_go_together() {
    let gateway = Gateway::ready(&["--stream-gzip=true"]).await;
    let mut wire = Wire::connect(gateway.public()).await;
    ask(&mut wire, "?compress=lz4", "accept-encoding: gzip\r\n").await;
    let mut decoder = Decoder::of(Some("gzip"));
    assert_eq!(chunk(&mut wire, &mut decoder).await.as_deref(), Some(""), "the header");
    assert!(chunk(&mut wire, &mut decoder).await.is_some_and(|c| c.contains("connected")));
    let data = "x".repeat(10_000);
    gateway.publish("a", "t", &json!({"data": data, "final": true}).to_string()).await;
    let event = chunk(&mut wire, &mut decoder).await.expect("an event");
    let envelope = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let envelope: serde_json::Value = serde_json::from_str(envelope).expect("JSON");
    assert_eq!(envelope["encoding"], "lz4");
    let frame = STANDARD.decode(envelope["data"].as_str().expect("text")).expect("base64");
    let decoded: String =
        serde_json::from_reader(lz4_flex::frame::FrameDecoder::new(&frame[..])).expect("JSON");
    assert!(decoded == data);
    assert!(chunk(&mut wire, &mut decoder).await.is_some_and(|c| c.contains("goodbye")));
    assert_eq!(chunk(&mut wire, &mut decoder).await.as_deref(), Some(""), "the sum");
    assert_eq!(chunk(&mut wire, &mut decoder).await, None);
    decoder.expect_end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_never_comes_into_a_coded_chunk_that_is_half_written_and_the_sum_is_right() {
    let flags = [&["--stream-gzip=true"][..], &SWIFT_DRAIN].concat();
    let gateway = Gateway::ready(&flags).await;
    let mut wire = Wire::connect_small(gateway.public()).await;
    ask(&mut wire, "", "accept-encoding: gzip\r\n").await;
    let mut decoder = Decoder::of(Some("gzip"));
    assert_eq!(chunk(&mut wire, &mut decoder).await.as_deref(), Some(""), "the header");
    assert!(chunk(&mut wire, &mut decoder).await.is_some_and(|c| c.contains("connected")));
    let body = json!({"data": noise(900_000)}).to_string();
    for _ in 0..3 {
        assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
    }
    // The first bytes of the first event are here, its last are not written yet.
    assert!(timeout(PATIENCE, wire.fill()).await.expect("in time"));
    let ended = gateway.begin_drain().await;
    let mut blocks = Vec::new();
    while let Some(block) = chunk(&mut wire, &mut decoder).await {
        blocks.push(block);
    }
    decoder.expect_end();
    assert_eq!(blocks.pop().as_deref(), Some(""), "the sum");
    let (goodbye, events) = blocks.split_last().expect("blocks");
    assert!(goodbye.contains("\"reason\":\"drain\""), "{goodbye:.200}");
    assert!(!events.is_empty());
    for event in events {
        assert!(event.starts_with("id: ") && event.ends_with("\n\n"), "{event:.200}");
        assert!(event.len() > 800_000, "whole");
    }
    assert!(ended.await.expect("ended").success());
}
