//! The least server that can serve these streams: one thread, one epoll, a table of sockets.
//!
//! It checks nothing, keeps nothing and never resumes; what a gateway costs above it is what its
//! features cost. A room is a bounded log of bytes and a reader a place in it. The plain variant
//! writes to every reader at every event; the batched one once per turn of the loop, all that is
//! pending for a reader in one write.

mod client;
mod room;
mod server;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

/// How the floor serves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// One write for everything pending instead of one per delivery.
    pub batched: bool,
    /// How far a reader of a room may lag in bytes; then it is cut.
    pub ring_bytes: usize,
    /// Connections that are held at a time; more are closed unanswered.
    pub connections: usize,
    /// Rooms that are kept; requests for more are closed unanswered.
    pub rooms: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { batched: false, ring_bytes: 4 * 1024 * 1024, connections: 100_000, rooms: 100_000 }
    }
}

/// What a floor did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events that were published.
    pub events: u64,
    /// Writes to readers.
    pub writes: u64,
    /// Readers that were cut because they lagged too far.
    pub cut: u64,
}

/// A running floor.
#[derive(Debug)]
pub struct Floor {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: mio::Waker,
    thread: JoinHandle<io::Result<Outcome>>,
}

impl Floor {
    /// Listens and serves on a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(addr: SocketAddr, options: Options) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let server = server::Server::new(addr, options, Arc::clone(&stop))?;
        let (addr, waker) = (server.addr()?, server.waker()?);
        let thread = std::thread::Builder::new().name("floor".into()).spawn(|| server.run())?;
        Ok(Self { addr, stop, waker, thread })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the loop fails.
    ///
    /// # Errors
    /// What epoll said.
    pub fn wait(self) -> io::Result<Outcome> {
        self.thread.join().map_err(|_| io::Error::other("the floor panicked"))?
    }

    /// Ends all connections and the thread.
    ///
    /// # Errors
    /// What epoll said, if the loop had failed.
    pub fn stop(self) -> io::Result<Outcome> {
        self.stop.store(true, Relaxed);
        self.waker.wake()?;
        self.wait()
    }
}
