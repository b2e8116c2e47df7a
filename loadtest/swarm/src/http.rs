//! Just enough of HTTP/1.1 responses: a decoder that takes bytes in any split.
//!
//! The body is handed out as slices of what was read; nothing is copied but a head that arrives in
//! more than one part.

use memchr::memmem;

/// The longest response head that is taken.
const HEAD_BYTES: usize = 16 * 1024;

/// A response that is not HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The head is too long, or has no end.
    #[error("the response head is longer than {HEAD_BYTES} bytes")]
    HeadTooLong,
    /// The status line cannot be read.
    #[error("the status line is malformed")]
    StatusLine,
    /// `Content-Length` is not a number.
    #[error("the content length is malformed")]
    ContentLength,
    /// A chunk's frame is broken.
    #[error("a chunk is malformed")]
    Chunk,
    /// The body is not the gzip that the head says, or its sum is wrong.
    #[error("the gzip stream is malformed")]
    Gzip,
}

/// What a response head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The server closes after this response.
    pub close: bool,
    /// The body is `text/event-stream`.
    pub event_stream: bool,
    /// The body is in gzip.
    pub gzip: bool,
}

/// A part of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The head, once.
    Head(Head),
    /// Some of the body, without its framing; never empty.
    Body(&'a [u8]),
    /// The response is complete; the next byte belongs to the next one.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    ChunkSize { size: u64, digits: u8 },
    ChunkExtension { size: u64 },
    ChunkData { left: u64 },
    ChunkCr,
    ChunkLf,
    Trailer { empty: bool },
    Sized { left: u64 },
    UntilClose,
}

/// Takes responses apart, one after the other.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The start of a head whose end has not arrived. At most [`HEAD_BYTES`].
    kept: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Head, kept: Vec::new() }
    }
}

impl Decoder {
    /// Takes the next piece off the input; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are not HTTP/1.1; the connection is then of no more use.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        loop {
            if self.state == (State::Sized { left: 0 }) {
                self.state = State::Head;
                return Ok(Some(Piece::End));
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            match self.state {
                State::Head => match self.head(input)? {
                    Some(head) => return Ok(Some(Piece::Head(head))),
                    // Either everything was kept, or an interim response was skipped.
                    None => continue,
                },
                State::Sized { left } => {
                    let body = take(input, left);
                    self.state = State::Sized { left: left - body.len() as u64 };
                    return Ok(Some(Piece::Body(body)));
                }
                State::ChunkData { left } => {
                    let body = take(input, left);
                    let left = left - body.len() as u64;
                    self.state = if left == 0 { State::ChunkCr } else { State::ChunkData { left } };
                    return Ok(Some(Piece::Body(body)));
                }
                State::UntilClose => return Ok(Some(Piece::Body(std::mem::take(input)))),
                State::ChunkSize { size, digits } => {
                    *input = rest;
                    self.state = chunk_size(byte, size, digits)?;
                }
                State::ChunkExtension { size } => {
                    *input = rest;
                    if byte == b'\n' {
                        self.state = if size == 0 {
                            State::Trailer { empty: true }
                        } else {
                            State::ChunkData { left: size }
                        };
                    }
                }
                State::ChunkCr => {
                    *input = rest;
                    self.state =
                        if byte == b'\r' { Ok(State::ChunkLf) } else { Err(Malformed::Chunk) }?;
                }
                State::ChunkLf => {
                    *input = rest;
                    let next = State::ChunkSize { size: 0, digits: 0 };
                    self.state = if byte == b'\n' { Ok(next) } else { Err(Malformed::Chunk) }?;
                }
                State::Trailer { empty } => {
                    *input = rest;
                    match byte {
                        b'\n' if empty => {
                            self.state = State::Head;
                            return Ok(Some(Piece::End));
                        }
                        b'\n' => self.state = State::Trailer { empty: true },
                        b'\r' => {}
                        _ => self.state = State::Trailer { empty: false },
                    }
                }
            }
        }
    }

    fn head(&mut self, input: &mut &[u8]) -> Result<Option<Head>, Malformed> {
        const END: &[u8] = b"\r\n\r\n";
        let parsed = if self.kept.is_empty()
            && let Some(at) = memmem::find(input, END)
        {
            let (head, rest) = input.split_at(at + END.len());
            *input = rest;
            parse_head(head)?
        } else {
            let old = self.kept.len();
            self.kept.extend_from_slice(input);
            let Some(at) = memmem::find(&self.kept[old.saturating_sub(END.len() - 1)..], END)
            else {
                if self.kept.len() > HEAD_BYTES {
                    return Err(Malformed::HeadTooLong);
                }
                *input = &[];
                return Ok(None);
            };
            let end = old.saturating_sub(END.len() - 1) + at + END.len();
            *input = &input[end - old..];
            // Freed: tens of thousands of streams would otherwise each keep their head.
            let kept = std::mem::take(&mut self.kept);
            parse_head(&kept[..end])?
        };
        let Some((head, state)) = parsed else { return Ok(None) };
        self.state = state;
        Ok(Some(head))
    }
}

fn take<'a>(input: &mut &'a [u8], left: u64) -> &'a [u8] {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    let (body, rest) = input.split_at(len);
    *input = rest;
    body
}

fn chunk_size(byte: u8, size: u64, digits: u8) -> Result<State, Malformed> {
    match (byte as char).to_digit(16) {
        // Fifteen digits cannot overflow.
        Some(digit) if digits < 15 => {
            Ok(State::ChunkSize { size: size * 16 + u64::from(digit), digits: digits + 1 })
        }
        None if digits > 0 && matches!(byte, b'\r' | b';' | b' ' | b'\t') => {
            Ok(State::ChunkExtension { size })
        }
        _ => Err(Malformed::Chunk),
    }
}

/// `None` for an interim (1xx) response.
fn parse_head(head: &[u8]) -> Result<Option<(Head, State)>, Malformed> {
    let mut lines = head.split(|&b| b == b'\n').map(|line| line.trim_ascii());
    let status_line = lines.next().unwrap_or_default();
    let rest = status_line.strip_prefix(b"HTTP/1.").ok_or(Malformed::StatusLine)?;
    let (minor, status) = match rest {
        [minor @ (b'0' | b'1'), b' ', a, b, c, rest @ ..]
            if rest.first().is_none_or(|&b| b == b' ') =>
        {
            (*minor, [*a, *b, *c])
        }
        _ => return Err(Malformed::StatusLine),
    };
    let status =
        digits(&status).and_then(|n| u16::try_from(n).ok()).ok_or(Malformed::StatusLine)?;
    if (100..200).contains(&status) {
        return Ok(None);
    }
    let mut head = Head { status, close: minor == b'0', event_stream: false, gzip: false };
    let mut state = State::UntilClose;
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Chunked wins over a length, whichever comes first.
            state = State::ChunkSize { size: 0, digits: 0 };
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let left = digits(value).ok_or(Malformed::ContentLength)?;
            if state == State::UntilClose {
                state = State::Sized { left };
            }
        } else if name.eq_ignore_ascii_case(b"connection") {
            head.close |= value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"content-encoding") {
            head.gzip = value.eq_ignore_ascii_case(b"gzip");
        } else if name.eq_ignore_ascii_case(b"content-type") {
            head.event_stream =
                value.get(..17).is_some_and(|v| v.eq_ignore_ascii_case(b"text/event-stream"));
        }
    }
    if matches!(status, 204 | 304) {
        state = State::Sized { left: 0 };
    }
    head.close |= state == State::UntilClose;
    Ok(Some((head, state)))
}

/// The number that ASCII digits write.
#[must_use]
pub fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| {
        let digit = b.checked_sub(b'0').filter(|d| *d < 10)?;
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads, bodies joined, ends.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        statuses: Vec<u16>,
        body: Vec<u8>,
        ends: usize,
    }

    fn decode(parts: &[&[u8]]) -> Result<Seen, Malformed> {
        let mut decoder = Decoder::default();
        let mut seen = Seen::default();
        for part in parts {
            let mut input = *part;
            while let Some(piece) = decoder.next(&mut input)? {
                match piece {
                    Piece::Head(head) => seen.statuses.push(head.status),
                    Piece::Body(body) => seen.body.extend_from_slice(body),
                    Piece::End => seen.ends += 1,
                }
            }
            assert!(input.is_empty(), "everything is taken");
        }
        Ok(seen)
    }

    const RESPONSES: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
        Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nB;x=y\r\n brave new \r\n0\r\nTrailer: x\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworldHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn responses_are_the_same_in_any_split() {
        let whole = decode(&[RESPONSES]).unwrap();
        assert_eq!(whole.statuses, [200, 200, 204, 503]);
        assert_eq!(whole.body, b"hello brave new world");
        assert_eq!(whole.ends, 4);
        for a in 0..RESPONSES.len() {
            for b in a..RESPONSES.len() {
                let parts = [&RESPONSES[..a], &RESPONSES[a..b], &RESPONSES[b..]];
                assert_eq!(decode(&parts).unwrap(), whole, "split at {a} and {b}");
            }
        }
        let bytes: Vec<&[u8]> = RESPONSES.chunks(1).collect();
        assert_eq!(decode(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for (bytes, error) in [
            (&b"SSH-2.0-x\r\n\r\n"[..], Malformed::StatusLine),
            (b"HTTP/1.1 20x OK\r\n\r\n", Malformed::StatusLine),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Malformed::ContentLength),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz", Malformed::Chunk),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc", Malformed::Chunk),
            (&[b'a'; HEAD_BYTES + 1], Malformed::HeadTooLong),
        ] {
            assert_eq!(decode(&[bytes]), Err(error));
        }
    }

    #[test]
    fn a_body_without_a_length_lasts_until_the_close() {
        let mut decoder = Decoder::default();
        let mut input: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nabc";
        let Ok(Some(Piece::Head(head))) = decoder.next(&mut input) else { panic!("no head") };
        assert!(head.close && !head.event_stream);
        assert_eq!(decoder.next(&mut input), Ok(Some(Piece::Body(b"abc"))));
    }
}
