//! Accepting connections: an own loop around hyper, since a gateway's sockets want small buffers,
//! deadlines on headers and writes, and an end that does not wait for open streams.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Places;
use super::refusal::Unanswered;
use crate::problem::{Problem, ProblemKind};
use crate::telemetry::metrics;

/// How many connections the kernel queues before they are accepted: a reconnect storm's worth.
const BACKLOG: i32 = 4096;
/// How long a sent byte may go unacknowledged. Small heartbeats fit the kernel's buffer and never
/// fail by themselves.
const USER_TIMEOUT: Duration = Duration::from_secs(25);
/// How often an idle connection is probed, so that a peer which vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The most that hyper buffers of a request's head, in bytes: several rooms with a signature each.
const HEAD_BYTES: usize = 64 * 1024;
/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How many streams one HTTP/2 connection may have open.
const HTTP2_STREAMS: u32 = 256;

/// What a listener's connections are held to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long a write may wait for the peer.
    pub write_timeout: Duration,
    /// How many connections there may be; beyond it they are closed unanswered.
    pub connections: Arc<Places>,
}

/// Binds `addr`.
///
/// # Errors
/// What the system says, with the address.
pub fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|error| anyhow::anyhow!("cannot listen on {addr}: {error}"))
}

/// Accepts until `closed` is true. Connections that are open then finish their request; streams
/// end by themselves.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    rules: Rules,
    mut closed: watch::Receiver<bool>,
    tracker: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: accepting at once again would spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = rules.connections.take() else {
            metrics::connection_refused(metrics::Refused::Sockets);
            continue;
        };
        let connection = connection(socket, router.clone(), rules.clone(), closed.clone());
        tracker.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(place);
        });
    }
}

fn set_options(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// Whether the client speaks HTTP/2 from the start. Looks without reading, so that whoever takes
/// the socket next finds it untouched.
async fn speaks_http2(socket: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; HTTP2_PREFACE.len()];
    loop {
        let count = socket.peek(&mut seen).await?;
        if count == 0 || !HTTP2_PREFACE.starts_with(&seen[..count]) {
            return Ok(false);
        }
        if count == seen.len() {
            return Ok(true);
        }
        // A part of the preface: the socket stays readable, so waiting for it would spin.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn connection(
    socket: TcpStream,
    router: Router,
    rules: Rules,
    mut closed: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    set_options(&socket)?;
    let http2 = tokio::time::timeout(rules.header_timeout, speaks_http2(&socket)).await;
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        // Boxed: hyper gives the socket back only where the request's future can be moved.
        Box::pin(async move {
            // The router itself cannot fail.
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            if response.extensions().get::<Unanswered>().is_some() {
                return Err(io::Error::other("too many refusals are held; closed unanswered"));
            }
            Ok(response)
        })
    });
    let Ok(http2) = http2 else {
        return say_timeout(socket, rules.header_timeout).await;
    };
    let io = TokioIo::new(WriteDeadline::new(socket, rules.write_timeout));
    if http2? {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(KEEPALIVE)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            _ = closed.wait_for(|closed| *closed) => connection.as_mut().graceful_shutdown(),
        }
        return Ok(connection.await?);
    }
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(rules.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(io, service);
    let mut until_closed = Some(Box::pin(async move {
        // An error means that the gateway is gone, which is as closed as can be.
        let _ = closed.wait_for(|closed| *closed).await;
    }));
    let ended = std::future::poll_fn(|cx| {
        if until_closed.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_ready()) {
            until_closed = None;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(cx)
    });
    let ended = ended.await;
    let socket = connection.into_parts().io.into_inner().inner;
    match ended {
        Err(error) if error.is_timeout() => say_timeout(socket, rules.header_timeout).await,
        ended => {
            let mut socket = socket;
            let shut = tokio::time::timeout(rules.write_timeout, socket.shutdown()).await;
            ended?;
            Ok(shut??)
        }
    }
}

/// Tells a client whose request's head did not come in time.
async fn say_timeout(mut socket: TcpStream, limit: Duration) -> anyhow::Result<()> {
    let detail = format!("the request's head did not arrive within {limit:?}");
    let body = Problem::new(ProblemKind::IdleTimeout, detail).to_json();
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let answer = [head.as_bytes(), &body].concat();
    tokio::time::timeout(limit, socket.write_all(&answer)).await??;
    tokio::time::timeout(limit, socket.shutdown()).await??;
    Ok(())
}

/// A socket whose writes fail when the peer takes nothing for too long. Without it a client that
/// has stopped reading holds its connection, and a drain, for ever.
struct WriteDeadline {
    inner: TcpStream,
    limit: Duration,
    /// Armed while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl WriteDeadline {
    fn new(inner: TcpStream, limit: Duration) -> Self {
        Self { inner, limit, waiting: None }
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
        metrics::send_failure(metrics::SendFailure::WriteTimeout);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncRead for WriteDeadline {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteDeadline {
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
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
