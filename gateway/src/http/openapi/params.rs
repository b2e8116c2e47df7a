//! The parameters of the operations. They are read by `http::target` and the handlers; these types
//! only describe them.

use utoipa::IntoParams;

/// A room in a path that is read; `*` allowed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ReadRoom {
    /// What the events are about: 1 to 256 bytes of UTF-8 without control characters, not `*`, `.`
    /// or `..`.
    #[param(example = "cart-7")]
    pub event_id: String,
    /// Which kind of them, or `*` for every kind. 1 to 128 bytes of UTF-8 without control
    /// characters and `/`.
    #[param(example = "CartUpdated")]
    pub event_type: String,
}

/// A room in a path that is published to.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PublishRoom {
    /// What the event is about: 1 to 256 bytes of UTF-8 without control characters, not `*`, `.`
    /// or `..`.
    #[param(example = "cart-7")]
    pub event_id: String,
    /// Which kind of event it is: 1 to 128 bytes of UTF-8 without control characters and `/`; not
    /// `*`, `.`, `..`, `open`, `error`, `message`, nor starting with `tidegate.`.
    #[param(example = "CartUpdated")]
    pub event_type: String,
}

/// The type of a broadcast.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct BroadcastType {
    /// Which kind of event it is: 1 to 128 bytes of UTF-8 without control characters and `/`; not
    /// `*`, `.`, `..`, `open`, `error`, `message`, nor starting with `tidegate.`.
    #[param(example = "Maintenance")]
    pub event_type: String,
}

/// The rooms of a stream of several.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Rooms {
    /// `event_id/event_type`, split at its last `/`; once for each room.
    #[param(style = Form, explode, min_items = 1, example = json!(["cart-7/CartUpdated", "user-1/*"]))]
    pub room: Vec<String>,
}

/// How a stream begins and is spelled.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// `message` leaves the `event:` line out of events, so that `onmessage` reads them.
    #[param(inline)]
    pub name: Option<Name>,
    /// What a silent stream gets: an event with the current cursor, or a bare comment.
    #[param(inline)]
    pub heartbeat: Option<HeartbeatForm>,
    /// `lz4` sends large `data` as the base64 of an LZ4 frame.
    #[param(inline)]
    pub compress: Option<Compress>,
    /// What becomes of the stream when its client lags too far behind. `disconnect` ends it: a
    /// resume loses nothing. `drop` and `latest` say a gap `overflow` and go on with the oldest
    /// event that is at hand, or with the newest of each id and type. `stream.slow` says which of
    /// them may be asked for.
    #[param(inline)]
    pub slow: Option<Slow>,
    /// The cursor to resume after, for clients that cannot set `Last-Event-ID`.
    pub last_event_id: Option<String>,
    /// The same as `last_event_id`.
    #[param(rename = "lastEventId")]
    pub last_event_id_in_camel_case: Option<String>,
    /// Begins with history: `earliest`, a time (RFC 3339), or a duration back such as `15m`. A
    /// cursor beats it.
    #[param(example = "15m")]
    pub from: Option<String>,
}

/// The cursor of a client that comes back.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct LastEventId {
    /// The cursor to resume after; a browser's `EventSource` sends it by itself.
    #[param(rename = "Last-Event-ID", nullable = false)]
    pub last_event_id: Option<String>,
}

/// Which page of history.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// A cursor: `next` of the page before, an event's `cursor`, a stream's `id:` or a receipt's.
    pub after: Option<String>,
    /// Where to begin without a cursor: `earliest` (the default), a time (RFC 3339), or a duration
    /// back such as `15m`.
    #[param(example = "2026-01-31T12:00:00Z")]
    pub from: Option<String>,
    /// The most events of the page. It may have fewer, if they are large.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
}

/// Who asks, in the query.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    /// The user that the request is for, as it was signed. 400 if `x-user` says another.
    pub user: Option<String>,
}

/// Who asks, in a header.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct UserHeader {
    /// The user that the request is for, as it was signed: raw UTF-8.
    #[param(rename = "x-user", nullable = false)]
    pub user: Option<String>,
}

/// How an event is delivered.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Delivery {
    /// 1 to 255 visible ASCII characters. The same key in the same room is delivered once within
    /// `dedupe.window`.
    #[param(rename = "Idempotency-Key", nullable = false, min_length = 1, max_length = 255)]
    pub idempotency_key: Option<String>,
    /// A dead letter if no pod has written the event to an open stream in this time: a whole number
    /// and `ms`, `s`, `m`, `h` or `d`.
    #[param(rename = "X-Deliver-Within", nullable = false, example = "30s")]
    pub deliver_within: Option<String>,
    /// W3C trace context, carried on in the log.
    #[param(nullable = false)]
    pub traceparent: Option<String>,
}

/// What a batch may be bound to.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BatchQuery {
    /// Signed for this id alone: lines of others get a 403 line.
    pub event_id: Option<String>,
}

/// `name=`.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Name {
    /// Without the `event:` line.
    Message,
}

/// `heartbeat=`.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum HeartbeatForm {
    /// `tidegate.heartbeat`.
    Event,
    /// A bare comment.
    Comment,
}

/// `slow=`.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Slow {
    /// The stream ends without a word.
    Disconnect,
    /// The oldest events are left out.
    Drop,
    /// All but the newest of each id and type are left out.
    Latest,
}

/// `compress=`.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Compress {
    /// The LZ4 frame format.
    Lz4,
}
