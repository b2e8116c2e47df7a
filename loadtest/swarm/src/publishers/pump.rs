//! The loop that paces the events and serves the connections.

use std::{
    io::{self, ErrorKind},
    net::TcpStream,
    ops::Range,
    os::fd::AsRawFd,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use super::{
    Outcome, Plan, Style,
    connection::{Connection, Desk},
    payload::{Job, Writer},
};
use crate::{clock, sockets};

/// Requests that may wait for a slow server; beyond, events are not sent and counted as such.
const BACKLOG: usize = 100_000;

/// How long the server may take to accept the connections at the start.
const CONNECT: Duration = Duration::from_secs(5);

const TIMER: Token = Token(usize::MAX);

pub(super) struct Pump {
    plan: Plan,
    poll: Poll,
    timer: clock::Timer,
    connections: Vec<Connection>,
    desk: Desk,
    /// Bursts that were handed to a connection.
    bursts: u64,
    /// The connection that is next when they are taken in turn.
    turn: usize,
}

impl Pump {
    pub(super) fn new(plan: Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = clock::Timer::new()?;
        poll.registry().register(
            &mut SourceFd(&timer.fd().as_raw_fd()),
            TIMER,
            Interest::READABLE,
        )?;
        let mut connections = Vec::new();
        for at in 0..plan.connections.max(1) {
            let stream = TcpStream::connect_timeout(&plan.target.origin.addr, CONNECT)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut connection = Connection::default();
            watch(&poll, &mut connection, mio::net::TcpStream::from_std(stream), at)?;
            connections.push(connection);
        }
        let desk = Desk {
            writer: Writer::new(&plan),
            outcome: Outcome {
                published: vec![0; plan.rooms],
                refused_in: vec![0; plan.rooms],
                ..Outcome::default()
            },
            pipeline: plan.pipeline.max(1),
            retries: plan.retries,
            batch: plan.style == Style::Batch,
        };
        Ok(Self { plan, poll, timer, connections, desk, bursts: 0, turn: 0 })
    }

    pub(super) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; 64 * 1024];
        let started = clock::now();
        self.desk.outcome.started = started;
        let deadline =
            started + clock::nanos(self.plan.duration) + clock::nanos(self.plan.patience);
        loop {
            let now = clock::now();
            self.hand_out(started, now);
            for at in 0..self.connections.len() {
                self.serve(at, now)?;
            }
            let done = self.bursts >= self.plan.bursts()
                && self.connections.iter().all(Connection::is_idle);
            if done || now >= deadline {
                return Ok(self.finish());
            }
            self.set_timer(started, now, deadline)?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
            for event in &events {
                // An edge of the timer needs no read: setting it again makes a new one.
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                if connection.receive(&mut self.desk, &mut buffer).is_err() {
                    connection.broke(&mut self.desk);
                }
            }
        }
    }

    /// Gives the connections what is due.
    fn hand_out(&mut self, started: u64, now: u64) {
        while self.bursts < self.plan.bursts() {
            let due = started + self.plan.due(self.bursts);
            if due > now {
                return;
            }
            let across = self.plan.across.max(1);
            let groups = self.plan.rooms.div_ceil(across) as u64;
            let group = usize::try_from(self.bursts % groups).unwrap_or(0);
            let rooms = group * across..((group + 1) * across).min(self.plan.rooms);
            self.bursts += 1;
            let burst = self.plan.burst.max(1);
            if self.desk.batch {
                self.hand_out_one(group, rooms, burst, due);
            } else {
                for room in rooms {
                    (0..burst).for_each(|_| self.hand_out_one(group, room..room + 1, 1, due));
                }
            }
        }
    }

    /// Gives one request's events to the connection of their group of rooms.
    fn hand_out_one(&mut self, group: usize, rooms: Range<usize>, count: u32, due: u64) {
        let connections = self.connections.len();
        let at = if self.plan.spread { self.turn % connections } else { group % connections };
        self.turn += 1;
        let first = rooms.start;
        let rooms_len = u32::try_from(rooms.len()).unwrap_or(u32::MAX);
        let waiting = &mut self.connections[at].waiting;
        if waiting.len() >= BACKLOG / connections {
            // It gets no number, so that no reader is owed it.
            self.desk.outcome.unsent += u64::from(count * rooms_len);
            return;
        }
        let published = &mut self.desk.outcome.published[rooms];
        let seq = published[0];
        waiting.push_back(Job {
            room: first,
            rooms: rooms_len,
            seq,
            count,
            due,
            sent: 0,
            tries: 0,
        });
        published.iter_mut().for_each(|next| *next += u64::from(count));
    }

    fn serve(&mut self, at: usize, now: u64) -> io::Result<()> {
        let connection = &mut self.connections[at];
        if connection.is_idle() || now < connection.not_before {
            return Ok(());
        }
        if connection.stream.is_none() {
            match sockets::connect(self.plan.target.origin.addr, 0, None) {
                Ok(stream) => watch(&self.poll, connection, stream, at)?,
                Err(_) => connection.broke(&mut self.desk),
            }
        }
        if connection.send(&mut self.desk, now).is_err() {
            connection.broke(&mut self.desk);
        }
        Ok(())
    }

    fn set_timer(&self, started: u64, now: u64, deadline: u64) -> io::Result<()> {
        let mut wake = deadline;
        if self.bursts < self.plan.bursts() {
            wake = wake.min(started + self.plan.due(self.bursts));
        }
        for connection in &self.connections {
            if !connection.is_idle() && connection.not_before > now {
                wake = wake.min(connection.not_before);
            }
        }
        self.timer.set(wake.saturating_sub(clock::now()))
    }

    fn finish(mut self) -> Outcome {
        let outcome = &mut self.desk.outcome;
        for connection in &self.connections {
            for job in connection.in_flight.iter().chain(&connection.waiting) {
                if job.sent == 0 {
                    // It has a number, but was certainly not sent: no reader is owed it.
                    outcome.unsent += u64::from(job.events());
                    let refused = &mut outcome.refused_in[job.in_rooms()];
                    refused.iter_mut().for_each(|refused| *refused += u64::from(job.count));
                } else {
                    outcome.unknown += u64::from(job.events());
                }
            }
        }
        outcome.unsent += (self.plan.bursts() - self.bursts) * self.plan.at_once();
        self.desk.outcome
    }
}

fn watch(
    poll: &Poll,
    connection: &mut Connection,
    mut stream: mio::net::TcpStream,
    at: usize,
) -> io::Result<()> {
    poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
    connection.stream = Some(stream);
    Ok(())
}
