use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS};

const DEPTH: usize = 8;

fn parse(text: &str) -> Result<PublishBody, Problem> {
    PublishBody::parse(&Bytes::copy_from_slice(text.as_bytes()), DEPTH)
}

fn parse_line(text: &str) -> Result<BatchLine, Problem> {
    BatchLine::parse(&Bytes::copy_from_slice(text.as_bytes()), DEPTH)
}

/// The errors of a refused event, as `pointer: detail`.
fn errors<T: std::fmt::Debug>(outcome: Result<T, Problem>) -> Vec<String> {
    let problem = outcome.expect_err("refused");
    assert_eq!(problem.kind, ProblemKind::InvalidEvent, "{problem:?}");
    problem.errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect()
}

fn room(id: &str, kind: &str) -> Audience {
    Audience::Room(Room {
        id: EventId::new(id).expect("id"),
        kind: EventType::new(kind).expect("type"),
    })
}

#[test]
fn a_whole_body_is_read_and_its_data_kept_as_spelled() {
    let text = r#" {
        "event_name": "Cart\u0049temUpdated",
        "user": {"from_user": "system", "to_user": "änna"},
        "data": { "n": 1.0, "big": 12345678901234567890123, "s": "\u00e9 \n" },
        "headers": {"X-Request-ID": "7", "x": ""},
        "final": true
    } "#;
    let body = parse(text).expect("body");
    assert_eq!(body.event_name.as_deref(), Some("CartItemUpdated"));
    assert_eq!(body.from_user.as_ref().map(User::as_str), Some("system"));
    assert_eq!(body.to_user.as_ref().map(User::as_str), Some("änna"));
    assert_eq!(body.data, r#"{"n":1.0,"big":12345678901234567890123,"s":"\u00e9 \n"}"#);
    let headers = body.headers.iter().map(|(k, v)| (&**k, &**v)).collect::<Vec<_>>();
    assert_eq!(headers, [("X-Request-ID", "7"), ("x", "")]);
    assert!(body.is_final);
}

#[test]
fn only_data_is_required_and_is_not_copied_without_need() {
    for data in ["null", "1", "\"x\"", "[]", "{\"a\":{\"a\":1}}"] {
        let text = Bytes::from(format!("{{\"data\":{data}}}"));
        let body = PublishBody::parse(&text, DEPTH).expect("body");
        assert_eq!(body.data, data);
        assert_eq!(body.data.as_ptr(), text[8..].as_ptr());
        assert!(body.event_name.is_none() && body.headers.is_empty() && !body.is_final);
    }
}

#[test]
fn every_error_is_told_at_once() {
    let text = r#"{
        "eventName": "x",
        "event_name": "",
        "event_name": "y",
        "user": {"to_usr": "a", "from_user": 7, "to_user": "a\u0000", "to_user": "b"},
        "to_user": "x",
        "headers": {"a b": "x", "c": "\n", "d": 1, "e": "1", "e": "2", "~/": "x", "f": "\ud800"},
        "final": "yes",
        "a/b~c": []
    }"#;
    assert_eq!(
        errors(parse(text)),
        [
            "/eventName: unknown field; did you mean event_name?",
            "/event_name: must have 1 to 256 bytes, not 0",
            "/event_name: is there twice",
            "/user/to_usr: unknown field; did you mean to_user?",
            "/user/from_user: must be a string, not a number",
            "/user/to_user: user has the control character U+0000; remove it",
            "/user/to_user: is there twice",
            "/to_user: unknown field; did you mean /user/to_user?",
            "/headers/a b: a header's name must be 1 to 128 bytes of visible ASCII",
            "/headers/c: has the control character U+000A; remove it",
            "/headers/d: must be a string, not a number",
            "/headers/e: is there twice",
            "/headers/f: has an unpaired surrogate escape (\\ud800 to \\udfff), which is no character",
            "/final: must be a boolean, not a string",
            "/a~1b~0c: unknown field",
            "/data: is required",
        ]
    );
}

#[test]
fn null_is_not_an_absent_member() {
    let text = r#"{"data":1,"event_name":null,"user":null,"headers":null,"final":null}"#;
    let hint = "not null; leave it out if there is none";
    assert_eq!(
        errors(parse(text)),
        [
            format!("/event_name: must be a string, {hint}"),
            format!("/user: must be an object, {hint}"),
            format!("/headers: must be an object, {hint}"),
            format!("/final: must be a boolean, {hint}"),
        ]
    );
    let private = r#"{"data":1,"user":{"to_user":null}}"#;
    assert_eq!(errors(parse(private)), [format!("/user/to_user: must be a string, {hint}")]);
}

#[test]
fn what_is_not_json_cannot_be_read() {
    for text in
        ["", " ", "{", "{\"data\":1,}", "{\"data\":1} x", "\u{FEFF}{\"data\":1}", "{'data':1}"]
    {
        let problem = parse(text).expect_err(text);
        assert_eq!(problem.kind, ProblemKind::BadRequest, "{text}");
    }
    // Whatever else is wrong with it.
    let problem = parse("{\"x\":1,\"data\":01}").expect_err("not JSON");
    assert!(problem.detail.starts_with("not JSON: at byte 15: "), "{}", problem.detail);
    let invalid = PublishBody::parse(&Bytes::from_static(b"{\"data\":\"\xFF\"}"), DEPTH);
    assert_eq!(invalid.expect_err("not UTF-8").kind, ProblemKind::BadRequest);
}

#[test]
fn json_that_is_no_object_is_no_event() {
    for (text, kind) in [("[]", "an array"), ("1", "a number"), (" null ", "null")] {
        assert_eq!(errors(parse(text)), [format!(": must be an object, not {kind}")]);
        assert_eq!(errors(parse_line(text)), [format!(": must be an object, not {kind}")]);
    }
}

#[test]
fn values_are_nested_only_so_deep() {
    let nested = |name: &str, depth: usize| {
        format!("{{\"x\":1,\"{name}\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
    };
    assert_eq!(errors(parse(&nested("data", DEPTH)))[..], ["/x: unknown field"]);
    for name in ["data", "user", "y"] {
        let errors = errors(parse(&nested(name, DEPTH + 1)));
        assert!(errors[1].starts_with(&format!("/{name}: at byte ")), "{errors:?}");
    }
}

#[test]
fn headers_are_bounded() {
    let of = |headers: &[(String, String)]| {
        let headers: serde_json::Map<_, _> =
            headers.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        parse(&json!({"data": 1, "headers": headers}).to_string())
    };
    let many = |n| (0..n).map(|n| (format!("h{n}"), String::new())).collect::<Vec<_>>();
    assert_eq!(of(&many(MAX_HEADERS)).expect("body").headers.len(), MAX_HEADERS);
    for n in [MAX_HEADERS + 1, 5 * MAX_HEADERS] {
        assert_eq!(errors(of(&many(n))), ["/headers: at most 64 headers are allowed"]);
    }
    let longest = ("n".repeat(MAX_HEADER_NAME_BYTES), "v".repeat(MAX_HEADER_VALUE_BYTES));
    assert!(of(std::slice::from_ref(&longest)).is_ok());
    assert_eq!(errors(of(&[(longest.0.clone() + "n", String::new())])).len(), 1);
    assert_eq!(errors(of(&[("n".to_owned(), longest.1.clone() + "v")])).len(), 1);
}

#[test]
fn a_hostile_number_of_errors_is_cut() {
    let body = (0..100_000).map(|n| format!("\"{n}{}\":1", "x".repeat(90))).collect::<Vec<_>>();
    let problem = parse(&format!("{{{}}}", body.join(","))).expect_err("unknown fields");
    assert!(problem.to_json().len() < 8 * 1024);
    let last = problem.errors.iter().rev().nth(1).expect("errors");
    assert_eq!(last.detail, "more is wrong; these are the first 32 errors");
}

#[test]
fn an_event_has_the_identity_of_its_key() {
    let delivery = || Delivery {
        idempotency_key: IdempotencyKey::new("k").ok(),
        deliver_within_ms: Some(5),
        trace: TraceContext::default(),
    };
    let event = |audience, delivery| {
        parse(r#"{"data":1,"event_name":"n"}"#).expect("body").into_event(audience, delivery)
    };
    let keyed = event(room("a", "t"), delivery()).expect("event");
    // As event.rs has it for this room and key.
    assert_eq!(keyed.message_id.to_string(), "9a37dc83-3d0c-8d29-9f82-0e979d68b087");
    assert_eq!((keyed.deliver_within_ms, keyed.event_name.as_deref()), (Some(5), Some("n")));
    let one = event(room("a", "t"), Delivery::default()).expect("event");
    let other = event(room("a", "t"), Delivery::default()).expect("event");
    assert_ne!(one.message_id, other.message_id);
}

#[test]
fn a_broadcast_ends_nothing() {
    let all = || Audience::Broadcast(EventType::new("t").expect("type"));
    let last = || parse(r#"{"data":1,"final":true}"#).expect("body");
    assert!(last().into_event(room("e", "t"), Delivery::default()).expect("event").is_final);
    let refused = last().into_event(all(), Delivery::default());
    assert_eq!(errors(refused), ["/final: a broadcast ends no room; leave final out"]);
    let line = r#"{"event_id":"*","event_type":"t","data":1,"final":true}"#;
    assert_eq!(errors(parse_line(line)).len(), 1);
}

#[test]
fn a_line_of_a_batch_says_for_whom_it_is() {
    let line = parse_line(
        r#"{"event_id":"a","event_type":"t","idempotency_key":"k","deliver_within":"2s","data":[1, 2]}"#,
    );
    let event = line.expect("line").into_event(TraceContext::default());
    assert_eq!(event.audience, room("a", "t"));
    assert_eq!(event.message_id.to_string(), "9a37dc83-3d0c-8d29-9f82-0e979d68b087");
    assert_eq!((event.deliver_within_ms, &event.data[..]), (Some(2000), &b"[1,2]"[..]));
    let all = parse_line(r#"{"event_id":"*","event_type":"t","data":1}"#).expect("line");
    assert_eq!(all.audience, Audience::Broadcast(EventType::new("t").expect("type")));
    // Only a line has these.
    assert_eq!(errors(parse(r#"{"event_id":"a","data":1}"#)), ["/event_id: unknown field"]);
}

#[test]
fn every_error_of_a_line_is_told_at_once() {
    assert_eq!(
        errors(parse_line("{}")),
        ["/event_type: is required", "/event_id: is required", "/data: is required"]
    );
    let text = r#"{"event_id":".","event_type":7,"idempotency_key":"a b","deliver_within":30,
        "deliverWithin":"1s","data":1}"#;
    assert_eq!(
        errors(parse_line(text)),
        [
            "/event_type: must be a string, not a number",
            "/idempotency_key: Idempotency-Key must be visible ASCII (0x21 to 0x7E)",
            "/deliver_within: must be a string, not a number",
            "/deliverWithin: unknown field; did you mean deliver_within?",
            "/event_id: event_id must not be \".\", which has a meaning of its own",
        ]
    );
}

/// Bodies that are nearly events.
fn nearly_event() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("data"),
        Just("user"),
        Just("headers"),
        Just("final"),
        Just("event_name"),
        Just("event_id"),
        Just("event_type"),
        Just("from_user"),
        Just("to_user"),
        Just("x\\u000a"),
        Just("idempotency_key"),
        Just("deliver_within"),
        Just("h\\ud800"),
        Just("é"),
    ];
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("\"t\"".to_owned()),
        Just("\"30s\"".to_owned()),
        Just("\"a\\nid: 1\\r\"".to_owned()),
        Just("\"\\u2028\\u0085\"".to_owned()),
        Just("oops".to_owned()),
    ];
    let object = move |value: BoxedStrategy<String>| {
        prop::collection::vec((name.clone(), value), 0..8).prop_map(|members| {
            let members = members.iter().map(|(n, v)| format!("\"{n}\" :\r\n{v}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(" ,\n"))
        })
    };
    leaf.prop_recursive(3, 24, 8, move |inner| object(inner.boxed())).boxed()
}

/// Nothing that comes out can end a line of a stream or a header.
fn has_no_line_end(body: &PublishBody) -> bool {
    let is_fine = |text: &str| !text.chars().any(char::is_control);
    !body.data.iter().any(|b| matches!(b, b'\r' | b'\n'))
        && body.event_name.as_deref().is_none_or(is_fine)
        && [&body.from_user, &body.to_user].into_iter().flatten().all(|u| is_fine(u.as_str()))
        && body.headers.iter().all(|(name, value)| is_fine(name) && is_fine(value))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_forges_a_line(
        text in prop_oneof![nearly_event(), any::<String>()]
    ) {
        if let Ok(body) = parse(&text) {
            prop_assert!(has_no_line_end(&body));
            // serde_json has no value for half a character, which is JSON all the same.
            match serde_json::from_str::<Value>(&text) {
                Ok(theirs) => {
                    let data: Value = serde_json::from_slice(&body.data).expect("data is JSON");
                    prop_assert_eq!(&theirs["data"], &data);
                }
                Err(_) => prop_assert!(text.contains("\\ud800")),
            }
        }
        match parse_line(&text) {
            Ok(line) => prop_assert!(has_no_line_end(&line.body)),
            Err(problem) => prop_assert!(!problem.to_json_line(Some(1)).contains(&b'\n')),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = BatchLine::parse(&Bytes::from(bytes), DEPTH);
    }

    #[test]
    fn what_is_written_is_read(
        name in "[ -~é]{1,20}", user in "[ -~é]{1,20}", header in "[!-~]{1,20}",
        value in "[ -~é]{0,20}", is_final in any::<bool>(), data in "[ -~é\n]{0,20}",
    ) {
        let text = json!({
            "event_name": name, "user": {"to_user": user}, "headers": {header.clone(): value},
            "final": is_final, "data": [data],
        });
        let body = parse(&text.to_string()).expect("body");
        prop_assert_eq!(body.event_name.as_deref(), Some(&*name));
        prop_assert_eq!(body.to_user.as_ref().map(User::as_str), Some(&*user));
        prop_assert_eq!(&body.headers, &[(header.into(), value.into())]);
        prop_assert_eq!(body.is_final, is_final);
        let spelled = json!([data]).to_string();
        prop_assert_eq!(&body.data[..], spelled.as_bytes());
    }
}
