//! The event stream interpretation of the HTML standard, section 9.2.6, over bytes as they arrive.
//!
//! Nothing here does I/O. [`Parser::next`] takes from the front of a chunk until one thing is
//! complete; what an event is never depends on where the chunks were cut.

use std::time::Duration;

/// The most bytes of one line, or of one event's data, that a parser holds unless told otherwise.
/// An event may be 1 MiB by default and base64 adds a third; an operator may allow more.
pub const DEFAULT_MAX_EVENT_BYTES: usize = 64 << 20;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One complete thing of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event with data.
    Event(Event),
    /// The server's wish for the delay before a reconnect.
    Retry(Duration),
    /// A comment line, without its colon: some servers keep a connection alive with them.
    Comment(String),
}

/// An event as a browser's `EventSource` would dispatch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The last event id as of this event: an event without an `id:` of its own has the one before.
    pub id: String,
    /// The type, `message` where the stream names none.
    pub event: String,
    /// The data lines, joined by `\n`.
    pub data: String,
}

/// The stream holds more than the parser is willing to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line has not ended.
    #[error("a line of the stream is longer than {limit} bytes")]
    LineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// An event's data lines are too much together.
    #[error("an event of the stream has more than {limit} bytes of data")]
    EventTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Reads one connection's bytes; the next connection needs a parser of its own.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No line has ended yet: this one may begin with a byte order mark.
    at_start: bool,
    data: String,
    event: String,
    /// The `id:` that counts from the next blank line on.
    pending_id: String,
    last_event_id: String,
}

impl Parser {
    /// A parser for a connection that resumes after `last_event_id` (empty: after nothing).
    ///
    /// The standard starts each connection from an empty id; browsers start from the last one, or
    /// a block without an `id:` at the start of a connection would forget the place to resume at.
    #[must_use]
    pub fn resuming(last_event_id: &str) -> Self {
        Self {
            limit: DEFAULT_MAX_EVENT_BYTES,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            data: String::new(),
            event: String::new(),
            pending_id: last_event_id.to_owned(),
            last_event_id: last_event_id.to_owned(),
        }
    }

    /// The same, with a limit of its own in bytes for a line and for the data of an event.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The id of the last complete block, with or without data: what a reconnect asks for. The id
    /// of a block that was cut does not count.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Takes bytes from the front of `input` until one item is complete. `None`: all of it is
    /// taken, and the item goes on in the next chunk.
    ///
    /// # Errors
    /// [`ParseError`] when a line or an event is too large; the parser is of no use after that.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Item>, ParseError> {
        while !input.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if let Some(rest) = input.strip_prefix(b"\n") {
                    *input = rest;
                    continue;
                }
            }
            let Some(end) = input.iter().position(|&b| b == b'\n' || b == b'\r') else {
                self.hold(input)?;
                *input = &[];
                return Ok(None);
            };
            let (head, rest) = input.split_at(end);
            self.after_cr = rest[0] == b'\r';
            *input = &rest[1..];
            let item = if self.line.is_empty() {
                self.check_line(head.len())?;
                self.end_line(head)?
            } else {
                self.hold(head)?;
                let mut line = std::mem::take(&mut self.line);
                let item = self.end_line(&line)?;
                line.clear();
                self.line = line;
                item
            };
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }

    fn check_line(&self, len: usize) -> Result<(), ParseError> {
        if len > self.limit {
            return Err(ParseError::LineTooLong { limit: self.limit });
        }
        Ok(())
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), ParseError> {
        self.check_line(self.line.len() + part.len())?;
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, mut line: &[u8]) -> Result<Option<Item>, ParseError> {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.end_block().map(Item::Event));
        }
        // Line ends are ASCII, so that decoding line by line replaces the same bytes as decoding
        // the whole stream would.
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&*line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            // A line that begins with a colon.
            "" => return Ok(Some(Item::Comment(value.to_owned()))),
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.data.len() + value.len() >= self.limit {
                    return Err(ParseError::EventTooLarge { limit: self.limit });
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.pending_id),
            "retry" => return Ok(retry(value).map(Item::Retry)),
            _ => {}
        }
        Ok(None)
    }

    fn end_block(&mut self) -> Option<Event> {
        if self.last_event_id != self.pending_id {
            self.last_event_id.clone_from(&self.pending_id);
        }
        let event = std::mem::take(&mut self.event);
        if self.data.is_empty() {
            return None;
        }
        let mut data = std::mem::take(&mut self.data);
        data.pop();
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(Event { id: self.last_event_id.clone(), event, data })
    }
}

/// Digits only: neither a sign nor nothing at all. More milliseconds than fit are the most there are.
fn retry(value: &str) -> Option<Duration> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
