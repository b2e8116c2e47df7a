//! What has to hold for an event wherever it came from.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate::client::parser::{Item, Parser};
use tidegate::cursor::{Cursor, Offset, Position, Shard, SourceId, Tag};
use tidegate::event::{Audience, Event, NewEvent, User};
use tidegate::log::decode::{self, Malformed};
use tidegate::log::record::{Parts, Record, RecordWriter, fields_of};
use tidegate::log::{Role, Source};
use tidegate::problem::Problem;
use tidegate::wire::{self, Payload, coding};

/// As `limits.json_depth` is by default.
pub(crate) const JSON_DEPTH: usize = 64;

/// Where the checks' records lie.
pub(crate) const SHARD: Shard = Shard { source: SourceId(7), index: 3 };

/// Whether `text` can stand in a line of a stream or a header.
pub(crate) fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A problem is JSON on one line, and says where and what.
pub(crate) fn problem(problem: &Problem) -> &'static str {
    for text in [problem.to_json(), problem.to_json_line(Some(1))] {
        assert!(!text.contains(&b'\n'), "a problem of one line");
        let read: serde_json::Value = serde_json::from_slice(&text).expect("a problem is JSON");
        assert_eq!(read["status"], problem.kind.status().as_u16());
    }
    problem.kind.as_str()
}

/// The record that a log hands on for these parts.
pub(crate) fn record_of(
    key: Option<&[u8]>,
    fields: &[(&[u8], &[u8])],
    value: Option<&[u8]>,
) -> Record {
    let parts = Parts {
        shard: SHARD,
        offset: Offset(9),
        timestamp: 1_763_700_000_000,
        tag: None,
        key,
        value,
    };
    RecordWriter::default().write(parts, fields.iter().copied())
}

/// A source of records of this role that the gateway wrote.
pub(crate) fn source(role: Role) -> Source {
    Source::new("s", role, 4)
}

/// The event of a record.
pub(crate) fn event_of(record: &Record, source: &Source) -> Result<Event, Malformed> {
    let head = decode::head(record, source)?;
    let event = decode::event(record, &head, source, JSON_DEPTH)?;
    let id = decode::message_id(record, &head, source);
    assert_eq!(id, Ok(event.message_id), "one identity, however it is asked for");
    Ok(event)
}

/// What is published comes out of the log as it went in, and then out of a stream.
pub(crate) fn published(new: &NewEvent) {
    let fields = fields_of(new);
    let fields: Vec<(&[u8], &[u8])> =
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let record = record_of(Some(new.audience.record_key().as_bytes()), &fields, Some(&new.data));
    let role = match new.audience {
        Audience::Room(_) => Role::Events,
        Audience::Broadcast(_) => Role::Broadcast,
    };
    let event =
        event_of(&record, &source(role)).expect("an event that was taken comes out of the log");
    assert_eq!(event.audience, new.audience);
    assert_eq!(event.message_id, new.message_id);
    assert_eq!(event.event_name, new.event_name);
    assert_eq!(event.from_user, new.from_user);
    assert_eq!(event.to_user, new.to_user);
    assert_eq!(event.headers, new.headers);
    assert_eq!(event.is_final, new.is_final);
    assert_eq!(event.data, new.data);
    streamed(&event);
}

#[derive(Deserialize)]
struct Envelope<'a> {
    message_id: String,
    event_id: String,
    event_type: String,
    event_name: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    encoding: Option<String>,
    published_at: i64,
}

/// An event is one block of a stream, which a client reads as it was, however it is spelled.
pub(crate) fn streamed(event: &Event) {
    let position = Position { next: Offset(10), tag: Tag::UNKNOWN };
    let cursor = Cursor::new([(SHARD, position)]);
    let id_line = wire::id_line(&cursor);
    for unnamed in [false, true] {
        let frame = wire::frame(event, &id_line, unnamed, Payload::Json);
        let read = read_block(&frame.block());
        assert_eq!(read.id, cursor.to_string());
        assert_eq!(read.event, if unnamed { "message" } else { event.audience.kind().as_str() });
        let envelope = envelope(event, &read.data);
        assert_eq!(envelope.encoding.as_deref(), event.is_base64.then_some(coding::BASE64));
        assert_eq!(envelope.data.get().as_bytes(), &event.data[..], "the payload's spelling");
        let chunk = frame.chunk();
        let (size, _) = chunk.split_at(chunk.iter().position(|b| *b == b'\r').expect("a size"));
        let size = usize::from_str_radix(std::str::from_utf8(size).expect("hex"), 16);
        assert_eq!(size, Ok(frame.block().len()), "the chunk's size");
    }
    let text = coding::lz4_base64(&event.data);
    let payload = Payload::Coded { encoding: coding::LZ4, text: &text };
    let read = read_block(&wire::frame(event, &id_line, false, payload).block());
    let envelope = envelope(event, &read.data);
    assert_eq!(envelope.encoding.as_deref(), Some("lz4"));
    let text: String = serde_json::from_str(envelope.data.get()).expect("a string");
    assert_eq!(unpacked(&text), event.data);
}

fn read_block(block: &[u8]) -> tidegate::client::parser::Event {
    let mut parser = Parser::resuming("");
    let mut rest = block;
    let item = parser.next(&mut rest).expect("within the limits");
    assert!(rest.is_empty(), "one block, to its end");
    match item {
        Some(Item::Event(event)) => event,
        other => panic!("{other:?} is no event"),
    }
}

fn envelope<'a>(event: &Event, data: &'a str) -> Envelope<'a> {
    let envelope: Envelope<'a> = serde_json::from_str(data).expect("an envelope");
    assert_eq!(envelope.message_id, event.message_id.to_string());
    assert_eq!(envelope.event_id, event.audience.id_text());
    assert_eq!(envelope.event_type, event.audience.kind().as_str());
    assert_eq!(envelope.event_name.as_deref(), event.event_name.as_deref());
    assert_eq!(envelope.published_at, event.published_at);
    envelope
}

/// What a client makes of a coded payload.
pub(crate) fn unpacked(text: &str) -> Vec<u8> {
    let frame = STANDARD.decode(text).expect("base64");
    let mut data = Vec::new();
    let mut decoder = lz4_flex::frame::FrameDecoder::new(&frame[..]);
    decoder.read_to_end(&mut data).expect("an LZ4 frame");
    data
}

/// Checks names that a publisher gave.
pub(crate) fn users(users: [&Option<User>; 2]) {
    assert!(users.into_iter().flatten().all(|user| is_one_line(user.as_str())));
}
