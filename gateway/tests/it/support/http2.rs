//! HTTP/2 as a test speaks it: streams of one connection, and their bytes as they come.

use std::net::SocketAddr;

use ::http::Request;
use ::http::request::Builder;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::PATIENCE;

/// A connection, by prior knowledge, that gives each stream a window of `window` bytes.
pub async fn connect(to: SocketAddr, window: u32) -> SendRequest<Bytes> {
    over(TcpStream::connect(to).await.expect("connected"), window).await
}

/// The same over what is connected already, a TLS session for example.
pub async fn over(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    window: u32,
) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    let (client, connection) =
        builder.initial_window_size(window).handshake(io).await.expect("a connection");
    tokio::spawn(connection);
    client.ready().await.expect("ready")
}

/// Asks for `path`.
pub fn get(client: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    let request = Request::get(format!("http://t{path}")).body(()).expect("a request");
    client.send_request(request, true).expect("sent").0
}

/// Sends a request's head and returns its answer to come and where its body goes.
pub fn begin(
    client: &mut SendRequest<Bytes>,
    request: Builder,
) -> (ResponseFuture, SendStream<Bytes>) {
    client.send_request(request.body(()).expect("a request"), false).expect("sent")
}

/// The next bytes of a body, whose window is given back; `None` at its clean end.
pub async fn data(body: &mut RecvStream) -> Option<Bytes> {
    loop {
        let data = timeout(PATIENCE, body.data()).await.expect("in time")?.expect("no reset");
        body.flow_control().release_capacity(data.len()).expect("released");
        // The end may come as a frame without bytes.
        if !data.is_empty() {
            return Some(data);
        }
    }
}
