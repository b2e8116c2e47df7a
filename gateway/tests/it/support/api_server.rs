//! An API server of Kubernetes, as far as the gateway speaks with one: a namespace, `ns`, with
//! Secrets, Leases and pods. It keeps versions, refuses what is out of date, and can be refusing,
//! forgetful or silent. The unit tests of `src/kubernetes` use it, too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use futures_util::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

type Params = BTreeMap<String, String>;

/// How it treats those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it should.
    #[default]
    Fine,
    /// Requests whose `METHOD kind`, as in `PUT leases` and `WATCH secrets`, contains this get that
    /// status.
    Refuses(u16, &'static str),
    /// Watches are told at once that their place is forgotten.
    Forgetful,
    /// Nobody hears anything any more.
    Silent,
}

/// The server, as one client reaches it.
#[derive(Clone, Default)]
pub struct ApiServer {
    shared: Arc<Shared>,
    mood: Arc<Mutex<Mood>>,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<Objects>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Objects {
    version: u64,
    /// By kind and name.
    present: BTreeMap<(String, String), Value>,
    /// What a watch is told: version, kind, name, and the event.
    history: Vec<(u64, String, String, Value)>,
    /// What was asked for, as in `PUT leases/name`.
    asked: Vec<String>,
}

impl ApiServer {
    /// The same server over a connection that has moods of its own.
    pub fn another_way(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), mood: Arc::default() }
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock() = mood;
        // Watches look again.
        self.shared.changed.send_modify(|_| {});
    }

    fn mood(&self) -> Mood {
        *self.mood.lock()
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.objects.lock().asked.clone()
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.shared.objects.lock().present.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    /// Makes or replaces an object.
    pub fn put(&self, kind: &str, name: &str, mut object: Value) -> Value {
        let mut objects = self.shared.objects.lock();
        objects.version += 1;
        let version = objects.version;
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("ns");
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let (kind, name) = (kind.to_owned(), name.to_owned());
        let before = objects.present.insert((kind.clone(), name.clone()), object.clone());
        let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
        objects.history.push((version, kind, name, json!({"type": event, "object": object})));
        drop(objects);
        self.shared.changed.send_replace(version);
        object
    }

    pub fn delete(&self, kind: &str, name: &str) {
        let mut objects = self.shared.objects.lock();
        objects.version += 1;
        let version = objects.version;
        let key = (kind.to_owned(), name.to_owned());
        if let Some(mut object) = objects.present.remove(&key) {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            let event = json!({"type": "DELETED", "object": object});
            objects.history.push((version, key.0, key.1, event));
        }
        drop(objects);
        self.shared.changed.send_replace(version);
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/namespaces/ns/{kind}", any(all))
            .route("/api/v1/namespaces/ns/{kind}/{name}", any(one))
            .route("/apis/coordination.k8s.io/v1/namespaces/ns/{kind}", any(all))
            .route("/apis/coordination.k8s.io/v1/namespaces/ns/{kind}/{name}", any(one))
            .with_state(self.clone())
    }

    /// Says no, or nothing, if that is its mood.
    async fn answer(&self, verb: &str, kind: &str, name: &str) -> Option<Response> {
        self.shared.objects.lock().asked.push(format!("{verb} {kind}/{name}"));
        match self.mood() {
            Mood::Silent => pending().await,
            Mood::Refuses(code, what) if format!("{verb} {kind}").contains(what) => {
                Some(status(code))
            }
            Mood::Fine | Mood::Forgetful | Mood::Refuses(..) => None,
        }
    }

    fn list(&self, kind: &str, name: Option<&str>) -> Response {
        let objects = self.shared.objects.lock();
        let is_meant = |of: &(String, String)| of.0 == kind && name.is_none_or(|name| of.1 == name);
        let items: Vec<_> =
            objects.present.iter().filter(|(of, _)| is_meant(of)).map(|(_, item)| item).collect();
        let metadata = json!({"resourceVersion": objects.version.to_string()});
        let list =
            json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items});
        list.to_string().into_response()
    }

    /// The events of one object after a version, until the time is over.
    fn watch(&self, kind: String, name: Option<String>, params: &Params) -> Response {
        let number = |name: &str| params.get(name).and_then(|text| text.parse::<u64>().ok());
        let until = Instant::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(290));
        let from = number("resourceVersion").unwrap_or(0);
        let state = (self.clone(), from, self.shared.changed.subscribe());
        let events = stream::unfold(state, move |(server, from, mut changed)| {
            let (kind, name) = (kind.clone(), name.clone());
            async move {
                loop {
                    changed.mark_unchanged();
                    match server.mood() {
                        Mood::Silent => pending().await,
                        Mood::Forgetful => {
                            let gone = json!({"type": "ERROR", "object": status_body(410)});
                            return Some((line(&gone), (server, u64::MAX, changed)));
                        }
                        Mood::Fine | Mood::Refuses(..) => {}
                    }
                    let next = server.shared.objects.lock().history.iter().find_map(|event| {
                        let is_meant = event.0 > from
                            && event.1 == kind
                            && name.as_ref().is_none_or(|name| event.2 == *name);
                        is_meant.then(|| (event.0, line(&event.3)))
                    });
                    if let Some((version, line)) = next {
                        return Some((line, (server, version, changed)));
                    }
                    timeout_at(until, changed.changed()).await.ok()?.ok()?;
                }
            }
        });
        Body::from_stream(events).into_response()
    }
}

fn line(event: &Value) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(format!("{event}\n")))
}

fn status_body(code: u16) -> Value {
    let reason = StatusCode::from_u16(code).expect("a status").canonical_reason();
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "as the test wants it", "reason": reason, "code": code,
    })
}

fn status(code: u16) -> Response {
    let code_of = StatusCode::from_u16(code).expect("a status");
    (code_of, status_body(code).to_string()).into_response()
}

async fn all(
    State(server): State<ApiServer>,
    Path(kind): Path<String>,
    Query(params): Query<Params>,
    method: Method,
    body: Bytes,
) -> Response {
    let is_watch = params.contains_key("watch");
    let verb = if is_watch { "WATCH" } else { method.as_str() };
    if let Some(answer) = server.answer(verb, &kind, "").await {
        return answer;
    }
    if method == Method::POST {
        let object: Value = serde_json::from_slice(&body).expect("JSON");
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        return match server.get(&kind, &name) {
            Some(_) => status(409),
            None => server.put(&kind, &name, object).to_string().into_response(),
        };
    }
    let selects = params.get("fieldSelector");
    let name = selects.and_then(|fields| fields.strip_prefix("metadata.name="));
    // RBAC by name lets nobody list or watch more than the one object.
    if kind == "secrets" && name.is_none() {
        return status(403);
    }
    match is_watch {
        true => server.watch(kind, name.map(str::to_owned), &params),
        false => server.list(&kind, name),
    }
}

async fn one(
    State(server): State<ApiServer>,
    Path((kind, name)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    if let Some(answer) = server.answer(method.as_str(), &kind, &name).await {
        return answer;
    }
    let Some(mut present) = server.get(&kind, &name) else { return status(404) };
    let is =
        |field: &str, wanted: &Value| wanted.is_null() || present["metadata"][field] == *wanted;
    match method {
        Method::GET => present.to_string().into_response(),
        Method::PUT => {
            let object: Value = serde_json::from_slice(&body).expect("JSON");
            match is("resourceVersion", &object["metadata"]["resourceVersion"]) {
                true => server.put(&kind, &name, object).to_string().into_response(),
                false => status(409),
            }
        }
        Method::PATCH => {
            let patch: Value = serde_json::from_slice(&body).expect("JSON");
            if !is("uid", &patch["metadata"]["uid"]) {
                return status(422);
            }
            let annotations = patch["metadata"]["annotations"].as_object().expect("annotations");
            for (key, value) in annotations {
                present["metadata"]["annotations"][key] = value.clone();
            }
            server.put(&kind, &name, present).to_string().into_response()
        }
        method => panic!("nobody asks for {method} {uri}"),
    }
}
