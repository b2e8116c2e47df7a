//! Letters for people.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::output::Shown;

/// A part of a record.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Binary { base64: String },
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => Shown(text).fmt(f),
            Self::Binary { base64 } => write!(f, "base64:{}", Shown(base64)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Replay {
    message_id: String,
    pod: String,
    at: i64,
}

#[derive(Debug, Deserialize)]
struct Record {
    key: Option<Part>,
    timestamp: i64,
    bytes: u64,
    #[serde(default)]
    left_out: u64,
    #[serde(default)]
    fields: Vec<(Part, Part)>,
    #[serde(default)]
    value: Option<Part>,
}

/// A letter, in a line.
#[derive(Debug, Deserialize)]
pub(super) struct Letter {
    key: String,
    reason: String,
    detail: String,
    pod: String,
    at: i64,
    #[serde(default)]
    replayed: Vec<Replay>,
    record: Record,
}

impl Letter {
    pub(super) fn read(letter: Value) -> serde_json::Result<Self> {
        serde_json::from_value(letter)
    }
}

/// Milliseconds since the Unix epoch as a time.
struct Time(i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", Time(self.at), Shown(&self.key), Shown(&self.reason))?;
        if let Some(replay) = self.replayed.last() {
            write!(f, " (replayed {})", Time(replay.at))?;
        }
        write!(f, ": {}", Shown(&self.detail))
    }
}

/// A letter with its record, over several lines.
#[derive(Debug)]
pub(super) struct Whole(Letter);

impl Whole {
    pub(super) fn read(letter: Value) -> serde_json::Result<Self> {
        Letter::read(letter).map(Self)
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Letter { key, reason, detail, pod, at, replayed, record } = &self.0;
        writeln!(f, "key       {}", Shown(key))?;
        writeln!(f, "reason    {}: {}", Shown(reason), Shown(detail))?;
        writeln!(f, "written   {} by {}", Time(*at), Shown(pod))?;
        for replay in replayed {
            let (pod, id) = (Shown(&replay.pod), Shown(&replay.message_id));
            writeln!(f, "replayed  {} by {pod} as {id}", Time(replay.at))?;
        }
        writeln!(f, "record    {}, {} bytes", Time(record.timestamp), record.bytes)?;
        if record.left_out > 0 {
            writeln!(f, "left out  {} bytes, too many to be kept", record.left_out)?;
        }
        match &record.key {
            Some(key) => writeln!(f, "  key     {key}")?,
            None => writeln!(f, "  no key")?,
        }
        for (name, value) in &record.fields {
            writeln!(f, "  field   {name}: {value}")?;
        }
        match &record.value {
            Some(value) => write!(f, "  value   {value}"),
            None => write!(f, "  no value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter() -> Value {
        json!({
            "key": "t/0/7", "reason": "malformed", "detail": "no\u{1b}[2J key", "pod": "p",
            "at": 1_763_700_000_000_i64,
            "replayed": [{"message_id": "m", "pod": "q", "at": 1_763_700_060_000_i64}],
            "record": {
                "key": {"base64": "/w=="}, "timestamp": 0, "bytes": 9, "left_out": 3,
                "fields": [["event_type", "t"]], "value": "{}\n",
            },
        })
    }

    #[test]
    fn a_letter_is_a_line() {
        let line = Letter::read(letter()).expect("a letter").to_string();
        assert_eq!(
            line,
            "2025-11-21T04:40:00.000Z t/0/7 malformed (replayed 2025-11-21T04:41:00.000Z): \
             no\\u{1b}[2J key"
        );
    }

    #[test]
    fn a_letter_is_shown_with_its_record() {
        let whole = Whole::read(letter()).expect("a letter").to_string();
        for part in [
            "key       t/0/7\n",
            "replayed  2025-11-21T04:41:00.000Z by q as m\n",
            "left out  3 bytes",
            "  key     base64:/w==\n",
            "  field   event_type: t\n",
            "  value   {}\\u{a}",
        ] {
            assert!(whole.contains(part), "{part}: {whole}");
        }
    }
}
