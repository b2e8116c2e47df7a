//! From a letter back to an event.

use super::{Letter, Original};
use crate::cursor::{Offset, Shard, SourceId};
use crate::event::{IdempotencyKey, MessageId, NewEvent, TraceContext};
use crate::log::Source;
use crate::log::decode::{self, Malformed};
use crate::log::record::{Parts, Record, RecordWriter, field};

/// Why a letter's record is no event even now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lasting {
    /// The letter does not have all of it.
    #[error(
        "{0} bytes of its record were too many to be kept; it is in the source, if that has it still"
    )]
    LeftOut(u64),
    /// The source is not one that the gateway reads.
    #[error("the gateway does not read a source {0}")]
    NoSource(Box<str>),
    /// Its value is bytes, which only the source's own records can be.
    #[error("its value is bytes, and what the gateway publishes is JSON")]
    Bytes,
    /// It is still what it was.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The bounds that an event of this gateway has.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deep a value's JSON may nest.
    pub json_depth: usize,
    /// The most bytes of a value.
    pub value_bytes: usize,
}

/// The event that a letter's record is, to be published for the `nth` time (0 is the first).
///
/// Its key is made of the place and of `nth`: a replay that broke off before it was marked is
/// dropped as a duplicate when it is tried again, and one that is asked for again is not. What its
/// source's records are is `role`; a source with a mapping reads its records by that.
///
/// # Errors
/// [`Lasting`] if it is no event.
pub fn revive(
    letter: &Letter,
    source: Option<&Source>,
    limits: Limits,
    nth: usize,
) -> Result<NewEvent, Lasting> {
    let place = &letter.place;
    let source = source.ok_or_else(|| Lasting::NoSource(place.source().into()))?;
    let original = &letter.record;
    if original.left_out > 0 {
        return Err(Lasting::LeftOut(original.left_out));
    }
    let record = restored(original, place.source(), place.shard());
    decode::size(&record, limits.value_bytes)?;
    let head = decode::head(&record, source)?;
    let event = decode::event(&record, &head, source, limits.json_depth)?;
    if event.is_base64 {
        return Err(Lasting::Bytes);
    }
    let key = format!(
        "replay-{}-{nth}",
        MessageId::from_place(place.source(), place.shard(), place.offset())
    );
    let key = IdempotencyKey::new(&key).map_err(Malformed::Name)?;
    let text = |name| {
        original.field(name).and_then(|value| std::str::from_utf8(value).ok()).map(Box::from)
    };
    Ok(NewEvent {
        message_id: MessageId::from_key(&event.audience, &key),
        audience: event.audience,
        event_name: event.event_name,
        from_user: event.from_user,
        to_user: event.to_user,
        data: event.data,
        headers: event.headers,
        is_final: event.is_final,
        idempotency_key: Some(key),
        deliver_within_ms: text(field::DELIVER_WITHIN).and_then(|ms: Box<str>| ms.parse().ok()),
        replay_of: Some(place.to_string().into()),
        trace: TraceContext { parent: text(field::TRACEPARENT), state: text(field::TRACESTATE) },
    })
}

/// The record as its log handed it on, but for its offset, which nobody asks for.
fn restored(original: &Original, source: &str, index: u32) -> Record {
    let parts = Parts {
        shard: Shard { source: SourceId::of(source), index },
        offset: Offset::default(),
        timestamp: original.timestamp,
        tag: None,
        key: original.key.as_deref(),
        value: original.value.as_deref(),
    };
    let fields = original.fields.iter().map(|(name, value)| (&name[..], &value[..]));
    RecordWriter::default().write(parts, fields)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::log::Role;
    use crate::log::letter::Place;
    use crate::log::mapping::{Mapping, Part, ValueKind};
    use crate::telemetry::metrics::DeadLetter;

    const LIMITS: Limits = Limits { json_depth: 4, value_bytes: 100 };

    fn letter(fields: &[(&'static str, &'static str)], value: &'static str) -> Letter {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        Letter {
            place: Place::new("tidegate.events", 3, "17"),
            reason: DeadLetter::Malformed.into(),
            detail: "".into(),
            pod: "p".into(),
            at: 5,
            record: Original {
                key: Some(bytes("cart")),
                fields: fields.iter().map(|(name, v)| (bytes(name), bytes(v))).collect(),
                value: Some(bytes(value)),
                timestamp: 4,
                left_out: 0,
            },
        }
    }

    fn source() -> Source {
        Source::new("tidegate.events", Role::Events, 1)
    }

    fn revived(letter: &Letter, nth: usize) -> Result<NewEvent, Lasting> {
        revive(letter, Some(&source()), LIMITS, nth)
    }

    #[test]
    fn an_event_comes_back_with_all_that_it_had_and_says_what_it_repeats() {
        let fields = [
            ("event_type", "t"),
            ("message_id", "019a9e3c-6a5b-7c21-9d3e-2f1a0b4c5d6e"),
            ("event_name", "N"),
            ("to_user", "ann"),
            ("idempotency_key", "k"),
            ("deliver_within", "5000"),
            ("h.X-A", "1"),
            ("traceparent", "00-a"),
        ];
        let event = revived(&letter(&fields, r#"{"a": 1}"#), 0).expect("an event");
        assert_eq!((event.audience.id_text(), event.audience.kind().as_str()), ("cart", "t"));
        assert_eq!(event.replay_of.as_deref(), Some("tidegate.events/3/17"));
        assert_eq!((&event.data[..], event.event_name.as_deref()), (&br#"{"a":1}"#[..], Some("N")));
        assert_eq!(event.to_user.as_ref().map(|u| u.as_str()), Some("ann"));
        assert_eq!((event.deliver_within_ms, event.headers.len()), (Some(5000), 1));
        assert_eq!(event.trace.parent.as_deref(), Some("00-a"));
        let key = event.idempotency_key.expect("a key");
        assert_eq!(event.message_id, MessageId::from_key(&event.audience, &key));
    }

    #[test]
    fn a_replay_has_the_same_key_until_it_is_asked_for_again() {
        let letter = letter(&[("event_type", "t")], "1");
        let key = |nth| revived(&letter, nth).expect("an event").idempotency_key;
        assert_eq!(key(0), key(0));
        assert_ne!(key(0), key(1));
    }

    #[test]
    fn what_is_still_no_event_says_why() {
        let good = letter(&[("event_type", "t")], "1");
        let typed = &[("event_type", "t")][..];
        assert_eq!(revived(&letter(&[], "1"), 0).err(), Some(Malformed::NoType.into()));
        assert!(matches!(
            revived(&letter(typed, "{"), 0),
            Err(Lasting::Malformed(Malformed::NotJson(_)))
        ));
        let nowhere = revive(&good, None, LIMITS, 0).err();
        assert_eq!(nowhere, Some(Lasting::NoSource("tidegate.events".into())));
        let large = Limits { value_bytes: 0, ..LIMITS };
        assert!(matches!(
            revive(&good, Some(&source()), large, 0),
            Err(Lasting::Malformed(Malformed::TooLarge { .. }))
        ));
        assert_eq!(revived(&good.fit(0), 0).err(), Some(Lasting::LeftOut(16)));
    }

    #[test]
    fn records_of_others_are_read_by_their_mapping_unless_they_are_bytes() {
        let mapped = |value| {
            let mapping = Mapping::mapped(Part::Key, Part::Topic, None, value);
            Source::new("orders", Role::Events, 1).with_mapping(mapping.expect("one").into())
        };
        let letter = letter(&[], "text");
        let event = revive(&letter, Some(&mapped(ValueKind::Text)), LIMITS, 0).expect("an event");
        assert_eq!(event.audience.kind().as_str(), "orders");
        assert_eq!(&event.data[..], br#""text""#);
        let bytes = revive(&letter, Some(&mapped(ValueKind::Base64)), LIMITS, 0).err();
        assert_eq!(bytes, Some(Lasting::Bytes));
    }
}
