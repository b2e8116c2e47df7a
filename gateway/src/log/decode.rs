//! From a record to an event. What breaks the contract is [`Malformed`] and goes no further; the
//! consumer counts it and reads on.
//!
//! Records of the gateway's own form are read here, those of others by their topic's
//! [`Mapping`](super::mapping::Mapping): `mapped` and `cloudevents`. Routing looks at a value only
//! where a mapping has a JSON pointer or the record is a CloudEvent in structured mode.

mod cloudevents;
mod data;
mod mapped;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use cloudevents::CloudEventError;

use super::record::{Record, field};
use super::{Role, Source};
use crate::event::{
    Audience, Event, EventId, EventType, IdempotencyKey, MessageId, NameError, Room, User,
};
use crate::telemetry::metrics::{self, DeadLetter, MalformedKind};
use cloudevents::CloudEvent;

/// Why a record is no event. Each kind is a label of the dead letters' reason and log lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No key: a room's records are keyed by `event_id`, a broadcast's by its type.
    #[error("the record has no key; events are keyed by event_id, broadcasts by their type")]
    NoKey,
    /// No `event_type` header.
    #[error("the record has no event_type header")]
    NoType,
    /// A key, header or value that is not UTF-8.
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
    /// A part that the topic's mapping names and the record cannot give.
    #[error("the topic's mapping takes {what} from {part}, {why}")]
    Mapping {
        /// Which part it is.
        what: &'static str,
        /// Where it was looked for.
        part: String,
        /// What is there.
        why: &'static str,
    },
    /// Not a CloudEvent, or none that can be read.
    #[error("the record is no CloudEvent that can be read: {0}")]
    CloudEvent(#[from] CloudEventError),
    /// A value that is longer than that of any event.
    #[error(
        "the record's value has {bytes} bytes; an event has at most {most} (limits.body_bytes)"
    )]
    TooLarge {
        /// The bytes it has.
        bytes: usize,
        /// The bytes it may have.
        most: usize,
    },
}

impl Malformed {
    /// A label with few values.
    #[must_use]
    pub fn kind(&self) -> MalformedKind {
        match self {
            Self::NoKey => MalformedKind::NoKey,
            Self::NoType => MalformedKind::NoType,
            Self::NotUtf8(_) => MalformedKind::NotUtf8,
            Self::Name(_) => MalformedKind::Name,
            Self::NullValue => MalformedKind::NullValue,
            Self::NotJson(_) => MalformedKind::NotJson,
            Self::Mapping { .. } => MalformedKind::Mapping,
            Self::CloudEvent(_) => MalformedKind::CloudEvent,
            Self::TooLarge { .. } => MalformedKind::TooLarge,
        }
    }

    /// Why the record is a dead letter; `None` if it is merely skipped.
    #[must_use]
    pub fn dead_letter(&self) -> Option<DeadLetter> {
        match self {
            Self::NullValue => None,
            Self::TooLarge { .. } => Some(DeadLetter::TooLarge),
            Self::Mapping { .. } => Some(DeadLetter::MappingFailed),
            _ => Some(DeadLetter::Malformed),
        }
    }
}

/// What routing needs to know, from the record's key and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whom the event reaches.
    pub audience: Audience,
    /// The only user who gets it.
    pub to_user: Option<User>,
    /// The last event of its room.
    pub is_final: bool,
    /// By when it is to be written to a stream somewhere, in milliseconds since the Unix epoch.
    pub deadline: Option<i64>,
}

fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8(what))
}

/// Refuses a value of more than `most` bytes. Logs hand on records of any size; what is larger than
/// a publisher's event may be would push others out of the window and cut its readers.
///
/// # Errors
/// [`Malformed::TooLarge`].
pub fn size(record: &Record, most: usize) -> Result<(), Malformed> {
    let bytes = record.value_bytes();
    if bytes > most { Err(Malformed::TooLarge { bytes, most }) } else { Ok(()) }
}

/// Reads what decides where the record goes: the key and the headers, and of the value no more
/// than the source's mapping needs.
///
/// # Errors
/// [`Malformed`] if they are not those of an event.
pub fn head(record: &Record, source: &Source) -> Result<Head, Malformed> {
    match &source.mapping {
        None => own_head(record, source.role)?.to_head(),
        Some(mapping) => mapped::head(record, source, mapping),
    }
}

/// The same at a glance: nothing of a record in the gateway's own form is copied. Nobody here wants
/// most records.
///
/// # Errors
/// Those of [`head`].
pub fn glance<'r>(record: &'r Record, source: &Source) -> Result<Glance<'r>, Malformed> {
    match &source.mapping {
        None => own_head(record, source.role).map(Glance::Own),
        Some(mapping) => mapped::head(record, source, mapping).map(Glance::Read),
    }
}

/// What routing needs to know of a record, as far as possible where it lies.
#[derive(Debug)]
pub enum Glance<'r> {
    /// Of a record in the gateway's own form.
    Own(OwnHead<'r>),
    /// Of a record that others wrote.
    Read(Head),
}

impl Glance<'_> {
    /// The id and the type of the event's room; `None` of a broadcast.
    #[must_use]
    pub fn room(&self) -> Option<(&str, &str)> {
        match self {
            Self::Own(own) => (own.role == Role::Events).then_some((own.key, own.kind)),
            Self::Read(head) => match &head.audience {
                Audience::Room(room) => Some((room.id.as_str(), room.kind.as_str())),
                Audience::Broadcast(_) => None,
            },
        }
    }

    /// See [`Head::deadline`].
    #[must_use]
    pub fn deadline(&self) -> Option<i64> {
        match self {
            Self::Own(own) => own.deadline,
            Self::Read(head) => head.deadline,
        }
    }

    /// All of it, to be kept.
    ///
    /// # Errors
    /// None: the names were checked.
    pub fn into_head(self) -> Result<Head, Malformed> {
        match self {
            Self::Own(own) => own.to_head(),
            Self::Read(head) => Ok(head),
        }
    }
}

/// The head of a record in the gateway's own form. Its names are checked.
#[derive(Debug, Clone, Copy)]
pub struct OwnHead<'r> {
    role: Role,
    /// The room's id, or the broadcast's type.
    key: &'r str,
    /// The room's type; empty of a broadcast.
    kind: &'r str,
    to_user: Option<&'r str>,
    is_final: bool,
    deadline: Option<i64>,
}

impl OwnHead<'_> {
    fn to_head(self) -> Result<Head, Malformed> {
        let audience = match self.role {
            Role::Broadcast => Audience::Broadcast(EventType::new(self.key)?),
            Role::Events => Audience::Room(Room {
                id: EventId::new(self.key)?,
                kind: EventType::new(self.kind)?,
            }),
        };
        Ok(Head {
            audience,
            to_user: self.to_user.map(User::new).transpose()?,
            is_final: self.is_final,
            deadline: self.deadline,
        })
    }
}

/// Reads the head of a record in the gateway's own form. The value is not looked at.
fn own_head(record: &Record, role: Role) -> Result<OwnHead<'_>, Malformed> {
    let key = text("key", record.key().ok_or(Malformed::NoKey)?)?;
    let mut kind = None;
    let mut to_user = None;
    let mut is_final = false;
    let mut deadline = None;
    for (name, value) in record.fields() {
        if name == field::EVENT_TYPE.as_bytes() {
            kind = Some(text("event_type", value)?);
        } else if name == field::TO_USER.as_bytes() {
            let user = text("to_user", value)?;
            User::check(user)?;
            to_user = Some(user);
        } else if name == field::FINAL.as_bytes() {
            is_final = value == b"true";
        } else if name == field::DELIVER_WITHIN.as_bytes() {
            deadline = deadline_of(record, value);
        }
    }
    if !record.has_value() {
        return Err(Malformed::NullValue);
    }
    let kind = match role {
        Role::Broadcast => {
            EventType::check(key)?;
            ""
        }
        Role::Events => {
            EventId::check(key)?;
            let kind = kind.ok_or(Malformed::NoType)?;
            EventType::check(kind)?;
            kind
        }
    };
    Ok(OwnHead { role, key, kind, to_user, is_final, deadline })
}

/// The time by which a record's event is to be delivered. What is no number of milliseconds, as
/// another producer may have it, asks for nothing.
fn deadline_of(record: &Record, within: &[u8]) -> Option<i64> {
    let within: i64 = std::str::from_utf8(within).ok()?.parse().ok().filter(|ms| *ms > 0)?;
    Some(record.timestamp.saturating_add(within))
}

/// Reads the whole record, value included, whose JSON may nest `json_depth` deep.
///
/// # Errors
/// [`Malformed`] if a header or the value is not what an event has.
pub fn event(
    record: &Record,
    head: &Head,
    source: &Source,
    json_depth: usize,
) -> Result<Event, Malformed> {
    let value = record.value().ok_or(Malformed::NullValue)?;
    let mapping = source.mapping.as_deref();
    let cloud_event = cloudevents::of(record, &value, mapping)?;
    let mut event = Event {
        audience: head.audience.clone(),
        message_id: message_id_of(record, head, source, cloud_event.as_ref()),
        event_name: None,
        from_user: None,
        to_user: head.to_user.clone(),
        data: Bytes::new(),
        is_base64: false,
        headers: Vec::new(),
        is_final: head.is_final,
        published_at: record.timestamp,
    };
    for (name, value) in record.fields() {
        if name == field::EVENT_NAME.as_bytes() {
            event.event_name = Some(text("event_name", value)?.into());
        } else if name == field::FROM_USER.as_bytes() {
            event.from_user = Some(User::new(text("from_user", value)?)?);
        } else if let Some(own) = name.strip_prefix(field::OWN_PREFIX.as_bytes()) {
            event.headers.push((text("header name", own)?.into(), text("header", value)?.into()));
        }
    }
    let data = match (mapping, &cloud_event) {
        (Some(mapping), Some(cloud_event)) => {
            cloud_event.put_headers(mapping, &mut event.headers);
            cloud_event.data(&value, mapping.value, json_depth)?
        }
        (Some(mapping), None) => data::of_kind(&value, mapping.value, json_depth)?,
        (None, _) => data::json(&value, json_depth)?,
    };
    event.data = data.json;
    event.is_base64 = data.is_base64;
    Ok(event)
}

/// The publisher's key, if the record has one that can be one.
#[must_use]
pub fn idempotency_key(record: &Record) -> Option<IdempotencyKey> {
    if !record.has_idempotency_key() {
        return None;
    }
    let key = mapped::header(record, field::IDEMPOTENCY_KEY)?;
    IdempotencyKey::new(std::str::from_utf8(key).ok()?).ok()
}

/// The id that the record's event goes by. The same on every pod and at every reading: its own
/// header's, or else derived from the CloudEvent's identity, its idempotency key or its place.
///
/// # Errors
/// [`Malformed`] if it should be a CloudEvent and is none.
pub fn message_id(record: &Record, head: &Head, source: &Source) -> Result<MessageId, Malformed> {
    let value = record.value().ok_or(Malformed::NullValue)?;
    let cloud_event = cloudevents::of(record, &value, source.mapping.as_deref())?;
    Ok(message_id_of(record, head, source, cloud_event.as_ref()))
}

fn message_id_of(
    record: &Record,
    head: &Head,
    source: &Source,
    cloud_event: Option<&CloudEvent<'_>>,
) -> MessageId {
    let own = mapped::header(record, field::MESSAGE_ID).and_then(|id| std::str::from_utf8(id).ok());
    // A foreign id that is no UUID counts as none.
    let own = own.and_then(MessageId::parse);
    own.or_else(|| cloud_event.map(CloudEvent::message_id)).unwrap_or_else(
        || match idempotency_key(record) {
            Some(key) => MessageId::from_key(&head.audience, &key),
            None => {
                let offset = record.offset.to_string();
                MessageId::from_place(&source.name, record.shard.index, &offset)
            }
        },
    )
}

/// Says that a record is no event: counted, and logged once a kind, or a broken producer would
/// fill the disk with lines.
pub fn report(source: &str, record: &Record, error: &Malformed) {
    use std::sync::Mutex;
    static SAID: Mutex<Vec<MalformedKind>> = Mutex::new(Vec::new());

    metrics::malformed_record(error.kind());
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
            kind = error.kind().as_str(),
            %error,
            "a record is no event and is skipped; further ones of this kind are only counted"
        );
    }
}
