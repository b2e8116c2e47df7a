//! Topics that others write, from a record to a reader.

use serde_json::{Value, json};

use super::*;
use crate::log::mapping::{Mapping, ValueKind};
use crate::telemetry::metrics::MalformedKind;

/// A hub whose only source of rooms is a topic of CloudEvents.
fn pod() -> (Pod, Source) {
    let mapping = Mapping::cloud_events(None, None, None, ValueKind::Base64).expect("a mapping");
    let events = Source::new("orders", Role::Events, 1).with_mapping(mapping.into());
    let [_, broadcast, _] = sources();
    let pod = Pod::new();
    pod.hub.set_sources(&[events.clone(), broadcast]);
    pod.hub.start(events.shard_of(b""), Position::default(), Offset(0));
    (pod, events)
}

/// CloudEvents in the binary mode: their types and media types, and what they carry.
fn records(source: &Source, events: &[(&str, &str, &[u8])]) -> Vec<(Record, Fate)> {
    let mut writer = RecordWriter::default();
    let record = |(offset, (kind, media_type, value)): (usize, &(&str, &str, &[u8]))| {
        let fields: [(&str, &str); 5] = [
            ("ce_specversion", "1.0"),
            ("ce_source", "/shop"),
            ("ce_id", "1"),
            ("ce_type", kind),
            ("content-type", media_type),
        ];
        let parts = Parts {
            shard: source.shard_of(b"7"),
            offset: Offset(offset as u128),
            timestamp: 1,
            tag: None,
            key: Some(b"7"),
            value: Some(value),
        };
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        (writer.write(parts, fields), Fate::Route)
    };
    events.iter().enumerate().map(record).collect()
}

fn envelopes(opened: &mut Opened) -> Vec<Value> {
    let mut out = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(opened.subscription.poll_next(&mut cx, 500, &mut out).is_ready());
    let envelope = |delivery: &Delivery| {
        let body = delivery.frame(Variant { unnamed: true, ..Variant::default() })?.body();
        let at = body.iter().position(|b| *b == b'{').expect("an envelope");
        Some(serde_json::from_slice(&body[at..]).expect("JSON"))
    };
    out.iter().filter_map(envelope).collect()
}

#[test]
fn events_of_others_reach_live_and_returning_readers_and_history() {
    let (pod, source) = pod();
    let room = [Pattern::new("7", "*").expect("a pattern")];
    let mut live = pod.open(&room, None, &Start::Live);
    let start = Start::Resume(live.connected_at.clone().expect("an id"));
    let events: [(&str, &str, &[u8]); 4] = [
        ("placed", "application/json", b"{ \"n\" : 1.0 }"),
        ("a/b", "application/json", b"1"),
        ("placed", "application/json", b"no JSON"),
        ("drawn", "image/png", b"\xff\xd8"),
    ];
    let routed = pod.hub.route(records(&source, &events));
    assert_eq!(routed.matched, 3, "a value is looked at when it is first wanted");
    let kinds: Vec<_> = routed.malformed.iter().map(|(_, error)| error.kind()).collect();
    assert_eq!(kinds, [MalformedKind::Name]);

    let written = envelopes(&mut live);
    let told = |e: &Value| json!([e["event_type"], e["data"], e["encoding"], e["headers"]]);
    assert_eq!(
        written.iter().map(told).collect::<Vec<_>>(),
        [
            json!(["placed", {"n": 1.0}, null, {"ce_id": "1", "ce_source": "/shop"}]),
            json!(["drawn", "/9g=", "base64", {
                "ce_id": "1", "ce_source": "/shop", "ce_datacontenttype": "image/png"
            }]),
        ]
    );
    let mut again = pod.open(&room, None, &start);
    assert_eq!(envelopes(&mut again), written);
    let page = pod.page(&room[0], None, start, 10);
    let paged: Vec<Value> = page
        .events
        .iter()
        .map(|(event, _)| serde_json::from_slice(&crate::wire::envelope(event)).expect("JSON"))
        .collect();
    assert_eq!(paged, written);
}

#[test]
fn what_nobody_wanted_when_it_came_is_read_back_by_the_mapping() {
    let (pod, source) = pod();
    let room = [Pattern::new("7", "placed").expect("a pattern")];
    let head = pod.open(&room, None, &Start::Live).connected_at;
    let events: [(&str, &str, &[u8]); 1] = [("placed", "application/json", b"1")];
    assert_eq!(pod.hub.route(records(&source, &events)).matched, 0);
    let start = Start::Resume(head.expect("an id"));
    let mut later = pod.open(&room, None, &start);
    assert_eq!(envelopes(&mut later)[0]["data"], 1);
}
