//! JSON text, checked and stripped of the whitespace between its tokens in one pass.
//!
//! The gateway does not build a tree of what publishers send: `data` goes to the readers as it was
//! spelled, so that `1.0`, `1e2` and `"\u00e9"` arrive as written. What is checked is RFC 8259
//! and nothing more: a number may be larger than any machine's, and an escape such as `\ud800` may
//! stand alone. The scan is a loop with a bounded stack of bits; no input can make it recurse.
//!
//! A string of JSON cannot hold a raw control character, and line ends between tokens are removed:
//! what comes out of here has neither CR nor LF and fits on one `data:` line.

mod error;
mod pointer;
mod text;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

pub use error::{Expected, JsonError, Reason};
pub use pointer::{JsonPointer, PointerError, find};
pub use text::{UnpairedSurrogate, unescape};

/// The deepest nesting that any bound can allow: the stack of the scan has this many bits. It is
/// also where common readers give up.
pub const MAX_DEPTH: usize = 128;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// `-1.5e3`
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

impl Kind {
    /// The kind with its article, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Null => "null",
        }
    }
}

/// Checks that `text` is one JSON value and takes the whitespace between its tokens out. Text
/// without such whitespace is not copied.
///
/// # Errors
/// [`JsonError`] if it is not JSON or nested more than `max_depth` deep.
pub fn minify(text: &str, max_depth: usize) -> Result<Cow<'_, str>, JsonError> {
    let mut scanner = Scanner::new(text, max_depth);
    let value = scanner.minified()?;
    scanner.end()?;
    Ok(value)
}

/// [`minify`] for bytes that nobody has looked at. Unchanged text shares the memory of `text`.
///
/// # Errors
/// As [`minify`], and if the bytes are not UTF-8.
pub fn minify_bytes(text: &Bytes, max_depth: usize) -> Result<Bytes, JsonError> {
    let read = utf8(text)?;
    Ok(match minify(read, max_depth)? {
        Cow::Borrowed(part) => text.slice_ref(part.as_bytes()),
        Cow::Owned(copy) => Bytes::from(copy),
    })
}

/// The text of `bytes`.
///
/// # Errors
/// Where it stops being UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes)
        .map_err(|e| JsonError { at: e.valid_up_to(), reason: Reason::NotUtf8 })
}

/// Reads JSON text from left to right, a value or a member at a time.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `text`, for values that are nested at most `max_depth` deep
    /// (never more than [`MAX_DEPTH`]).
    #[must_use]
    pub fn new(text: &'a str, max_depth: usize) -> Self {
        Self { text, at: 0, max_depth: max_depth.min(MAX_DEPTH) }
    }

    /// The kind of the next value, which stays unread.
    ///
    /// # Errors
    /// If no value can start there.
    pub fn peek(&mut self) -> Result<Kind, JsonError> {
        self.skip_whitespace();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ if self.at == 0 && self.text.starts_with('\u{FEFF}') => {
                Err(JsonError { at: 0, reason: Reason::ByteOrderMark })
            }
            _ => Err(self.unexpected(Expected::Value)),
        }
    }

    /// Reads the next value and returns it as it is spelled.
    ///
    /// # Errors
    /// If it is not JSON or nested too deep.
    pub fn skip(&mut self) -> Result<&'a str, JsonError> {
        self.peek()?;
        let start = self.at;
        self.value(|_| ())?;
        Ok(&self.text[start..self.at])
    }

    /// Reads the next value and returns it without the whitespace between its tokens.
    ///
    /// # Errors
    /// If it is not JSON or nested too deep.
    pub fn minified(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.peek()?;
        let text = self.text;
        let mut copied_to = self.at;
        let mut copy = String::new();
        self.value(|gap| {
            if copy.is_empty() {
                // No longer than what is left: the first copy is the only allocation.
                copy.reserve_exact(text.len() - copied_to);
            }
            copy.push_str(&text[copied_to..gap.start]);
            copied_to = gap.end;
        })?;
        let rest = &text[copied_to..self.at];
        if copy.is_empty() {
            return Ok(Cow::Borrowed(rest));
        }
        copy.push_str(rest);
        copy.shrink_to_fit();
        Ok(Cow::Owned(copy))
    }

    /// Reads the `{` of an object, whose members [`Scanner::next_name`] then reads.
    ///
    /// # Errors
    /// If the next value is not an object.
    pub fn open_object(&mut self) -> Result<(), JsonError> {
        match self.peek()? {
            Kind::Object => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected(Expected::Value)),
        }
    }

    /// Reads the name of an open object's next member and its colon, or the object's `}`. `first`
    /// says that no member was read yet and is cleared. The name is spelled as in the text, without
    /// its quotes: [`unescape`] reads it.
    ///
    /// # Errors
    /// If neither stands there.
    pub fn next_name(&mut self, first: &mut bool) -> Result<Option<&'a str>, JsonError> {
        self.skip_whitespace();
        let first = std::mem::take(first);
        match self.byte() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_whitespace();
            }
            _ if first => {}
            _ => return Err(self.unexpected(Expected::CommaOrBrace)),
        }
        let start = self.at + 1;
        self.name()?;
        let name = &self.text[start..self.at - 1];
        self.colon(&mut |_| ())?;
        Ok(Some(name))
    }

    /// Reads a string and returns what stands between its quotes, as it is spelled.
    ///
    /// # Errors
    /// If the next value is not a string.
    pub fn string(&mut self) -> Result<&'a str, JsonError> {
        match self.peek()? {
            Kind::String => {
                let start = self.at + 1;
                self.string_token()?;
                Ok(&self.text[start..self.at - 1])
            }
            _ => Err(self.unexpected(Expected::Quote)),
        }
    }

    /// Checks that nothing but whitespace is left.
    ///
    /// # Errors
    /// If something is.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.at == self.text.len() {
            return Ok(());
        }
        Err(self.unexpected(Expected::Nothing))
    }

    /// Reads the value that starts here and tells `gap` of every run of whitespace in it.
    fn value(&mut self, mut gap: impl FnMut(Range<usize>)) -> Result<(), JsonError> {
        // Bit n says whether the container at depth n is an object.
        let mut objects = 0_u128;
        let mut depth = 0;
        loop {
            match self.byte() {
                Some(open @ (b'{' | b'[')) => {
                    if depth == self.max_depth {
                        return Err(self.error(Reason::TooDeep(self.max_depth)));
                    }
                    let is_object = open == b'{';
                    objects = objects & !(1 << depth) | (u128::from(is_object) << depth);
                    depth += 1;
                    self.at += 1;
                    self.whitespace(&mut gap);
                    let closing = if is_object { b'}' } else { b']' };
                    if self.byte() != Some(closing) {
                        if is_object {
                            self.member(&mut gap)?;
                        }
                        continue;
                    }
                    self.at += 1;
                    depth -= 1;
                }
                Some(b'"') => self.string_token()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return Err(self.unexpected(Expected::Value)),
            }
            // After a value: close what it ends, until another one begins.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.whitespace(&mut gap);
                let in_object = objects >> (depth - 1) & 1 == 1;
                match self.byte() {
                    Some(b',') => {
                        self.at += 1;
                        self.whitespace(&mut gap);
                        if in_object {
                            self.member(&mut gap)?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => self.at += 1,
                    Some(b']') if !in_object => self.at += 1,
                    _ if in_object => return Err(self.unexpected(Expected::CommaOrBrace)),
                    _ => return Err(self.unexpected(Expected::CommaOrBracket)),
                }
                depth -= 1;
            }
        }
    }

    /// Reads a name, its colon and the whitespace before the member's value.
    fn member(&mut self, gap: &mut impl FnMut(Range<usize>)) -> Result<(), JsonError> {
        self.name()?;
        self.colon(gap)
    }

    fn name(&mut self) -> Result<(), JsonError> {
        if self.byte() != Some(b'"') {
            return Err(self.unexpected(Expected::Name));
        }
        self.string_token()
    }

    /// Reads the colon after a name and the whitespace around it.
    fn colon(&mut self, gap: &mut impl FnMut(Range<usize>)) -> Result<(), JsonError> {
        self.whitespace(gap);
        if self.byte() != Some(b':') {
            return Err(self.unexpected(Expected::Colon));
        }
        self.at += 1;
        self.whitespace(gap);
        Ok(())
    }

    /// Reads the string whose opening quote is here.
    fn string_token(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            self.at = text::plain_end(self.text.as_bytes(), self.at);
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    let rest = &self.text.as_bytes()[self.at..];
                    self.at += text::escape_len(rest).ok_or(self.error(Reason::Escape))?;
                }
                Some(_) => return Err(self.error(Reason::Control)),
                None => return Err(self.unexpected(Expected::Quote)),
            }
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
            if self.byte().is_some_and(|b| b.is_ascii_digit()) {
                return Err(self.error(Reason::Number));
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.error(Reason::Number)) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected(Expected::Literal));
        }
        self.at += word.len();
        Ok(())
    }

    fn whitespace(&mut self, gap: &mut impl FnMut(Range<usize>)) {
        let start = self.at;
        self.skip_whitespace();
        if self.at > start {
            gap(start..self.at);
        }
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, reason: Reason) -> JsonError {
        JsonError { at: self.at, reason }
    }

    fn unexpected(&self, expected: Expected) -> JsonError {
        let at_end = self.at >= self.text.len();
        self.error(if at_end { Reason::End(expected) } else { Reason::Unexpected(expected) })
    }
}

#[cfg(test)]
mod tests;
