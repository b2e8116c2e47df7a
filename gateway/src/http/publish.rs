//! `POST /v1/sse/…`: from a request to a record in the log.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::App;
use super::body::delivery::trace_of;
use super::body::{Delivery, PublishBody};
use super::openapi::params::{
    BroadcastType, Delivery as DeliveryHeaders, PublishRoom, UserHeader, UserQuery,
};
use super::openapi::schemas::{self, PublishProblems};
use super::target::{self, Query};
use crate::auth::Credentials;
use crate::auth::credentials::Cookies;
use crate::consumer::First;
use crate::cursor::{Position, Shard};
use crate::event::{Audience, NewEvent};
use crate::log::{PublishError, Receipt};
use crate::problem::{Problem, ProblemKind};
use crate::telemetry::metrics;
use crate::telemetry::traces::Publishing;
use crate::undelivered::At;

/// Publishes to a room.
#[utoipa::path(
    post,
    path = "/v1/sse/events/{event_id}/types/{event_type}",
    operation_id = "publish",
    tag = "publishing",
    params(PublishRoom, DeliveryHeaders, UserQuery, UserHeader),
    request_body = schemas::PublishBody,
    security((), ("signature_header" = []), ("signature_query" = [])),
    responses(
        (status = 200, description = "The log has the event durably.", body = PublishReceipt),
        PublishProblems,
    ),
)]
pub async fn room(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let audience = target::publish_room(request.uri());
    answer(&app, request, audience).await
}

/// Publishes to every open stream.
#[utoipa::path(
    post,
    path = "/v1/sse/broadcast/types/{event_type}",
    operation_id = "broadcast",
    tag = "publishing",
    params(BroadcastType, DeliveryHeaders, UserQuery, UserHeader),
    request_body = schemas::PublishBody,
    security((), ("signature_header" = []), ("signature_query" = [])),
    responses(
        (status = 200, description = "The log has the event durably.", body = PublishReceipt),
        PublishProblems,
    ),
)]
pub async fn broadcast(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let audience = target::broadcast_type(request.uri());
    answer(&app, request, audience).await
}

async fn answer(
    app: &App,
    request: Request<Body>,
    audience: Result<Audience, Problem>,
) -> Response {
    let began = Instant::now();
    let mut span = Publishing::begin(|| trace_of(request.headers()));
    let outcome = match audience {
        Ok(audience) => publish(app, request, audience, &mut span).await,
        Err(problem) => Err(problem),
    };
    let (outcome, response) = match outcome {
        Ok(receipt) => (Ok(()), super::json_response(&receipt)),
        Err(problem) => (Err(problem.kind), problem.to_response().map(Body::from)),
    };
    metrics::published(outcome, began.elapsed());
    span.end(outcome);
    response
}

/// The answer to an event that the log has.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt, examples(json!({
    "message_id": "019a9e3c-6a5b-7c21-9d3e-2f1a0b4c5d6e",
    "cursor": "EAECAwQBAAUA",
    "published_at": 1_763_700_000_000_u64
})))]
pub struct PublishReceipt {
    /// The event's identity.
    #[schema(format = "uuid")]
    message_id: String,
    /// Resumes just after the event.
    cursor: String,
    /// The log's time of it, in milliseconds since the Unix epoch.
    published_at: i64,
    /// The event was not delivered: an earlier one with its key was. What else is said is the
    /// first one's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

async fn publish(
    app: &App,
    request: Request<Body>,
    audience: Audience,
    span: &mut Publishing,
) -> Result<PublishReceipt, Problem> {
    expect_type(request.headers(), "application/json", "the event")?;
    let (head, body) = request.into_parts();
    let body = read_body(app, body).await?;
    metrics::publish_bytes(body.len() as u64);
    let query = Query::parse(&head.uri)?;
    let credentials = Credentials::of(&head.headers, query.pairs(), Cookies::Ignore)?;
    let grant = app
        .verifier
        .publish(&audience, &credentials, &body, super::unix_seconds())
        .inspect_err(|e| metrics::signature_failure(e.reason()))?;
    let mut body = PublishBody::parse(&body, app.config.limits.json_depth)?;
    body.from_user = grant
        .from_user(body.from_user.take())
        .inspect_err(|e| metrics::signature_failure(e.reason()))?;
    let mut event = body.into_event(audience, Delivery::of(&head.headers)?)?;
    span.carry(&mut event.trace);
    let deadline = Instant::now() + app.config.publish.timeout;
    let receipt = app.log.publish_alone(&event, deadline).await.map_err(problem_of)?;
    receipt_for(app, &event, receipt, deadline, span).await
}

/// Appends an event of a batch to the log within the request's patience, and says where it is.
pub(super) async fn append(
    app: &App,
    mut event: NewEvent,
    span: &mut Publishing,
) -> Result<PublishReceipt, Problem> {
    span.carry(&mut event.trace);
    let deadline = Instant::now() + app.config.publish.timeout;
    let receipt = app.log.publish(&event, deadline).await.map_err(problem_of)?;
    receipt_for(app, &event, receipt, deadline, span).await
}

/// What the publisher of `event` is told. With a key the receipt waits until this pod has read the
/// record back: only the log's order tells whether an earlier one was delivered in its place. A log
/// that keeps keys itself has looked already, and has no such record.
async fn receipt_for(
    app: &App,
    event: &NewEvent,
    receipt: Receipt,
    deadline: Instant,
    span: &mut Publishing,
) -> Result<PublishReceipt, Problem> {
    span.at(receipt.shard, receipt.offset);
    let own = First {
        offset: receipt.offset,
        after: Position { next: receipt.offset.next(), tag: receipt.tag },
        message_id: receipt.duplicate.unwrap_or(event.message_id),
        published_at: receipt.timestamp,
    };
    let first = match &event.idempotency_key {
        Some(_) if receipt.duplicate.is_none() => {
            first_of(app, event, &receipt, deadline).await?.unwrap_or(own)
        }
        _ => own,
    };
    let duplicate = receipt.duplicate.is_some() || first.offset != own.offset;
    if let (Some(within), false) = (event.deliver_within_ms, duplicate) {
        let at = At { shard: receipt.shard, offset: receipt.offset };
        app.undelivered.published(at, receipt.timestamp, within);
    }
    Ok(receipt_of(app, event, receipt.shard, &first, duplicate))
}

/// The first use of the event's key, once this pod has read the event back.
async fn first_of(
    app: &App,
    event: &NewEvent,
    receipt: &Receipt,
    deadline: Instant,
) -> Result<Option<First>, Problem> {
    let mut judged = app.dedupe.judged();
    let read_back = async {
        while !app.hub.has_read(receipt.shard, receipt.offset) {
            if judged.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout_at(deadline, read_back).await.is_err() {
        let detail = "the log has the event, but this pod has not read it back in time and cannot \
                      say whether an earlier one with its key was delivered; retry with the key";
        return Err(Problem::new(ProblemKind::OutcomeUnknown, detail));
    }
    Ok(app.dedupe.first(receipt.shard, event.message_id))
}

fn problem_of(error: PublishError) -> Problem {
    let kind = match &error {
        PublishError::NotAccepted(_) => ProblemKind::NotAccepted,
        PublishError::OutcomeUnknown(_) => ProblemKind::OutcomeUnknown,
        PublishError::TooLarge(_) => ProblemKind::TooLarge,
    };
    Problem::new(kind, error.to_string())
}

fn receipt_of(
    app: &App,
    event: &NewEvent,
    shard: Shard,
    first: &First,
    duplicate: bool,
) -> PublishReceipt {
    let cursor = app.hub.cursor_after(&event.audience, shard, first.after);
    PublishReceipt {
        message_id: first.message_id.to_string(),
        cursor: cursor.flagged(event.is_final).to_string(),
        published_at: first.published_at,
        duplicate,
    }
}

/// Refuses a body that does not say it is of `media_type`: a form's would be read as an event.
/// `what` is what is to be sent so.
pub(super) fn expect_type(
    headers: &HeaderMap,
    media_type: &str,
    what: &str,
) -> Result<(), Problem> {
    let said = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = said.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(media_type.as_bytes()) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(essence);
    let detail = format!("send {what} as Content-Type: {media_type}, not {said:?}");
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
}

/// Reads a request's body, bounded in bytes and time.
async fn read_body(app: &App, body: Body) -> Result<Bytes, Problem> {
    let limits = &app.config.limits;
    let read = Limited::new(body, limits.body_bytes).collect();
    match tokio::time::timeout(limits.body_timeout, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail =
                format!("the body has more than {} bytes (limits.body_bytes)", limits.body_bytes);
            Err(Problem::new(ProblemKind::TooLarge, detail))
        }
        Ok(Err(error)) => {
            let detail = format!("the body could not be read: {error}");
            Err(Problem::new(ProblemKind::BadRequest, detail))
        }
        Err(_) => {
            let detail = format!(
                "the body did not arrive within {:?} (limits.body_timeout)",
                limits.body_timeout
            );
            Err(Problem::new(ProblemKind::IdleTimeout, detail))
        }
    }
}
