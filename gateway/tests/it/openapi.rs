//! `/openapi.json` against the running gateway: its routes, and what they really answer.

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::http::{self, Answer, Wire};
use crate::support::stream::Stream;

const ROOM: &str = "/v1/sse/events/{event_id}/types/{event_type}";
const STREAM: &str = "/v1/subscribe/events/{event_id}/types/{event_type}";
const HISTORY: &str = "/v1/events/{event_id}/types/{event_type}/history";
const BATCH: &str = "/v1/sse/batch";
const JSON: (&str, &str) = ("content-type", "application/json");

/// The document, as it was served.
struct Document(Value);

impl Document {
    async fn of(gateway: &Gateway) -> Self {
        let answer = http::get(gateway.public(), "/openapi.json", &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Self(answer.json())
    }

    /// What is wrong with `value`: where it is not what `schema` says, or has a member more.
    fn errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut closed = schema.clone();
        closed["unevaluatedProperties"] = json!(false);
        closed["components"] = self.0["components"].clone();
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&closed)
            .unwrap_or_else(|e| panic!("{e}: {schema}"));
        validator.iter_errors(value).map(|e| format!("{e} at {}", e.instance_path())).collect()
    }

    fn holds(&self, schema: &Value, value: &Value) {
        let errors = self.errors(schema, value);
        assert!(errors.is_empty(), "{schema}: {errors:#?}\n{value:#}");
    }

    /// The same with a schema of the components.
    fn names(&self, schema: &str, value: &Value) {
        assert!(self.0["components"]["schemas"][schema].is_object(), "no schema {schema}");
        self.holds(&reference(schema), value);
    }

    /// The media type that an operation answers with under this status, and its schema.
    fn answer(&self, method: &str, path: &str, status: u16) -> (&str, &Value) {
        let content = &self.0["paths"][path][method]["responses"][status.to_string()]["content"];
        let content = content
            .as_object()
            .unwrap_or_else(|| panic!("{method} {path} documents no answer {status}"));
        let (media_type, content) = content.iter().next().expect("a media type");
        (media_type, &content["schema"])
    }

    /// Asserts that an answer with a JSON body is as the document says.
    fn agrees(&self, method: &str, path: &str, answer: &Answer) {
        let (media_type, schema) = self.answer(method, path, answer.status);
        assert_eq!(answer.header("content-type"), Some(media_type), "{method} {path}");
        self.holds(schema, &answer.json());
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

#[tokio::test]
async fn the_document_has_the_routes_methods_and_no_others() {
    let gateway = Gateway::ready(&[]).await;
    let document = Document::of(&gateway).await;
    assert!(document.0["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")));
    assert_eq!(document.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document.0["paths"].as_object().expect("paths");
    assert!(paths.len() >= 7);
    for (path, operations) in paths {
        for parameter in path.split('/').filter_map(|s| s.strip_prefix('{')) {
            let name = parameter.trim_end_matches('}');
            for operation in operations.as_object().expect("operations").values() {
                let described = operation["parameters"].as_array().into_iter().flatten();
                assert!(described.into_iter().any(|p| p["name"] == name && p["in"] == "path"));
            }
        }
        let real = path.replace("{event_id}", "a").replace("{event_type}", "t");
        for method in ["get", "post", "put", "delete", "patch"] {
            let mut wire = Wire::connect(gateway.public()).await;
            let name = method.to_uppercase();
            let request = format!("{name} {real} HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n");
            wire.send(request.as_bytes()).await;
            let (status, _) = wire.head().await.expect("an answer");
            assert_ne!(status, 404, "{method} {real}");
            assert_eq!(status != 405, operations[method].is_object(), "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn the_documents_examples_are_what_its_schemas_say() {
    let gateway = Gateway::ready(&[]).await;
    let document = Document::of(&gateway).await;
    let mut shown = 0;
    for (name, schema) in document.0["components"]["schemas"].as_object().expect("schemas") {
        for example in schema["examples"].as_array().into_iter().flatten() {
            document.names(name, example);
            let mut more = example.clone();
            more["undocumented"] = json!(1);
            assert!(!document.errors(&reference(name), &more).is_empty(), "{name} is not closed");
            shown += 1;
        }
    }
    assert!(shown >= 10, "{shown} examples");
    for own in ["connected", "gap", "heartbeat", "goodbye"] {
        let schema = format!("tidegate.{own}");
        assert!(document.0["components"]["schemas"][&schema]["examples"].is_array(), "{schema}");
    }
    // What the examples publish is taken, and what the schemas refuse is refused.
    let example = |name: &str| document.0["components"]["schemas"][name]["examples"][0].clone();
    let body = example("PublishBody").to_string();
    assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
    let line = example("BatchLine").to_string();
    let headers = [("content-type", "application/x-ndjson")];
    let answer = http::post(gateway.public(), BATCH, &headers, line.as_bytes()).await;
    assert_eq!(answer.json()["status"], 200, "{}", answer.text());
}

#[tokio::test]
async fn receipts_and_problems_are_as_the_document_says() {
    let gateway = Gateway::ready(&["--limits-body-bytes=2000"]).await;
    let document = Document::of(&gateway).await;
    let to = gateway.public();
    let publish = "/v1/sse/events/a/types/t";
    let large = json!({"data": "x".repeat(3_000)}).to_string();
    let unknown = r#"{"data":1,"user":{"to_user":""},"dta":2}"#;
    for (path, headers, body, status) in [
        (publish, &[JSON][..], r#"{"data":1}"#, 200),
        (publish, &[JSON, ("idempotency-key", "k")], r#"{"data":1}"#, 200),
        (publish, &[JSON, ("idempotency-key", "k")], r#"{"data":1}"#, 200),
        (publish, &[JSON, ("x-deliver-within", "soon")], r#"{"data":1}"#, 400),
        ("/v1/sse/events/a/types/open", &[JSON], r#"{"data":1}"#, 400),
        (publish, &[JSON], "{", 400),
        (publish, &[JSON], &large, 413),
        (publish, &[], r#"{"data":1}"#, 415),
        (publish, &[JSON], unknown, 422),
    ] {
        let answer = http::post(to, path, headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        document.agrees("post", ROOM, &answer);
    }
    let broadcast = "/v1/sse/broadcast/types/{event_type}";
    for (body, status) in [(r#"{"data":1}"#, 200), (r#"{"data":1,"final":true}"#, 422)] {
        let answer = http::post_json(to, "/v1/sse/broadcast/types/t", body).await;
        assert_eq!(answer.status, status);
        document.agrees("post", broadcast, &answer);
    }
    for query in ["?from=soon", "?name=x", "?heartbeat=none"] {
        let answer = http::get(to, &format!("/v1/subscribe/events/a/types/t{query}"), &[]).await;
        assert_eq!(answer.status, 400);
        document.agrees("get", STREAM, &answer);
    }
    document.agrees("get", "/v1/subscribe", &http::get(to, "/v1/subscribe", &[]).await);
    let refused = http::post(to, BATCH, &[JSON], b"{}").await;
    assert_eq!(refused.status, 415);
    document.agrees("post", BATCH, &refused);
    for path in ["/nothing", "/v1/sse/batch"] {
        document.names("Problem", &http::get(to, path, &[]).await.json());
    }
}

#[tokio::test]
async fn unsigned_requests_are_answered_as_the_document_says() {
    let gateway = Gateway::ready(&["--auth-mode=hmac", "--auth-keys=k1:one-secret"]).await;
    let document = Document::of(&gateway).await;
    let to = gateway.public();
    let paths = document.0["paths"].as_object().expect("paths").clone();
    for (path, operations) in &paths {
        let real = path.replace("{event_id}", "a").replace("{event_type}", "t");
        let rooms = if path == "/v1/subscribe" { "?room=a/t" } else { "" };
        for (method, operation) in operations.as_object().expect("operations") {
            let ndjson = path == BATCH;
            let kind = if ndjson { "application/x-ndjson" } else { "application/json" };
            let answer = match method.as_str() {
                "get" => http::get(to, &format!("{real}{rooms}"), &[]).await,
                _ => http::post(to, &real, &[("content-type", kind)], br#"{"data":1}"#).await,
            };
            let signed = operation["security"].as_array().is_some_and(|s| s.len() > 1);
            assert_eq!(answer.status, if signed { 401 } else { 200 }, "{method} {path}");
            if signed {
                document.agrees(method, path, &answer);
            }
            // Each place of a signature that is described is one that is looked at, and no other.
            let described = operation["security"].to_string();
            assert_eq!(described.contains("signature_cookie"), signed && method == "get", "{path}");
        }
    }
}

#[tokio::test]
async fn streams_are_as_the_document_says() {
    let gateway = Gateway::ready(&["--stream-heartbeat=300ms"]).await;
    let document = Document::of(&gateway).await;
    let to = gateway.public();
    let path = "/v1/subscribe/events/a/types/t";
    let (mut stream, live) = Stream::connect(to, path, &[]).await;
    let (media_type, _) = document.answer("get", STREAM, 200);
    assert_eq!(http::header(&stream.head, "content-type"), Some(media_type));
    let heartbeat = stream.block().await.expect("a heartbeat");
    assert_eq!(heartbeat.event.as_deref(), Some("tidegate.heartbeat"));
    document.names("tidegate.heartbeat", &heartbeat.json());

    let full = json!({"event_name": "N", "user": {"from_user": "f"}, "data": {"any": [1, null]},
                      "headers": {"X-A": "1"}, "final": false});
    for body in [&full, &json!({"data": null}), &json!({"data": "x".repeat(2_000)})] {
        assert_eq!(gateway.publish("a", "t", &body.to_string()).await.status, 200);
        document.names("Envelope", &stream.next().await.json());
    }
    let coded = format!("{path}?compress=lz4&from=earliest");
    let (mut coded, from) = Stream::connect(to, &coded, &[]).await;
    for encoding in [Value::Null, Value::Null, json!("lz4")] {
        let event = coded.next().await.json();
        assert_eq!(event["encoding"], encoding);
        document.names("Envelope", &event);
    }
    let id = live.id.clone().expect("an id");
    let (_, resumed) = Stream::connect(to, path, &[("last-event-id", &id)]).await;
    let (mut lost, unusable) = Stream::connect(to, path, &[("last-event-id", "?")]).await;
    for connected in [live, from, resumed, unusable] {
        document.names("tidegate.connected", &connected.json());
    }
    let gap = lost.next().await;
    assert_eq!(gap.event.as_deref(), Some("tidegate.gap"));
    document.names("tidegate.gap", &gap.json());

    let last = gateway.publish("a", "t", r#"{"data":"last","final":true}"#).await.json();
    document.names("Envelope", &stream.next().await.json());
    let goodbye = stream.next().await;
    assert_eq!(goodbye.event.as_deref(), Some("tidegate.goodbye"));
    document.names("tidegate.goodbye", &goodbye.json());
    let complete = last["cursor"].as_str().expect("a cursor");
    let gone = http::get(to, path, &[("last-event-id", complete)]).await;
    assert_eq!(gone.status, 204);
    assert!(document.0["paths"][STREAM]["get"]["responses"]["204"].is_object());
}

#[tokio::test]
async fn history_and_batches_are_as_the_document_says() {
    let gateway = Gateway::ready(&[]).await;
    let document = Document::of(&gateway).await;
    let to = gateway.public();
    let lines = concat!(
        r#"{"event_id":"a","event_type":"t","data":1,"event_name":"N","headers":{"A":"b"}}"#,
        "\n",
        r#"{"event_id":"a","event_type":"t","data":2,"idempotency_key":"k"}"#,
        "\n",
        r#"{"event_id":"a","event_type":"t","data":2,"idempotency_key":"k"}"#,
        "\n",
        r#"{"event_id":"a"}"#,
        "\n",
        r#"{"event_id":"*","event_type":"t","data":3,"deliver_within":"1h"}"#,
        "\n",
    );
    for line in lines.lines().filter(|line| line.contains("data")) {
        document.names("BatchLine", &serde_json::from_str(line).expect("JSON"));
    }
    let headers = [("content-type", "application/x-ndjson")];
    let answer = http::post(to, BATCH, &headers, lines.as_bytes()).await;
    let (media_type, schema) = document.answer("post", BATCH, 200);
    assert_eq!(answer.header("content-type"), Some(media_type));
    let answers: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        answers.iter().map(|a| a["status"].clone()).collect::<Vec<_>>(),
        [200, 200, 200, 422, 200]
    );
    for answer in &answers {
        document.holds(schema, answer);
    }

    let path = "/v1/events/a/types/t/history";
    // The pod has read what a keyed receipt told of; a stream waits for the rest.
    let (mut stream, _) =
        Stream::connect(to, "/v1/subscribe/events/a/types/t?from=earliest", &[]).await;
    stream.take(3).await;
    let page = http::get(to, path, &[]).await;
    document.agrees("get", HISTORY, &page);
    let events = page.json()["events"].as_array().expect("events").clone();
    assert_eq!(events.len(), 3);
    for event in &events {
        document.names("HistoryEvent", event);
    }
    let lost = http::get(to, &format!("{path}?after=rubbish"), &[]).await;
    document.agrees("get", HISTORY, &lost);
    document.names("HistoryGap", &lost.json()["gap"]);
    document.agrees("get", HISTORY, &http::get(to, &format!("{path}?limit=0"), &[]).await);
}
