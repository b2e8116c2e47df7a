//! One reader: its stream's state, and what it makes of the bytes.

use mio::net::TcpStream;

use super::Outcome;
use crate::{
    http::{Decoder, Malformed, Piece},
    sequence::Checker,
    sse::{Kind, Parser},
};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// `connect` was called.
    Connecting,
    /// The request is written.
    Asked,
    /// A byte of the response has come.
    Answered,
    /// The response is an event stream.
    Open,
}

/// A connection of a reader.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    pub(super) http: Decoder,
    /// When `connect` was called.
    pub(super) began: u64,
    /// When the request was written.
    pub(super) asked: u64,
    /// Events of this connection.
    pub(super) events: u32,
}

/// One reader.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) connection: Option<Connection>,
    pub(super) room: usize,
    pub(super) stalled: bool,
    /// Its first attempt to connect has ended.
    pub(super) settled: bool,
    /// Its stream was open at least once.
    pub(super) opened: bool,
    pub(super) checker: Checker,
    pub(super) sse: Parser,
    /// When its last event came.
    pub(super) last_at: u64,
}

/// What becomes of a connection after some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing new.
    GoOn,
    /// The stream is open as of these bytes.
    Opened,
    /// The response is not a stream.
    Refused(String),
    /// The server ended the stream in good order.
    Ended,
}

impl Reader {
    /// Takes what was read at `now`. `fresh` counts events that are not repeated.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        now: u64,
        outcome: &mut Outcome,
        fresh: &mut u64,
    ) -> Result<Verdict, Malformed> {
        let Self { connection: Some(connection), checker, sse, last_at, stalled, .. } = self else {
            return Ok(Verdict::GoOn);
        };
        let mut verdict = Verdict::GoOn;
        if connection.phase == Phase::Asked {
            outcome.first_byte.record_between(connection.asked, now);
            connection.phase = Phase::Answered;
        }
        while let Some(piece) = connection.http.next(&mut bytes)? {
            match piece {
                Piece::Head(head) if head.status != 200 => {
                    return Ok(Verdict::Refused(format!("status {}", head.status)));
                }
                Piece::Head(head) if !head.event_stream => {
                    return Ok(Verdict::Refused("not an event stream".into()));
                }
                Piece::Head(_) => {
                    outcome.open.record_between(connection.began, now);
                    connection.phase = Phase::Open;
                    verdict = Verdict::Opened;
                }
                Piece::Body(body) => sse.feed(body, |event| {
                    outcome.count(event.kind);
                    if event.kind != Kind::Delivery {
                        return;
                    }
                    connection.events += 1;
                    if event.sent != 0 {
                        outcome.latency.record_between(event.sent, now);
                    }
                    if *last_at != 0 {
                        outcome.interval.record_between(*last_at, now);
                    }
                    *last_at = now;
                    match event.seq {
                        Some(seq) => *fresh += u64::from(checker.take(seq) && !*stalled),
                        None => outcome.unnumbered += 1,
                    }
                    if outcome.first_delivery == 0 {
                        outcome.first_delivery = now;
                    }
                    outcome.last_delivery = now;
                }),
                Piece::End => return Ok(Verdict::Ended),
            }
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        let (stream, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let stream = std::net::TcpStream::from(std::os::fd::OwnedFd::from(stream));
        Reader {
            connection: Some(Connection {
                stream: TcpStream::from_std(stream),
                phase: Phase::Asked,
                http: Decoder::default(),
                began: 1,
                asked: 2,
                events: 0,
            }),
            room: 0,
            stalled: false,
            settled: true,
            opened: true,
            checker: Checker::from(0),
            sse: Parser::default(),
            last_at: 0,
        }
    }

    #[test]
    fn only_publishers_events_are_deliveries() {
        let mut reader = reader();
        let mut outcome = Outcome::default();
        let mut fresh = 0;
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
        for block in [
            "event: tidegate.connected\ndata: {\"seq\":9}\n\n",
            "data: {\"seq\":0,\"t\":1000}\n\n",
            "data: {\"seq\":0,\"t\":1000}\n\n",
        ] {
            bytes.extend_from_slice(format!("{:x}\r\n{block}\r\n", block.len()).as_bytes());
        }
        let verdict = reader.take(&bytes, 2_000_000, &mut outcome, &mut fresh);
        assert_eq!(verdict, Ok(Verdict::Opened));
        assert_eq!((outcome.connected, outcome.deliveries, fresh), (1, 2, 1));
        assert_eq!(reader.checker.faults().doubled, 1);
        assert_eq!((outcome.latency.count(), outcome.interval.count()), (2, 1));
        assert_eq!(reader.take(b"0\r\n\r\n", 3, &mut outcome, &mut fresh), Ok(Verdict::Ended));
    }

    #[test]
    fn a_refusal_is_named_by_its_status() {
        let mut outcome = Outcome::default();
        let refused = reader().take(b"HTTP/1.1 503 \r\n\r\n", 9, &mut outcome, &mut 0);
        assert_eq!(refused, Ok(Verdict::Refused("status 503".into())));
        let refused = reader().take(b"HTTP/1.1 200 OK\r\n\r\n", 9, &mut outcome, &mut 0);
        assert_eq!(refused, Ok(Verdict::Refused("not an event stream".into())));
    }
}
