use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

fn events(value: ValueKind) -> Source {
    source(Mapping::cloud_events(None, None, None, value).expect("a mapping"))
}

fn binary(headers: &[(&str, &str)], value: &[u8]) -> Record {
    let required =
        [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/s"), ("ce_type", "t")];
    let headers: Vec<_> = required.iter().chain(headers).map(|(n, v)| (*n, v.as_bytes())).collect();
    record(Some(b"a"), &headers, Some(value))
}

fn structured(text: &str) -> Record {
    let content_type: &[u8] = b"Application/CloudEvents+json; charset=UTF-8";
    record(Some(b"a"), &[("content-type", content_type)], Some(text.as_bytes()))
}

/// A structured event with these members and the required ones.
fn with(members: Value) -> Record {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    let object = event.as_object_mut().expect("an object");
    object.extend(members.as_object().expect("an object").clone());
    structured(&event.to_string())
}

#[test]
fn the_room_is_the_key_or_else_the_subject_and_the_type() {
    let source = events(ValueKind::Json);
    let keyed = read(&binary(&[("ce_subject", "s")], b"{}"), &source).expect("an event");
    assert_eq!(room(&keyed), "a/t");
    let subject: [(&str, &[u8]); 5] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/s"),
        ("ce_type", b"t"),
        ("ce_subject", "käse %41".as_bytes()),
    ];
    let event = read(&record(None, &subject, Some(b"{}")), &source).expect("an event");
    // Header values of the Kafka binding are UTF-8; it percent-encodes nothing.
    assert_eq!(room(&event), "käse %41/t");
    let error = read(&record(None, &subject[..4], Some(b"{}")), &source).expect_err("malformed");
    assert_eq!(error.kind().as_str(), "mapping");
}

#[test]
fn attributes_and_data_can_be_mapped() {
    let mapping = Mapping::cloud_events(
        Some(part("/user/id")),
        Some(part("attribute:kind")),
        Some(part("attribute:forwhom")),
        ValueKind::Base64,
    );
    let source = source(mapping.expect("a mapping"));
    let data = json!({"user": {"id": 7}});
    let same = [
        binary(
            &[("ce_kind", "k"), ("ce_forwhom", "u"), ("content-type", "text/json")],
            data.to_string().as_bytes(),
        ),
        with(json!({"kind": "k", "forwhom": "u", "data": data})),
        with(json!({
            "kind": "k",
            "forwhom": "u",
            "datacontenttype": "application/x+json",
            "data_base64": STANDARD.encode(data.to_string()),
        })),
    ];
    for record in same {
        let event = read(&record, &source).expect("an event");
        assert_eq!(room(&event), "7/k");
        assert_eq!(event.to_user, Some(User::new("u").expect("a user")));
    }
    // Whom it is for cannot be found in what is no JSON: not shown to everybody.
    let error = read(&binary(&[("content-type", "text/plain"), ("ce_kind", "k")], b"x"), &source);
    assert_eq!(error.expect_err("malformed").kind().as_str(), "mapping");
}

#[test]
fn the_data_is_what_its_media_type_says() {
    let (json, text, base64) = (ValueKind::Json, ValueKind::Text, ValueKind::Base64);
    let typed = |media_type: &str| binary(&[("content-type", media_type)], b"\"x\" ");
    let member = |media_type: &str| with(json!({"datacontenttype": media_type, "data": "\"x\" "}));
    let table = [
        (typed("application/json; charset=utf-8"), base64, r#""x""#),
        (typed("text/plain"), text, r#""\"x\" ""#),
        (typed("text/plain"), base64, r#""IngiIA==""#),
        (binary(&[], b"[ ]"), json, "[]"),
        (binary(&[], b"[ ]"), text, r#""[ ]""#),
        (binary(&[], b""), json, "null"),
        (member("text/plain"), text, r#""\"x\" ""#),
        (member("text/plain"), base64, r#""IngiIA==""#),
        // A string of JSON is not read once more.
        (member("application/json"), json, r#""\"x\" ""#),
        (with(json!({"data": [1]})), base64, "[1]"),
        (with(json!({"data": null})), json, "null"),
        (with(json!({})), text, "null"),
        (with(json!({"data_base64": "IngiIA=="})), json, r#""x""#),
        (with(json!({"data_base64": "/w==", "datacontenttype": "image/png"})), base64, r#""/w==""#),
        (with(json!({"data": {"a": 1}, "datacontenttype": "text/xml"})), text, r#"{"a":1}"#),
    ];
    for (record, kind, expected) in table {
        let event = read(&record, &events(kind)).expect("an event");
        assert_eq!(data(&event), expected, "{record:?} {kind}");
    }
}

#[test]
fn what_is_no_cloud_event_says_why() {
    let typed = |media_type: &str| binary(&[("content-type", media_type)], b"x");
    let table = [
        (record(Some(b"a"), &[], Some(b"{}")), "neither a ce_specversion header"),
        (record(Some(b"a"), &[("ce_specversion", b"0.3")], Some(b"{}")), "only 1.0"),
        (record(Some(b"a"), &[("ce_specversion", b"1.0")], Some(b"{}")), "no attribute id"),
        (binary(&[("ce_source", "")], b"{}"), "no attribute source"),
        (binary(&[("ce_id", "a\0b")], b"{}"), "control character"),
        (typed("application/cloudevents-batch+json"), "write each event as a record"),
        (typed("application/cloudevents+avro"), "\"application/cloudevents+avro\" is not read"),
        (typed("image/png"), "\"image/png\", not JSON"),
        (structured("[]"), "an array, not an object"),
        (structured("{}"), "no attribute specversion"),
        (with(json!({"type": null})), "no attribute type"),
        (with(json!({"x": {}})), "\"x\" is neither"),
        (with(json!({"data": 1, "data_base64": "AA=="})), "both data and"),
        (with(json!({"data_base64": "AA="})), "no string of base64"),
        (with(json!({"data_base64": 7})), "no string of base64"),
    ];
    for (record, says) in table {
        let error = read(&record, &events(ValueKind::Json)).expect_err(says);
        assert_eq!(error.kind().as_str(), "cloudevent", "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(
        read(&structured("{"), &events(ValueKind::Json)).expect_err("no").kind().as_str(),
        "not_json"
    );
}

#[test]
fn the_identity_is_that_of_source_and_id_unless_the_record_says_another() {
    let source = events(ValueKind::Json);
    let event = read(&binary(&[], b"1"), &source).expect("an event");
    assert_eq!(event.message_id, MessageId::from_cloud_event("/s", "1"));
    // The first 16 bytes of `printf 'tidegate-ce\0/s\x001' | sha256sum`, version and variant set.
    assert_eq!(event.message_id.to_string(), "fd064b5c-4130-8d71-9c88-972e70ed97e5");
    let own = "01980000-0000-7000-8000-000000000001";
    let event = read(&binary(&[("message_id", own)], b"1"), &source).expect("an event");
    assert_eq!(event.message_id.to_string(), own);
}

#[test]
fn the_envelope_tells_the_attributes_in_its_headers() {
    let told = |record: &Record, kind| {
        let event = read(record, &events(kind)).expect("an event");
        event.headers.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>()
    };
    let event = with(json!({
        "zone": 7, "traceparent": "00-…", "subject": null, "time": "T", "active": true,
        "data": 1, "Upper": "x", "long": "x".repeat(MAX_VALUE + 1)
    }));
    let expected = ["ce_id=1", "ce_source=/s", "ce_time=T", "ce_active=true", "ce_zone=7"];
    assert_eq!(told(&event, ValueKind::Json), expected);
    // Who gets bytes has to know of what kind.
    let image = binary(&[("content-type", "image/png")], b"\xff");
    let expected = ["ce_id=1", "ce_source=/s", "ce_datacontenttype=image/png"];
    assert_eq!(told(&image, ValueKind::Base64), expected);
    let many: serde_json::Map<_, _> = (0..100).map(|n| (format!("x{n:02}"), json!(n))).collect();
    let told = told(&with(many.into()), ValueKind::Json);
    assert_eq!(told.len(), crate::event::MAX_HEADERS);
    assert_eq!(told[2], "ce_x00=0");
}

const MAX_VALUE: usize = crate::event::MAX_HEADER_VALUE_BYTES;

/// The data of an event, in the spelling of each mode.
#[derive(Debug, Clone)]
enum AnyData {
    Json(Value),
    Text(String),
    Bytes(Vec<u8>),
}

fn any_data() -> impl Strategy<Value = AnyData> {
    let json = prop_oneof![
        Just(json!(null)),
        ".{0,8}".prop_map(Value::from),
        any::<i64>().prop_map(|n| json!({"n": [n, "\"\\"]})),
    ];
    prop_oneof![
        json.prop_map(AnyData::Json),
        ".{1,20}".prop_map(AnyData::Text),
        proptest::collection::vec(any::<u8>(), 1..20).prop_map(AnyData::Bytes),
    ]
}

proptest! {
    #[test]
    fn an_event_is_the_same_in_binary_and_structured_mode(
        mut attributes in proptest::collection::btree_map("[a-z][a-z0-9]{0,8}", "\\PC{0,8}", 0..6),
        id in "[^\\p{Cc}]{1,12}",
        data in any_data(),
        pretty in any::<bool>(),
    ) {
        for reserved in ["data", "datacontenttype", "specversion"] {
            attributes.remove(reserved);
        }
        let required = [("specversion", "1.0"), ("id", &*id), ("source", "urn:s"), ("type", "t.u")];
        let mut all: BTreeMap<String, String> = attributes;
        all.extend(required.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let (media_type, kind, value) = match &data {
            AnyData::Json(json) => ("application/json", ValueKind::Json, json.to_string().into_bytes()),
            AnyData::Text(text) => ("text/plain", ValueKind::Text, text.clone().into_bytes()),
            AnyData::Bytes(bytes) => ("image/png", ValueKind::Base64, bytes.clone()),
        };
        all.insert("datacontenttype".to_owned(), media_type.to_owned());

        let headers: Vec<(String, &[u8])> = all
            .iter()
            .map(|(name, value)| match name.as_str() {
                "datacontenttype" => ("content-type".to_owned(), value.as_bytes()),
                _ => (format!("ce_{name}"), value.as_bytes()),
            })
            .collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let binary = record(Some(b"a"), &headers, Some(&value));

        let mut object = json!(all);
        match data {
            AnyData::Json(json) => object["data"] = json,
            AnyData::Text(text) => object["data"] = json!(text),
            AnyData::Bytes(bytes) => object["data_base64"] = json!(STANDARD.encode(bytes)),
        }
        let text = if pretty { serde_json::to_string_pretty(&object) } else { Ok(object.to_string()) };
        let structured = structured(&text.expect("JSON"));

        let source = events(kind);
        let (binary, structured) = (read(&binary, &source), read(&structured, &source));
        prop_assert!(binary.is_ok(), "{:?}", binary);
        prop_assert_eq!(format!("{binary:?}"), format!("{structured:?}"));
    }
}
