//! Accepting connections: an own loop around hyper, since a gateway's sockets want small buffers,
//! deadlines on headers and writes, and an end that does not wait for open streams.

mod deadline;
mod served;
mod streams;
#[cfg(target_os = "linux")]
mod unsent;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use self::deadline::WriteDeadline;
use self::served::Served;
use self::streams::{Activity, Steps, Streams};
use super::Places;
use super::crew::Crew;
use super::handoff::{Handed, Slot, Stream};
use super::peer::Hop;
use super::refusal::Unanswered;
use super::tls::ALPN_HTTP2;
use crate::disconnect::Stalled;
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
/// How long an HTTP/2 connection may have no request open between two. Over HTTP/1.1 that is the
/// time for the next request's head.
const HTTP2_IDLE: Duration = Duration::from_secs(60);

/// What a listener's connections are held to.
#[derive(Clone)]
pub struct Rules {
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long a write may wait for the peer.
    pub write_timeout: Duration,
    /// How many connections there may be; beyond it they are closed unanswered.
    pub connections: Arc<Places>,
    /// What shakes hands, if TLS is spoken. A handshake has the time of a head.
    pub tls: Option<TlsAcceptor>,
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

/// Accepts until `closed` is true, and gives connections to `crew`. Those that are open then finish
/// their request; streams end by themselves.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    rules: Rules,
    mut closed: watch::Receiver<bool>,
    tracker: TaskTracker,
    crew: Arc<Crew>,
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
        let (socket, handle) = match crew.take(socket) {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%peer, %error, "a connection could not be served");
                continue;
            }
        };
        let requests = requests(socket, peer, router.clone(), rules.clone(), closed.clone());
        tracker.spawn_on(Served::new(requests, peer, place), handle);
    }
}

fn set_options(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    if let Err(error) = unsent::limit(socket) {
        tracing::debug!(%error, "what the kernel holds for a client is not limited");
    }
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

/// Answers a connection's requests, up to one that is a stream for which the socket leaves hyper.
async fn requests(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    rules: Rules,
    closed: watch::Receiver<bool>,
) -> anyhow::Result<Option<Handed>> {
    set_options(&socket)?;
    let mut site =
        Site { router, peer: Hop::new(peer.ip()), stalled: Stalled::default(), slot: None };
    match rules.tls.clone() {
        None => {
            let http2 = tokio::time::timeout(rules.header_timeout, speaks_http2(&socket)).await;
            let mut socket = WriteDeadline::new(socket, rules.write_timeout, site.stalled.clone());
            match http2 {
                Ok(Ok(false)) => {
                    let write_timeout = rules.write_timeout;
                    let slot: Arc<Slot> = Arc::default();
                    socket.tell(Arc::clone(&slot));
                    site.slot = Some(slot);
                    let handed = speak_http1(socket, site, rules, closed).await?;
                    return Ok(handed.map(|(stream, socket, early)| {
                        Handed::new(stream, socket.into_inner(), early, write_timeout)
                    }));
                }
                Ok(http2) => speak(socket, http2?, site, rules, closed).await?,
                Err(_) => say_timeout(socket, rules.header_timeout).await?,
            }
        }
        // Boxed: connections in cleartext would be as large as those with a session.
        Some(tls) => Box::pin(over_tls(socket, &tls, site, rules, closed)).await?,
    }
    Ok(None)
}

/// Shakes hands and speaks what was agreed on.
async fn over_tls(
    socket: TcpStream,
    tls: &TlsAcceptor,
    site: Site,
    rules: Rules,
    closed: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let handshake = async {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            // A probe that only looks whether somebody listens is no handshake that failed.
            return Ok(None);
        }
        if first[0].is_ascii_uppercase() {
            say_https(socket).await?;
            return Err(io::Error::other("HTTP without TLS"));
        }
        let stalled = site.stalled.clone();
        tls.accept(WriteDeadline::new(socket, rules.write_timeout, stalled)).await.map(Some)
    };
    let shaken = match tokio::time::timeout(rules.header_timeout, handshake).await {
        Ok(shaken) => shaken,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")),
    };
    match shaken {
        Ok(None) => Ok(()),
        Ok(Some(session)) => {
            let http2 = session.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
            speak(session, http2, site, rules, closed).await
        }
        Err(error) => {
            metrics::connection_refused(metrics::Refused::Tls);
            Err(error.into())
        }
    }
}

/// Serves one connection, whatever carries it.
async fn speak<S>(
    socket: S,
    http2: bool,
    site: Site,
    rules: Rules,
    closed: watch::Receiver<bool>,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match http2 {
        true => speak_http2(socket, site, rules, closed).await,
        false => speak_http1(socket, site, rules, closed).await.map(drop),
    }
}

/// What a connection's requests are answered with.
#[derive(Clone)]
struct Site {
    router: Router,
    peer: Hop,
    stalled: Stalled,
    /// Where a stream may wait for the socket, if it may have that.
    slot: Option<Arc<Slot>>,
}

impl Site {
    async fn answer(self, mut request: Request<Incoming>) -> io::Result<Response> {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.stalled);
        if let Some(slot) = &self.slot {
            slot.offer(&mut request);
        }
        // The router itself cannot fail.
        let Ok(response) = self.router.oneshot(request.map(Body::new)).await;
        if response.extensions().get::<Unanswered>().is_some() {
            return Err(io::Error::other("too many refusals are held; closed unanswered"));
        }
        Ok(response)
    }
}

async fn speak_http2<S>(
    socket: S,
    site: Site,
    rules: Rules,
    mut closed: watch::Receiver<bool>,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Activity::new();
    let streams = Streams { activity: Arc::clone(&activity), write_timeout: rules.write_timeout };
    let service = service_fn(move |request| {
        let answer = site.clone().answer(request);
        async { answer.await.map(|response| response.map(Steps::new)) }
    });
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        // Also what ends a head in parts: no frame may come between them, not even an answer.
        .keep_alive_interval(KEEPALIVE)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        _ = closed.wait_for(|closed| *closed) => {}
        () = activity.idle(rules.header_timeout, HTTP2_IDLE) => {
            anyhow::ensure!(activity.served(), "no request within {:?}", rules.header_timeout);
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection.as_mut() => Ok(ended?),
        // A client that does not go when it is asked to.
        () = activity.idle(rules.header_timeout, rules.header_timeout) => Ok(()),
    }
}

/// Serves one connection, up to its end or to a stream that it is handed to. Of the latter also
/// says how many bytes the client had sent beyond its request.
async fn speak_http1<S>(
    socket: S,
    site: Site,
    rules: Rules,
    mut closed: watch::Receiver<bool>,
) -> anyhow::Result<Option<(Stream, S, usize)>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let slot = site.slot.clone();
    // Boxed: hyper gives the socket back only where the request's future can be moved.
    let service = service_fn(move |request| Box::pin(site.clone().answer(request)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(rules.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut until_closed = Some(Box::pin(async move {
        // An error means that the gateway is gone, which is as closed as can be.
        let _ = closed.wait_for(|closed| *closed).await;
    }));
    let ended = std::future::poll_fn(|cx| {
        if until_closed.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_ready()) {
            until_closed = None;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match (connection.poll_without_shutdown(cx), &slot) {
            (Poll::Pending, Some(slot)) => {
                slot.take().map_or(Poll::Pending, |s| Poll::Ready(Ok(Some(s))))
            }
            (ended, _) => ended.map_ok(|()| None),
        }
    });
    let ended = ended.await;
    let parts = connection.into_parts();
    let mut socket = parts.io.into_inner();
    match ended {
        Ok(Some(stream)) => Ok(Some((stream, socket, parts.read_buf.len()))),
        Ok(None) => {
            tokio::time::timeout(rules.write_timeout, socket.shutdown()).await??;
            Ok(None)
        }
        Err(error) if error.is_timeout() => {
            say_timeout(socket, rules.header_timeout).await?;
            Ok(None)
        }
        // Nothing more is written: a client that takes nothing would be waited for once more.
        Err(error) => Err(error.into()),
    }
}

/// Tells a client whose request's head did not come in time.
async fn say_timeout(mut socket: impl AsyncWrite + Unpin, limit: Duration) -> anyhow::Result<()> {
    let detail = format!("the request's head did not arrive within {limit:?}");
    let answer = last_words("408 Request Timeout", &Problem::new(ProblemKind::IdleTimeout, detail));
    tokio::time::timeout(limit, socket.write_all(&answer)).await??;
    tokio::time::timeout(limit, socket.shutdown()).await??;
    Ok(())
}

/// Tells a client that speaks HTTP where TLS is spoken, which would look like rubbish to it.
async fn say_https(mut socket: TcpStream) -> io::Result<()> {
    // Read, or closing resets the connection, and with it the answer.
    let _ = socket.read(&mut [0; 4096]).await?;
    let problem = Problem::new(ProblemKind::BadRequest, "this port speaks TLS; use https");
    socket.write_all(&last_words("400 Bad Request", &problem)).await?;
    socket.shutdown().await
}

/// A response that ends its connection.
fn last_words(status: &str, problem: &Problem) -> Vec<u8> {
    let body = problem.to_json();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}
