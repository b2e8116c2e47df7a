//! A connection as the runtime sees it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::http::Place;
use crate::http::handoff::Handed;

/// A connection's requests, and the stream that the socket was handed to by the last of them.
///
/// Written by hand, so that a stream is as small as it can be: what serves requests is in a box of
/// its own, gone when they are.
pub(super) struct Served<R> {
    now: Now<R>,
    peer: SocketAddr,
    _place: Place,
}

#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what a connection is for hours; in a box it would be two allocations"
)]
enum Now<R> {
    Requests(Pin<Box<R>>),
    Stream(Handed),
}

impl<R> Served<R>
where
    R: Future<Output = anyhow::Result<Option<Handed>>>,
{
    /// Serves `requests`. `place` is given back at the end.
    pub(super) fn new(requests: R, peer: SocketAddr, place: Place) -> Self {
        Self { now: Now::Requests(Box::pin(requests)), peer, _place: place }
    }
}

impl<R> Future for Served<R>
where
    R: Future<Output = anyhow::Result<Option<Handed>>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let peer = self.peer;
        loop {
            match &mut self.now {
                Now::Stream(stream) => return Pin::new(stream).poll(cx),
                Now::Requests(requests) => match ready!(requests.as_mut().poll(cx)) {
                    Ok(Some(stream)) => self.now = Now::Stream(stream),
                    Ok(None) => return Poll::Ready(()),
                    Err(error) => {
                        tracing::debug!(%peer, %error, "connection ended");
                        return Poll::Ready(());
                    }
                },
            }
        }
    }
}
