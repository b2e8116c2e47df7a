//! One thread's readers and its epoll loop.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, event::Event};

use super::{
    Outcome, Plan, Shared,
    reader::{Connection, Phase, Reader, Verdict},
};
use crate::{clock, http::Decoder, sequence::Checker, sockets, sse::Parser};

/// How long a reader waits before it comes again. Shorter than a browser's: a test wants it back.
const COME_AGAIN: Duration = Duration::from_millis(100);

/// One read takes at most this much.
const READ_BYTES: usize = 256 * 1024;

/// How many source addresses are tried when one has no port left.
const TRIES: u32 = 5;

pub(super) struct Swarm {
    plan: Plan,
    thread: usize,
    shared: Arc<Shared>,
    poll: Poll,
    /// This thread's: reader `n` of the plan is at `n / threads`.
    readers: Vec<Reader>,
    /// Who comes again, and when; in order of time since the wait is the same for all.
    again: VecDeque<(u64, usize)>,
    in_flight: usize,
    outcome: Outcome,
    /// Differences that [`Shared`] has not been told of.
    settled: usize,
    open: isize,
    fresh: u64,
}

impl Swarm {
    pub(super) fn new(plan: Plan, thread: usize, shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self {
            plan,
            thread,
            shared,
            poll: Poll::new()?,
            readers: Vec::new(),
            again: VecDeque::new(),
            in_flight: 0,
            outcome: Outcome::default(),
            settled: 0,
            open: 0,
            fresh: 0,
        })
    }

    pub(super) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        let mut budget = Budget::new(self.plan.connect_rate / self.plan.threads.max(1) as f64);
        while !self.shared.stop.load(Relaxed) {
            let waiting = self.connect_some(&mut budget);
            let patience = Duration::from_millis(if waiting { 1 } else { 10 });
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
            for event in &events {
                self.on_event(event, &mut buffer);
            }
            self.tell();
        }
        Ok(self.finish())
    }

    fn tell(&mut self) {
        self.shared.settled.fetch_add(std::mem::take(&mut self.settled), Relaxed);
        self.shared.fresh.fetch_add(std::mem::take(&mut self.fresh), Relaxed);
        match std::mem::take(&mut self.open) {
            more @ 0.. => self.shared.open.fetch_add(more.unsigned_abs(), Relaxed),
            fewer => self.shared.open.fetch_sub(fewer.unsigned_abs(), Relaxed),
        };
    }

    /// Starts connections within the rate and the bound; `true` if some have to wait.
    fn connect_some(&mut self, budget: &mut Budget) -> bool {
        let threads = self.plan.threads.max(1);
        let wanted = self.shared.wanted.load(Relaxed).min(self.plan.readers);
        let now = clock::now();
        budget.refill(now);
        loop {
            let next = self.thread + self.readers.len() * threads;
            let again = self.again.front().is_some_and(|&(when, _)| when <= now);
            if !again && next >= wanted {
                return !self.again.is_empty();
            }
            if self.in_flight >= self.plan.in_flight || !budget.spend() {
                return true;
            }
            let at = if again && let Some((_, at)) = self.again.pop_front() {
                at
            } else {
                self.readers.push(Reader {
                    connection: None,
                    room: self.plan.room_of(next),
                    stalled: self.plan.is_stalled(next),
                    settled: false,
                    opened: false,
                    checker: self.new_checker(self.plan.from_start),
                    sse: if self.plan.resume { Parser::with_last_id() } else { Parser::default() },
                    last_at: 0,
                });
                self.readers.len() - 1
            };
            if let Err(error) = self.connect(at) {
                self.fail(at, &format!("connect: {}", error.kind()));
            }
        }
    }

    fn new_checker(&self, from_start: bool) -> Checker {
        if from_start { Checker::from(0) } else { Checker::from_first_seen() }
    }

    fn connect(&mut self, at: usize) -> io::Result<()> {
        let began = clock::now();
        let number = u32::try_from(self.thread + at * self.plan.threads.max(1)).unwrap_or(0);
        let buffer = self.readers[at].stalled.then_some(self.plan.stalled_buffer);
        let sources = self.plan.sources.max(1);
        let mut attempt = 0;
        let mut stream = loop {
            // A single source is left to the kernel, which then also uses ports again sooner.
            let source = if sources == 1 { 0 } else { 1 + (number + attempt) % sources };
            match sockets::connect(self.plan.target.origin.addr, source, buffer) {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse
                    ) && attempt < TRIES =>
                {
                    attempt += 1;
                }
                other => break other?,
            }
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), both)?;
        self.readers[at].connection = Some(Connection {
            stream,
            phase: Phase::Connecting,
            http: Decoder::default(),
            inflater: None,
            began,
            asked: 0,
            events: 0,
        });
        self.in_flight += 1;
        Ok(())
    }

    fn on_event(&mut self, event: &Event, buffer: &mut [u8]) {
        let at = event.token().0;
        let Some(phase) = self.phase(at) else { return };
        if phase == Phase::Connecting
            && let Err(error) = self.on_connected(at)
        {
            self.fail(at, &format!("connect: {}", error.kind()));
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.on_readable(at, event.is_read_closed() || event.is_error(), buffer);
        }
    }

    fn phase(&self, at: usize) -> Option<Phase> {
        self.readers.get(at)?.connection.as_ref().map(|c| c.phase)
    }

    fn on_connected(&mut self, at: usize) -> io::Result<()> {
        let reader = &mut self.readers[at];
        let Some(connection) = &mut reader.connection else { return Ok(()) };
        if !sockets::connected(&connection.stream)? {
            return Ok(());
        }
        let now = clock::now();
        self.outcome.connect.record_between(connection.began, now);
        let request = self.plan.target.subscribe_request(reader.room, reader.sse.last_id());
        connection.asked = now;
        connection.phase = Phase::Asked;
        // A fresh socket's buffer holds any request; if it did not, this fails with WriteZero.
        connection.stream.write_all(&request)
    }

    fn on_readable(&mut self, at: usize, closing: bool, buffer: &mut [u8]) {
        loop {
            let reader = &mut self.readers[at];
            let Some(connection) = &mut reader.connection else { return };
            if connection.phase == Phase::Connecting {
                return;
            }
            let was_open = connection.phase == Phase::Open;
            let read = match connection.stream.read(buffer) {
                Ok(0) if was_open => return self.end(at, "cut"),
                Ok(0) => return self.fail(at, "closed before the response"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if was_open => return self.end(at, &error.kind().to_string()),
                Err(error) => return self.fail(at, &error.kind().to_string()),
            };
            let now = clock::now();
            self.outcome.bytes += read as u64;
            self.outcome.reads += 1;
            let verdict = reader.take(&buffer[..read], now, &mut self.outcome, &mut self.fresh);
            let is_open = self.phase(at) == Some(Phase::Open);
            if is_open && !was_open {
                self.opened(at);
            }
            match verdict {
                Ok(Verdict::GoOn | Verdict::Opened) => {}
                Ok(Verdict::Refused(why)) => return self.fail(at, &why),
                Ok(Verdict::Ended) => return self.end(at, "ended"),
                Err(error) if is_open => return self.end(at, &error.to_string()),
                Err(error) => return self.fail(at, &error.to_string()),
            }
            let reader = &mut self.readers[at];
            let Some(connection) = &mut reader.connection else { return };
            if reader.stalled && is_open {
                // Not even watched: the kernel would wake this loop for every segment.
                let _ = self.poll.registry().deregister(&mut connection.stream);
                return;
            }
            if self.plan.leave_after.is_some_and(|most| connection.events >= most) {
                self.outcome.left += 1;
                self.open -= 1;
                return self.come_again(at);
            }
            // A short read has emptied the socket, and the next bytes make a new edge. When the
            // peer has closed there is none, and the end has to be read now.
            if read < buffer.len() && !closing {
                return;
            }
        }
    }

    fn settle(&mut self, at: usize) {
        if !std::mem::replace(&mut self.readers[at].settled, true) {
            self.settled += 1;
        }
    }

    fn opened(&mut self, at: usize) {
        self.settle(at);
        self.in_flight -= 1;
        self.open += 1;
        self.outcome.opened += 1;
        let reader = &mut self.readers[at];
        if !std::mem::replace(&mut reader.opened, true) {
            self.outcome.readers += 1;
            self.outcome.stalled += u64::from(reader.stalled);
        }
    }

    /// A stream could not be opened.
    fn fail(&mut self, at: usize, why: &str) {
        self.settle(at);
        self.outcome.failed.count(why);
        if self.readers[at].connection.is_some() {
            self.in_flight -= 1;
        }
        self.gone(at);
    }

    /// The server ended an open stream.
    fn end(&mut self, at: usize, how: &str) {
        self.open -= 1;
        self.outcome.ended.count(how);
        self.gone(at);
    }

    fn gone(&mut self, at: usize) {
        if self.plan.reconnect {
            self.come_again(at);
        } else {
            self.readers[at].connection = None;
        }
    }

    fn come_again(&mut self, at: usize) {
        let fresh_start = self.new_checker(false);
        let reader = &mut self.readers[at];
        reader.connection = None;
        reader.sse.restart();
        reader.last_at = 0;
        // Before its first event there is nothing to go on from, and nothing has been missed that
        // the first attempt was not owed.
        if !self.plan.resume && reader.opened {
            let before = std::mem::replace(&mut reader.checker, fresh_start);
            count_faults(&mut self.outcome, reader.stalled, before.faults());
        }
        self.again.push_back((clock::now() + clock::nanos(COME_AGAIN), at));
    }

    fn finish(mut self) -> Outcome {
        self.tell();
        let ends = self.shared.ends.get().filter(|_| !self.plan.may_miss());
        for reader in &mut self.readers {
            if let Some(connection) = reader.connection.take() {
                sockets::reset(connection.stream);
            }
            if !reader.opened {
                continue;
            }
            let end = ends.and_then(|ends| ends.get(reader.room)).copied().unwrap_or(0);
            count_faults(&mut self.outcome, reader.stalled, reader.checker.finish(end));
        }
        self.outcome
    }
}

fn count_faults(outcome: &mut Outcome, stalled: bool, faults: crate::sequence::Faults) {
    if stalled {
        return;
    }
    outcome.faults.add(faults);
    outcome.faulty_readers += u64::from(faults != crate::sequence::Faults::default());
}

/// Connections that may be begun by now.
struct Budget {
    per_nano: f64,
    saved: f64,
    at: u64,
}

impl Budget {
    fn new(rate: f64) -> Self {
        Self { per_nano: rate / 1e9, saved: 0.0, at: clock::now() }
    }

    fn refill(&mut self, now: u64) {
        let earned = now.saturating_sub(self.at) as f64 * self.per_nano;
        // A pause does not earn a rush: at most 10 ms are saved up, and always one connection.
        self.saved = (self.saved + earned).min((self.per_nano * 1e7).max(1.0));
        self.at = now;
    }

    fn spend(&mut self) -> bool {
        if self.per_nano == 0.0 {
            return true;
        }
        let enough = self.saved >= 1.0;
        if enough {
            self.saved -= 1.0;
        }
        enough
    }
}
