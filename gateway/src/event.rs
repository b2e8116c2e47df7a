//! The vocabulary: rooms, users, message ids and the event itself.
//!
//! Every name is parsed here, at the edge, and trusted afterwards: a value of these types can be
//! written into a stream, a record header or a URL without another check.

pub mod trace;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use trace::TraceContext;

/// The longest `event_id`, in bytes of UTF-8.
pub const MAX_EVENT_ID_BYTES: usize = 256;
/// The longest `event_type`, in bytes of UTF-8.
pub const MAX_EVENT_TYPE_BYTES: usize = 128;
/// The longest user name, in bytes of UTF-8.
pub const MAX_USER_BYTES: usize = 256;
/// The most headers of an event's own.
pub const MAX_HEADERS: usize = 64;
/// The longest name of one, in bytes of visible ASCII.
pub const MAX_HEADER_NAME_BYTES: usize = 128;
/// The longest value of one, in bytes of UTF-8.
pub const MAX_HEADER_VALUE_BYTES: usize = 4096;
/// The longest `Idempotency-Key`, in bytes of visible ASCII.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;
/// The event types that a browser's `EventSource` or the gateway itself gives a meaning.
pub const RESERVED_TYPES: [&str; 3] = ["open", "error", "message"];
/// What the gateway's own event types start with.
pub const OWN_TYPE_PREFIX: &str = "tidegate.";

/// Why a name was refused. Its text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no bytes.
    #[error("{what} must not be empty")]
    Empty {
        /// Which name it was.
        what: &'static str,
    },
    /// The name has more bytes than its kind may have.
    #[error("{what} has {bytes} bytes; at most {most} are allowed")]
    TooLong {
        /// Which name it was.
        what: &'static str,
        /// The bytes it has.
        bytes: usize,
        /// The bytes it may have.
        most: usize,
    },
    /// The name has a control character, which no stream or header can carry.
    #[error("{what} has the control character U+{code:04X}; remove it")]
    Control {
        /// Which name it was.
        what: &'static str,
        /// The character's code point.
        code: u32,
    },
    /// The name is one that means something else.
    #[error("{what} must not be {name:?}, which has a meaning of its own")]
    Reserved {
        /// Which name it was.
        what: &'static str,
        /// The reserved name.
        name: String,
    },
    /// The name has a character that separates names.
    #[error("{what} must not have a '/'")]
    Slash {
        /// Which name it was.
        what: &'static str,
    },
    /// The name has a byte outside of visible ASCII.
    #[error("{what} must be visible ASCII (0x21 to 0x7E)")]
    NotVisibleAscii {
        /// Which name it was.
        what: &'static str,
    },
}

/// Checks what all names share: a length from 1 to `most` bytes and no control character.
fn check_name(what: &'static str, name: &str, most: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > most {
        return Err(NameError::TooLong { what, bytes: name.len(), most });
    }
    // Most names have nothing else, and the consumer looks at those of every record.
    if name.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Ok(());
    }
    if let Some(control) = name.chars().find(|c| c.is_control()) {
        return Err(NameError::Control { what, code: control.into() });
    }
    Ok(())
}

fn refuse_reserved(what: &'static str, name: &str, reserved: &[&str]) -> Result<(), NameError> {
    if reserved.contains(&name) {
        return Err(NameError::Reserved { what, name: name.to_owned() });
    }
    Ok(())
}

/// Declares a name: a shared string that its constructor has checked.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `name` if it is one that the wire can carry.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with it.
            pub fn new(name: &str) -> Result<Self, NameError> {
                Self::check(name)?;
                Ok(Self(name.into()))
            }

            /// Whether `name` is one, without keeping it.
            ///
            /// # Errors
            /// As [`Self::new`].
            pub fn check(name: &str) -> Result<(), NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(name)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    };
}

name_type!(
    /// What an event is about: a cart, a conversation, a device. Records are keyed by it.
    EventId,
    |name| {
        check_name("event_id", name, MAX_EVENT_ID_BYTES)?;
        refuse_reserved("event_id", name, &["*", ".", ".."])
    }
);

name_type!(
    /// What kind of event it is; the stream's `event:` line.
    EventType,
    |name| {
        check_name("event_type", name, MAX_EVENT_TYPE_BYTES)?;
        if name.contains('/') {
            return Err(NameError::Slash { what: "event_type" });
        }
        refuse_reserved("event_type", name, &["*", ".", ".."])?;
        refuse_reserved("event_type", name, &RESERVED_TYPES)?;
        if name.starts_with(OWN_TYPE_PREFIX) {
            return Err(NameError::Reserved { what: "event_type", name: name.to_owned() });
        }
        Ok(())
    }
);

name_type!(
    /// Who an event comes from or is for.
    User,
    |name| check_name("user", name, MAX_USER_BYTES)
);

name_type!(
    /// A publisher's key for one event: a retry with the same key is delivered once.
    IdempotencyKey,
    |name| {
        check_name("Idempotency-Key", name, MAX_IDEMPOTENCY_KEY_BYTES)?;
        if !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NameError::NotVisibleAscii { what: "Idempotency-Key" });
        }
        Ok(())
    }
);

/// What a client subscribes to and a publisher publishes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room {
    /// What the events are about.
    pub id: EventId,
    /// Which kind of them.
    pub kind: EventType,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.kind)
    }
}

/// Whom an event reaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The streams of one room.
    Room(Room),
    /// Every open stream.
    Broadcast(EventType),
}

impl Audience {
    /// The type that the stream's `event:` line carries.
    #[must_use]
    pub fn kind(&self) -> &EventType {
        match self {
            Self::Room(room) => &room.kind,
            Self::Broadcast(kind) => kind,
        }
    }

    /// The `event_id` as the envelope and the signatures write it: `*` for a broadcast.
    #[must_use]
    pub fn id_text(&self) -> &str {
        match self {
            Self::Room(room) => room.id.as_str(),
            Self::Broadcast(_) => "*",
        }
    }

    /// The key of the event's record: the id of a room, the type of a broadcast.
    #[must_use]
    pub fn record_key(&self) -> &str {
        match self {
            Self::Room(room) => room.id.as_str(),
            Self::Broadcast(kind) => kind.as_str(),
        }
    }
}

/// What a stream asks for: one type of an id, or every type of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// The id.
    pub id: EventId,
    /// The type; `None` is `*`.
    pub kind: Option<EventType>,
}

impl Pattern {
    /// Reads an id and a type as a URL has them, `*` being every type.
    ///
    /// # Errors
    /// [`NameError`] says which of the two is wrong and why.
    pub fn new(id: &str, kind: &str) -> Result<Self, NameError> {
        let id = EventId::new(id)?;
        let kind = if kind == "*" { None } else { Some(EventType::new(kind)?) };
        Ok(Self { id, kind })
    }

    /// The type as text, `*` for every type.
    #[must_use]
    pub fn kind_text(&self) -> &str {
        self.kind.as_ref().map_or("*", EventType::as_str)
    }

    /// Whether events of `kind` with this pattern's id belong to it.
    #[must_use]
    pub fn takes(&self, kind: &str) -> bool {
        self.kind.as_ref().is_none_or(|k| k.as_str() == kind)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.kind_text())
    }
}

/// An event's identity, a UUID: version 7 (RFC 9562) when the gateway makes it, version 8 when it
/// is derived from something that a second attempt would derive again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A new one, a UUIDv7.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of every event published to `audience` with this key.
    #[must_use]
    pub fn from_key(audience: &Audience, key: &IdempotencyKey) -> Self {
        Self::derived(&[
            b"tidegate-key",
            audience.id_text().as_bytes(),
            audience.kind().as_str().as_bytes(),
            key.as_str().as_bytes(),
        ])
    }

    /// The id of a record that has none: `offset` is decimal, on Redis the entry's id.
    #[must_use]
    pub fn from_place(source: &str, shard: u32, offset: &str) -> Self {
        let shard = shard.to_string();
        Self::derived(&[b"tidegate-place", source.as_bytes(), shard.as_bytes(), offset.as_bytes()])
    }

    /// The id of a CloudEvent: its `source` and `id` identify it (CloudEvents 1.0, 3.1).
    #[must_use]
    pub fn from_cloud_event(source: &str, id: &str) -> Self {
        Self::derived(&[b"tidegate-ce", source.as_bytes(), id.as_bytes()])
    }

    /// The first 16 bytes of SHA-256 over the parts, NUL between them, as a UUIDv8.
    fn derived(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for (n, part) in parts.iter().enumerate() {
            if n > 0 {
                hash.update([0]);
            }
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(Uuid::new_v8(first))
    }

    /// Reads the hyphenated form that a record header carries.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

/// An event on its way into a log.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Whom it reaches.
    pub audience: Audience,
    /// Its identity.
    pub message_id: MessageId,
    /// A name for humans and handlers, such as `CartItemUpdated`.
    pub event_name: Option<Box<str>>,
    /// Who sent it.
    pub from_user: Option<User>,
    /// The only user who gets it.
    pub to_user: Option<User>,
    /// The `data` member: JSON text without whitespace between its tokens.
    pub data: Bytes,
    /// The publisher's own headers, in their order.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The last event of its room: the stream that gets it ends.
    pub is_final: bool,
    /// The publisher's key for this event.
    pub idempotency_key: Option<IdempotencyKey>,
    /// How long it may go unwritten before it is a dead letter, in milliseconds.
    pub deliver_within_ms: Option<u64>,
    /// The place of the dead letter that this event repeats.
    pub replay_of: Option<Box<str>>,
    /// Where its trace began.
    pub trace: TraceContext,
}

/// An event as it came out of a log: what the envelope is written from.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whom it reaches.
    pub audience: Audience,
    /// Its identity.
    pub message_id: MessageId,
    /// A name for humans and handlers.
    pub event_name: Option<Box<str>>,
    /// Who sent it.
    pub from_user: Option<User>,
    /// The only user who gets it.
    pub to_user: Option<User>,
    /// The `data` member: valid JSON text.
    pub data: Bytes,
    /// `data` is the JSON string of the base64 of what the record holds.
    pub is_base64: bool,
    /// The publisher's own headers, in their order.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The last event of its room.
    pub is_final: bool,
    /// The log's time of it, in milliseconds since the Unix epoch.
    pub published_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_wire_cannot_carry_are_refused() {
        for bad in ["", "*", ".", "..", "a\nb", "a\rb", "a\0b", "a\u{85}b", &"x".repeat(257)] {
            assert!(EventId::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "*", ".", "..", "a/b", "open", "error", "message", "tidegate.x", "a\tb"] {
            assert!(EventType::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a/b", "Ä", "a b", "message", &"x".repeat(256)] {
            assert!(EventId::new(good).is_ok(), "{good:?}");
        }
        assert!(IdempotencyKey::new("a b").is_err());
        assert!(IdempotencyKey::new("a-b").is_ok());
    }

    #[test]
    fn a_key_makes_the_same_message_id_every_time() {
        let room = |id: &str| {
            Audience::Room(Room {
                id: EventId::new(id).expect("id"),
                kind: EventType::new("t").expect("type"),
            })
        };
        let key = IdempotencyKey::new("k").expect("key");
        let id = MessageId::from_key(&room("a"), &key);
        assert_eq!(id, MessageId::from_key(&room("a"), &key));
        assert_ne!(id, MessageId::from_key(&room("b"), &key));
        // The first 16 bytes of `printf 'tidegate-key\0a\0t\0k' | sha256sum`, version and variant set.
        assert_eq!(id.to_string(), "9a37dc83-3d0c-8d29-9f82-0e979d68b087");
    }
}
