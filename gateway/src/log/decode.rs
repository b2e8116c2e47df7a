//! From a record to an event. What breaks the contract is [`Malformed`] and goes no further; the
//! consumer counts it and reads on.

use bytes::Bytes;

use super::Role;
use super::record::{Record, field};
use crate::event::{Audience, Event, EventId, EventType, MessageId, NameError, Room, User};

/// Why a record is no event. Each kind is a label of the dead letters' reason and log lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No key: a room's records are keyed by `event_id`, a broadcast's by its type.
    #[error("the record has no key; events are keyed by event_id, broadcasts by their type")]
    NoKey,
    /// No `event_type` header.
    #[error("the record has no event_type header")]
    NoType,
    /// A key or header that is not UTF-8.
    #[error("the record's {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A name that the wire cannot carry.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A null value, which Kafka's compaction uses: skipped and counted.
    #[error("the record's value is null")]
    NullValue,
    /// A value that is not JSON.
    #[error("the record's value is not JSON: {0}")]
    NotJson(String),
}

impl Malformed {
    /// A label with few values.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::NoType => "no_type",
            Self::NotUtf8(_) => "not_utf8",
            Self::Name(_) => "name",
            Self::NullValue => "null_value",
            Self::NotJson(_) => "not_json",
        }
    }
}

/// What routing needs to know, borrowed from the record's key and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whom the event reaches.
    pub audience: Audience,
    /// The only user who gets it.
    pub to_user: Option<User>,
    /// The last event of its room.
    pub is_final: bool,
}

fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8(what))
}

/// The key's text: the id of a room, the type of a broadcast.
///
/// # Errors
/// [`Malformed`] if there is none or it is not text.
pub fn key(record: &Record) -> Result<&str, Malformed> {
    text("key", record.key().ok_or(Malformed::NoKey)?)
}

/// Reads the key and the headers that decide where the record goes. The value is not looked at.
///
/// # Errors
/// [`Malformed`] if they are not those of an event.
pub fn head(record: &Record, role: Role) -> Result<Head, Malformed> {
    let key = key(record)?;
    let mut kind = None;
    let mut to_user = None;
    let mut is_final = false;
    for (name, value) in record.fields() {
        if name == field::EVENT_TYPE.as_bytes() {
            kind = Some(text("event_type", value)?);
        } else if name == field::TO_USER.as_bytes() {
            to_user = Some(User::new(text("to_user", value)?)?);
        } else if name == field::FINAL.as_bytes() {
            is_final = value == b"true";
        }
    }
    if record.value().is_none() {
        return Err(Malformed::NullValue);
    }
    let audience = match role {
        Role::Broadcast => Audience::Broadcast(EventType::new(key)?),
        Role::Events => Audience::Room(Room {
            id: EventId::new(key)?,
            kind: EventType::new(kind.ok_or(Malformed::NoType)?)?,
        }),
    };
    Ok(Head { audience, to_user, is_final })
}

/// Reads the whole record, value included.
///
/// # Errors
/// [`Malformed`] if a header or the value is not what an event has.
pub fn event(record: &Record, head: &Head, place: &Place<'_>) -> Result<Event, Malformed> {
    let mut event = Event {
        audience: head.audience.clone(),
        message_id: MessageId::from_place(
            place.source,
            record.shard.index,
            &record.offset.to_string(),
        ),
        event_name: None,
        from_user: None,
        to_user: head.to_user.clone(),
        data: Bytes::new(),
        headers: Vec::new(),
        is_final: head.is_final,
        published_at: record.timestamp,
    };
    for (name, value) in record.fields() {
        if name == field::MESSAGE_ID.as_bytes() {
            // A foreign id that is no UUID is replaced by the one of its place: always the same.
            if let Some(id) = std::str::from_utf8(value).ok().and_then(MessageId::parse) {
                event.message_id = id;
            }
        } else if name == field::EVENT_NAME.as_bytes() {
            event.event_name = Some(text("event_name", value)?.into());
        } else if name == field::FROM_USER.as_bytes() {
            event.from_user = Some(User::new(text("from_user", value)?)?);
        } else if let Some(own) = name.strip_prefix(field::OWN_PREFIX.as_bytes()) {
            event.headers.push((text("header name", own)?.into(), text("header", value)?.into()));
        }
    }
    let value = record.value().ok_or(Malformed::NullValue)?;
    event.data = crate::json::minify_bytes(&value, place.json_depth)
        .map_err(|e| Malformed::NotJson(e.to_string()))?;
    Ok(event)
}

/// Where a record came from, as far as an event needs it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The source's name.
    pub source: &'a str,
    /// How deep a value's JSON may nest.
    pub json_depth: usize,
}

/// Says that a record is no event: counted, and logged once a kind, or a broken producer would
/// fill the disk with lines.
pub fn report(source: &str, record: &Record, error: &Malformed) {
    use std::sync::Mutex;
    static SAID: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

    crate::telemetry::metrics::malformed_record(error.kind());
    let news = SAID.lock().is_ok_and(|mut said| {
        let news = !said.contains(&error.kind());
        if news {
            said.push(error.kind());
        }
        news
    });
    if news {
        tracing::warn!(
            source,
            shard = record.shard.index,
            offset = %record.offset,
            kind = error.kind(),
            %error,
            "a record is no event and is skipped; further ones of this kind are only counted"
        );
    }
}
