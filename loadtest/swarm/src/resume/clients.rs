//! All streams, in one epoll loop.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, event::Event};

use super::{
    Outcome, Plan,
    client::{Client, Connection, Verdict},
};
use crate::{clock, http::Decoder, sockets, sse::Parser, target::Target};

/// The pause before another try when the server has not asked for one, in milliseconds: that of
/// browsers is longer, and would only hide the server's part.
const RETRY: u64 = 1_000;

/// Connections that are begun between two looks at the others: those must not wait to be timed.
const BEGUN_AT_ONCE: usize = 32;

/// One read takes at most this much.
const READ_BYTES: usize = 256 * 1024;

/// The streams.
#[derive(Debug)]
pub struct Clients {
    plan: Plan,
    poll: Poll,
    clients: Vec<Client>,
    /// Who is to connect next.
    due: VecDeque<usize>,
    /// Who comes again, and when.
    again: BinaryHeap<Reverse<(u64, usize)>>,
    /// Connections without a response.
    in_flight: usize,
    /// When the server was lost; 0 before.
    lost_at: u64,
    /// Events that each is owed.
    owed: u64,
    complete: usize,
    outcome: Outcome,
}

impl Clients {
    /// Streams that connect nowhere yet.
    ///
    /// # Errors
    /// When the epoll instance cannot be made.
    pub fn new(plan: Plan) -> io::Result<Self> {
        Ok(Self {
            plan,
            poll: Poll::new()?,
            clients: (0..plan.connections).map(|n| Client::new(n % plan.rooms.max(1))).collect(),
            due: (0..plan.connections).collect(),
            again: BinaryHeap::new(),
            in_flight: 0,
            lost_at: 0,
            owed: 0,
            complete: 0,
            outcome: Outcome::default(),
        })
    }

    /// How many have their first block, and all events that they are owed.
    #[must_use]
    pub fn complete(&self) -> usize {
        self.complete
    }

    /// Drops all streams. From now on each is owed the events `0..owed` of its room, and what it
    /// waits for is measured.
    pub fn lose(&mut self, owed: u64) {
        self.lost_at = clock::now();
        self.owed = owed;
        self.outcome = Outcome::default();
        self.clients.iter_mut().for_each(Client::lose);
        self.due = (0..self.clients.len()).collect();
        self.again.clear();
        self.in_flight = 0;
        self.complete = 0;
    }

    /// Connects all to a server and reads until each has what it is owed, or for so long.
    ///
    /// # Errors
    /// When epoll fails.
    pub fn run(&mut self, target: &Target, most: Duration) -> io::Result<()> {
        self.turn(target, most, |clients| clients.complete() == clients.clients.len())
    }

    /// Reads on for so long: nothing more is to come.
    ///
    /// # Errors
    /// When epoll fails.
    pub fn listen(&mut self, target: &Target, most: Duration) -> io::Result<()> {
        self.turn(target, most, |_| false)
    }

    /// What was seen since the loss.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        for client in &self.clients {
            self.outcome.faults.add(client.checker.finish(self.owed));
        }
        self.outcome
    }

    fn turn(
        &mut self,
        target: &Target,
        most: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        let deadline = clock::now() + clock::nanos(most);
        while clock::now() < deadline && !done(self) {
            let more = self.connect_some(target);
            let patience = Duration::from_millis(if more { 0 } else { 5 });
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
            for event in &events {
                self.on_event(target, event, &mut buffer);
            }
        }
        Ok(())
    }

    /// Begins some connections; `true` if more could be begun at once.
    fn connect_some(&mut self, target: &Target) -> bool {
        let now = clock::now();
        while let Some(Reverse((when, at))) = self.again.peek().copied()
            && when <= now
        {
            self.again.pop();
            self.due.push_back(at);
        }
        for _ in 0..BEGUN_AT_ONCE {
            if self.in_flight >= self.plan.in_flight {
                return false;
            }
            let Some(at) = self.due.pop_front() else { return false };
            if let Err(error) = self.connect(target, at) {
                self.fail(at, &format!("connect: {}", error.kind()));
            }
        }
        true
    }

    fn connect(&mut self, target: &Target, at: usize) -> io::Result<()> {
        let client = &mut self.clients[at];
        if client.began == 0 {
            client.began = clock::now();
        }
        self.outcome.attempts += 1;
        let number = u32::try_from(at).unwrap_or(0);
        let source = if self.plan.sources <= 1 { 0 } else { 1 + number % self.plan.sources };
        let mut stream = sockets::connect(target.origin.addr, source, None)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), both)?;
        let http = Decoder::default();
        client.connection = Some(Connection { stream, asked: false, open: false, http });
        self.in_flight += 1;
        Ok(())
    }

    fn on_event(&mut self, target: &Target, event: &Event, buffer: &mut [u8]) {
        let at = event.token().0;
        let Some(client) = self.clients.get_mut(at) else { return };
        let Some(connection) = &client.connection else { return };
        if !connection.asked
            && let Err(error) = ask(target, client)
        {
            return self.fail(at, &format!("connect: {}", error.kind()));
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.on_readable(at, event.is_read_closed() || event.is_error(), buffer);
        }
    }

    fn on_readable(&mut self, at: usize, closing: bool, buffer: &mut [u8]) {
        loop {
            let client = &mut self.clients[at];
            let Some(connection) = &mut client.connection else { return };
            let was_open = connection.open;
            let read = match connection.stream.read(buffer) {
                Ok(0) => return self.fail(at, "cut"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.fail(at, &error.kind().to_string()),
            };
            let now = clock::now();
            let had = client.has(self.owed);
            let verdict =
                client.take(&buffer[..read], now, self.owed, self.lost_at, &mut self.outcome);
            if !was_open && client.connection.as_ref().is_some_and(|c| c.open) {
                self.in_flight -= 1;
            }
            self.complete += usize::from(!had && self.clients[at].has(self.owed));
            match verdict {
                Ok(Verdict::GoOn) => {}
                Ok(Verdict::Refused(status)) => return self.fail(at, &format!("status {status}")),
                Ok(Verdict::Ended) => return self.fail(at, "ended"),
                Err(error) => return self.fail(at, &error.to_string()),
            }
            // A short read has emptied the socket, unless the end is still to be read.
            if read < buffer.len() && !closing {
                return;
            }
        }
    }

    /// The connection is gone: it comes again when the server asked it to.
    fn fail(&mut self, at: usize, why: &str) {
        let client = &mut self.clients[at];
        match client.connection.take() {
            Some(connection) if connection.open => self.outcome.ended.count(why),
            Some(_) => {
                self.in_flight -= 1;
                self.outcome.failed.count(why);
            }
            None => self.outcome.failed.count(why),
        }
        client.sse.restart();
        self.again.push(Reverse((clock::now() + pause(&client.sse), at)));
    }
}

/// The pause before the next connection, in nanoseconds.
fn pause(sse: &Parser) -> u64 {
    sse.retry().unwrap_or(RETRY).saturating_mul(1_000_000)
}

/// Writes the request once the connection is made.
fn ask(target: &Target, client: &mut Client) -> io::Result<()> {
    let Some(connection) = &mut client.connection else { return Ok(()) };
    if !sockets::connected(&connection.stream)? {
        return Ok(());
    }
    connection.asked = true;
    // A fresh socket's buffer holds any request; if it did not, this fails with WriteZero.
    connection.stream.write_all(&target.subscribe_request(client.room, client.sse.last_id()))
}
