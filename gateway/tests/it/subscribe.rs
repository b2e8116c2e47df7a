//! Streams: what they begin with, what they carry, how they resume and how they end.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/cart-7/types/updated";

#[tokio::test]
async fn a_stream_begins_with_retry_and_connected_and_carries_the_envelope() {
    let gateway = Gateway::ready(&["--pod-name", "pod-1"]).await;
    let (mut stream, first) = Stream::connect(gateway.public(), ROOM, &[]).await;
    let retry = first.retry.expect("retry");
    assert!((1_500..=4_500).contains(&retry), "around 3 s: {retry}");
    let id = first.id.clone().expect("an id");
    assert!(id.len() <= 256 && id.bytes().all(|b| b.is_ascii_graphic()), "{id}");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        first.json(),
        json!({"pod": "pod-1", "version": version, "rooms": ["cart-7/updated"], "start": "live",
               "heartbeat_ms": 15_000})
    );
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(http::header(&stream.head, name), Some(value));
    }

    let body = r#"{"event_name": "Cart", "user": {"from_user": "a"}, "data": {"n" : 1.50, "s":"\u00e4"},
                   "headers": {"X-Request-ID": "r1"}}"#;
    let receipt = gateway.publish("cart-7", "updated", body).await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    let receipt = receipt.json();
    let event = stream.next().await;
    assert_eq!(event.event.as_deref(), Some("updated"));
    assert_eq!(event.id.as_deref(), receipt["cursor"].as_str());
    assert_eq!(
        event.data,
        format!(
            "{{\"message_id\":{},\"event_id\":\"cart-7\",\"event_type\":\"updated\",\
             \"event_name\":\"Cart\",\"user\":{{\"from_user\":\"a\"}},\
             \"data\":{{\"n\":1.50,\"s\":\"\\u00e4\"}},\"headers\":{{\"X-Request-ID\":\"r1\"}},\
             \"published_at\":{}}}",
            receipt["message_id"], receipt["published_at"]
        ),
        "the publisher's spelling is kept"
    );
}

#[tokio::test]
async fn a_type_wildcard_several_rooms_and_broadcasts_reach_their_streams_once() {
    let gateway = Gateway::ready(&[]).await;
    let to = gateway.public();
    let (mut all, _) = Stream::connect(to, "/v1/subscribe/events/a/types/*", &[]).await;
    let several = "/v1/subscribe?room=a/s&room=a/*&room=b%2Fc/t";
    let (mut several, first) = Stream::connect(to, several, &[]).await;
    assert_eq!(first.json()["rooms"], json!(["a/s", "a/*", "b/c/t"]));
    let (mut one, _) = Stream::connect(to, "/v1/subscribe/events/a/types/t", &[]).await;

    for (id, kind, n) in [("a", "s", 1), ("b%2Fc", "t", 2), ("x", "t", 3), ("a", "t", 4)] {
        let answer = gateway.publish(id, kind, &format!("{{\"data\":{n}}}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let broadcast = http::post_json(to, "/v1/sse/broadcast/types/notice", r#"{"data":5}"#).await;
    assert_eq!(broadcast.status, 200, "{}", broadcast.text());

    assert_eq!(all.take(2).await, [json!(1), json!(4)]);
    assert_eq!(several.take(3).await, [json!(1), json!(2), json!(4)]);
    assert_eq!(one.take(1).await, [json!(4)]);
    for stream in [&mut all, &mut several, &mut one] {
        let block = stream.next().await;
        assert_eq!(block.event.as_deref(), Some("notice"));
        assert_eq!(block.json()["event_id"], "*");
        assert!(block.id.is_some());
    }
}

#[tokio::test]
async fn an_event_for_a_user_reaches_that_users_streams_only() {
    let gateway = Gateway::ready(&[]).await;
    let to = gateway.public();
    let (mut ann, _) = Stream::connect(to, &format!("{ROOM}?user=ann"), &[]).await;
    let (mut bob, _) = Stream::connect(to, ROOM, &[("x-user", "bob")]).await;
    let (mut nobody, _) = Stream::connect(to, ROOM, &[]).await;
    for (n, user) in [(1, Some("ann")), (2, Some("bob")), (3, None)] {
        let user = user.map_or(json!({}), |u| json!({"to_user": u}));
        let body = json!({"data": n, "user": user}).to_string();
        assert_eq!(gateway.publish("cart-7", "updated", &body).await.status, 200);
    }
    assert_eq!(ann.take(2).await, [json!(1), json!(3)]);
    assert_eq!(bob.take(2).await, [json!(2), json!(3)]);
    assert_eq!(nobody.take(1).await, [json!(3)]);
}

#[tokio::test]
async fn name_message_leaves_the_event_line_out_but_not_of_the_gateways_own() {
    let gateway = Gateway::ready(&[]).await;
    let (mut stream, _) =
        Stream::connect(gateway.public(), &format!("{ROOM}?name=message"), &[]).await;
    gateway.publish("cart-7", "updated", r#"{"data":1}"#).await;
    let block = stream.next().await;
    assert_eq!(block.event, None);
    assert_eq!(block.json()["event_type"], "updated");
}

#[tokio::test]
async fn a_silent_stream_gets_heartbeats_whose_cursor_resumes() {
    let gateway = Gateway::ready(&["--stream-heartbeat", "300ms"]).await;
    let to = gateway.public();
    let (mut stream, first) = Stream::connect(to, ROOM, &[]).await;
    assert_eq!(first.json()["heartbeat_ms"], 300);
    // Somebody else's event on every shard: the quiet stream's cursor moves all the same.
    for id in 0..32 {
        gateway.publish(&format!("other-{id}"), "t", r#"{"data":0}"#).await;
    }
    let heartbeat = stream.block().await.expect("a heartbeat");
    assert_eq!(heartbeat.event.as_deref(), Some("tidegate.heartbeat"));
    assert_eq!(heartbeat.data, "{}");
    let mut young = heartbeat.id.clone().expect("a heartbeat has the cursor");
    while Some(&young) == first.id.as_ref() {
        young = stream.block().await.and_then(|b| b.id).expect("a heartbeat");
    }
    gateway.publish("cart-7", "updated", r#"{"data":1}"#).await;
    let (mut resumed, first) = Stream::connect(to, ROOM, &[("last-event-id", &young)]).await;
    assert_eq!(first.json()["start"], "resume");
    assert_eq!(resumed.take(1).await, [json!(1)]);

    let path = format!("{ROOM}?heartbeat=comment");
    let (mut quiet, _) = Stream::connect(to, &path, &[]).await;
    let comment = quiet.block().await.expect("a comment");
    assert!(comment.comment && comment.id.is_none() && comment.data.is_empty());
}

#[tokio::test]
async fn a_client_resumes_from_any_id_it_was_given_by_header_or_query() {
    let gateway = Gateway::ready(&[]).await;
    let to = gateway.public();
    let (mut stream, first) = Stream::connect(to, ROOM, &[]).await;
    let mut ids = vec![first.id.expect("an id")];
    for n in 0..10 {
        gateway.publish("cart-7", "updated", &json!({"data": n}).to_string()).await;
        ids.push(stream.expect_data(json!(n)).await.id.expect("an id"));
    }
    drop(stream);
    for (n, id) in ids.iter().enumerate() {
        let rest: Vec<_> = (n..10).map(|n| json!(n)).collect();
        let (mut by_header, first) = Stream::connect(to, ROOM, &[("last-event-id", id)]).await;
        assert_eq!(first.id.as_ref(), Some(id), "connected repeats the requested position");
        assert_eq!(by_header.take(rest.len()).await, rest);
        for name in ["last_event_id", "lastEventId"] {
            let path = format!("{ROOM}?{name}={id}");
            let (mut by_query, _) = Stream::connect(to, &path, &[]).await;
            assert_eq!(by_query.take(rest.len()).await, rest);
        }
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_used_is_answered_with_a_gap_and_the_stream_goes_on() {
    let gateway = Gateway::ready(&[]).await;
    let to = gateway.public();
    for rubbish in ["rubbish!", "AAAA", &"A".repeat(30_000), "EP____8"] {
        let mut stream = Stream::open(to, ROOM, &[("last-event-id", rubbish)]).await;
        let connected = stream.next().await;
        assert_eq!(connected.event.as_deref(), Some("tidegate.connected"));
        assert_eq!(connected.id, None, "the requested position cannot be said");
        let gap = stream.next().await;
        assert_eq!(gap.event.as_deref(), Some("tidegate.gap"));
        assert_eq!(gap.json()["reason"], "invalid");
        assert_eq!(gap.json()["requested"], json!(null));
        assert_eq!(gap.json()["resumed_at"].as_str(), gap.id.as_deref());
        gateway.publish("cart-7", "updated", r#"{"data":1}"#).await;
        assert_eq!(stream.take(1).await, [json!(1)]);
    }
    assert!(gateway.metric("tidegate_gaps_total", "invalid").await >= 4.0);
}

#[tokio::test]
async fn a_cursor_of_an_embedded_log_that_is_gone_is_told_so() {
    let before = Gateway::ready(&[]).await;
    let (_, first) = Stream::connect(before.public(), ROOM, &[]).await;
    let id = first.id.expect("an id");
    drop(before);
    let after = Gateway::ready(&[]).await;
    let (mut stream, _) = Stream::connect(after.public(), ROOM, &[("last-event-id", &id)]).await;
    let gap = stream.next().await;
    assert_eq!(gap.event.as_deref(), Some("tidegate.gap"));
    assert_eq!(gap.json()["reason"], "recreated");
    assert_eq!(gap.json()["requested"].as_str(), Some(id.as_str()));
}

#[tokio::test]
async fn what_a_retry_cannot_mend_is_a_problem_that_says_what_to_change() {
    let gateway = Gateway::ready(&["--limits-rooms-per-stream", "2"]).await;
    let cases = [
        ("/v1/subscribe", 400, "bad-request"),
        ("/v1/subscribe?room=ab", 400, "bad-request"),
        ("/v1/subscribe?room=a/open", 400, "bad-request"),
        ("/v1/subscribe?room=a/b&room=c/d&room=e/f", 400, "too-many-rooms"),
        ("/v1/subscribe/events/*/types/t", 400, "bad-request"),
        ("/v1/subscribe/events/%FF/types/t", 400, "bad-request"),
        ("/v1/subscribe/events/a/types/tidegate.x", 400, "bad-request"),
        ("/v1/subscribe/events/a/types/t?name=x", 400, "bad-request"),
        ("/v1/subscribe/events/a/types/t?heartbeat=never", 400, "bad-request"),
        ("/v1/nothing", 404, "not-found"),
        ("/v1/sse/events/a/types/t", 405, "method-not-allowed"),
    ];
    for (path, status, name) in cases {
        let answer = http::get(gateway.public(), path, &[("accept", "text/event-stream")]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:tidegate:problem:{name}"), "{path}");
        assert_eq!(problem["status"], status, "{path}");
        assert!(problem["detail"].as_str().is_some_and(|d| d.len() > 10), "{path}: {problem}");
    }
}

#[tokio::test]
async fn beyond_the_limit_a_browser_is_told_to_come_back_and_others_get_503() {
    let gateway =
        Gateway::ready(&["--limits-connections", "1", "--limits-held-refusals", "1"]).await;
    let to = gateway.public();
    let (_held, _) = Stream::connect(to, ROOM, &[]).await;
    let mut refused = Stream::open(to, ROOM, &[]).await;
    let plain = http::get(to, ROOM, &[]).await;
    assert_eq!(plain.status, 503);
    assert!(plain.header("retry-after").is_some());
    assert_eq!(plain.json()["type"], "urn:tidegate:problem:overloaded");
    // Beyond what is held the socket is closed unanswered.
    let mut third = http::Wire::connect(to).await;
    third
        .send(
            format!("GET {ROOM} HTTP/1.1\r\nhost: t\r\naccept: text/event-stream\r\n\r\n")
                .as_bytes(),
        )
        .await;
    assert!(third.head().await.is_none(), "closed unanswered");

    let goodbye = refused.block().await.expect("a goodbye");
    assert_eq!(goodbye.event.as_deref(), Some("tidegate.goodbye"));
    assert_eq!(goodbye.json()["reason"], "overloaded");
    assert!(goodbye.retry.is_some() && goodbye.id.is_none());
    assert_eq!(refused.block().await, None, "a clean end");
    assert!(gateway.metric("tidegate_connections_refused_total", "connections").await >= 3.0);
}

#[tokio::test]
async fn a_drain_says_goodbye_with_a_jittered_retry_and_ends_cleanly() {
    let flags = ["--drain-grace", "100ms", "--drain-window", "1s", "--drain-deadline", "10s"];
    let gateway = Gateway::ready(&flags).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Stream::connect(gateway.public(), ROOM, &[]).await.0);
    }
    let ended = tokio::spawn(gateway.terminate());
    let mut retries = Vec::new();
    for stream in &mut streams {
        let goodbye = stream.next().await;
        assert_eq!(goodbye.event.as_deref(), Some("tidegate.goodbye"));
        assert_eq!(goodbye.json()["reason"], "drain");
        retries.push(goodbye.retry.expect("when to come back"));
        assert_eq!(stream.block().await, None, "a clean end");
    }
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > 10, "each has its own: {retries:?}");
    assert!(ended.await.expect("ended").success());
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let gateway = Gateway::ready(&["--drain-grace=20s", "--drain-deadline=60s"]).await;
    let (_stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    gateway.signal("TERM");
    crate::support::eventually("the drain begins", Duration::from_secs(10), async || {
        gateway.log().contains("draining")
    })
    .await;
    let asked = tokio::time::Instant::now();
    assert!(gateway.terminate().await.success());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_is_noticed_and_its_room_forgotten() {
    let gateway = Gateway::ready(&[]).await;
    let (stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    let report = gateway.admin_get("/v1/connections?limit=5").await.json();
    assert_eq!(report["total"], 1);
    assert_eq!(
        report["rooms"],
        json!([{"event_id": "cart-7", "event_type": "updated", "connections": 1}])
    );
    drop(stream);
    crate::support::eventually("the stream is over", Duration::from_secs(10), async || {
        gateway.admin_get("/v1/connections").await.json()["total"] == 0
    })
    .await;
    assert_eq!(gateway.metric("tidegate_connections", "protocol=\"http1.1\"").await, 0.0);
}
