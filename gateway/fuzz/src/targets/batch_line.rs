//! A line of a batch.

use bytes::Bytes;
use serde::de::IgnoredAny;
use tidegate::event::TraceContext;
use tidegate::http::body::BatchLine;
use tidegate::http::body::delivery::MAX_DELIVER_WITHIN_MS;
use tidegate::problem::ProblemKind;

use super::{checks, publish_body};
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Those of a body, and a line's own.
pub const TOKENS: &[&str] = &[
    "{",
    "}",
    ":",
    ",",
    "\"",
    "\\",
    "\"event_id\":",
    "\"event_type\":",
    "\"idempotency_key\":",
    "\"deliver_within\":",
    "\"data\":",
    "\"final\":true",
    "\"*\"",
    "\"t\"",
    "\"30s\"",
    "\"7d\"",
    "null",
    "1",
    "[",
    "]",
    "\\u000a",
    "\\ud800",
    "\r",
    "\u{85}",
    "{\"event_id\":\"a\",\"event_type\":\"t\",\"data\":1}",
];

/// A line, with most of its members.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut out = String::new();
    let optional = ["event_name", "user", "headers", "final", "idempotency_key", "deliver_within"];
    let mut names = make::some(dice, &optional);
    names.retain(|_| !dice.one_in(2));
    names.extend(["event_id", "event_type", "data"]);
    make::json_object(dice, names, &mut out, |dice, name, out| match name {
        "event_id" | "event_type" | "idempotency_key" => {
            let text = make::name(dice);
            make::json_string(dice, &text, out);
        }
        "deliver_within" => {
            let unit = dice.pick(&["ms", "s", "m", "h", "d"]);
            out.push_str(&format!("\"{}{unit}\"", dice.number()));
        }
        name => publish_body::member(dice, name, out),
    });
    out.into_bytes()
}

/// As for a body; and its key and time are within their bounds.
pub fn check(input: &[u8]) -> Outcome {
    let is_json = std::str::from_utf8(input)
        .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    match BatchLine::parse(&Bytes::copy_from_slice(input), checks::JSON_DEPTH) {
        Ok(line) => {
            assert!(is_json, "no JSON was taken as JSON");
            publish_body::body_is_well(&line.body);
            assert!(
                line.deliver_within_ms.is_none_or(|ms| (1..=MAX_DELIVER_WITHIN_MS).contains(&ms))
            );
            checks::published(&line.into_event(TraceContext::default()));
            Outcome::Accepted
        }
        Err(problem) => {
            assert!(
                problem.kind != ProblemKind::BadRequest || !is_json,
                "JSON was refused as none"
            );
            Outcome::Refused(checks::problem(&problem))
        }
    }
}
