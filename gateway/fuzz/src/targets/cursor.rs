//! Cursors as `Last-Event-ID` and its like bring them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidegate::cursor::{
    Cursor, CursorError, MAX_COMPONENTS, MAX_CURSOR_CHARS, Offset, Position, Shard, SourceId, Tag,
};

use crate::Outcome;
use crate::dice::Dice;

/// A `=` in front has the rest encoded: what is behind base64 is reached, too.
pub const TOKENS: &[&str] = &[
    "=", "=\u{10}", "=\u{11}", "EA", "EQ", "\u{1}", "\0", "_", "-", "\u{7f}", "AAAA", "==", "\u{3}",
];

/// A cursor with a few components.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let text = cursor(dice).to_string();
    if dice.one_in(2) {
        return text.into_bytes();
    }
    let mut raw = b"=".to_vec();
    raw.extend(URL_SAFE_NO_PAD.decode(text).unwrap_or_default());
    raw
}

fn cursor(dice: &mut Dice) -> Cursor {
    let most = if dice.one_in(16) { 200 } else { 5 };
    let components = (0..dice.below(most)).map(|_| {
        let shard = Shard { source: SourceId(dice.below(4) as u32), index: dice.below(70) as u32 };
        let high = if dice.one_in(3) { u128::from(dice.bits()) << 64 } else { 0 };
        let next = Offset(high | u128::from(dice.number()));
        (shard, Position { next, tag: Tag(dice.number() as u32) })
    });
    let components: Vec<_> = components.collect();
    Cursor::new(components).flagged(dice.one_in(4))
}

/// The cursor that `input` is, or that its rest spells behind a `=`.
pub(super) fn read(input: &[u8]) -> Result<(String, Cursor), CursorError> {
    let text = match input.strip_prefix(b"=") {
        Some(raw) => URL_SAFE_NO_PAD.encode(raw),
        None => String::from_utf8_lossy(input).into_owned(),
    };
    Cursor::parse(&text).map(|cursor| (text, cursor))
}

/// The label of a refusal.
pub(super) fn reason(error: CursorError) -> &'static str {
    match error {
        CursorError::TooLong => "too_long",
        CursorError::NotBase64 => "not_base64",
        CursorError::Version => "version",
        CursorError::Malformed => "malformed",
    }
}

/// Each cursor has one spelling, ascends, and covers itself.
pub fn check(input: &[u8]) -> Outcome {
    let (text, cursor) = match read(input) {
        Ok(read) => read,
        Err(error) => return Outcome::Refused(reason(error)),
    };
    assert_eq!(cursor.to_string(), text);
    assert!(text.len() <= MAX_CURSOR_CHARS && cursor.components().len() <= MAX_COMPONENTS);
    assert!(cursor.components().is_sorted_by(|a, b| a.0 < b.0));
    assert!(cursor.covers(&cursor));
    let mut again = cursor.clone();
    again.advance_all(&cursor);
    assert_eq!(again, cursor);
    for (shard, position) in cursor.components() {
        assert_eq!(cursor.get(*shard), Some(*position));
        assert!(cursor.names_source(shard.source));
    }
    Outcome::Accepted
}
