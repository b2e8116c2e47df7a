//! The schemas of what is sent and received. The bytes themselves are written and read elsewhere;
//! these types only describe them.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{IntoResponses, ToSchema};

pub use crate::http::publish::PublishReceipt;
pub use crate::problem::Invalid;
use crate::problem::ProblemKind;
pub use crate::wire::{GapReason, StartKind};

/// An event as a stream's `data:` and history have it. Absent members are left out, never null.
#[derive(Debug, ToSchema)]
#[schema(examples(json!({
    "message_id": "019a9e3c-6a5b-7c21-9d3e-2f1a0b4c5d6e",
    "event_id": "cart-7",
    "event_type": "CartUpdated",
    "event_name": "CartItemUpdated",
    "user": {"from_user": "system-inventory"},
    "data": {"items": 3},
    "headers": {"X-Request-ID": "4711"},
    "published_at": 1_763_700_000_000_u64
})))]
pub struct Envelope {
    /// A UUID: version 7, or version 8 where it is derived from a key or a place.
    #[schema(format = "uuid")]
    pub message_id: String,
    /// What the event is about; `*` for a broadcast.
    pub event_id: String,
    /// Which kind of event it is.
    pub event_type: String,
    /// A name for humans and handlers.
    #[schema(nullable = false)]
    pub event_name: Option<String>,
    /// Who sent it, and whom it is for alone.
    #[schema(nullable = false)]
    pub user: Option<Users>,
    /// The publisher's JSON, its numbers and strings spelled as they were. With `encoding`, a string.
    pub data: serde_json::Value,
    /// How `data` is coded, if it is not the publisher's JSON itself.
    #[schema(nullable = false)]
    pub encoding: Option<Encoding>,
    /// The publisher's own headers.
    #[schema(nullable = false)]
    pub headers: Option<BTreeMap<String, String>>,
    /// The last event of its room.
    #[schema(rename = "final", nullable = false)]
    pub is_final: Option<bool>,
    /// The log's time of it, in milliseconds since the Unix epoch.
    pub published_at: i64,
}

/// Who an event comes from and who it is for.
#[derive(Debug, ToSchema)]
pub struct Users {
    /// Who sent it.
    #[schema(nullable = false)]
    pub from_user: Option<String>,
    /// The only user who gets it.
    #[schema(nullable = false)]
    pub to_user: Option<String>,
}

/// A coding of `data`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Encoding {
    /// The base64 of an LZ4 frame of the JSON text.
    Lz4,
    /// The base64 of bytes, as the source has them.
    Base64,
    /// The base64 of an LZ4 frame of the JSON string of that base64.
    #[schema(rename = "base64+lz4")]
    Base64Lz4,
}

/// `data` of a stream's first block, `event: tidegate.connected`.
#[derive(Debug, ToSchema)]
#[schema(as = tidegate::connected, examples(json!({
    "pod": "tidegate-0", "version": "0.1.0", "rooms": ["cart-7/CartUpdated"], "start": "live",
    "heartbeat_ms": 15_000
})))]
pub struct Connected {
    /// The pod that serves the stream.
    pub pod: String,
    /// Its release.
    pub version: String,
    /// The stream's rooms, `event_id/event_type`.
    pub rooms: Vec<String>,
    /// How the stream begins.
    pub start: StartKind,
    /// The longest silence, in milliseconds.
    pub heartbeat_ms: u64,
}

/// `data` of `event: tidegate.gap`: events are missing here. Load the state anew.
#[derive(Debug, ToSchema)]
#[schema(as = tidegate::gap, examples(json!({
    "reason": "too_far", "requested": "EAECAwQBAAUA", "resumed_at": "EAECAwQBAAkA",
    "rooms": ["cart-7/CartUpdated"]
})))]
pub struct Gap {
    /// Why they are missing.
    pub reason: GapReason,
    /// The cursor that was asked for; null where it was none.
    #[schema(required = true)]
    pub requested: Option<String>,
    /// Where the stream goes on; the block's `id:`.
    pub resumed_at: String,
    /// The stream's rooms.
    pub rooms: Vec<String>,
}

/// `data` of `event: tidegate.heartbeat`, whose `id:` is the current cursor: `{}`.
#[derive(Debug, ToSchema)]
#[schema(as = tidegate::heartbeat, max_properties = 0, examples(json!({})))]
pub struct Heartbeat {}

/// `data` of `event: tidegate.goodbye`, the last block: come back after `retry:`, except on
/// `complete`.
#[derive(Debug, ToSchema)]
#[schema(as = tidegate::goodbye, examples(json!({"reason": "drain"})))]
pub struct Goodbye {
    /// Why the stream ends.
    pub reason: GoodbyeReason,
}

/// Why a stream ends.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum GoodbyeReason {
    /// The pod is going.
    Drain,
    /// The stream was open for as long as one may be.
    MaxAge,
    /// The signature's time is over.
    Expired,
    /// The pod has no room.
    Overloaded,
    /// The room's final event was written.
    Complete,
    /// The key that signed is gone.
    Revoked,
}

/// A page of history.
#[derive(Debug, ToSchema)]
#[schema(examples(json!({"events": [], "next": "EAECAwQBAAkA", "gap": null})))]
pub struct HistoryPage {
    /// The events, oldest first. None: the end of what there is now.
    pub events: Vec<HistoryEvent>,
    /// Where the next page begins, and where a stream goes on after the last one.
    pub next: String,
    /// What is missing before the first event.
    #[schema(required = true)]
    pub gap: Option<HistoryGap>,
}

/// An event of history: its envelope, and where it is.
#[derive(Debug, ToSchema)]
pub struct HistoryEvent {
    /// The envelope's members.
    #[schema(inline = false)]
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Resumes just after this event.
    pub cursor: String,
}

/// Events that a page cannot have.
#[derive(Debug, ToSchema)]
pub struct HistoryGap {
    /// Why they are missing.
    pub reason: GapReason,
    /// The cursor that was asked for; null where it was none.
    #[schema(required = true)]
    pub requested: Option<String>,
    /// Where the page begins.
    pub resumed_at: String,
}

/// An event to publish. Unknown members are refused, and so is null for an absent one.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "event_name": "CartItemUpdated",
    "user": {"from_user": "system-inventory", "to_user": "user-session-abc123"},
    "data": {"any": "json"},
    "headers": {"X-Request-ID": "4711"},
    "final": false
})))]
pub struct PublishBody {
    /// A name for humans and handlers, at most 256 bytes.
    #[schema(nullable = false)]
    pub event_name: Option<String>,
    /// Who sends it, and whom it is for alone.
    #[schema(nullable = false)]
    pub user: Option<Users>,
    /// Any JSON.
    pub data: serde_json::Value,
    /// The publisher's own headers, echoed in the envelope: at most 64.
    #[schema(nullable = false)]
    pub headers: Option<BTreeMap<String, String>>,
    /// The last event of its room: streams of exactly that room then end.
    #[schema(rename = "final", nullable = false)]
    pub is_final: Option<bool>,
}

/// A line of a batch: an event and where it goes.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"event_id": "chat-9", "event_type": "Token", "data": "Hel"})))]
pub struct BatchLine {
    /// What the event is about; `*` for a broadcast.
    pub event_id: String,
    /// Which kind of event it is.
    pub event_type: String,
    /// The same key in the same room is delivered once.
    #[schema(nullable = false)]
    pub idempotency_key: Option<String>,
    /// As `X-Deliver-Within`.
    #[schema(nullable = false)]
    pub deliver_within: Option<String>,
    /// A name for humans and handlers.
    #[schema(nullable = false)]
    pub event_name: Option<String>,
    /// Who sends it, and whom it is for alone.
    #[schema(nullable = false)]
    pub user: Option<Users>,
    /// Any JSON.
    pub data: serde_json::Value,
    /// The publisher's own headers.
    #[schema(nullable = false)]
    pub headers: Option<BTreeMap<String, String>>,
    /// The last event of its room.
    #[schema(rename = "final", nullable = false)]
    pub is_final: Option<bool>,
}

/// The answer to a line of a batch, in the lines' order.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum BatchAnswer {
    /// The log has the event.
    Receipt(BatchReceipt),
    /// It may not have it.
    Problem(BatchProblem),
}

/// The log has the event of a line.
#[derive(Debug, ToSchema)]
pub struct BatchReceipt {
    /// The line's number, from 1.
    #[schema(minimum = 1)]
    pub line: u64,
    /// 200.
    #[schema(minimum = 200, maximum = 200)]
    pub status: u16,
    /// The receipt's members.
    #[serde(flatten)]
    pub receipt: PublishReceipt,
}

/// What is wrong with a line, or with the batch.
#[derive(Debug, ToSchema)]
pub struct BatchProblem {
    /// The line's number, from 1; null if it is about the whole batch, which then ends.
    #[schema(required = true, minimum = 1)]
    pub line: Option<u64>,
    /// The problem's members.
    #[serde(flatten)]
    pub problem: Problem,
}

/// Why a request was refused (RFC 9457).
#[derive(Debug, ToSchema)]
#[schema(examples(json!({
    "type": "urn:tidegate:problem:invalid-event",
    "title": "The event is not valid",
    "status": 422,
    "detail": "/user/to_user: user must not be empty",
    "errors": [{"pointer": "/user/to_user", "detail": "user must not be empty"}]
})))]
pub struct Problem {
    /// Which kind of problem it is.
    #[schema(rename = "type", schema_with = problem_types)]
    pub kind: String,
    /// The same for every problem of the kind.
    pub title: String,
    /// The status code.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong with this request, and what to do about it.
    pub detail: String,
    /// Each thing that is wrong with the body.
    #[schema(nullable = false)]
    pub errors: Option<Vec<Invalid>>,
}

fn problem_types() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some("Which kind of problem it is."))
        .enum_values(Some(ProblemKind::ALL.map(ProblemKind::urn)))
        .into()
}

/// Why reading is refused. A browser's `EventSource` (`Accept: text/event-stream`) gets, in place
/// of 503, a stream that says goodbye after a moment.
#[derive(Debug, IntoResponses)]
pub enum ReadProblems {
    /// A name, a parameter's value or a header cannot be read; or there are too many rooms.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// The signature is missing, malformed, expired, of an unknown key or for something else.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The pod is at a limit, is going, or has not reached its log yet. `Retry-After` says when to
    /// try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Why publishing is refused.
#[derive(Debug, IntoResponses)]
pub enum PublishProblems {
    /// A name, a header or the body cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// The signature is missing, malformed, expired, of an unknown key or for something else.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The signature does not allow this sender, or has to cover the body.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The body did not come in time.
    #[response(status = 408, content_type = "application/problem+json")]
    IdleTimeout(Problem),
    /// The body or the event is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not said to be JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// The body is JSON but no event; `errors` has everything that is wrong.
    #[response(status = 422, content_type = "application/problem+json")]
    InvalidEvent(Problem),
    /// `not-accepted`: the event is certainly not in the log. `outcome-unknown`: it may be; retry
    /// with the same `Idempotency-Key`. `Retry-After` says when.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Why a batch is refused as a whole.
#[derive(Debug, IntoResponses)]
pub enum BatchProblems {
    /// A parameter cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// The signature is missing, malformed, expired, of an unknown key or for something else.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The gateway wants every body's hash signed, which a batch cannot have.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The body is not said to be NDJSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema as _;

    use super::*;
    use crate::wire::coding;

    #[test]
    fn the_encodings_are_those_that_are_written() {
        let schema = serde_json::to_value(Encoding::schema()).expect("JSON");
        let written = [coding::LZ4, coding::BASE64, coding::BASE64_LZ4];
        assert_eq!(schema["enum"], serde_json::json!(written), "{schema}");
    }
}
