//! JSON pointers (RFC 6901): which values of a text are meant, and where they stand in it.
//!
//! A look-up goes over the text once for all pointers, without a tree: what no pointer goes through
//! is only checked. Of several members with one name the last counts, as for the readers of the
//! text (JavaScript's `JSON.parse`, Python, Go), so that nobody routes by another value than the
//! one they see.

use std::fmt;
use std::str::FromStr;

use super::{Expected, JsonError, Kind, MAX_DEPTH, Reason, Scanner, unescape};

/// A pointer to a value inside of a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonPointer {
    /// As it was spelled.
    text: Box<str>,
    tokens: Box<[Token]>,
}

/// One step of a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Token {
    /// A member's name.
    name: Box<str>,
    /// The element's number, if the token can be one.
    index: Option<usize>,
}

/// Why a text is no JSON pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is neither empty nor starts with a slash.
    #[error("a JSON pointer starts with '/'")]
    Slash,
    /// A `~` that stands for nothing.
    #[error("in a JSON pointer '~' is written ~0, and '/' inside of a name ~1")]
    Tilde,
    /// No text may be nested as deep as it goes.
    #[error("a JSON pointer has at most {MAX_DEPTH} steps")]
    TooDeep,
}

impl FromStr for JsonPointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        let steps = match text.strip_prefix('/') {
            Some(steps) => steps,
            None if text.is_empty() => return Ok(Self { text: text.into(), tokens: [].into() }),
            None => return Err(PointerError::Slash),
        };
        let tokens = steps.split('/').map(Token::read).collect::<Result<Box<[_]>, _>>()?;
        if tokens.len() > MAX_DEPTH {
            return Err(PointerError::TooDeep);
        }
        Ok(Self { text: text.into(), tokens })
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Token {
    fn read(spelled: &str) -> Result<Self, PointerError> {
        let mut name = String::with_capacity(spelled.len());
        let mut chars = spelled.chars();
        while let Some(char) = chars.next() {
            name.push(match char {
                '~' => match chars.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return Err(PointerError::Tilde),
                },
                char => char,
            });
        }
        // "01" and "+1" are names of members only (RFC 6901, 4).
        let is_index =
            name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
        let index = if is_index { name.parse().ok() } else { None };
        Ok(Self { name: name.into(), index })
    }

    /// Whether it means the member whose name is spelled `raw` between its quotes.
    fn is_name(&self, raw: &str) -> bool {
        unescape(raw).is_ok_and(|name| *name == *self.name)
    }
}

/// The values in `text` that `pointers` mean, as they are spelled there; `None` where there is no
/// pointer or it leads nowhere. At most 32 pointers count.
///
/// # Errors
/// [`JsonError`] if `text` is not one JSON value or is nested more than `max_depth` deep.
pub fn find<'a, const N: usize>(
    text: &'a str,
    pointers: [Option<&JsonPointer>; N],
    max_depth: usize,
) -> Result<[Option<&'a str>; N], JsonError> {
    let max_depth = max_depth.min(MAX_DEPTH);
    let scanner = Scanner::new(text, max_depth);
    let mut search = Search { scanner, pointers, found: [None; N] };
    search.whole().map_err(|error| match error.reason {
        // Counted from where the scan was, which says nothing to anybody.
        Reason::TooDeep(_) => JsonError { reason: Reason::TooDeep(max_depth), ..error },
        _ => error,
    })?;
    Ok(search.found)
}

/// A look-up that is going on. Its recursion ends where the longest pointer does.
struct Search<'a, 'p, const N: usize> {
    scanner: Scanner<'a>,
    pointers: [Option<&'p JsonPointer>; N],
    found: [Option<&'a str>; N],
}

/// The pointers whose steps so far have led to a place: bit n for pointer n.
type Wanted = u32;

impl<const N: usize> Search<'_, '_, N> {
    fn whole(&mut self) -> Result<(), JsonError> {
        let all = self.those(|_| true);
        self.value(all, 0)?;
        self.scanner.end()
    }

    /// The pointers of which `is` says so.
    fn those(&self, is: impl Fn(&[Token]) -> bool) -> Wanted {
        let pointers = self.pointers.iter().take(32).enumerate();
        pointers
            .filter(|(_, pointer)| pointer.is_some_and(|pointer| is(&pointer.tokens)))
            .fold(0, |wanted, (n, _)| wanted | 1 << n)
    }

    /// Reads the next value, to which `depth` steps of `wanted` have led.
    fn value(&mut self, wanted: Wanted, depth: usize) -> Result<(), JsonError> {
        let kind = self.scanner.peek()?;
        let start = self.scanner.at;
        let deeper = wanted & self.those(|tokens| tokens.len() > depth);
        // A member of this name that was met before is forgotten with all that is in it.
        self.note(wanted, None);
        match kind {
            Kind::Object if deeper != 0 => self.inside(|s| s.members(deeper, depth))?,
            Kind::Array if deeper != 0 => self.inside(|s| s.elements(deeper, depth))?,
            _ => {
                self.scanner.skip()?;
            }
        }
        self.note(wanted & !deeper, Some(start));
        Ok(())
    }

    /// Notes the value that started at `start` and ends here.
    fn note(&mut self, wanted: Wanted, start: Option<usize>) {
        let value = start.map(|start| &self.scanner.text[start..self.scanner.at]);
        for (n, found) in self.found.iter_mut().enumerate().take(32) {
            if wanted >> n & 1 == 1 {
                *found = value;
            }
        }
    }

    /// Reads a container with one level of depth less.
    fn inside(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        let Some(left) = self.scanner.max_depth.checked_sub(1) else {
            return Err(self.scanner.error(Reason::TooDeep(0)));
        };
        self.scanner.max_depth = left;
        read(self)?;
        self.scanner.max_depth = left + 1;
        Ok(())
    }

    fn members(&mut self, wanted: Wanted, depth: usize) -> Result<(), JsonError> {
        self.scanner.open_object()?;
        let mut first = true;
        while let Some(name) = self.scanner.next_name(&mut first)? {
            let those = self.those(|tokens| tokens.get(depth).is_some_and(|t| t.is_name(name)));
            self.step(wanted & those, depth)?;
        }
        Ok(())
    }

    fn elements(&mut self, wanted: Wanted, depth: usize) -> Result<(), JsonError> {
        self.scanner.at += 1;
        self.scanner.skip_whitespace();
        if self.scanner.byte() == Some(b']') {
            self.scanner.at += 1;
            return Ok(());
        }
        for index in 0.. {
            let those = self
                .those(|tokens| tokens.get(depth).is_some_and(|token| token.index == Some(index)));
            self.step(wanted & those, depth)?;
            self.scanner.skip_whitespace();
            match self.scanner.byte() {
                Some(b',') => self.scanner.at += 1,
                Some(b']') => break,
                _ => return Err(self.scanner.unexpected(Expected::CommaOrBracket)),
            }
        }
        self.scanner.at += 1;
        Ok(())
    }

    /// Reads a value inside of a container at `depth`.
    fn step(&mut self, wanted: Wanted, depth: usize) -> Result<(), JsonError> {
        if wanted == 0 { self.scanner.skip().map(drop) } else { self.value(wanted, depth + 1) }
    }
}

#[cfg(test)]
mod tests;
