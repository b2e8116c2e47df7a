//! The stream's syntax: events, the gateway's own blocks, their content coding and their HTTP/1.1
//! chunk framing. Nothing else knows how a server-sent event is spelled (WHATWG HTML, 9.2).

pub mod checksum;
pub mod chunk;
pub mod coding;
pub mod content;
pub mod encoder;
mod gzip;
mod zstd;

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use utoipa::ToSchema;

use self::checksum::Piece;
use self::content::Coding;
use crate::cursor::Cursor;
use crate::event::{Event, Pattern};

/// How an event is spelled for a reader. Each variant is encoded once a pod, when first asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Variant {
    /// `name=message`: without the `event:` line, so that `onmessage` gets it.
    pub unnamed: bool,
    /// `compress=lz4`: a large payload as the base64 of an LZ4 frame.
    pub lz4: bool,
    /// The whole stream's content coding.
    pub coding: Coding,
}

impl Variant {
    /// How many there are.
    pub const COUNT: usize = 4 * Coding::ALL.len();

    /// Its number, below [`Variant::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.unnamed) | usize::from(self.lz4) << 1 | (self.coding as usize) << 2
    }
}

/// An event's bytes as all readers of a room share them, as one HTTP/1.1 chunk:
///
/// ```text
/// hex CRLF | id: <cursor> LF | event: … LF data: … LF LF | CRLF
///            ^ id_at           ^ body_at
/// ```
///
/// A connection that hyper frames takes the middle; a reader with an `id:` of its own puts it
/// before what follows `body_at`. In a content coding it is the same, the two parts coded each for
/// itself.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Bytes,
    id_at: u32,
    body_at: u32,
    /// What the block is to the sum of a stream in this coding, and its body alone.
    pieces: [Piece; 2],
}

impl Frame {
    /// The whole chunk, for a socket.
    #[must_use]
    pub fn chunk(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The block with its `id:` line, without chunk framing.
    #[must_use]
    pub fn block(&self) -> Bytes {
        self.bytes.slice(self.id_at as usize..self.bytes.len() - 2)
    }

    /// The block without an `id:` line.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body_at as usize..self.bytes.len() - 2)
    }

    /// The rest of the chunk after an `id:` line.
    fn rest_of_chunk(&self) -> Bytes {
        self.bytes.slice(self.body_at as usize..)
    }

    fn block_len(&self) -> usize {
        self.bytes.len() - 2 - self.id_at as usize
    }

    fn body_len(&self) -> usize {
        self.bytes.len() - 2 - self.body_at as usize
    }

    fn block_piece(&self) -> &Piece {
        &self.pieces[0]
    }

    fn body_piece(&self) -> &Piece {
        &self.pieces[1]
    }

    /// What it takes up, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// This frame, which has no coding yet, in `coding`.
    #[must_use]
    pub fn coded(&self, coding: Coding) -> Self {
        let id_line = &self.bytes[self.id_at as usize..self.body_at as usize];
        let body = self.body();
        let of_body = coding.piece(&body);
        let pieces = [coding.piece(id_line).and(of_body), of_body];
        let line = if id_line.is_empty() { Bytes::new() } else { coding.line(id_line) };
        Self { pieces, ..chunk_around(&line, &[&coding.shared(&body)]) }
    }
}

/// The `id:` line of `cursor`.
#[must_use]
pub fn id_line(cursor: &Cursor) -> Bytes {
    let mut line = String::with_capacity(64);
    line.push_str("id: ");
    cursor.write_to(&mut line);
    line.push('\n');
    line.into()
}

/// A payload as the envelope carries it.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// The event's own JSON, or the base64 that it holds instead.
    Json,
    /// Text in a coding that the envelope names.
    Coded {
        /// The name.
        encoding: &'static str,
        /// The text.
        text: &'a str,
    },
}

/// Encodes `event` with `id_line`, which may be empty where no reader shares it.
#[must_use]
pub fn frame(event: &Event, id_line: &[u8], unnamed: bool, payload: Payload<'_>) -> Frame {
    let mut body = BytesMut::with_capacity(event.data.len() + 384);
    if !unnamed {
        body.put_slice(b"event: ");
        body.put_slice(event.audience.kind().as_str().as_bytes());
        body.put_u8(b'\n');
    }
    body.put_slice(b"data: ");
    let body = put_envelope(body, event, payload);
    chunk_around(id_line, &[&body, b"\n\n"])
}

fn chunk_around(id_line: &[u8], body: &[&[u8]]) -> Frame {
    let block_len = id_line.len() + body.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(block_len + 20);
    let mut size = String::with_capacity(10);
    // Writing to a string cannot fail.
    let _ = write!(size, "{block_len:x}\r\n");
    bytes.put_slice(size.as_bytes());
    let id_at = size.len();
    bytes.put_slice(id_line);
    body.iter().for_each(|part| bytes.put_slice(part));
    bytes.put_slice(b"\r\n");
    Frame {
        bytes: bytes.freeze(),
        id_at: u32::try_from(id_at).unwrap_or(u32::MAX),
        body_at: u32::try_from(id_at + id_line.len()).unwrap_or(u32::MAX),
        pieces: [Piece::EMPTY; 2],
    }
}

/// The envelope's members, in the contract's order; absent ones are left out.
#[derive(Serialize)]
struct Envelope<'a> {
    message_id: String,
    event_id: &'a str,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Users<'a>>,
    data: Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    headers: Headers<'a>,
    #[serde(rename = "final", skip_serializing_if = "std::ops::Not::not")]
    is_final: bool,
    published_at: i64,
}

#[derive(Serialize)]
struct Users<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from_user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_user: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    /// JSON text that goes out as it is spelled.
    Spelled(&'a serde_json::value::RawValue),
    Coded(&'a str),
}

struct Headers<'a>(&'a [(Box<str>, Box<str>)]);

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The envelope of `event` as JSON text on one line.
#[must_use]
pub fn envelope(event: &Event) -> Bytes {
    put_envelope(BytesMut::with_capacity(event.data.len() + 384), event, Payload::Json).freeze()
}

/// The envelope of `event` with a last member `cursor`, as history has it.
#[must_use]
pub fn envelope_at(event: &Event, cursor: &Cursor) -> Bytes {
    let mut out =
        put_envelope(BytesMut::with_capacity(event.data.len() + 512), event, Payload::Json);
    // The envelope is an object that has members.
    out.truncate(out.len().saturating_sub(1));
    // Writing to memory does not fail.
    let _ = write!(out, ",\"cursor\":\"{cursor}\"}}");
    out.freeze()
}

fn put_envelope(out: BytesMut, event: &Event, payload: Payload<'_>) -> BytesMut {
    let user = (event.from_user.is_some() || event.to_user.is_some()).then(|| Users {
        from_user: event.from_user.as_ref().map(|u| u.as_str()),
        to_user: event.to_user.as_ref().map(|u| u.as_str()),
    });
    let (data, encoding) = match payload {
        Payload::Coded { encoding, text } => (Data::Coded(text), Some(encoding)),
        Payload::Json => match serde_json::from_slice(&event.data) {
            Ok(data) => (Data::Spelled(data), event.is_base64.then_some(coding::BASE64)),
            Err(_) => {
                debug_assert!(false, "an event's data is JSON by construction");
                return out;
            }
        },
    };
    let envelope = Envelope {
        message_id: event.message_id.to_string(),
        event_id: event.audience.id_text(),
        event_type: event.audience.kind().as_str(),
        event_name: event.event_name.as_deref(),
        user,
        data,
        encoding,
        headers: Headers(&event.headers),
        is_final: event.is_final,
        published_at: event.published_at,
    };
    let mut writer = out.writer();
    if serde_json::to_writer(&mut writer, &envelope).is_err() {
        debug_assert!(false, "writing to memory does not fail");
    }
    writer.into_inner()
}

/// How a stream began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartKind {
    /// With what comes next.
    Live,
    /// After a cursor.
    Resume,
    /// With history.
    From,
}

/// Why events are missing from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The log no longer has them.
    Expired,
    /// The log was replaced.
    Recreated,
    /// The room moved to another shard.
    Repartitioned,
    /// More than a replay may cost.
    TooFar,
    /// The cursor cannot be used.
    Invalid,
    /// The reader was too slow.
    Overflow,
}

impl GapReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Expired,
        Self::Recreated,
        Self::Repartitioned,
        Self::TooFar,
        Self::Invalid,
        Self::Overflow,
    ];

    /// As the event and the metric spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Recreated => "recreated",
            Self::Repartitioned => "repartitioned",
            Self::TooFar => "too_far",
            Self::Invalid => "invalid",
            Self::Overflow => "overflow",
        }
    }
}

/// What the first block says.
#[derive(Debug)]
pub struct Connected<'a> {
    /// The pod's name.
    pub pod: &'a str,
    /// The rooms of the stream.
    pub rooms: &'a [Pattern],
    /// How it begins.
    pub start: StartKind,
    /// How often a silent stream is written to.
    pub heartbeat: Duration,
    /// How long a client waits before it connects again.
    pub retry: Duration,
    /// Where it begins; `None` where the requested position cannot be said.
    pub id: Option<&'a Cursor>,
}

/// The first block of a stream: `retry:` and `tidegate.connected`.
#[must_use]
pub fn connected(what: &Connected<'_>) -> Bytes {
    #[derive(Serialize)]
    struct Data<'a> {
        pod: &'a str,
        version: &'static str,
        rooms: Vec<String>,
        start: StartKind,
        heartbeat_ms: u64,
    }
    let data = Data {
        pod: what.pod,
        version: env!("CARGO_PKG_VERSION"),
        rooms: what.rooms.iter().map(ToString::to_string).collect(),
        start: what.start,
        heartbeat_ms: millis(what.heartbeat),
    };
    let mut text = format!("retry: {}\n", millis(what.retry));
    put_block(&mut text, "tidegate.connected", what.id, &json(&data));
    text.into()
}

/// The block that says a hole.
#[must_use]
pub fn gap(
    reason: GapReason,
    requested: Option<&Cursor>,
    resumed_at: &Cursor,
    rooms: &[Pattern],
) -> Bytes {
    #[derive(Serialize)]
    struct Data {
        reason: GapReason,
        requested: Option<String>,
        resumed_at: String,
        rooms: Vec<String>,
    }
    let data = Data {
        reason,
        requested: requested.map(ToString::to_string),
        resumed_at: resumed_at.to_string(),
        rooms: rooms.iter().map(ToString::to_string).collect(),
    };
    let mut text = String::new();
    put_block(&mut text, "tidegate.gap", Some(resumed_at), &json(&data));
    text.into()
}

/// The block of a silent stream. An event and not a comment, since a block with an id and no data
/// does not set the last event id in Firefox, and a script's watchdog sees no comments.
#[must_use]
pub fn heartbeat(id: Option<&Cursor>) -> Bytes {
    let mut text = String::with_capacity(112);
    put_block(&mut text, "tidegate.heartbeat", id, "{}");
    text.into()
}

/// The heartbeat of a client that asked for `heartbeat=comment`.
#[must_use]
pub fn heartbeat_comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// The last block of a stream: when to come back, and why it ends.
#[must_use]
pub fn goodbye(reason: &str, retry: Duration) -> Bytes {
    format!(
        "retry: {}\nevent: tidegate.goodbye\ndata: {{\"reason\":\"{reason}\"}}\n\n",
        millis(retry)
    )
    .into()
}

/// The beginning of a stream, to be shown.
#[must_use]
pub fn example() -> String {
    let rooms: Vec<Pattern> = Pattern::new("cart-7", "CartUpdated").into_iter().collect();
    let id = Cursor::default();
    let connected = connected(&Connected {
        pod: "tidegate-0",
        rooms: &rooms,
        start: StartKind::Live,
        heartbeat: Duration::from_secs(15),
        retry: Duration::from_secs(3),
        id: Some(&id),
    });
    let blocks = [connected, heartbeat(Some(&id))];
    blocks.iter().map(|block| String::from_utf8_lossy(block)).collect()
}

fn put_block(text: &mut String, event: &str, id: Option<&Cursor>, data: &str) {
    if let Some(id) = id {
        text.push_str("id: ");
        id.write_to(text);
        text.push('\n');
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "event: {event}\ndata: {data}\n\n");
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Audience, EventId, EventType, MessageId, Room, User};

    fn event(data: &'static str) -> Event {
        Event {
            audience: Audience::Room(Room {
                id: EventId::new("cart\"7").expect("id"),
                kind: EventType::new("updated").expect("type"),
            }),
            message_id: MessageId::parse("01980000-0000-7000-8000-000000000001").expect("uuid"),
            event_name: None,
            from_user: None,
            to_user: Some(User::new("u").expect("user")),
            data: Bytes::from_static(data.as_bytes()),
            is_base64: false,
            headers: vec![("X-A".into(), "1".into())],
            is_final: false,
            published_at: 5,
        }
    }

    #[test]
    fn a_frame_is_one_chunk_around_one_block() {
        let frame = frame(&event(r#"{"n":1.50}"#), b"id: X\n", false, Payload::Json);
        let block = concat!(
            "id: X\nevent: updated\ndata: ",
            r#"{"message_id":"01980000-0000-7000-8000-000000000001","event_id":"cart\"7","#,
            r#""event_type":"updated","user":{"to_user":"u"},"data":{"n":1.50},"#,
            r#""headers":{"X-A":"1"},"published_at":5}"#,
            "\n\n"
        );
        assert_eq!(frame.block(), block);
        assert_eq!(frame.body(), block["id: X\n".len()..]);
        assert_eq!(frame.chunk(), format!("{:x}\r\n{block}\r\n", block.len()));
    }

    #[test]
    fn an_event_of_history_is_its_envelope_and_its_cursor() {
        let event = event("1");
        let entry = envelope_at(&event, &Cursor::default());
        let mut entry: serde_json::Value = serde_json::from_slice(&entry).expect("JSON");
        assert_eq!(entry.as_object_mut().and_then(|e| e.remove("cursor")), Some("EA".into()));
        let envelope: serde_json::Value = serde_json::from_slice(&envelope(&event)).expect("JSON");
        assert_eq!(entry, envelope);
    }

    #[test]
    fn an_unnamed_frame_has_no_event_line() {
        let frame = frame(&event("1"), b"", true, Payload::Json);
        assert!(frame.block().starts_with(b"data: {"));
    }

    #[test]
    fn the_gateways_own_blocks_are_spelled_as_the_contract_says() {
        let rooms = [Pattern::new("a", "*").expect("pattern")];
        let id = Cursor::default();
        let first = connected(&Connected {
            pod: "p",
            rooms: &rooms,
            start: StartKind::Live,
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(3),
            id: Some(&id),
        });
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            first,
            format!(
                "retry: 3000\nid: EA\nevent: tidegate.connected\ndata: {{\"pod\":\"p\",\
                 \"version\":\"{version}\",\"rooms\":[\"a/*\"],\"start\":\"live\",\
                 \"heartbeat_ms\":15000}}\n\n"
            )
        );
        assert_eq!(
            gap(GapReason::TooFar, None, &id, &rooms),
            "id: EA\nevent: tidegate.gap\ndata: {\"reason\":\"too_far\",\"requested\":null,\
             \"resumed_at\":\"EA\",\"rooms\":[\"a/*\"]}\n\n"
        );
        assert_eq!(heartbeat(Some(&id)), "id: EA\nevent: tidegate.heartbeat\ndata: {}\n\n");
        assert_eq!(
            goodbye("drain", Duration::from_millis(1500)),
            "retry: 1500\nevent: tidegate.goodbye\ndata: {\"reason\":\"drain\"}\n\n"
        );
    }
}
