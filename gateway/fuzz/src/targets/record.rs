//! Records as strangers may write them: the key on the first line, `name=value` a line, an empty
//! line, and the value.

use tidegate::event::Event;
use tidegate::log::Role;
use tidegate::log::decode::Malformed;
use tidegate::log::record::Record;

use super::checks;
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// The fields of a record.
pub const TOKENS: &[&str] = &[
    "\n",
    "\n\n",
    "event_type=",
    "message_id=",
    "event_name=",
    "from_user=",
    "to_user=",
    "final=true",
    "h.X=",
    "h.=",
    "=",
    "a",
    "t",
    "{\"a\": 1}",
    "null",
    "\r\ndata: x",
    "\0",
    "\u{85}",
    "00000000-0000-0000-0000-000000000000",
    "{",
    "idempotency_key=",
    "traceparent=",
];

/// A record that is nearly an event.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut text = make::name(dice).replace('\n', "") + "\n";
    for name in
        make::some(dice, &["event_type", "event_name", "from_user", "to_user", "h.X", "h.Y"])
    {
        text.push_str(&format!("{name}={}\n", make::name(dice).replace('\n', " ")));
    }
    if dice.one_in(3) {
        text.push_str("final=true\n");
    }
    if dice.one_in(2) {
        let (high, low) = (dice.bits(), dice.bits() & 0xFFFF_FFFF_FFFF);
        text.push_str(&format!(
            "message_id={:08x}-{:04x}-4000-8000-{low:012x}\n",
            high >> 32,
            high & 0xFFFF
        ));
    }
    text.push('\n');
    make::json_value(dice, 3, &mut text);
    text.into_bytes()
}

/// The record that `input` spells; `-` is no key, and without an empty line there is no value.
pub(super) fn read(input: &[u8]) -> Record {
    let (head, value) = match input.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&input[..at], Some(&input[at + 2..])),
        None => (input, None),
    };
    let mut lines = head.split(|b| *b == b'\n');
    let key = lines.next().filter(|key| *key != b"-");
    let fields: Vec<(&[u8], &[u8])> = lines
        .map(|line| {
            let at = line.iter().position(|b| *b == b'=').unwrap_or(line.len());
            (&line[..at], line.get(at + 1..).unwrap_or_default())
        })
        .collect();
    let record = checks::record_of(key, &fields, value);
    assert_eq!(record.key(), key);
    assert_eq!(record.value().as_deref(), value);
    assert!(record.fields().eq(fields.iter().copied()), "the fields as they were written");
    record
}

/// What comes out of a record is an event that a stream can carry.
pub fn check(input: &[u8]) -> Outcome {
    let record = read(input);
    let outcomes = [Role::Events, Role::Broadcast]
        .map(|role| checks::event_of(&record, &checks::source(role)));
    outcome(outcomes)
}

/// Checks what a record was made into.
pub(super) fn outcome(outcomes: impl IntoIterator<Item = Result<Event, Malformed>>) -> Outcome {
    let mut reason = None;
    let mut taken = false;
    for outcome in outcomes {
        match outcome {
            Ok(event) => {
                taken = true;
                checks::streamed(&event);
            }
            Err(error) => reason = Some(error.kind().as_str()),
        }
    }
    match reason {
        Some(reason) if !taken => Outcome::Refused(reason),
        _ => Outcome::Accepted,
    }
}
