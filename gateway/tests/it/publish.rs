//! Publishing over REST: what is taken, what is refused and how it is said.

use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::http::{self, Answer};
use crate::support::stream::Stream;

const ROOM: &str = "/v1/sse/events/a/types/t";

fn assert_problem(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:tidegate:problem:{name}"), "{problem}");
    assert_eq!(problem["status"], status);
}

#[tokio::test]
async fn bad_bodies_are_refused_with_a_problem_that_points_at_the_fault() {
    let gateway = Gateway::ready(&["--limits-body-bytes", "2000"]).await;
    let deep = format!("{{\"data\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    let cases: [(&str, u16, &str, &str); 9] = [
        ("", 400, "bad-request", ""),
        ("{", 400, "bad-request", ""),
        ("[1]", 422, "invalid-event", ""),
        ("{}", 422, "invalid-event", "/data"),
        (r#"{"data":1,"dtaa":2}"#, 422, "invalid-event", "/dtaa"),
        (r#"{"data":1,"user":{"to_usr":"x"}}"#, 422, "invalid-event", "/user/to_usr"),
        (r#"{"data":1,"user":{"to_user":"a\nb"}}"#, 422, "invalid-event", "/user/to_user"),
        (r#"{"data":1,"headers":{"a b":"c"}}"#, 422, "invalid-event", "/headers/a b"),
        (&deep, 422, "invalid-event", "/data"),
    ];
    for (body, status, name, pointer) in cases {
        let answer = gateway.publish("a", "t", body).await;
        assert_problem(&answer, status, name);
        if !pointer.is_empty() {
            let errors = answer.json()["errors"].clone();
            let found = errors.as_array().is_some_and(|all| {
                all.iter().any(|e| e["pointer"] == pointer && e["detail"].is_string())
            });
            assert!(found, "{body}: {errors}");
        }
    }
    let large = json!({"data": "x".repeat(3000)}).to_string();
    assert_problem(&gateway.publish("a", "t", &large).await, 413, "too-large");
    let form = http::post(gateway.public(), ROOM, &[], br#"{"data":1}"#).await;
    assert_problem(&form, 415, "unsupported-media-type");
    let latin1 = http::post(
        gateway.public(),
        ROOM,
        &[("content-type", "application/json")],
        b"{\"data\":\"\xe4\"}",
    )
    .await;
    assert_eq!(latin1.status, 400, "{}", latin1.text());
    let reserved = gateway.publish("a", "message", r#"{"data":1}"#).await;
    assert_problem(&reserved, 400, "bad-request");
    let last_word = http::post_json(
        gateway.public(),
        "/v1/sse/broadcast/types/t",
        r#"{"data":1,"final":true}"#,
    )
    .await;
    assert_problem(&last_word, 422, "invalid-event");
    assert!(gateway.metric("tidegate_publish_requests_total", "invalid-event").await >= 8.0);
}

#[tokio::test]
async fn no_published_text_forges_a_line_of_the_stream() {
    let gateway = Gateway::ready(&[]).await;
    let path = "/v1/subscribe/events/a/types/t";
    let (mut stream, _) = Stream::connect(gateway.public(), path, &[]).await;
    let texts = ["\n\nevent: forged\ndata: 1\n\n", "\r\rid: x\r", "\u{2028}\u{85}\0", "\u{feff}"];
    for text in texts {
        let body = json!({"data": text, "event_name": "n", "headers": {"h": "v"}}).to_string();
        let answer = gateway.publish("a", "t", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let block = stream.next().await;
        assert_eq!(block.event.as_deref(), Some("t"));
        assert_eq!(block.json()["data"], text);
    }
    // Whitespace between tokens, line ends included, is the publisher's and not the wire's.
    gateway.publish("a", "t", "{\r\n \"data\" :\n [ 1 ,\r\n 2 ]\n}").await;
    let block = stream.next().await;
    assert!(block.data.contains("\"data\":[1,2]"), "{}", block.data);
}

#[tokio::test]
async fn a_head_or_a_body_that_does_not_come_is_cut_with_a_clear_error() {
    let flags = ["--limits-header-timeout", "300ms", "--limits-body-timeout", "300ms"];
    let gateway = Gateway::ready(&flags).await;
    let mut silent = http::Wire::connect(gateway.public()).await;
    let (status, _) = silent.head().await.expect("an answer");
    assert_eq!(status, 408);
    let mut slow_head = http::Wire::connect(gateway.public()).await;
    slow_head.send(b"GET / HTTP/1.1\r\nho").await;
    let answer = slow_head.answer().await;
    assert_problem(&answer, 408, "idle-timeout");
    let mut slow_body = http::Wire::connect(gateway.public()).await;
    let head = format!(
        "POST {ROOM} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{{"
    );
    slow_body.send(head.as_bytes()).await;
    assert_problem(&slow_body.answer().await, 408, "idle-timeout");
}

#[tokio::test]
async fn a_receipts_cursor_resumes_just_after_its_event() {
    let gateway = Gateway::ready(&[]).await;
    gateway.publish("a", "t", r#"{"data":1}"#).await;
    let receipt = gateway.publish("a", "t", r#"{"data":2}"#).await.json();
    gateway.publish("a", "t", r#"{"data":3}"#).await;
    let cursor = receipt["cursor"].as_str().expect("a cursor");
    let path = format!("/v1/subscribe/events/a/types/t?last_event_id={cursor}");
    let (mut stream, _) = Stream::connect(gateway.public(), &path, &[]).await;
    assert_eq!(stream.take(1).await, [json!(3)]);
    let broadcast =
        http::post_json(gateway.public(), "/v1/sse/broadcast/types/n", r#"{"data":4}"#).await;
    assert!(broadcast.json()["cursor"].as_str().is_some_and(|c| c.len() < 30));
    stream.expect_data(json!(4)).await;
}
