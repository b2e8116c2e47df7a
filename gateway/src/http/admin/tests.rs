use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::*;
use crate::health::Latch;
use crate::telemetry;

/// An admin port, with what it changes.
struct Port {
    admin: Admin,
    _layer: reload::Layer<EnvFilter, Registry>,
}

/// An answer that was read to its end.
struct Answer {
    status: StatusCode,
    content_type: String,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    fn is_problem(&self, status: u16, name: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.content_type, "application/problem+json");
        assert_eq!(self.json()["type"], format!("urn:tidegate:problem:{name}"));
    }
}

impl Port {
    fn new() -> Self {
        let filter = telemetry::parse_filter("info").expect("a filter");
        let (layer, _) = reload::Layer::new(filter);
        let admin = Admin {
            health: Arc::new(Health::new()),
            config: json!({"auth": {"keys": "***"}}),
            log_level: LevelHandle::of_layer(&layer),
            connections: Arc::new(|limit| ConnectionsReport {
                group: None,
                pod: "pod-1".to_owned(),
                total: limit,
                draining: false,
                rooms: vec![RoomReport {
                    event_id: "cart".to_owned(),
                    event_type: "*".to_owned(),
                    connections: 2,
                }],
                truncated: true,
            }),
        };
        Self { admin, _layer: layer }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).body(body.into());
        let response = router(self.admin.clone())
            .oneshot(request.expect("a request"))
            .await
            .expect("an answer");
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map_or("", |v| v.to_str().expect("text")).to_owned();
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        Answer { status, content_type, text: String::from_utf8(body.into()).expect("text") }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Body::empty()).await
    }
}

#[tokio::test]
async fn a_pod_lives_before_it_is_ready() {
    let port = Port::new();
    assert_eq!(port.get("/livez").await.status, 200);
    let answer = port.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["ready"], false);
    for latch in [Latch::Listener, Latch::CaughtUp] {
        port.admin.health.set(latch, Ok(()));
    }
    let answer = port.get("/readyz").await;
    assert_eq!((answer.status, answer.content_type.as_str()), (StatusCode::OK, "application/json"));
    let ready = answer.json();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["latches"]["caught_up"]["ok"], true);
    assert_eq!(ready["latches"]["log_reachable"]["ok"], false, "told, but not asked for");
    port.admin.health.set(Latch::NotDraining, Err("shutting down".to_owned()));
    let answer = port.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["latches"]["not_draining"]["why"], "shutting down");
    assert_eq!(port.get("/livez").await.status, 200);
}

#[tokio::test]
async fn the_metrics_are_in_prometheus_s_format() {
    metrics::init();
    let answer = Port::new().get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text.contains("\n# TYPE tidegate_rooms gauge\n"), "{}", answer.text);
}

#[tokio::test]
async fn the_settings_are_shown_as_they_were_given() {
    let answer = Port::new().get("/v1/config").await;
    assert_eq!(answer.json(), json!({"auth": {"keys": "***"}}));
}

#[tokio::test]
async fn the_connections_are_listed_up_to_a_limit() {
    let port = Port::new();
    let answer = port.get("/v1/connections?limit=7").await;
    let room = json!({"event_id": "cart", "event_type": "*", "connections": 2});
    let expected = json!({
        "pod": "pod-1", "total": 7, "draining": false, "rooms": [room], "truncated": true,
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(port.get("/v1/connections").await.json()["total"], 100);
    for bad in ["x", "-1", "", "10001"] {
        let answer = port.get(&format!("/v1/connections?limit={bad}")).await;
        answer.is_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn the_log_level_changes_by_text_and_by_json() {
    let port = Port::new();
    for (body, level) in [
        ("debug\n", "debug"),
        (r#"{"level": "warn"}"#, "warn"),
        ("info,tidegate::hub=trace", "tidegate::hub=trace,info"),
    ] {
        let answer = port.send(Method::PUT, "/v1/log-level", body).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        assert_eq!(port.admin.log_level.get(), level);
    }
}

#[tokio::test]
async fn a_level_that_is_none_changes_nothing() {
    let port = Port::new();
    for bad in ["", "inof", "{", r#"{"level":1}"#, r#"{"level":"loud"}"#, r#"{"lvl":"info"}"#] {
        let answer = port.send(Method::PUT, "/v1/log-level", bad).await;
        answer.is_problem(400, "bad-request");
    }
    port.send(Method::PUT, "/v1/log-level", vec![0xFF]).await.is_problem(400, "bad-request");
    let answer = port.send(Method::PUT, "/v1/log-level", "x".repeat(MAX_LEVEL_BYTES + 1)).await;
    answer.is_problem(413, "too-large");
    assert_eq!(port.admin.log_level.get(), "info");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let port = Port::new();
    port.get("/v1/subscribe").await.is_problem(404, "not-found");
    port.get("/v1/log-level").await.is_problem(405, "method-not-allowed");
    port.send(Method::POST, "/readyz", "").await.is_problem(405, "method-not-allowed");
}
