//! Durations and sizes as people write them.

use std::fmt::Write as _;
use std::time::Duration;

/// The longest duration that a setting may have: ten years. An `Instant` can still hold it.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Units of time and their milliseconds, the largest first.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size and their bytes, in lower case. Kubernetes leaves the `B` out of its binary ones.
const SIZES: [(&str, u64); 15] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
    ("ti", 1 << 40),
    ("bytes", 1),
];

/// Reads a duration: `500ms`, `15s`, `10m`, `1h`, `2d`, several together as `1h30m`, and a plain
/// `0`.
///
/// # Errors
/// Why the text is none, in words for the one who wrote it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0_u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err("a number needs a unit: ms, s, m, h or d".to_owned());
        }
        let (_, millis) = TIMES
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("{unit:?} is no unit of time: ms, s, m, h or d"))?;
        if *millis >= smallest {
            return Err("units go from the largest to the smallest, each once".to_owned());
        }
        smallest = *millis;
        total = number
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(too_long)?;
        rest = after;
    }
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let duration = Duration::from_millis(total);
    if duration > LONGEST { Err(too_long()) } else { Ok(duration) }
}

fn too_long() -> String {
    "it is longer than ten years".to_owned()
}

/// A duration as [`parse_duration`] reads it. What is below a millisecond is left out.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0".to_owned();
    }
    let mut rest = millis;
    let mut text = String::new();
    for (name, of_unit) in TIMES {
        if rest >= of_unit {
            let _ = write!(text, "{}{name}", rest / of_unit);
            rest %= of_unit;
        }
    }
    text
}

/// Reads a number of bytes: `256MiB`, `1MB`, `1048576`.
///
/// # Errors
/// Why the text is none, in words for the one who wrote it.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = leading_number(text.trim())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, bytes) = SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("{unit:?} is no unit of size: B, kB, MB, GB, KiB, MiB or GiB"))?;
    number
        .checked_mul(*bytes)
        .and_then(|bytes| usize::try_from(bytes).ok())
        // What a buffer's length can be.
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(|| "it is larger than any memory".to_owned())
}

/// A size as [`parse_size`] reads it.
pub(super) fn show_size(bytes: usize) -> String {
    for (name, of_unit) in
        [("TiB", 1_usize << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
    {
        if bytes != 0 && bytes.is_multiple_of(of_unit) {
            return format!("{}{name}", bytes / of_unit);
        }
    }
    bytes.to_string()
}

/// Reads a whole number of at least 0: digits, and `_` between them.
///
/// # Errors
/// Why the text is none.
pub(super) fn parse_number(text: &str) -> Result<u64, String> {
    match leading_number(text.trim())? {
        (number, "") => Ok(number),
        (_, rest) => Err(format!("{rest:?} follows the number")),
    }
}

fn leading_number(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(if text.is_empty() {
            "it is empty"
        } else {
            "it does not begin with a whole number"
        }
        .to_owned());
    }
    if rest.starts_with(['.', ',']) {
        return Err("fractions are not accepted; use a smaller unit".to_owned());
    }
    let number =
        digits.replace('_', "").parse().map_err(|_| "the number is too large".to_owned())?;
    Ok((number, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("15s", 15_000),
            (" 10m ", 600_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("1h30m", 5_400_000),
            ("1m500ms", 60_500),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "it is empty"),
            ("15", "a number needs a unit: ms, s, m, h or d"),
            ("-1s", "it does not begin with a whole number"),
            ("s", "it does not begin with a whole number"),
            ("1.5s", "fractions are not accepted; use a smaller unit"),
            ("1 s", "\" s\" is no unit of time: ms, s, m, h or d"),
            ("1S", "\"S\" is no unit of time: ms, s, m, h or d"),
            ("30m1h", "units go from the largest to the smallest, each once"),
            ("1s1s", "units go from the largest to the smallest, each once"),
            ("3651d", "it is longer than ten years"),
            ("18446744073709551615d", "it is longer than ten years"),
            ("18446744073709551616s", "the number is too large"),
        ] {
            assert_eq!(parse_duration(text), Err(reason.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("1_000", 1_000),
            ("1B", 1),
            ("1 kB", 1_000),
            ("1MB", 1_000_000),
            ("256MiB", 256 << 20),
            ("256Mi", 256 << 20),
            ("2GiB", 2 << 30),
            ("1tib", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "it is empty"),
            ("MiB", "it does not begin with a whole number"),
            ("-1", "it does not begin with a whole number"),
            ("_1", "it does not begin with a whole number"),
            ("1.5MiB", "fractions are not accepted; use a smaller unit"),
            ("1M", "\"m\" is no unit of size: B, kB, MB, GB, KiB, MiB or GiB"),
            ("18446744073709551615", "it is larger than any memory"),
            ("99999999999TiB", "it is larger than any memory"),
        ] {
            assert_eq!(parse_size(text), Err(reason.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn durations_are_shown_as_people_write_them() {
        for text in ["0", "1ms", "15s", "1m30s", "10m", "1h30s", "2d"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in any::<String>()) {
            let _ = (parse_duration(&text), parse_size(&text), parse_number(&text));
        }

        #[test]
        fn no_numbers_and_units_make_the_parsers_panic(text in "[0-9_.]{0,22} ?[a-zA-Z]{0,5}[0-9]{0,3}[a-z]{0,2}") {
            let _ = (parse_duration(&text), parse_size(&text), parse_number(&text));
        }

        #[test]
        fn a_duration_that_was_shown_reads_the_same(millis in 0..315_360_000_000_u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_size_that_was_shown_reads_the_same(bytes in 0..usize::MAX / 2) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
    }
}
