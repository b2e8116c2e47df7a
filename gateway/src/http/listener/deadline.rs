//! Writes that fail when the peer takes nothing for too long.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::disconnect::Stalled;
use crate::http::handoff::Slot;
use crate::telemetry::metrics;

/// A socket whose writes fail when the peer takes nothing for too long. Without it a client that
/// has stopped reading holds its connection, and a drain, for ever.
///
/// It lies below TLS: a record that cannot be written is what waits there, a handshake's too.
pub(super) struct WriteDeadline<S> {
    inner: S,
    limit: Duration,
    /// Set when it has come to that.
    stalled: Stalled,
    /// Armed while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Told when what was written is flushed.
    slot: Option<Arc<Slot>>,
}

impl<S> WriteDeadline<S> {
    /// Lets a write to `inner` wait for `limit`.
    pub(super) fn new(inner: S, limit: Duration, stalled: Stalled) -> Self {
        Self { inner, limit, stalled, waiting: None, slot: None }
    }

    /// From now on tells `slot` when what was written is flushed.
    pub(super) fn tell(&mut self, slot: Arc<Slot>) {
        self.slot = Some(slot);
    }

    /// The socket, without its deadline.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    fn check<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.waiting = None;
            return wrote;
        }
        let deadline = Instant::now() + self.limit;
        let waiting =
            self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(waiting.as_mut().poll(cx));
        self.stalled.set();
        metrics::send_failure(metrics::SendFailure::WriteTimeout);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.check(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.check(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        if let Some(slot) = &self.slot {
            slot.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
