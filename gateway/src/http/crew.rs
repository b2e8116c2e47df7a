//! The threads that serve connections: each has a runtime of its own, and a connection stays with
//! the thread that it was given to.
//!
//! A runtime whose threads share their tasks wakes a second thread whenever the first has found
//! something to do, in case there is more. Requests here take microseconds: the waking costs more
//! than it gains.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The threads. They end when this is dropped, and cut what they still serve.
#[derive(Debug)]
pub struct Crew {
    runtimes: Box<[Handle]>,
    next: AtomicUsize,
    /// Its end is theirs.
    _until: watch::Sender<()>,
}

impl Crew {
    /// Starts so many threads.
    ///
    /// # Errors
    /// If the system gives no thread, or no descriptors.
    pub fn start(threads: usize) -> anyhow::Result<Self> {
        let until = watch::Sender::new(());
        let runtimes = (0..threads).map(|number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let mut until = until.subscribe();
            thread::Builder::new().name(format!("connections-{number}")).spawn(move || {
                // Nothing is ever sent: an error, and an end, is what is waited for.
                let _ = runtime.block_on(until.changed());
                runtime.shutdown_background();
            })?;
            Ok(handle)
        });
        let runtimes: io::Result<Box<[Handle]>> = runtimes.collect();
        let runtimes = runtimes.context("no thread to serve connections")?;
        Ok(Self { runtimes, next: AtomicUsize::new(0), _until: until })
    }

    /// Gives `socket` to the next thread.
    ///
    /// # Errors
    /// If that cannot wait for it.
    pub fn take(&self, socket: TcpStream) -> io::Result<(TcpStream, &Handle)> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let handle = &self.runtimes[turn % self.runtimes.len()];
        let socket = socket.into_std()?;
        let _inside = handle.enter();
        Ok((TcpStream::from_std(socket)?, handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn connections_are_served_in_turn_and_end_with_the_crew() {
        let crew = Crew::start(2).expect("threads");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let mut names = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = TcpStream::connect(addr).await.expect("a connection");
            let (socket, _) = listener.accept().await.expect("accepted");
            let (mut socket, handle) = crew.take(socket).expect("taken");
            let served = handle.spawn(async move {
                let name = thread::current().name().map(str::to_owned);
                socket.write_all(b"x").await.expect("written");
                (name.expect("a name"), socket)
            });
            let (name, socket) = served.await.expect("served");
            names.push(name);
            let mut byte = [0];
            client.read_exact(&mut byte).await.expect("what was written");
            handle.spawn(async move {
                // Until the crew goes.
                std::future::pending::<()>().await;
                drop(socket);
            });
            clients.push(client);
        }
        assert_eq!(names, ["connections-0", "connections-1", "connections-0", "connections-1"]);
        drop(crew);
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).await.expect("the end"), 0);
        }
    }
}
