mod cloudevents;
mod mapped;

use proptest::prelude::*;

use super::*;
use crate::cursor::{Offset, Shard, SourceId};
use crate::log::mapping::{Mapping, Part, ValueKind};
use crate::log::record::{Parts, RecordWriter};

const DEPTH: usize = 64;

/// A record of shard 1 at offset 2.
fn record(key: Option<&[u8]>, headers: &[(&str, &[u8])], value: Option<&[u8]>) -> Record {
    let parts = Parts {
        shard: Shard { source: SourceId(1), index: 1 },
        offset: Offset(2),
        timestamp: 3,
        tag: None,
        key,
        value,
    };
    RecordWriter::default().write(parts, headers.iter().map(|h| (h.0.as_bytes(), h.1)))
}

fn part(text: &str) -> Part {
    text.parse().expect("a part")
}

fn source(mapping: Mapping) -> Source {
    Source::new("orders", Role::Events, 4).with_mapping(mapping.into())
}

fn read(record: &Record, source: &Source) -> Result<Event, Malformed> {
    event(record, &head(record, source)?, source, DEPTH)
}

/// Where an event goes: `id/type`.
fn room(event: &Event) -> String {
    format!("{}/{}", event.audience.id_text(), event.audience.kind())
}

fn data(event: &Event) -> &str {
    std::str::from_utf8(&event.data).expect("UTF-8")
}

#[test]
fn a_record_of_the_gateways_own_is_routed_without_a_look_at_its_value() {
    let source = Source::new("events", Role::Events, 4);
    let record = record(Some(b"a"), &[("event_type", b"t")], Some(b"\xff{"));
    let head = head(&record, &source).expect("a head");
    assert!(event(&record, &head, &source, DEPTH).is_err());
}

#[test]
fn an_event_without_an_id_goes_by_its_key_and_else_by_its_place() {
    let source = Source::new("events", Role::Events, 4);
    let id = |headers: &[(&str, &[u8])]| {
        let record =
            record(Some(b"a"), &[&[("event_type", &b"t"[..])], headers].concat(), Some(b"1"));
        let head = head(&record, &source).expect("a head");
        let event = event(&record, &head, &source, DEPTH).expect("an event");
        assert_eq!(message_id(&record, &head, &source), Ok(event.message_id));
        event.message_id
    };
    let own = "01980000-0000-7000-8000-000000000001";
    assert_eq!(id(&[("message_id", own.as_bytes())]).to_string(), own);
    assert_eq!(id(&[("message_id", b"7")]), MessageId::from_place("events", 1, "2"));
    let audience = Audience::Room(Room {
        id: EventId::new("a").expect("an id"),
        kind: EventType::new("t").expect("a type"),
    });
    let key = IdempotencyKey::new("k").expect("a key");
    assert_eq!(id(&[("idempotency_key", b"k")]), MessageId::from_key(&audience, &key));
}

/// Bytes that are now and then something.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "1.0",
        "text/plain",
        "application/json; charset=utf-8",
        "application/cloudevents+json",
        "Application/CloudEvents-batch+json",
        "true",
        "k",
        "{\"user\":{\"id\":7}}",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data_base64\":\"AA==\"}",
    ];
    prop_oneof![
        3 => proptest::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => "[\\[\\]{}:,\"0a\\\\ud8]{0,12}".prop_map(String::into_bytes),
    ]
}

fn any_headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let names = vec![
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_subject",
        "ce_x",
        "ce_",
        "content-type",
        "Content-Type",
        "event_type",
        "to_user",
        "final",
        "message_id",
        "idempotency_key",
        "from_user",
        "h.a",
        "tenant",
    ];
    let name = prop_oneof![
        9 => proptest::sample::select(names).prop_map(str::to_owned),
        1 => ".{0,4}",
    ];
    proptest::collection::vec((name, any_bytes()), 0..12)
}

fn any_part() -> impl Strategy<Value = Part> {
    let parts = vec![
        "key",
        "topic",
        "header:tenant",
        "header:ce_id",
        "/user/id",
        "value:",
        "/data/0",
        "attribute:subject",
        "attribute:x",
        "constant:a",
    ];
    proptest::sample::select(parts).prop_map(part)
}

fn any_mapping() -> impl Strategy<Value = Mapping> {
    let kind = proptest::sample::select(vec![ValueKind::Json, ValueKind::Text, ValueKind::Base64]);
    let to_user = proptest::option::of(any_part());
    (any::<bool>(), any_part(), any_part(), to_user, kind).prop_filter_map(
        "no mapping",
        |(events, id, kind, user, value)| {
            if events {
                Mapping::cloud_events(Some(id), Some(kind), user, value).ok()
            } else {
                Mapping::mapped(id, kind, user, value).ok()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_record_and_no_mapping_make_it_panic_or_write_what_is_no_json(
        mapping in any_mapping(),
        key in proptest::option::of(any_bytes()),
        headers in any_headers(),
        value in proptest::option::weighted(0.9, any_bytes()),
        broadcast in any::<bool>(),
    ) {
        let mut source = source(mapping);
        if broadcast {
            source.role = Role::Broadcast;
        }
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let record = record(key.as_deref(), &headers, value.as_deref());
        if let Ok(event) = read(&record, &source) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&event.data).is_ok());
            prop_assert!(!event.data.contains(&b'\n'));
        }
    }
}
