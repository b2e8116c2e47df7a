//! One keep-alive connection: what waits, what is on its way, and the responses.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
};

use memchr::memmem;
use mio::net::TcpStream;

use super::{
    Outcome,
    payload::{Job, Writer},
};
use crate::{
    clock,
    http::{Decoder, Piece},
};

/// How much of a response is kept to count a batch's lines, or to show why it was refused.
const RESPONSE_BYTES: usize = 1024 * 1024;

/// How long a refused or broken connection waits before it tries again.
const BACK_OFF: u64 = 100_000_000;

/// A connection of the publishers.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) stream: Option<TcpStream>,
    pub(super) waiting: VecDeque<Job>,
    pub(super) in_flight: VecDeque<Job>,
    /// Nothing is sent before, in Unix nanoseconds.
    pub(super) not_before: u64,
    out: Vec<u8>,
    written: usize,
    http: Decoder,
    status: u16,
    close: bool,
    response: Vec<u8>,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) writer: Writer,
    pub(super) outcome: Outcome,
    pub(super) pipeline: usize,
    pub(super) retries: u32,
    pub(super) batch: bool,
}

impl Connection {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Sends as much as may be sent.
    pub(super) fn send(&mut self, desk: &mut Desk, now: u64) -> io::Result<()> {
        if self.stream.is_none() || now < self.not_before {
            return Ok(());
        }
        while self.in_flight.len() < desk.pipeline
            && let Some(mut job) = self.waiting.pop_front()
        {
            job.sent = clock::now();
            if job.tries == 0 {
                desk.outcome.lateness.record_between(job.due, job.sent);
            }
            desk.writer.write(&job, &mut self.out);
            self.in_flight.push_back(job);
        }
        self.flush(desk)
    }

    fn flush(&mut self, desk: &mut Desk) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written += n;
                    desk.outcome.bytes += n as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads until nothing is left.
    pub(super) fn receive(&mut self, desk: &mut Desk, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let read = match stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut bytes = &buffer[..read];
            while let Some(piece) = self.http.next(&mut bytes).map_err(io::Error::other)? {
                match piece {
                    Piece::Head(head) => (self.status, self.close) = (head.status, head.close),
                    Piece::Body(body) => {
                        let room = RESPONSE_BYTES.saturating_sub(self.response.len());
                        self.response.extend_from_slice(&body[..body.len().min(room)]);
                    }
                    Piece::End => {
                        self.answered(desk)?;
                        if self.close {
                            return Err(ErrorKind::ConnectionAborted.into());
                        }
                    }
                }
            }
        }
    }

    fn answered(&mut self, desk: &mut Desk) -> io::Result<()> {
        // A response that nobody asked for: the connection cannot be trusted any more.
        let job = self.in_flight.pop_front().ok_or(ErrorKind::InvalidData)?;
        let now = clock::now();
        let ok = (200..300).contains(&self.status);
        let accepted = match (ok, desk.batch) {
            (true, true) => accepted_lines(&self.response).min(job.events()),
            (true, false) => job.events(),
            (false, _) => 0,
        };
        let outcome = &mut desk.outcome;
        if accepted == job.events() {
            outcome.latency.record_between(job.due, now);
            outcome.service.record_between(job.sent, now);
        } else if outcome.refusal.is_none() {
            let shown = &self.response[..self.response.len().min(300)];
            outcome.refusal = Some(format!("{}: {}", self.status, String::from_utf8_lossy(shown)));
        }
        self.response.clear();
        let again = self.status == 429 || self.status >= 500;
        if accepted == 0 && again && job.tries < desk.retries {
            self.not_before = now + BACK_OFF;
            outcome.retried += 1;
            self.waiting.push_front(Job { tries: job.tries + 1, ..job });
            return Ok(());
        }
        outcome.accepted += u64::from(accepted);
        // Which lines were refused is not looked at: those of the first rooms stand for them.
        for n in 0..job.events() - accepted {
            outcome.refused.count(&format!("status {}", self.status));
            outcome.refused_in[job.room + (n / job.count) as usize] += 1;
        }
        Ok(())
    }

    /// The connection is gone: what was on its way is tried again, or nobody knows.
    pub(super) fn broke(&mut self, desk: &mut Desk) {
        self.stream = None;
        self.out.clear();
        self.written = 0;
        self.http = Decoder::default();
        self.response.clear();
        // A server that says it will close has broken no promise.
        if !std::mem::take(&mut self.close) {
            desk.outcome.broken += 1;
        }
        self.not_before = clock::now() + BACK_OFF;
        while let Some(job) = self.in_flight.pop_back() {
            if job.tries < desk.retries {
                desk.outcome.retried += 1;
                self.waiting.push_front(Job { tries: job.tries + 1, ..job });
            } else {
                desk.outcome.unknown += u64::from(job.events());
            }
        }
    }
}

/// Receipts among a batch's lines.
fn accepted_lines(response: &[u8]) -> u32 {
    let count = memmem::find_iter(response, b"\"status\":200").count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
