//! A record as every log hands it on, and how an event travels in one.
//!
//! The names of the fields are the contract's: Kafka carries them as headers, Redis as the entry's
//! fields. A record is one allocation's slice: key, fields and value lie one after the other, so a
//! batch costs one buffer and routing reads the front of it without touching the value.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::cursor::{Offset, Shard, Tag};
use crate::event::{NewEvent, TraceContext};

/// The names of a record's fields.
pub mod field {
    /// The event's type; absent on the broadcast source, whose key it is.
    pub const EVENT_TYPE: &str = "event_type";
    /// The event's identity, a hyphenated UUID.
    pub const MESSAGE_ID: &str = "message_id";
    /// The event's name.
    pub const EVENT_NAME: &str = "event_name";
    /// Who sent it.
    pub const FROM_USER: &str = "from_user";
    /// The only user who gets it.
    pub const TO_USER: &str = "to_user";
    /// The publisher's key.
    pub const IDEMPOTENCY_KEY: &str = "idempotency_key";
    /// Milliseconds, decimal.
    pub const DELIVER_WITHIN: &str = "deliver_within";
    /// `true` on a room's last event.
    pub const FINAL: &str = "final";
    /// The place of the dead letter that it repeats.
    pub const REPLAY_OF: &str = "replay_of";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// W3C trace context.
    pub const TRACESTATE: &str = "tracestate";
    /// What the publisher's own headers start with.
    pub const OWN_PREFIX: &str = "h.";
}

/// A record that came out of a log.
#[derive(Debug, Clone)]
pub struct Record {
    /// The shard it lies in.
    pub shard: Shard,
    /// Its place in the shard.
    pub offset: Offset,
    /// The log's time of it, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The tag of the position after it.
    pub tag: Tag,
    key_len: u32,
    fields_len: u32,
    has_key: bool,
    has_value: bool,
    has_idempotency_key: bool,
    raw: Bytes,
}

impl Record {
    /// The key, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.has_key.then(|| &self.raw[..self.key_len as usize])
    }

    /// The fields in the order in which they were written.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        let start = self.key_len as usize;
        Fields(&self.raw[start..start + self.fields_len as usize])
    }

    /// The value; `None` is Kafka's null. Shares the record's memory.
    #[must_use]
    pub fn value(&self) -> Option<Bytes> {
        self.has_value.then(|| self.raw.slice((self.key_len + self.fields_len) as usize..))
    }

    /// Whether there is a value; if not, it is Kafka's null.
    #[must_use]
    pub fn has_value(&self) -> bool {
        self.has_value
    }

    /// Whether it has a field of that name: seen when it was copied, since the consumer asks for it
    /// of every record and few have one.
    #[must_use]
    pub fn has_idempotency_key(&self) -> bool {
        self.has_idempotency_key
    }

    /// The trace that it says it belongs to: whatever it has in these fields, which anybody may have
    /// written. CloudEvents have the same names.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        let mut trace = TraceContext::default();
        for (name, value) in self.fields() {
            let name = name.strip_prefix(b"ce_").unwrap_or(name);
            let into = match name {
                b"traceparent" => &mut trace.parent,
                b"tracestate" => &mut trace.state,
                _ => continue,
            };
            *into = std::str::from_utf8(value).ok().map(Into::into);
        }
        trace
    }

    /// How long the value is, in bytes; 0 for null.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.raw.len() - (self.key_len + self.fields_len) as usize
    }

    /// What it takes up in the window, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.raw.len() + size_of::<Self>()
    }
}

/// The fields of a record: name and value.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.0.split_first_chunk::<4>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
        self.0 = rest;
        Some((name, value))
    }
}

/// Copies records out of a client library's buffers into shared ones.
///
/// Records of one batch share a buffer, and batches share what is left of it, so that a small
/// record costs a slice and not an allocation.
#[derive(Debug, Default)]
pub struct RecordWriter {
    buffer: BytesMut,
}

/// How much is allocated at once. Kept small enough that a record which outlives its neighbours
/// does not hold much more than itself.
const BUFFER_BYTES: usize = 64 * 1024;

/// The parts of a record that a log reads from its client library.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The shard it lies in.
    pub shard: Shard,
    /// Its place in the shard.
    pub offset: Offset,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// What tells the log from another one; `None` computes it from the record.
    pub tag: Option<Tag>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
}

impl RecordWriter {
    /// Copies one record.
    pub fn write<'f>(
        &mut self,
        parts: Parts<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Record {
        let key = parts.key.unwrap_or_default();
        let value = parts.value.unwrap_or_default();
        let least = key.len() + value.len() + 256;
        if self.buffer.capacity() < least {
            self.buffer.reserve(least.max(BUFFER_BYTES));
        }
        self.buffer.put_slice(key);
        let mut message_id: &[u8] = &[];
        let mut has_idempotency_key = false;
        for (name, value) in fields {
            self.buffer.put_u32_le(length(name));
            self.buffer.put_u32_le(length(value));
            self.buffer.put_slice(name);
            self.buffer.put_slice(value);
            if name == field::MESSAGE_ID.as_bytes() {
                message_id = value;
            }
            has_idempotency_key |= name == field::IDEMPOTENCY_KEY.as_bytes();
        }
        let fields_len = self.buffer.len() - key.len();
        self.buffer.put_slice(value);
        let tag = parts
            .tag
            .unwrap_or_else(|| Tag::of_record(key, parts.timestamp, value.len(), message_id));
        Record {
            shard: parts.shard,
            offset: parts.offset,
            timestamp: parts.timestamp,
            tag,
            key_len: length(key),
            fields_len: u32::try_from(fields_len).unwrap_or(u32::MAX),
            has_key: parts.key.is_some(),
            has_value: parts.value.is_some(),
            has_idempotency_key,
            raw: self.buffer.split().freeze(),
        }
    }
}

/// A length as the buffer has it. No log takes a part of 4 GiB.
fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}

/// An event as the fields of a record, in the contract's order.
#[must_use]
pub fn fields_of(event: &NewEvent) -> Vec<(Cow<'static, str>, Cow<'_, str>)> {
    let mut fields: Vec<(Cow<'static, str>, Cow<'_, str>)> = Vec::with_capacity(8);
    let mut put = |name: &'static str, value: Option<Cow<'_, str>>| {
        if let Some(value) = value {
            fields.push((name.into(), value.into_owned().into()));
        }
    };
    put(field::EVENT_TYPE, Some(event.audience.kind().as_str().into()));
    put(field::MESSAGE_ID, Some(event.message_id.to_string().into()));
    put(field::EVENT_NAME, event.event_name.as_deref().map(Into::into));
    put(field::FROM_USER, event.from_user.as_ref().map(|u| u.as_str().into()));
    put(field::TO_USER, event.to_user.as_ref().map(|u| u.as_str().into()));
    put(field::IDEMPOTENCY_KEY, event.idempotency_key.as_ref().map(|k| k.as_str().into()));
    put(field::DELIVER_WITHIN, event.deliver_within_ms.map(|ms| ms.to_string().into()));
    put(field::FINAL, event.is_final.then(|| "true".into()));
    put(field::REPLAY_OF, event.replay_of.as_deref().map(Into::into));
    put(field::TRACEPARENT, event.trace.parent.as_deref().map(Into::into));
    put(field::TRACESTATE, event.trace.state.as_deref().map(Into::into));
    for (name, value) in &event.headers {
        fields.push((format!("{}{name}", field::OWN_PREFIX).into(), value.as_ref().into()));
    }
    fields
}
