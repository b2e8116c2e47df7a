//! A stream that has its socket for itself.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Stream;
use crate::outlet::Outlet;

/// The most bytes that a client may send after its request, in all. There is nothing to say on a
/// stream; what comes is thrown away, and who goes on sending is cut.
const DISCARD_BYTES: usize = 64 * 1024;
/// How much of that is read at once, in bytes.
const DISCARD_STEP: usize = 4 * 1024;
/// The most pieces of one write: an event is one, or two with an `id:` line of the reader's own.
const PIECES: usize = 128;

/// A stream and its socket. Ends when either does; cleaning up is dropping it.
pub(in crate::http) struct Handed {
    stream: Stream,
    /// Shared with the fan-out while the stream waits for nothing but events.
    socket: Arc<TcpStream>,
    write_timeout: Duration,
    /// Since when the client takes nothing of what is pending.
    blocked_since: Option<Instant>,
    /// How many bytes the client has sent since its request.
    discarded: usize,
}

impl Handed {
    /// `stream` on `socket`, whose client had sent `early` more bytes than its request.
    pub(in crate::http) fn new(
        stream: Stream,
        socket: TcpStream,
        early: usize,
        write_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            socket: Arc::new(socket),
            write_timeout,
            blocked_since: None,
            discarded: early,
        }
    }

    /// Waits until the client is gone, and says how. What it sends is thrown away.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if self.discarded > DISCARD_BYTES {
                return Poll::Ready(io::Error::other("it sends and sends"));
            }
            if let Err(error) = ready!(self.socket.poll_read_ready(cx)) {
                return Poll::Ready(error);
            }
            match self.socket.try_read(&mut [0; DISCARD_STEP]) {
                // Who has closed its side reads no longer either: nobody reads a stream half.
                Ok(0) => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => self.discarded += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(error),
            }
        }
    }

    /// Writes until the stream is over, and then that there is no more. While the stream waits it is
    /// left to the fan-out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.stream.poll_pending(cx) {
                Poll::Ready(None) => {
                    return Poll::Ready(SockRef::from(&*self.socket).shutdown(Shutdown::Write));
                }
                Poll::Ready(Some(pending)) => {
                    let blocked_since = &mut self.blocked_since;
                    match poll_write_pending(&self.socket, pending, blocked_since, cx) {
                        Poll::Ready(Ok(())) if self.stream.waits() => {}
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return self.poll_blocked(cx),
                    }
                }
                Poll::Pending => {}
            }
            self.stream.park(Outlet::new(Arc::clone(&self.socket)));
            return Poll::Pending;
        }
    }

    /// Waits for a client that does not take what is pending.
    fn poll_blocked(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        ready!(self.stream.poll_blocked(cx, since + self.write_timeout));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl Future for Handed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match self.poll_gone(cx) {
            Poll::Ready(error) => Err(error),
            Poll::Pending => ready!(self.poll_write(cx)),
        };
        if let Err(error) = ended {
            // The kernel gives up as well on a client that takes nothing (TCP_USER_TIMEOUT).
            if error.kind() == io::ErrorKind::TimedOut && self.blocked_since.is_some() {
                self.stream.stalled();
            }
            tracing::debug!(%error, "a stream's client is gone");
        }
        Poll::Ready(())
    }
}

/// Writes all that is pending, in one call if the kernel takes it. What it does not take stays in
/// front, so nothing comes between the two parts of a chunk.
fn poll_write_pending(
    socket: &TcpStream,
    pending: &mut VecDeque<Bytes>,
    blocked_since: &mut Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while let Some(first) = pending.front() {
        ready!(socket.poll_write_ready(cx))?;
        let wrote = if pending.len() == 1 {
            socket.try_write(first)
        } else {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let used = pieces.iter_mut().zip(pending.iter());
            let count = used.map(|(piece, bytes)| *piece = IoSlice::new(bytes)).count();
            socket.try_write_vectored(&pieces[..count])
        };
        let wrote = match wrote {
            // It is no longer ready, and the next look waits until it is.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            wrote => wrote?,
        };
        if wrote == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *blocked_since = None;
        advance(pending, wrote);
    }
    // An idle stream holds no buffer.
    *pending = VecDeque::new();
    Poll::Ready(Ok(()))
}

/// Takes what was written from the front.
fn advance(pending: &mut VecDeque<Bytes>, mut wrote: usize) {
    while let Some(first) = pending.front_mut() {
        if wrote < first.len() {
            first.advance(wrote);
            return;
        }
        wrote -= first.len();
        pending.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_goes_from_the_front_whole_or_in_part() {
        let pieces = [&b"abc"[..], b"de", b"f"];
        for wrote in 0..=6 {
            let mut pending: VecDeque<Bytes> = pieces.map(Bytes::from_static).into();
            advance(&mut pending, wrote);
            let rest: Vec<u8> = pending.iter().flatten().copied().collect();
            assert_eq!(rest, &b"abcdef"[wrote..]);
            assert!(pending.iter().all(|piece| !piece.is_empty()));
        }
    }
}
