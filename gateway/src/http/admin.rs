//! The admin port: probes, metrics, and what an operator looks at. Not for the public.

pub mod letters;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, put};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::target::Query;
use super::{json_response, method_not_allowed};
use crate::health::Health;
use crate::problem::{Problem, ProblemKind};
use crate::telemetry::{LevelHandle, metrics};

/// How many rooms `/v1/connections` lists if it is not told.
const ROOMS_LISTED: usize = 100;
/// The most that it lists.
const MOST_ROOMS_LISTED: usize = 10_000;
/// The longest log level, in bytes.
const MAX_LEVEL_BYTES: usize = 4096;

/// What the admin handlers share.
#[derive(Clone)]
pub struct Admin {
    /// The latches.
    pub health: Arc<Health>,
    /// The effective settings, secrets masked.
    pub config: serde_json::Value,
    /// Changes the level of the log.
    pub log_level: LevelHandle,
    /// Reports the streams of the largest rooms.
    pub connections: Arc<dyn Fn(usize) -> ConnectionsReport + Send + Sync>,
}

/// The streams of a pod.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionsReport {
    /// The pod's name.
    pub pod: String,
    /// The consumer group of this process, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many streams are open.
    pub total: usize,
    /// Whether the pod shuts down.
    pub draining: bool,
    /// The rooms with the most streams, largest first.
    pub rooms: Vec<RoomReport>,
    /// Whether there are more rooms.
    pub truncated: bool,
}

/// The streams of a room.
#[derive(Debug, Clone, Serialize)]
pub struct RoomReport {
    /// The room's id.
    pub event_id: String,
    /// Its type, `*` for streams of every type.
    pub event_type: String,
    /// How many streams read it.
    pub connections: usize,
}

/// The admin routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page))
        .route("/v1/connections", get(connections))
        .route("/v1/config", get(config))
        .route("/v1/log-level", put(log_level).layer(DefaultBodyLimit::max(MAX_LEVEL_BYTES)))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let report = admin.health.report();
    let mut response = json_response(&report);
    if !report.ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn page() -> Response {
    let mut response = Response::new(Body::from(metrics::render()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn connections(State(admin): State<Admin>, request: Request<Body>) -> Response {
    let limit = Query::parse(request.uri()).and_then(|query| match query.get("limit") {
        None => Ok(ROOMS_LISTED),
        Some(limit) => limit.parse().ok().filter(|n| *n <= MOST_ROOMS_LISTED).ok_or_else(|| {
            let detail = format!("limit= takes a number up to {MOST_ROOMS_LISTED}");
            Problem::new(ProblemKind::BadRequest, detail)
        }),
    });
    match limit {
        Ok(limit) => json_response(&(admin.connections)(limit)),
        Err(problem) => problem.to_response().map(Body::from),
    }
}

async fn config(State(admin): State<Admin>) -> Response {
    json_response(&admin.config)
}

async fn log_level(State(admin): State<Admin>, body: Result<Bytes, BytesRejection>) -> Response {
    let Ok(body) = body else {
        let detail = format!("a log level has at most {MAX_LEVEL_BYTES} bytes");
        return Problem::new(ProblemKind::TooLarge, detail).to_response().map(Body::from);
    };
    match level_of(&body).and_then(|level| admin.log_level.set(level.trim())) {
        Ok(()) => {
            tracing::info!(level = admin.log_level.get(), "the log level was changed");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(why) => {
            let detail = format!(
                "send a level such as debug or info,tidegate::hub=trace, as text or as \
                 {{\"level\":\"debug\"}}: {why}"
            );
            Problem::new(ProblemKind::BadRequest, detail).to_response().map(Body::from)
        }
    }
}

/// The level in a body: its text, or the `level` of a JSON object.
fn level_of(body: &[u8]) -> Result<Cow<'_, str>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Level {
        level: String,
    }

    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
    // No filter begins with a brace.
    if text.trim_start().starts_with('{') {
        let level: Level = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok(level.level.into());
    }
    Ok(text.into())
}

async fn not_found(request: Request<Body>) -> Response {
    let path = request.uri().path();
    let detail = format!("there is nothing at {path} on the admin port");
    Problem::new(ProblemKind::NotFound, detail).to_response().map(Body::from)
}

#[cfg(test)]
mod tests;
