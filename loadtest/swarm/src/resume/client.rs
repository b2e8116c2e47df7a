//! One stream's state, over all its connections, and what it makes of the bytes.

use mio::net::TcpStream;

use super::Outcome;
use crate::{
    http::{Decoder, Malformed, Piece},
    sequence::Checker,
    sse::{Kind, Parser},
};

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// The request is written.
    pub(super) asked: bool,
    /// The response is an event stream.
    pub(super) open: bool,
    pub(super) http: Decoder,
}

/// What becomes of a connection after some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// More may come.
    GoOn,
    /// The response is not a stream.
    Refused(u16),
    /// The server ended the stream in good order.
    Ended,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) connection: Option<Connection>,
    pub(super) room: usize,
    pub(super) sse: Parser,
    pub(super) checker: Checker,
    /// When it first tried to connect, in Unix nanoseconds; 0 before.
    pub(super) began: u64,
    /// Different events that came.
    pub(super) came: u64,
    head: bool,
    connected: bool,
}

impl Client {
    pub(super) fn new(room: usize) -> Self {
        Self {
            connection: None,
            room,
            sse: Parser::with_last_id(),
            checker: Checker::from(0),
            began: 0,
            came: 0,
            head: false,
            connected: false,
        }
    }

    /// The server is lost: what follows is measured anew. The last id stays.
    pub(super) fn lose(&mut self) {
        self.connection = None;
        self.sse.restart();
        self.began = 0;
        self.head = false;
        self.connected = false;
    }

    /// Whether it has what it is owed: its first block, and so many events.
    pub(super) fn has(&self, owed: u64) -> bool {
        self.connected && self.came >= owed
    }

    /// Takes what was read at `now`, by a client that is owed so many events since `lost_at`.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        now: u64,
        owed: u64,
        lost_at: u64,
        outcome: &mut Outcome,
    ) -> Result<Verdict, Malformed> {
        let Self {
            connection: Some(connection), sse, checker, began, came, head, connected, ..
        } = self
        else {
            return Ok(Verdict::GoOn);
        };
        while let Some(piece) = connection.http.next(&mut bytes)? {
            match piece {
                Piece::Head(answer) if answer.status != 200 || !answer.event_stream => {
                    return Ok(Verdict::Refused(answer.status));
                }
                Piece::Head(_) => {
                    connection.open = true;
                    if !std::mem::replace(head, true) {
                        outcome.head.record_between(*began, now);
                    }
                }
                Piece::Body(body) => sse.feed(body, |event| match event.kind {
                    Kind::Connected => {
                        if !std::mem::replace(connected, true) {
                            outcome.connected.record_between(*began, now);
                        }
                    }
                    Kind::Gap => {
                        checker.gap();
                        outcome.gaps += 1;
                    }
                    Kind::Goodbye => outcome.goodbyes += 1,
                    Kind::Heartbeat | Kind::Other => {}
                    Kind::Delivery => {
                        outcome.deliveries += 1;
                        let fresh = event.seq.is_some_and(|seq| checker.take(seq));
                        if !fresh {
                            return;
                        }
                        *came += 1;
                        if *came == 1 {
                            outcome.first.record_between(*began, now);
                        }
                        if *came == owed {
                            outcome.last.record_between(*began, now);
                            outcome.since_loss.record_between(lost_at, now);
                            outcome.complete += 1;
                        }
                    }
                }),
                Piece::End => return Ok(Verdict::Ended),
            }
        }
        Ok(Verdict::GoOn)
    }
}
