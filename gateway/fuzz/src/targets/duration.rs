//! Durations as settings and `from=` spell them.

use tidegate::config::{parse_duration, show_duration};
use tidegate::http::body::delivery::parse_deliver_within;

use crate::Outcome;
use crate::dice::Dice;

/// Numbers and units.
pub const TOKENS: &[&str] = &[
    "ms",
    "s",
    "m",
    "h",
    "d",
    "0",
    "1",
    "_",
    ".",
    ",",
    " ",
    "18446744073709551615",
    "3650d",
    "µs",
    "+",
    "-",
];

/// A duration of one or two parts.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut text = format!("{}{}", dice.number(), dice.pick(&["ms", "s", "m", "h", "d"]));
    if dice.one_in(3) {
        text.push_str(&format!("{}{}", dice.below(100), dice.pick(&["ms", "s", "m"])));
    }
    text.into_bytes()
}

/// What is read is shown in words that read as the same; a publisher's is a setting's, too.
pub fn check(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let parsed = parse_duration(&text);
    if let Ok(ms) = parse_deliver_within(&text) {
        assert_eq!(parsed.as_ref().map(|d| d.as_millis()), Ok(u128::from(ms)));
    }
    match parsed {
        Ok(duration) => {
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            Outcome::Accepted
        }
        Err(error) => {
            assert!(!error.is_empty());
            Outcome::Refused("refused")
        }
    }
}
