//! The hand-off: a stream over HTTP/1.1 without TLS leaves hyper when its head is written.
//!
//! hyper parses the request, the router answers it, and hyper writes the head. What it keeps beside
//! a stream after that (buffers, a state machine, boxed bodies) would be many times what the stream
//! itself is. So the body's first poll, which says that the head is in hyper's buffer, puts the
//! stream into the connection's [`Slot`]; when hyper has flushed, the socket is taken back and the
//! two of them go on as [`Handed`].
//!
//! HTTP/1.0, HTTP/2 and TLS keep an ordinary body over the same stream.

mod socket;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Version};
use http_body::Frame;
use parking_lot::Mutex;

pub(super) use self::socket::Handed;
use super::App;
use crate::connection::Connection;

/// A stream as the gateway serves it.
pub(super) type Stream = Connection<App>;

/// Where the stream of a connection waits until its head is flushed.
#[derive(Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Empty,
    /// The head is in hyper's buffer.
    HeadWritten(Stream),
    /// The head is the kernel's.
    HeadFlushed(Stream),
}

impl Slot {
    /// Offers the socket to whoever answers `request`, if the answer may leave hyper. A body would
    /// still have to be read, and of HTTP/1.0 no chunks are understood. The answer to HEAD has a
    /// head only.
    pub(super) fn offer<B: http_body::Body>(self: &Arc<Self>, request: &mut Request<B>) {
        if request.version() == Version::HTTP_11
            && request.method() == Method::GET
            && request.body().is_end_stream()
        {
            request.extensions_mut().insert(Offer(Arc::clone(self)));
        }
    }

    /// The stream whose head is flushed: from now on the socket is its own.
    pub(super) fn take(&self) -> Option<Stream> {
        let mut state = self.0.lock();
        match std::mem::take(&mut *state) {
            State::HeadFlushed(stream) => Some(stream),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Takes note that everything which was written to the socket is flushed. hyper flushes the
    /// socket only when its own buffer is empty.
    pub(super) fn flushed(&self) {
        let mut state = self.0.lock();
        *state = match std::mem::take(&mut *state) {
            State::HeadWritten(stream) => State::HeadFlushed(stream),
            other => other,
        };
    }
}

/// A connection's offer of its socket, in a request's extensions.
#[derive(Clone)]
pub(super) struct Offer(Arc<Slot>);

impl Offer {
    /// Makes `response`, whose body is nothing yet, the head of `stream`.
    pub(super) fn answer(self, mut response: Response, stream: Stream) -> Response {
        // The connection ends with the stream: a proxy must not use it again.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response.map(|_| Body::new(Waiting { stream: Some(stream), slot: self.0 }))
    }
}

/// The body of such an answer as hyper sees it: it never has anything.
struct Waiting {
    stream: Option<Stream>,
    slot: Arc<Slot>,
}

impl http_body::Body for Waiting {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(stream) = self.stream.take() {
            *self.slot.0.lock() = State::HeadWritten(stream);
        }
        Poll::Pending
    }
}
