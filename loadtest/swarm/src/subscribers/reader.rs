//! One reader: its stream's state, and what it makes of the bytes.

use mio::net::TcpStream;

use super::Outcome;
use crate::{
    http::{Decoder, Malformed, Piece},
    inflate::Inflater,
    sequence::Checker,
    sse::{Event, Kind, Parser},
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
    /// Takes the coding off the body, if it has one.
    pub(super) inflater: Option<Box<Inflater>>,
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
                Piece::Head(head) => {
                    outcome.open.record_between(connection.began, now);
                    outcome.coded += u64::from(head.gzip);
                    connection.inflater = head.gzip.then(Box::default);
                    connection.phase = Phase::Open;
                    verdict = Verdict::Opened;
                }
                Piece::Body(body) => {
                    let mut on_event = |event: Event| {
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
                    };
                    match &mut connection.inflater {
                        None => sse.feed(body, on_event),
                        Some(inflater) => {
                            inflater.take(body, |plain| sse.feed(plain, &mut on_event))?;
                        }
                    }
                }
                Piece::End if connection.inflater.as_ref().is_some_and(|i| !i.is_complete()) => {
                    return Err(Malformed::Gzip);
                }
                Piece::End => return Ok(Verdict::Ended),
            }
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn reader() -> Reader {
        let (stream, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let stream = std::net::TcpStream::from(std::os::fd::OwnedFd::from(stream));
        Reader {
            connection: Some(Connection {
                stream: TcpStream::from_std(stream),
                phase: Phase::Asked,
                http: Decoder::default(),
                inflater: None,
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
    fn a_coded_stream_is_read_as_it_comes_and_has_to_end_with_its_sum() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: {\"seq\":0,\"t\":1000}\n\n").unwrap();
        encoder.flush().unwrap();
        let first = std::mem::take(encoder.get_mut());
        let rest = encoder.finish().unwrap();
        for is_whole in [true, false] {
            let mut reader = reader();
            let mut outcome = Outcome::default();
            let mut fresh = 0;
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_vec();
            bytes.extend_from_slice(format!("{:x}\r\n", first.len()).as_bytes());
            bytes.extend_from_slice(&first);
            let verdict = reader.take(&bytes, 2_000_000, &mut outcome, &mut fresh);
            assert_eq!(verdict, Ok(Verdict::Opened));
            assert_eq!((outcome.deliveries, outcome.coded, fresh), (1, 1, 1));
            let mut bytes = b"\r\n".to_vec();
            if is_whole {
                bytes.extend_from_slice(format!("{:x}\r\n", rest.len()).as_bytes());
                bytes.extend_from_slice(&rest);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let verdict = reader.take(&bytes, 3, &mut outcome, &mut fresh);
            assert_eq!(verdict, if is_whole { Ok(Verdict::Ended) } else { Err(Malformed::Gzip) });
        }
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
