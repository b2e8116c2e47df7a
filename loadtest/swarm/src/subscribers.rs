//! The readers: an epoll loop a thread, any number of streams each.

mod reader;
mod swarm;

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use crate::{
    sequence::Faults,
    sse::Kind,
    stats::{Tally, Times},
    target::Target,
};

/// Who reads what, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub target: Arc<Target>,
    /// How many readers there may be; [`Readers::want`] says how many there are to be now.
    pub readers: usize,
    /// Readers of one room; the last room may have fewer.
    pub per_room: usize,
    /// Threads to share the work.
    pub threads: usize,
    /// Loopback addresses to connect from.
    pub sources: u32,
    /// Connections begun per second; 0 is as fast as `in_flight` lets them.
    pub connect_rate: f64,
    /// Connections that may wait for their response at a time: more than the server's listen
    /// backlog would make the kernel drop them and try again a second later.
    pub in_flight: usize,
    /// The part of the readers, from 0 to 1, that stop reading once their stream is open.
    pub stalled: f64,
    /// The kernel's receive buffer of a stalled reader in bytes: what the server can write before it
    /// notices.
    pub stalled_buffer: usize,
    /// Leave after so many events, and come again.
    pub leave_after: Option<u32>,
    /// Come again when the server ends the stream.
    pub reconnect: bool,
    /// Who comes again sends `Last-Event-ID` and is owed what happened meanwhile.
    pub resume: bool,
    /// Every reader is there before the first event, and is owed all from number 0.
    pub from_start: bool,
}

impl Plan {
    /// How many rooms there are.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.readers.div_ceil(self.per_room.max(1)).max(1)
    }

    /// The room of a reader.
    #[must_use]
    pub fn room_of(&self, reader: usize) -> usize {
        reader / self.per_room.max(1)
    }

    /// Whether a reader is to stall. They are spread evenly, so that every room has some.
    #[must_use]
    pub fn is_stalled(&self, reader: usize) -> bool {
        let before = (reader as f64 * self.stalled).floor();
        ((reader + 1) as f64 * self.stalled).floor() > before
    }

    /// Whether readers can miss what happens between two of their connections.
    #[must_use]
    pub fn may_miss(&self) -> bool {
        !self.from_start || (!self.resume && (self.reconnect || self.leave_after.is_some()))
    }

    /// Deliveries that are due when each room has had so many events.
    #[must_use]
    pub fn expected(&self, published: &[u64]) -> u64 {
        let due = |reader| published.get(self.room_of(reader)).copied().unwrap_or(0);
        (0..self.readers).filter(|&reader| !self.is_stalled(reader)).map(due).sum()
    }
}

/// What the readers saw.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Streams that were opened, again or for the first time.
    pub opened: u64,
    /// Of those, the ones in gzip.
    pub coded: u64,
    /// Readers whose stream opened at least once.
    pub readers: u64,
    /// Of those, the ones that were to stall.
    pub stalled: u64,
    /// Streams that could not be opened, by cause.
    pub failed: Tally,
    /// Open streams that the server ended, by how.
    pub ended: Tally,
    /// Streams that readers left by plan.
    pub left: u64,
    /// Events of publishers, doubled ones too.
    pub deliveries: u64,
    /// Of those, the ones without a number.
    pub unnumbered: u64,
    /// What was wrong with the numbers, over all healthy readers.
    pub faults: Faults,
    /// Healthy readers with anything wrong.
    pub faulty_readers: u64,
    /// `tidegate.connected` events.
    pub connected: u64,
    /// Heartbeats of either kind.
    pub heartbeats: u64,
    /// `tidegate.gap` events.
    pub gaps: u64,
    /// `tidegate.goodbye` events.
    pub goodbyes: u64,
    /// Bytes that were read, framing and all.
    pub bytes: u64,
    /// Reads that brought something.
    pub reads: u64,
    /// When the first and the last event came, in Unix nanoseconds; 0 if none did.
    pub first_delivery: u64,
    /// See `first_delivery`.
    pub last_delivery: u64,
    /// From `connect` to the connection.
    pub connect: Times,
    /// From the request to the first byte of the response.
    pub first_byte: Times,
    /// From `connect` to the response's head.
    pub open: Times,
    /// From a publisher's clock in the event to its arrival.
    pub latency: Times,
    /// Between two events of one reader.
    pub interval: Times,
}

impl Outcome {
    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Delivery => self.deliveries += 1,
            Kind::Connected => self.connected += 1,
            Kind::Heartbeat => self.heartbeats += 1,
            Kind::Gap => self.gaps += 1,
            Kind::Goodbye => self.goodbyes += 1,
            Kind::Other => {}
        }
    }

    fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.coded += other.coded;
        self.readers += other.readers;
        self.stalled += other.stalled;
        self.failed.add(&other.failed);
        self.ended.add(&other.ended);
        self.left += other.left;
        self.deliveries += other.deliveries;
        self.unnumbered += other.unnumbered;
        self.faults.add(other.faults);
        self.faulty_readers += other.faulty_readers;
        self.connected += other.connected;
        self.heartbeats += other.heartbeats;
        self.gaps += other.gaps;
        self.goodbyes += other.goodbyes;
        self.bytes += other.bytes;
        self.reads += other.reads;
        if self.first_delivery == 0 || (1..self.first_delivery).contains(&other.first_delivery) {
            self.first_delivery = other.first_delivery;
        }
        self.last_delivery = self.last_delivery.max(other.last_delivery);
        self.connect.add(&other.connect);
        self.first_byte.add(&other.first_byte);
        self.open.add(&other.open);
        self.latency.add(&other.latency);
        self.interval.add(&other.interval);
    }
}

/// What the loops and their owner tell each other. Each loop adds its own differences, so that a
/// reading is at most one turn of a loop old.
#[derive(Debug, Default)]
struct Shared {
    wanted: AtomicUsize,
    settled: AtomicUsize,
    open: AtomicUsize,
    fresh: AtomicU64,
    stop: AtomicBool,
    /// How many events each room has had, once that is known.
    ends: OnceLock<Vec<u64>>,
}

/// Running readers.
#[derive(Debug)]
pub struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Outcome>>>,
}

impl Readers {
    /// Starts the threads; nobody connects before [`Readers::want`].
    ///
    /// # Errors
    /// When a thread or its epoll instance cannot be made.
    pub fn start(plan: &Plan) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let threads = (0..plan.threads.max(1))
            .map(|thread| {
                let swarm = swarm::Swarm::new(plan.clone(), thread, Arc::clone(&shared))?;
                std::thread::Builder::new()
                    .name(format!("readers-{thread}"))
                    .spawn(move || swarm.run())
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// Lets the first `readers` of the plan connect.
    pub fn want(&self, readers: usize) {
        self.shared.wanted.store(readers, Relaxed);
    }

    /// Readers whose first attempt has ended, well or badly.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.shared.settled.load(Relaxed)
    }

    /// Streams that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Relaxed)
    }

    /// Events received by healthy readers, repeated ones left out.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.fresh.load(Relaxed)
    }

    /// A thread has ended by itself: it failed, and [`Readers::finish`] says why.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends all streams and adds up what was seen. `published` is how many events each room has had;
    /// without it nobody is owed events that nothing came after.
    ///
    /// # Errors
    /// When a thread's epoll failed.
    pub fn finish(self, published: Option<Vec<u64>>) -> io::Result<Outcome> {
        if let Some(published) = published {
            // Set once, here.
            let _ = self.shared.ends.set(published);
        }
        self.shared.stop.store(true, Relaxed);
        let mut sum = Outcome::default();
        for thread in self.threads {
            let outcome =
                thread.join().map_err(|_| io::Error::other("a reader thread panicked"))??;
            sum.add(&outcome);
        }
        Ok(sum)
    }
}
