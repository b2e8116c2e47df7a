//! Strings of JSON: finding their end, and reading what they mean.

use std::borrow::Cow;

const ONES: u64 = u64::MAX / 0xFF;
const HIGH: u64 = ONES << 7;

/// The first place from `at` on that is a quote, a backslash or a control character; the end of
/// `bytes` if there is none. Eight bytes at a time: `data` is mostly long strings.
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    // The lowest bit that each of these sets is right; those above it may not be.
    let below = |word: u64, byte: u8| word.wrapping_sub(ONES * u64::from(byte)) & !word & HIGH;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let special = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|b| !matches!(b, b'"' | b'\\' | ..0x20)) {
        at += 1;
    }
    at
}

/// The length of the escape that `bytes` starts with, the backslash included.
pub(super) fn escape_len(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => bytes.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// An escape such as `\ud800` that is half of a character. JSON may spell it; no name can have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has an unpaired surrogate escape (\\ud800 to \\udfff), which is no character")]
pub struct UnpairedSurrogate;

/// What a string means whose spelling, without the quotes, is `raw`. Copies only if something is
/// escaped.
///
/// # Errors
/// If it has half of a surrogate pair.
pub fn unescape(raw: &str) -> Result<Cow<'_, str>, UnpairedSurrogate> {
    let Some(first) = raw.find('\\') else {
        return Ok(Cow::Borrowed(raw));
    };
    let mut read = String::with_capacity(raw.len());
    read.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let (char, used) = escaped(escape)?;
        read.push(char);
        rest = escape.get(used..).unwrap_or_default();
        let plain = rest.find('\\').unwrap_or(rest.len());
        read.push_str(&rest[..plain]);
        rest = &rest[plain..];
    }
    Ok(Cow::Owned(read))
}

/// The character that `escape`, the text after a backslash, starts with, and its length in bytes.
fn escaped(escape: &str) -> Result<(char, usize), UnpairedSurrogate> {
    let simple = match escape.as_bytes().first() {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{C}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return surrogates(escape),
        Some(&byte) => char::from(byte),
        None => return Err(UnpairedSurrogate),
    };
    Ok((simple, 1))
}

fn surrogates(escape: &str) -> Result<(char, usize), UnpairedSurrogate> {
    let unit =
        |from: usize| escape.get(from..from + 4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    let first = unit(1).ok_or(UnpairedSurrogate)?;
    // `uD83DDE00` would lack the `\u` between the halves.
    let second = if escape.get(5..7) == Some("\\u") { unit(7) } else { None };
    match char::decode_utf16([Some(first), second].into_iter().flatten()).next() {
        Some(Ok(char)) if char.len_utf16() == 2 => Ok((char, 11)),
        Some(Ok(char)) => Ok((char, 5)),
        _ => Err(UnpairedSurrogate),
    }
}
