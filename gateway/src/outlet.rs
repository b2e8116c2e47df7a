//! Where a parked reader's bytes go: a socket's descriptor, beside the reader's place.
#![expect(
    unsafe_code,
    reason = "the number of a descriptor is used without a look at the socket that it belongs to, which lies in memory of its own: 0.17 of 5.6 µs that a delivery to one of a thousand readers takes (loadtest/results/2026-11-22-figures.md)"
)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::TcpStream;

/// What a parked reader's bytes are written to.
#[derive(Debug, Clone)]
pub struct Outlet {
    descriptor: RawFd,
    /// Keeps the descriptor open.
    owner: Owner,
}

#[derive(Debug, Clone)]
enum Owner {
    Socket(
        #[expect(dead_code, reason = "only held: not to look at it is what this is for")]
        Arc<TcpStream>,
    ),
    #[cfg(test)]
    Made(Arc<dyn Made>),
}

/// What a test has written to instead.
#[cfg(test)]
pub(crate) trait Made: std::fmt::Debug + Send + Sync {
    /// See [`Outlet::write`].
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Outlet {
    /// One that writes to `socket`, which does not block.
    #[must_use]
    pub fn new(socket: Arc<TcpStream>) -> Self {
        Self { descriptor: socket.as_raw_fd(), owner: Owner::Socket(socket) }
    }

    #[cfg(test)]
    pub(crate) fn made(made: Arc<dyn Made>) -> Self {
        Self { descriptor: -1, owner: Owner::Made(made) }
    }

    /// Writes what is taken at once, and never waits. tokio is not asked whether the socket takes more,
    /// and not told if it does not: its task finds out when it looks.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is taken now; any other if nothing ever will be.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.owner {
            Owner::Socket(_) => {
                // SAFETY: the descriptor is that of the socket which `owner` keeps, and a `TcpStream`
                // keeps its own until it is dropped: it is open as long as `self` is borrowed.
                let socket = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
                SockRef::from(&socket).send(bytes)
            }
            #[cfg(test)]
            Owner::Made(made) => made.write(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_go_to_the_socket_until_it_takes_no_more_and_never_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut client, (socket, _)) = (client.expect("a client"), accepted.expect("a socket"));
        let outlet = Outlet::new(Arc::new(socket));
        assert_eq!(outlet.write(b"abc").expect("taken"), 3);
        let mut got = [0; 3];
        client.read_exact(&mut got).await.expect("it is here");
        assert_eq!(&got, b"abc");
        // Nobody reads: the kernel takes so much and no more.
        let block = vec![b'x'; 1 << 20];
        let refused = std::iter::repeat_with(|| outlet.write(&block)).find_map(Result::err);
        assert_eq!(refused.expect("it is full").kind(), io::ErrorKind::WouldBlock);
        drop(client);
        let gone = |outlet: &Outlet| {
            outlet.write(b"x").is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock)
        };
        while !gone(&outlet) {
            tokio::task::yield_now().await;
        }
        // The socket is open for as long as somebody may write to it.
        drop(outlet);
    }
}
