//! `from=`: where history is to begin.

use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tidegate::config::{parse_duration, show_duration};
use tidegate::http::target::{self, Query};
use tidegate::hub::Since;

use super::checks;
use crate::Outcome;
use crate::dice::Dice;

/// Times, durations and what is between them.
pub const TOKENS: &[&str] = &[
    "earliest",
    "2026-01-31T12:00:00Z",
    "T",
    "Z",
    "z",
    "+01:00",
    "-23:59",
    " 01:00",
    ".999999999",
    ":60",
    "15m",
    "1h30m",
    "0",
    "ms",
    "d",
    "-",
    "9999-12-31",
    "-009999",
    "[UTC]",
    "24:00",
    "_",
    ",5",
];

/// The present, in milliseconds since the Unix epoch.
const NOW: i64 = 1_763_700_000_000;

/// A time or a duration.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    match dice.below(5) {
        0 => b"earliest".to_vec(),
        1 | 2 => {
            format!("{}{}", dice.number(), dice.pick(&["ms", "s", "m", "h", "d"])).into_bytes()
        }
        _ => {
            let (month, day) = (1 + dice.below(12), 1 + dice.below(28));
            let (hour, minute, second) = (dice.below(24), dice.below(60), dice.below(61));
            let part = match dice.below(3) {
                0 => format!(".{}", dice.number()),
                _ => String::new(),
            };
            let zone = dice.pick(&["Z", "+00:00", "-05:30", " 02:00", "+14:00"]);
            let year = 1970 + dice.below(100);
            format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{part}{zone}")
                .into_bytes()
        }
    }
}

/// A duration counts back from now; a time is one, whatever its spelling.
pub fn check(input: &[u8]) -> Outcome {
    let encoded = percent_encode(input, NON_ALPHANUMERIC);
    let Ok(uri) = format!("/?from={encoded}").parse::<Uri>() else {
        return Outcome::Refused("http");
    };
    let query = match Query::parse(&uri) {
        Ok(query) => query,
        Err(problem) => return Outcome::Refused(checks::problem(&problem)),
    };
    let text = query.get("from").unwrap_or_default();
    match target::since(&query, NOW) {
        Ok(Some(Since::Earliest)) => assert_eq!(text, "earliest"),
        Ok(Some(Since::Time(time))) => {
            if let Ok(back) = parse_duration(text) {
                assert!(time <= NOW);
                assert_eq!(u128::try_from(NOW - time), Ok(back.as_millis()));
                assert_eq!(parse_duration(&show_duration(back)), Ok(back));
            }
        }
        Ok(None) => panic!("there is a from="),
        Err(problem) => return Outcome::Refused(checks::problem(&problem)),
    }
    Outcome::Accepted
}
