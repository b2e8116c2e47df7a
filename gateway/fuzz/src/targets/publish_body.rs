//! The body of a publish or broadcast.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;
use tidegate::event::{Audience, EventId, EventType, Room};
use tidegate::http::body::{Delivery, PublishBody};
use tidegate::problem::ProblemKind;

use super::checks;
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Members, values that they must not have, and JSON's own.
pub const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\"data\":",
    "\"user\":",
    "\"from_user\":",
    "\"to_user\":",
    "\"headers\":",
    "\"final\":",
    "\"event_name\":",
    "true",
    "false",
    "null",
    "1",
    "\"x\"",
    "{\"data\":1}",
    "\\u0000",
    "\\ud800",
    "\\u0064ata",
    "\n",
    "\u{FEFF}",
    "[[[[[[[[[[[[[[[[",
];

/// A body, with most of its members.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut out = String::new();
    let names = make::some(dice, &["event_name", "user", "data", "headers", "final"]);
    let more = if dice.one_in(10) { Some(make::name(dice)) } else { None };
    let names = names.into_iter().chain(more.as_deref());
    make::json_object(dice, names, &mut out, member);
    out.into_bytes()
}

/// Writes the value of a member.
pub(super) fn member(dice: &mut Dice, name: &str, out: &mut String) {
    match name {
        "event_name" => {
            let text = make::name(dice);
            make::json_string(dice, &text, out);
        }
        "final" => out.push_str(dice.pick(&["true", "false"])),
        "user" => {
            let names = make::some(dice, &["from_user", "to_user"]);
            make::json_object(dice, names, out, |dice, _, out| {
                let text = make::name(dice);
                make::json_string(dice, &text, out);
            });
        }
        "headers" => {
            let names: Vec<String> = (0..dice.below(4)).map(|n| format!("X-{n}")).collect();
            make::json_object(dice, names.iter().map(String::as_str), out, |dice, _, out| {
                let text = make::name(dice);
                make::json_string(dice, &text, out);
            });
        }
        _ => make::json_value(dice, 4, out),
    }
}

/// A body that is taken is JSON to others as well, and comes through the log and a stream unharmed.
pub fn check(input: &[u8]) -> Outcome {
    let parsed = PublishBody::parse(&Bytes::copy_from_slice(input), checks::JSON_DEPTH);
    let theirs = std::str::from_utf8(input).ok();
    let is_json = theirs.is_some_and(|t| serde_json::from_str::<IgnoredAny>(t).is_ok());
    let body = match parsed {
        Ok(body) => body,
        Err(problem) => {
            if problem.kind == ProblemKind::BadRequest {
                assert!(!is_json, "JSON was refused as none");
            }
            return Outcome::Refused(checks::problem(&problem));
        }
    };
    assert!(is_json, "no JSON was taken as JSON");
    body_is_well(&body);
    if let Some(Value::Object(theirs)) = theirs.and_then(|text| serde_json::from_str(text).ok()) {
        let data: Value = serde_json::from_slice(&body.data).expect("data is JSON");
        assert_eq!(theirs.get("data"), Some(&data));
    }
    let (Ok(id), Ok(kind)) = (EventId::new("a"), EventType::new("t")) else {
        return Outcome::Accepted;
    };
    let is_final = body.is_final;
    let broadcast = body.clone().into_event(Audience::Broadcast(kind.clone()), Delivery::default());
    assert_eq!(broadcast.is_err(), is_final, "a broadcast ends no room");
    let room = Audience::Room(Room { id, kind });
    for event in [body.into_event(room, Delivery::default()), broadcast].into_iter().flatten() {
        checks::published(&event);
    }
    Outcome::Accepted
}

/// Nothing in it can end a line of a stream or a header, and `data` is on one line.
pub(super) fn body_is_well(body: &PublishBody) {
    assert!(!body.data.iter().any(|b| matches!(b, b'\r' | b'\n')));
    assert!(body.event_name.as_deref().is_none_or(checks::is_one_line));
    checks::users([&body.from_user, &body.to_user]);
    for (name, value) in &body.headers {
        assert!(checks::is_one_line(name) && checks::is_one_line(value));
    }
}
