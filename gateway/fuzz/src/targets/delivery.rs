//! The headers of a publish: key, time to deliver within, and trace.

use tidegate::http::body::Delivery;
use tidegate::http::body::delivery::MAX_DELIVER_WITHIN_MS;

use super::{checks, request};
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Headers, and pieces of their values.
pub const TOKENS: &[&str] = &[
    "\nidempotency-key: ",
    "\nx-deliver-within: ",
    "\ntraceparent: ",
    "\ntracestate: ",
    "30s",
    "7d",
    "8d",
    "0ms",
    "18446744073709551615ms",
    "00-",
    "-01",
    "ff-",
    "a=b",
    ",",
    "=",
    "\t",
    "\u{e9}",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    "00000000000000000000000000000000",
];

/// Some of the headers.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut text = String::from("/");
    if dice.one_in(2) {
        text.push_str(&format!("\nidempotency-key: k{}", dice.number()));
    }
    if dice.one_in(2) {
        let unit = dice.pick(&["ms", "s", "m", "h", "d"]);
        text.push_str(&format!("\nx-deliver-within: {}{unit}", dice.below(700)));
    }
    if dice.one_in(2) {
        let version = dice.pick(&["00", "00", "01", "cc"]);
        let more = dice.pick(&["", "", "-x"]);
        let (high, low, parent) = (dice.bits(), dice.bits(), dice.bits());
        let flags = dice.below(256);
        text.push_str(&format!(
            "\ntraceparent: {version}-{high:016x}{low:016x}-{parent:016x}-{flags:02x}{more}"
        ));
    }
    for _ in 0..dice.below(3) {
        let members = (0..dice.below(40)).map(|n| format!("k{n}={}", make::name(dice)));
        let members: Vec<String> =
            members.filter(|m| !m.contains(['\n', '\r', '\0', '\u{7f}'])).collect();
        text.push_str(&format!("\ntracestate: {}", members.join(",")));
    }
    text.into_bytes()
}

/// Everything is within its bounds, and a trace is passed on as version 00 writes it.
pub fn check(input: &[u8]) -> Outcome {
    let Some((_, headers)) = request::read(input) else { return Outcome::Refused("http") };
    let delivery = match Delivery::of(&headers) {
        Ok(delivery) => delivery,
        Err(problem) => return Outcome::Refused(checks::problem(&problem)),
    };
    let key = delivery.idempotency_key.as_ref().map_or("k", |key| key.as_str());
    assert!((1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
    assert!(delivery.deliver_within_ms.is_none_or(|ms| (1..=MAX_DELIVER_WITHIN_MS).contains(&ms)));
    if let Some(parent) = delivery.trace.parent.as_deref() {
        let parts: Vec<&str> = parent.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert_eq!(parts[0], "00");
        assert!(parent.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-')));
        assert!(parts[1].bytes().any(|b| b != b'0') && parts[2].bytes().any(|b| b != b'0'));
    }
    if let Some(state) = delivery.trace.state.as_deref() {
        assert!(delivery.trace.parent.is_some(), "a state without its trace");
        assert!(state.len() <= 512 && state.split(',').count() <= 32 && checks::is_one_line(state));
    }
    Outcome::Accepted
}
