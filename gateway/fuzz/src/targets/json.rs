//! JSON: what is JSON, its minified text, and what its strings mean. `serde_json` is the judge.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;
use tidegate::json::{self, Kind, MAX_DEPTH, Reason, Scanner};

use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Tokens and halves of tokens.
pub const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\r",
    "\t",
    "\"a\"",
    "\"",
    "\\",
    "\\u00e9",
    "\\ud800",
    "\\udc00",
    "0",
    "-",
    "1.5",
    "e",
    "E+",
    ".",
    "true",
    "false",
    "null",
    "nul",
    "\u{1}",
    "é",
    "{\"k\":",
    "\u{FEFF}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "12345678",
    "        ",
];

/// A value.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut out = String::new();
    if dice.one_in(50) {
        let depth = dice.below(2 * MAX_DEPTH);
        return ["[", "{\"a\":[", "[1,"][dice.below(3)].repeat(depth).into_bytes();
    }
    let depth = dice.below(8);
    make::json_value(dice, depth, &mut out);
    out.into_bytes()
}

/// Both agree on what is JSON and what it means; minified once is minified for good.
pub fn check(input: &[u8]) -> Outcome {
    let ours = json::minify_bytes(&Bytes::copy_from_slice(input), MAX_DEPTH);
    let Ok(text) = std::str::from_utf8(input) else {
        assert!(ours.is_err());
        return Outcome::Refused("not_utf8");
    };
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let minified = match ours {
        Ok(minified) => minified,
        Err(error) => {
            assert!(error.at <= text.len());
            if matches!(error.reason, Reason::TooDeep(_)) {
                return Outcome::Refused("too_deep");
            }
            assert!(!is_json, "JSON was refused: {error}");
            return Outcome::Refused("not_json");
        }
    };
    assert!(is_json, "no JSON was taken as JSON");
    assert!(!minified.iter().any(|b| matches!(b, b'\r' | b'\n')));
    assert_eq!(json::minify_bytes(&minified, MAX_DEPTH).as_ref(), Ok(&minified));
    if let Ok(theirs) = serde_json::from_str::<Value>(text) {
        assert_eq!(serde_json::from_slice::<Value>(&minified).ok(), Some(theirs));
    }
    let mut scanner = Scanner::new(text, MAX_DEPTH);
    if scanner.peek() == Ok(Kind::String) {
        let raw = scanner.string().expect("a string");
        let theirs = serde_json::from_str::<String>(text).ok();
        assert_eq!(json::unescape(raw).ok().map(|text| text.into_owned()), theirs);
    }
    Outcome::Accepted
}
