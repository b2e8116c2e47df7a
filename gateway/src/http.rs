//! The public HTTP interface: routes, their order, and what handlers share.

pub mod admin;
pub mod batch;
pub mod body;
pub mod client_module;
pub mod console;
pub mod cors;
pub mod crew;
mod encodings;
mod handoff;
pub mod history;
pub mod listener;
pub mod openapi;
pub mod peer;
pub mod publish;
pub mod quota;
pub mod rate;
pub mod refusal;
pub mod subscribe;
pub mod target;
pub mod tls;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use self::quota::Quota;
use self::rate::Rate;
use crate::auth::verifier::GrantState;
use crate::auth::{Grant, Verifier};
use crate::config::Config;
use crate::connection::Ends;
use crate::connection::wheel::Wheel;
use crate::consumer::Dedupe;
use crate::event::User;
use crate::hub::{Hub, Item};
use crate::log::Log;
use crate::problem::{Problem, ProblemKind};
use crate::replay::Replays;
use crate::shutdown::{Phase, Shutdown};
use crate::undelivered::{At, Undelivered};
use crate::wire::content::Coding;

/// What the public handlers share.
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// Rooms and readers.
    pub hub: Arc<Hub>,
    /// Where events are appended.
    pub log: Arc<Log>,
    /// Reads back what the recent window no longer has.
    pub replays: Arc<Replays>,
    /// Which events are to be delivered by a time.
    pub undelivered: Arc<Undelivered>,
    /// Which keys were used lately.
    pub dedupe: Arc<Dedupe>,
    /// Who may do what.
    pub verifier: Arc<Verifier>,
    /// Whether the pod is going.
    pub shutdown: Arc<Shutdown>,
    /// What wakes streams when their time has come.
    pub wheel: Arc<Wheel>,
    /// How many streams may be open.
    pub streams: Arc<Places>,
    /// How many may be opened in a second.
    pub rate: Rate,
    /// How many of them each address has; a network of IPv6 counts as one.
    pub per_ip: Arc<Quota<IpAddr>>,
    /// How many of them each user has.
    pub per_user: Arc<Quota<User>>,
    /// Places for refused streams that wait for their goodbye.
    pub held: refusal::Held,
    /// How many pages of history may be on their way to their clients.
    pub pages: Arc<Places>,
}

impl Ends for App {
    fn wheel(&self) -> &Arc<Wheel> {
        &self.wheel
    }

    fn phase(&self) -> Phase {
        self.shutdown.phase()
    }

    fn written(&self, item: &Item, deadline: i64) {
        let at = At { shard: item.shard(), offset: item.offset() };
        self.undelivered.written(at, deadline);
    }

    fn key_changes(&self) -> watch::Receiver<u64> {
        self.verifier.changes()
    }

    fn grant(&self, grant: &Grant) -> (GrantState, Option<Instant>) {
        let now = unix_seconds();
        let state = self.verifier.state(grant, now);
        let GrantState::Good { until } = state else { return (state, None) };
        let until = until
            .and_then(|at| Instant::now().checked_add(Duration::from_secs(at.saturating_sub(now))));
        (state, until)
    }
}

/// A bounded number of places.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: std::sync::atomic::AtomicUsize,
}

/// A place that is given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// `most` places, all free.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: 0.into() })
    }

    /// Takes a place if one is free.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        use std::sync::atomic::Ordering::Relaxed;
        self.taken
            .fetch_update(Relaxed, Relaxed, |taken| (taken < self.most).then_some(taken + 1))
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The public routes: paths and what takes their methods.
pub(crate) fn routes() -> Vec<(&'static str, MethodRouter<Arc<App>>)> {
    vec![
        (
            "/v1/subscribe/events/{event_id}/types/{event_type}",
            get(subscribe::room).head(head_of_a_stream),
        ),
        ("/v1/subscribe", get(subscribe::rooms).head(head_of_a_stream)),
        ("/v1/sse/events/{event_id}/types/{event_type}", post(publish::room)),
        ("/v1/sse/broadcast/types/{event_type}", post(publish::broadcast)),
        ("/v1/sse/batch", post(batch::batch)),
        ("/v1/events/{event_id}/types/{event_type}/history", get(history::page)),
        ("/", get(console::page)),
        ("/tidegate.js", get(client_module::script)),
        ("/tidegate.d.ts", get(client_module::types)),
        ("/openapi.json", get(openapi::openapi)),
    ]
}

/// The public router.
pub fn router(app: Arc<App>) -> Router {
    let origins = cors::Origins::new(&app.config.cors.origins);
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(app);
    match origins {
        Some(origins) => router.layer(from_fn_with_state(origins, cors::layer)),
        None => router,
    }
}

/// A HEAD must not open a stream.
async fn head_of_a_stream() -> Response {
    subscribe::event_stream(Body::empty(), Coding::Identity)
}

async fn not_found(request: Request<Body>) -> Response {
    let detail = format!("there is nothing at {}; see /openapi.json", request.uri().path());
    Problem::new(ProblemKind::NotFound, detail).to_response().map(Body::from)
}

async fn method_not_allowed(method: Method) -> Response {
    let detail = format!("{method} is not a method of this route");
    Problem::new(ProblemKind::MethodNotAllowed, detail).to_response().map(Body::from)
}

/// A 200 with a JSON body.
pub(crate) fn json_response(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The time, in seconds since the Unix epoch. Signatures are dated by it; cursors never are.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
