//! What a stream promises, over each way in which it can travel: a socket that left hyper, an
//! ordinary body over HTTP/1.1, 1.0 and 2, with and without TLS, and through real proxies; as it is and
//! in each content coding.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::decoding::noise;
use crate::support::eventually;
use crate::support::http::{PATIENCE, header};
use crate::support::proxy::Kind;
use crate::support::stream::Block;
use crate::support::ways::{Reader, Site, Way};

const ROOM: &str = "/v1/subscribe/events/a/types/t";
/// More than sockets, rings and proxies hold, in events of 10 KB.
const FLOOD: u64 = 2_000;

/// Makes a test of each name, over each way.
macro_rules! hold_over {
    ($($over:ident $way:expr;)*) => {$(
        mod $over {
            use super::*;
            hold_over!(each $way,
                a_stream_begins_with_its_position_and_carries_events_as_they_were_published
                events_of_every_size_come_whole_and_in_order
                a_client_resumes_from_every_id_it_was_given
                several_rooms_and_broadcasts_come_once_with_ids_of_their_own
                silence_is_broken_by_heartbeats_that_resume
                a_hole_is_said_and_the_stream_goes_on
                a_final_event_ends_the_stream
                a_drain_and_an_age_end_it_with_a_goodbye
                a_reader_that_lags_is_cut_and_resumes_without_a_hole
                a_reader_that_lags_and_may_go_on_is_told_of_the_hole
                a_reader_that_takes_nothing_is_ended_and_counted
                a_client_that_goes_is_noticed_in_silence
                beyond_the_limit_a_client_is_told_to_come_back
            );
        }
    )*};
    (each $way:expr, $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            super::$name($way).await;
        }
    )*};
}

hold_over! {
    over_a_socket_of_its_own Way::HandedOff;
    over_http1_with_a_body_to_read Way::WithBody;
    over_http1_0 Way::Http10;
    over_http2 Way::Http2;
    over_tls Way::Tls;
    over_http2_and_tls Way::Http2OverTls;
    through_nginx Way::Through(Kind::Nginx);
    through_haproxy Way::Through(Kind::Haproxy);
    in_gzip_over_a_socket_of_its_own Way::Coded("gzip", &Way::HandedOff);
    in_gzip_over_http1_0 Way::Coded("gzip", &Way::Http10);
    in_gzip_over_http2_and_tls Way::Coded("gzip", &Way::Http2OverTls);
    in_gzip_through_nginx Way::Coded("gzip", &Way::Through(Kind::Nginx));
    in_gzip_through_haproxy Way::Coded("gzip", &Way::Through(Kind::Haproxy));
    in_zstd_over_a_socket_of_its_own Way::Coded("zstd", &Way::HandedOff);
    in_zstd_over_http2 Way::Coded("zstd", &Way::Http2);
}

/// Starts a gateway, or ends the test if the way cannot be tried here.
macro_rules! site {
    ($way:expr, $flags:expr) => {
        match Site::start($way, $flags).await {
            Some(site) => site,
            None => return,
        }
    };
}

async fn a_stream_begins_with_its_position_and_carries_events_as_they_were_published(way: Way) {
    let site = site!(way, &["--pod-name", "pod-1"]);
    let (mut reader, first) = site.connect(ROOM, &[]).await;
    let retry = first.retry.expect("retry");
    assert!((1_500..=4_500).contains(&retry), "around 3 s: {retry}");
    assert!(first.id.is_some());
    assert_eq!(first.json()["pod"], "pod-1");
    assert_eq!(first.json()["start"], "live");
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(header(&reader.head, name), Some(value));
    }
    assert_eq!(header(&reader.head, "content-encoding"), site.coding);
    let opened = site.gateway.metric("tidegate_connections", site.protocol()).await;
    assert_eq!(opened, 1.0, "{}", site.protocol());

    let body = r#"{"data": {"n" : 1.50, "s":"\u00e4"}, "headers": {"X-Request-ID": "r1"}}"#;
    let receipt = site.publish("a", "t", body).await;
    let event = reader.event().await;
    assert_eq!(event.event.as_deref(), Some("t"));
    assert_eq!(event.id.as_deref(), receipt["cursor"].as_str());
    assert_eq!(
        event.data,
        format!(
            "{{\"message_id\":{},\"event_id\":\"a\",\"event_type\":\"t\",\
             \"data\":{{\"n\":1.50,\"s\":\"\\u00e4\"}},\"headers\":{{\"X-Request-ID\":\"r1\"}},\
             \"published_at\":{}}}",
            receipt["message_id"], receipt["published_at"]
        ),
    );
    let coding = format!("coding=\"{}\"", site.coding.unwrap_or("identity"));
    let sent = site.gateway.metric("tidegate_sent_bytes_total", &coding).await;
    assert!(sent > event.data.len() as f64 && sent < event.data.len() as f64 + 200.0, "{sent}");
    assert_eq!(site.gateway.metric("tidegate_sent_bytes_total", "").await, sent);
}

/// Publishes events with this data to room `a/t`, in one batch.
async fn publish_all(site: &Site, data: impl IntoIterator<Item = Value>) {
    let lines: Vec<String> = data
        .into_iter()
        .map(|data| json!({"event_id": "a", "event_type": "t", "data": data}).to_string())
        .collect();
    let answer = site.post("/v1/sse/batch", "application/x-ndjson", &lines.join("\n")).await;
    assert_eq!(answer.matches("\"status\":200").count(), lines.len(), "{answer}");
}

async fn events_of_every_size_come_whole_and_in_order(way: Way) {
    let site = site!(way, &[]);
    let (mut reader, _) = site.connect(ROOM, &[]).await;
    let sizes = [0, 1, 15, 16, 250, 4_000, 65_000, 70_000, 1, 900_000, 2, 3];
    let data = sizes.map(|size| if size % 5 == 0 { noise(size) } else { "x".repeat(size) });
    for data in &data {
        site.publish("a", "t", &json!({"data": data}).to_string()).await;
    }
    publish_all(&site, (0..500).map(Value::from)).await;
    for data in data {
        assert!(reader.event().await.json()["data"] == data, "{} bytes", data.len());
    }
    assert_eq!(reader.take(500).await, (0..500).map(Value::from).collect::<Vec<_>>());
}

async fn a_client_resumes_from_every_id_it_was_given(way: Way) {
    let site = site!(way, &[]);
    let (mut reader, first) = site.connect(ROOM, &[]).await;
    let mut ids = vec![first.id.expect("an id")];
    for n in 0..5 {
        site.publish("a", "t", &json!({"data": n}).to_string()).await;
        let event = reader.event().await;
        assert_eq!(event.json()["data"], n);
        ids.push(event.id.expect("an id"));
    }
    for (n, id) in ids.iter().enumerate() {
        let (mut resumed, first) = site.connect(ROOM, &[("last-event-id", id)]).await;
        assert_eq!(first.id.as_ref(), Some(id), "connected repeats the requested position");
        let rest: Vec<_> = (n..5).map(Value::from).collect();
        assert_eq!(resumed.take(rest.len()).await, rest);
    }
}

async fn several_rooms_and_broadcasts_come_once_with_ids_of_their_own(way: Way) {
    let site = site!(way, &[]);
    let several = "/v1/subscribe?room=a/s&room=a/*&room=b%2Fc/t";
    let (mut reader, first) = site.connect(several, &[]).await;
    let (mut alone, _) = site.connect(ROOM, &[]).await;
    let mut ids = vec![first.id.expect("an id")];
    for (id, kind, n) in [("a", "s", 0), ("b%2Fc", "t", 1), ("x", "t", 9), ("a", "t", 2)] {
        site.publish(id, kind, &json!({"data": n}).to_string()).await;
    }
    site.post("/v1/sse/broadcast/types/notice", "application/json", r#"{"data":3}"#).await;
    for n in 0..4 {
        let event = reader.event().await;
        assert_eq!(event.json()["data"], n, "{event:?}");
        ids.push(event.id.expect("an id"));
    }
    assert_eq!(alone.take(2).await, [json!(2), json!(3)]);
    for (n, id) in ids.iter().enumerate() {
        let (mut resumed, _) = site.connect(several, &[("last-event-id", id)]).await;
        let rest: Vec<_> = (n..4).map(Value::from).collect();
        assert_eq!(resumed.take(rest.len()).await, rest);
    }
}

async fn silence_is_broken_by_heartbeats_that_resume(way: Way) {
    let site = site!(way, &["--stream-heartbeat", "300ms"]);
    let (mut reader, _) = site.connect(ROOM, &[]).await;
    let began = Instant::now();
    for _ in 0..4 {
        let heartbeat = reader.block().await.expect("a heartbeat");
        assert_eq!(heartbeat.event.as_deref(), Some("tidegate.heartbeat"));
        assert_eq!(heartbeat.data, "{}");
    }
    assert!(began.elapsed() >= Duration::from_millis(500), "not more often than that");
    let young = reader.last_id.clone().expect("a heartbeat has the cursor");
    site.publish("a", "t", r#"{"data":1}"#).await;
    let (mut resumed, _) = site.connect(ROOM, &[("last-event-id", &young)]).await;
    assert_eq!(resumed.take(1).await, [json!(1)]);
    let (mut quiet, _) = site.connect(&format!("{ROOM}?heartbeat=comment"), &[]).await;
    let comment = quiet.block().await.expect("a comment");
    assert!(comment.comment && comment.id.is_none() && comment.data.is_empty());
}

async fn a_hole_is_said_and_the_stream_goes_on(way: Way) {
    let site = site!(way, &[]);
    let (mut reader, first) = site.connect(ROOM, &[("last-event-id", "rubbish!")]).await;
    assert_eq!(first.id, None);
    let gap = reader.event().await;
    assert_eq!(gap.event.as_deref(), Some("tidegate.gap"));
    assert_eq!(gap.json()["reason"], "invalid");
    site.publish("a", "t", r#"{"data":1}"#).await;
    assert_eq!(reader.take(1).await, [json!(1)]);
}

async fn a_final_event_ends_the_stream(way: Way) {
    let site = site!(way, &[]);
    let (mut reader, _) = site.connect(ROOM, &[]).await;
    site.publish("a", "t", r#"{"data":1,"final":true}"#).await;
    assert_eq!(reader.take(1).await, [json!(1)]);
    reader.expect_goodbye("complete").await;
    // The client sees the end a moment before the gateway has counted it.
    eventually("it is counted", PATIENCE, async || closed(&site, "complete").await == 1.0).await;
    eventually("its place is given back", PATIENCE, async || streams(&site).await == 0).await;
}

/// How many streams ended for this reason.
async fn closed(site: &Site, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    site.gateway.metric("tidegate_connections_closed_total", &label).await
}

/// How many streams have a place.
async fn streams(site: &Site) -> u64 {
    let report = site.gateway.admin_get("/v1/connections").await.json();
    report["total"].as_u64().expect("a number")
}

async fn a_drain_and_an_age_end_it_with_a_goodbye(way: Way) {
    let aged = site!(way, &["--stream-max-age=1s"]);
    let (mut reader, _) = aged.connect(ROOM, &[]).await;
    reader.expect_goodbye("max_age").await;

    let flags = ["--drain-grace=0", "--drain-window=500ms", "--drain-deadline=20s"];
    let site = site!(way, &flags);
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(site.connect(ROOM, &[]).await.0);
    }
    let Site { gateway, proxy: _proxy, .. } = site;
    let ended = tokio::spawn(gateway.terminate());
    for reader in &mut readers {
        reader.expect_goodbye("drain").await;
    }
    // A client of HTTP/2 keeps its connection until it is gone itself.
    drop(readers);
    assert!(ended.await.expect("ended").success());
}

/// Publishes more events of 10 KB to room `a/t` than anything holds, numbered from 0.
async fn flood(site: &Site) {
    let pad = noise(10_000);
    publish_all(site, (0..FLOOD).map(|n| json!([n, pad]))).await;
}

/// The number of a block's event.
fn number(block: &Block) -> u64 {
    assert_eq!(block.event.as_deref(), Some("t"), "{block:?}");
    block.json()["data"][0].as_u64().expect("a number")
}

async fn a_reader_that_lags_is_cut_and_resumes_without_a_hole(way: Way) {
    let site = site!(way, &["--stream-queue-bytes", "100KB"]);
    let (mut reader, _) = site.connect(ROOM, &[]).await;
    flood(&site).await;
    let mut next = 0;
    while let Ok(block) = reader.next().await {
        if block.event.as_deref() == Some("tidegate.heartbeat") {
            continue;
        }
        assert_eq!(number(&block), next, "no goodbye either");
        next += 1;
    }
    assert!(next < FLOOD, "the flood was too small");
    assert_eq!(closed(&site, "slow").await, 1.0);
    let last = reader.last_id.as_deref().expect("an id");
    let (mut resumed, _) = site.connect(ROOM, &[("last-event-id", last)]).await;
    assert_eq!(number(&resumed.event().await), next);
}

async fn a_reader_that_lags_and_may_go_on_is_told_of_the_hole(way: Way) {
    let site = site!(way, &["--stream-slow", "drop", "--stream-queue-bytes", "100KB"]);
    let (mut reader, _) = site.connect(ROOM, &[]).await;
    flood(&site).await;
    let (mut next, mut holes) = (0, 0);
    let mut is_hole = false;
    while next < FLOOD {
        let block = reader.event().await;
        if block.event.as_deref() == Some("tidegate.gap") {
            assert_eq!(block.json()["reason"], "overflow");
            is_hole = true;
            holes += 1;
        } else {
            let number = number(&block);
            assert!(if is_hole { number > next } else { number == next }, "{number}, not {next}");
            is_hole = false;
            next = number + 1;
        }
    }
    assert!(holes > 0, "the flood was too small");
}

async fn a_reader_that_takes_nothing_is_ended_and_counted(way: Way) {
    let site = site!(way, &["--stream-write-timeout", "1s", "--stream-queue-bytes", "100MB"]);
    let (_stalled, _) = site.connect(ROOM, &[]).await;
    let (mut healthy, _) = site.connect(ROOM, &[]).await;
    let body = json!({"data": noise(900_000)}).to_string();
    eventually("the writes time out", Duration::from_secs(60), async || {
        site.publish("a", "t", &body).await;
        // Who reads goes on, and is never far behind.
        assert!(!healthy.event().await.is_own());
        closed(&site, "stalled").await >= 1.0
    })
    .await;
    assert_eq!(closed(&site, "stalled").await, 1.0);
    assert_eq!(closed(&site, "client_gone").await, 0.0);
    let failures = site.gateway.metric("tidegate_send_failures_total", "write_timeout").await;
    assert_eq!(failures, 1.0);
    assert_eq!(streams(&site).await, 1);
}

async fn a_client_that_goes_is_noticed_in_silence(way: Way) {
    let site = site!(way, &["--stream-heartbeat", "1h"]);
    let open: Vec<Reader> =
        [site.connect(ROOM, &[]).await.0, site.connect(ROOM, &[]).await.0].into();
    assert_eq!(streams(&site).await, 2);
    drop(open);
    let gone = Instant::now();
    eventually("the streams are over", PATIENCE, async || streams(&site).await == 0).await;
    assert!(gone.elapsed() < Duration::from_secs(5), "{:?}", gone.elapsed());
    assert_eq!(closed(&site, "client_gone").await, 2.0);
    assert_eq!(site.gateway.metric("tidegate_connections", site.protocol()).await, 0.0);
    // That one is looked at now and then.
    eventually("no room is left", PATIENCE, async || {
        site.gateway.metric("tidegate_rooms", "").await == 0.0
    })
    .await;
}

async fn beyond_the_limit_a_client_is_told_to_come_back(way: Way) {
    let site = site!(way, &["--limits-connections", "1"]);
    let (first, _) = site.connect(ROOM, &[]).await;
    let mut refused = site.open(ROOM, &[]).await;
    refused.expect_goodbye("overloaded").await;
    drop(first);
    eventually("the place is given back", PATIENCE, async || streams(&site).await == 0).await;
    site.connect(ROOM, &[]).await;
}
