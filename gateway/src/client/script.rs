//! A server that answers its connections, one after the other, as a script says: for what no real
//! gateway can be made to do at a chosen byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes: who waits so long has found a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does with one connection.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Writes this and ends the connection.
    End(String),
    /// Writes this and keeps the connection open, silently.
    Silence(String),
    /// Takes the request and ends the connection without a byte.
    Nothing,
}

impl Answer {
    /// An event stream whose end is the connection's.
    pub(crate) fn stream(events: &str) -> Self {
        Self::End(stream_head() + events)
    }

    /// An event stream that is announced to go on where it ends: a cut.
    pub(crate) fn cut(events: &str) -> Self {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        Self::End(format!("{head}{:x}\r\n{events}", events.len() + 100))
    }

    /// An event stream that stays open.
    pub(crate) fn quiet_stream(events: &str) -> Self {
        Self::Silence(stream_head() + events)
    }

    /// An answer with a body, closing.
    pub(crate) fn status(status: &str, headers: &str, body: &str) -> Self {
        Self::End(format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    /// A problem as the gateway writes it.
    pub(crate) fn problem(status: &str, name: &str) -> Self {
        let body = format!(r#"{{"type":"urn:tidegate:problem:{name}","detail":"the {name}"}}"#);
        Self::status(status, "Content-Type: application/problem+json\r\nRetry-After: 0\r\n", &body)
    }
}

fn stream_head() -> String {
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
        .to_owned()
}

/// The server. It refuses connections once its script is done.
#[derive(Debug)]
pub(crate) struct Script {
    addr: SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl Script {
    pub(crate) async fn play(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (seen, requests) = mpsc::channel(answers.len().max(1));
        tokio::spawn(async move {
            let mut open = Vec::new();
            for answer in answers {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let request = read_request(&mut socket).await;
                // The test may have seen enough.
                let _ = seen.send(request).await;
                match answer {
                    Answer::End(text) => {
                        socket.write_all(text.as_bytes()).await.expect("a reader");
                    }
                    Answer::Silence(text) => {
                        socket.write_all(text.as_bytes()).await.expect("a reader");
                        open.push(socket);
                    }
                    Answer::Nothing => {}
                }
            }
            drop(listener);
            // Sockets left open live as long as the test's runtime.
            std::future::pending::<()>().await;
        });
        Self { addr, requests }
    }

    pub(crate) fn base(&self) -> reqwest::Url {
        super::address::parse_base(&format!("http://{}", self.addr)).expect("an address")
    }

    /// The next request, its head in lower case, with its body.
    pub(crate) async fn request(&mut self) -> String {
        timeout(PATIENCE, self.requests.recv())
            .await
            .expect("a request in time")
            .expect("a request")
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                return format!("{head}\r\n\r\n{body}");
            }
        }
        let read = socket.read_buf(&mut bytes).await.expect("a request");
        assert!(read > 0, "the request ends early: {bytes:?}");
    }
}
