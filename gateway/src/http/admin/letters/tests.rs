use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use tower::ServiceExt as _;

use super::*;
use crate::config::Config;
use crate::log::Log;
use crate::log::letter::{Letter, Original};
use crate::log::nobody::Nobody;
use crate::telemetry::metrics::DeadLetter;

/// An admin port over an embedded log with these letters.
async fn port(letters: u32) -> Router {
    let config = Config::default();
    let log = Arc::new(Log::open(&config, Nobody).expect("a log"));
    let bytes = Bytes::from_static;
    for n in 0..letters {
        let letter = Letter {
            place: Place::new("tidegate.events", 1, &n.to_string()),
            reason: DeadLetter::Malformed.into(),
            detail: "why".into(),
            pod: "p".into(),
            at: 7,
            record: Original {
                key: Some(bytes(b"\xff")),
                fields: vec![(bytes(b"event_type"), bytes(b"t"))],
                value: Some(bytes(b"1")),
                timestamp: 5,
                left_out: 0,
            },
        };
        let kept = log.dead_letters(&[letter], Instant::now() + Duration::from_secs(1)).await;
        assert!(kept[0].is_ok());
    }
    router(Arc::new(Desk::new(log, &config)))
}

async fn send(port: &Router, request: Request<Body>) -> (u16, Value) {
    let response = port.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

async fn get(port: &Router, path: &str) -> (u16, Value) {
    let path = format!("/v1/dead-letters{path}");
    send(port, Request::get(path).body(Body::empty()).expect("a request")).await
}

async fn post(port: &Router, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v1/dead-letters{path}"))
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string().into());
    send(port, request.expect("a request")).await
}

#[tokio::test]
async fn letters_are_listed_in_pages_and_shown_with_their_records() {
    let port = port(3).await;
    let (status, page) = get(&port, "?limit=2&reason=malformed").await;
    assert_eq!((status, page["letters"].as_array().map(Vec::len)), (200, Some(2)));
    let first = json!({
        "key": "tidegate.events/1/0", "reason": "malformed", "detail": "why", "pod": "p", "at": 7,
        "replayed": [],
        "record": {"key": {"base64": "/w=="}, "event_type": "t", "timestamp": 5, "bytes": 13},
    });
    assert_eq!(page["letters"][0], first);
    let next = page["next"].as_str().expect("more");
    let (_, page) = get(&port, &format!("?after={next}")).await;
    assert_eq!(
        (&page["letters"][0]["key"], &page["next"]),
        (&json!("tidegate.events/1/2"), &Value::Null)
    );
    let (status, letter) = get(&port, "/tidegate.events/1/2").await;
    assert_eq!((status, &letter["record"]["value"]), (200, &json!("1")));
    assert_eq!(letter["record"]["fields"], json!([["event_type", "t"]]));
    assert_eq!(get(&port, "/tidegate.events/1/9").await.0, 404);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_with_a_problem() {
    let port = port(0).await;
    for path in ["?limit=0", "?limit=1001", "?limit=x", "?after=x", "?reason=X", "/no-key"] {
        let (status, problem) = get(&port, path).await;
        assert_eq!(
            (status, &problem["type"]),
            (400, &json!("urn:tidegate:problem:bad-request")),
            "{path}"
        );
    }
    for (path, body) in [
        ("/replay", json!({})),
        ("/replay", json!({"all": true, "keys": ["a/0/0"]})),
        ("/replay", json!({"keys": ["a"]})),
        ("/replay", json!({"keys": ["a/0/0"], "reason": "malformed"})),
        ("/replay", json!({"all": true, "forever": true})),
        ("/purge", json!({})),
        ("/purge", json!({"all": true, "before": "1h"})),
        ("/purge", json!({"before": "soon"})),
    ] {
        assert_eq!(post(&port, path, &body).await.0, 400, "{path} {body}");
    }
    let form = Request::post("/v1/dead-letters/purge").body("{\"all\":true}".into());
    assert_eq!(send(&port, form.expect("a request")).await.0, 415);
    let large = json!({ "all": true, "reason": "x".repeat(MAX_BODY_BYTES) });
    assert_eq!(post(&port, "/replay", &large).await.0, 413);
    assert_eq!(get(&port, "/replay").await.0, 405);
}

#[tokio::test]
async fn each_letter_has_its_outcome() {
    let port = port(1).await;
    // The key is no UTF-8: it is no event, now or later.
    let keys = json!({"keys": ["tidegate.events/1/0", "tidegate.events/1/9"]});
    let (status, done) = post(&port, "/replay", &keys).await;
    assert_eq!((status, &done["next"]), (200, &Value::Null));
    assert_eq!(done["letters"][0]["outcome"], "no_event");
    assert_eq!(done["letters"][0]["detail"], "the record's key is not UTF-8");
    assert_eq!(done["letters"][1], json!({"key": "tidegate.events/1/9", "outcome": "not_found"}));
    assert_eq!(post(&port, "/purge", &json!({"before": "1h"})).await.1, json!({"removed": 0}));
    assert_eq!(post(&port, "/purge", &json!({"all": true})).await.1, json!({"removed": 1}));
    assert_eq!(get(&port, "").await.1["letters"], json!([]));
}
