//! Event streams in any split, and the numbers that a publisher wrote into them.
//!
//! Nothing is allocated per event: a line that arrives whole is looked at where it lies, and of one
//! that does not only the first bytes are kept, in a buffer that is used again.

use std::sync::LazyLock;

use memchr::{memchr2, memmem};

use crate::http::digits;

/// How much of a split line is kept. An envelope's first members and the publisher's numbers lie
/// well within; the padding behind them is counted by nobody.
const KEPT_BYTES: usize = 4096;

static SEQ: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\"seq\":"));
static SENT: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\"t\":"));

/// What the `event:` line says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Published by somebody.
    #[default]
    Delivery,
    /// `tidegate.connected`.
    Connected,
    /// `tidegate.heartbeat`, or a bare comment.
    Heartbeat,
    /// `tidegate.gap`: the server says that something is missing.
    Gap,
    /// `tidegate.goodbye`.
    Goodbye,
    /// Another `tidegate.*`.
    Other,
}

/// One block of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Event {
    /// Who it comes from.
    pub kind: Kind,
    /// The publisher's number, from 0 in every room.
    pub seq: Option<u64>,
    /// When it was to be sent, in nanoseconds since the Unix epoch; 0 if not said.
    pub sent: u64,
}

/// The last `id:` of a stream, for those who resume.
#[derive(Debug, Default)]
struct LastId {
    /// Of the block that is being read.
    pending: Vec<u8>,
    /// Of the last complete block: what `Last-Event-ID` may claim.
    complete: Vec<u8>,
}

/// Cuts a stream into its lines, wherever its bytes were cut.
#[derive(Debug)]
pub struct Lines {
    /// The first bytes of a line whose end has not arrived.
    line: Vec<u8>,
    /// The line that is being read has bytes in `line`, or had more than are kept.
    partial: bool,
    /// The last byte was CR: an LF now belongs to it.
    after_cr: bool,
    /// How much of a line that arrives in parts is kept, in bytes.
    kept: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self::keeping(KEPT_BYTES)
    }
}

impl Lines {
    /// Of a line that arrives in parts at most so many bytes are reported; 4 KiB by default.
    #[must_use]
    pub fn keeping(bytes: usize) -> Self {
        Self { line: Vec::new(), partial: false, after_cr: false, kept: bytes }
    }

    /// Reads some bytes and reports every line that they complete, without its end.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_line: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.keep(bytes);
                return;
            };
            let line = &bytes[..end];
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if self.partial {
                self.keep(line);
                self.partial = false;
                on_line(&self.line);
                self.line.clear();
            } else {
                on_line(line);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.partial = true;
        let room = self.kept.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Forgets a line that was cut off.
    pub fn restart(&mut self) {
        self.line.clear();
        self.partial = false;
        self.after_cr = false;
    }
}

/// Reads one event stream.
#[derive(Debug, Default)]
pub struct Parser {
    lines: Lines,
    block: Block,
}

/// The block that is being read, and the ids so far.
#[derive(Debug, Default)]
struct Block {
    has_data: bool,
    event: Event,
    last_id: Option<Box<LastId>>,
    /// What the last `retry:` line said, in milliseconds.
    retry: Option<u64>,
}

impl Parser {
    /// A parser that remembers the last id; others save the memory.
    #[must_use]
    pub fn with_last_id() -> Self {
        let block = Block { last_id: Some(Box::default()), ..Block::default() };
        Self { block, ..Self::default() }
    }

    /// The id of the last complete block, empty if there was none or if ids are not kept.
    #[must_use]
    pub fn last_id(&self) -> &[u8] {
        self.block.last_id.as_ref().map_or(&[], |id| &id.complete)
    }

    /// The pause before the next connection that the server last asked for, in milliseconds.
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        self.block.retry
    }

    /// Forgets a block that was cut off, and keeps the last id for the next connection.
    pub fn restart(&mut self) {
        self.lines.restart();
        self.block.has_data = false;
        self.block.event = Event::default();
        if let Some(id) = &mut self.block.last_id {
            id.pending.clear();
        }
    }

    /// Reads some bytes and reports every block that they complete.
    pub fn feed(&mut self, bytes: &[u8], mut on_event: impl FnMut(Event)) {
        let block = &mut self.block;
        self.lines.feed(bytes, |line| block.line(line, &mut on_event));
    }
}

impl Block {
    fn line(&mut self, line: &[u8], on_event: &mut impl FnMut(Event)) {
        if line.is_empty() {
            if let Some(id) = &mut self.last_id
                && !id.pending.is_empty()
            {
                std::mem::swap(&mut id.complete, &mut id.pending);
                id.pending.clear();
            }
            if std::mem::take(&mut self.has_data) {
                on_event(self.event);
            }
            self.event = Event::default();
        } else if let Some(data) = line.strip_prefix(b"data:") {
            self.has_data = true;
            if self.event.kind == Kind::Delivery && self.event.seq.is_none() {
                (self.event.seq, self.event.sent) = numbers(data);
            }
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.event.kind = kind(name.strip_prefix(b" ").unwrap_or(name));
        } else if let Some(value) = line.strip_prefix(b"id:") {
            if let Some(id) = &mut self.last_id {
                id.pending.clear();
                id.pending.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            }
        } else if let Some(value) = line.strip_prefix(b"retry:") {
            self.retry = digits(value.strip_prefix(b" ").unwrap_or(value)).or(self.retry);
        } else if line[0] == b':' {
            on_event(Event { kind: Kind::Heartbeat, ..Event::default() });
        }
    }
}

/// What an event of this name is.
#[must_use]
pub fn kind(name: &[u8]) -> Kind {
    match name.strip_prefix(b"tidegate.") {
        None => Kind::Delivery,
        Some(b"connected") => Kind::Connected,
        Some(b"heartbeat") => Kind::Heartbeat,
        Some(b"gap") => Kind::Gap,
        Some(b"goodbye") => Kind::Goodbye,
        Some(_) => Kind::Other,
    }
}

/// The publisher's number and its clock. The clock stands behind the number; an envelope has
/// members before them.
fn numbers(data: &[u8]) -> (Option<u64>, u64) {
    let Some(at) = SEQ.find(data) else { return (None, 0) };
    let rest = &data[at + SEQ.needle().len()..];
    let sent = SENT.find(rest).map(|at| number(&rest[at + SENT.needle().len()..]));
    (number(rest), sent.flatten().unwrap_or(0))
}

fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    digits(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
        let mut parser = Parser::with_last_id();
        let mut events = Vec::new();
        for part in parts {
            parser.feed(part, |event| events.push(event));
        }
        (events, parser.last_id().to_vec())
    }

    const STREAM: &[u8] = b"retry: 3000\nid: c0\nevent: tidegate.connected\ndata: {\"pod\":\"p\"}\n\n\
        id: c1\nevent: load\ndata: {\"event_id\":\"r0\",\"event_type\":\"t\",\"data\":{\"seq\":0,\"t\":17,\"pad\":\"xx\"}}\n\n\
        : still here\n\nid: c1\nevent: tidegate.heartbeat\ndata: {}\n\n\
        id:c2\r\ndata:{\"seq\": 1, \"t\": 18}\r\n\r\nid: c3\rdata: {\"other\":true}\r\r\
        event: tidegate.gap\ndata: {\"seq\":9}\n\nretry: 1\nevent: tidegate.goodbye\ndata: {}\n\nid: c4\nevent: load\ndata: cut";

    #[test]
    fn a_stream_reads_the_same_in_any_split() {
        let block = |kind| Event { kind, seq: None, sent: 0 };
        let numbered = |seq, sent| Event { kind: Kind::Delivery, seq: Some(seq), sent };
        let whole = read(&[STREAM]);
        assert_eq!(
            whole.0,
            [
                block(Kind::Connected),
                numbered(0, 17),
                block(Kind::Heartbeat),
                block(Kind::Heartbeat),
                numbered(1, 18),
                block(Kind::Delivery),
                block(Kind::Gap),
                block(Kind::Goodbye),
            ]
        );
        assert_eq!(whole.1, b"c3", "an id counts once its block is complete");
        for a in 0..STREAM.len() {
            for b in (a..STREAM.len()).step_by(7) {
                let parts = [&STREAM[..a], &STREAM[a..b], &STREAM[b..]];
                assert_eq!(read(&parts), whole, "split at {a} and {b}");
            }
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(read(&bytes), whole);
    }

    #[test]
    fn the_last_pause_that_was_asked_for_counts() {
        let mut parser = Parser::default();
        assert_eq!(parser.retry(), None);
        parser.feed(b"retry: 3000\n\nretry:x\n\n", |_| {});
        assert_eq!(parser.retry(), Some(3000));
        parser.feed(b"retry:20\nevent: tidegate.goodbye\ndata: {}\n\n", |_| {});
        parser.restart();
        assert_eq!(parser.retry(), Some(20));
    }

    #[test]
    fn of_a_long_split_line_the_numbers_are_read_and_the_padding_is_not_kept() {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        parser.feed(b"data: {\"seq\":5,\"t\":6,\"pad\":\"", |event| events.push(event));
        for _ in 0..100 {
            parser.feed(&[b'x'; 1000], |event| events.push(event));
        }
        assert!(parser.lines.line.len() <= KEPT_BYTES);
        parser.feed(b"\"}\n\n", |event| events.push(event));
        assert_eq!(events, [Event { kind: Kind::Delivery, seq: Some(5), sent: 6 }]);
    }

    #[test]
    fn a_restart_forgets_the_cut_block_and_keeps_the_id() {
        let mut parser = Parser::with_last_id();
        parser.feed(b"id: a\ndata: 1\n\nid: b\ndata: {\"seq\":", |_| {});
        parser.restart();
        assert_eq!(parser.last_id(), b"a");
        let mut events = Vec::new();
        parser.feed(b"data: {\"seq\":3}\n\n", |event| events.push(event));
        assert_eq!(events, [Event { kind: Kind::Delivery, seq: Some(3), sent: 0 }]);
    }
}
