//! A small HTTP/1.1 client over a bare socket: tests see the bytes as they come.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An answer with its whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A socket with what was read from it and not used yet.
pub struct Wire {
    pub socket: TcpStream,
    pub buffer: Vec<u8>,
}

impl Wire {
    pub async fn connect(to: SocketAddr) -> Self {
        let socket = timeout(PATIENCE, TcpStream::connect(to)).await.expect("in time");
        Self { socket: socket.expect("connected"), buffer: Vec::new() }
    }

    /// The same, of a client whose kernel takes little before it is read.
    pub async fn connect_small(to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let socket = timeout(PATIENCE, socket.connect(to)).await.expect("in time");
        Self { socket: socket.expect("connected"), buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("written");
    }

    /// Reads more; false at the end.
    pub async fn fill(&mut self) -> bool {
        self.socket.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0)
    }

    /// Reads to the first `until` and returns what lies before it; `None` if the end comes first.
    pub async fn take_until(&mut self, until: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(until.len()).position(|w| w == until) {
                let taken = self.buffer.drain(..at + until.len()).take(at).collect();
                return Some(taken);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    pub async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Reads a response's head: status and text.
    pub async fn head(&mut self) -> Option<(u16, String)> {
        let head = String::from_utf8(self.take_until(b"\r\n\r\n").await?).expect("ASCII");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Some((status, head))
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = String::from_utf8(self.take_until(b"\r\n").await?).expect("ASCII");
        let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
        let data = self.take(size).await?;
        assert_eq!(self.take(2).await?, b"\r\n", "a chunk ends with CRLF");
        (size > 0).then_some(data)
    }

    pub async fn answer(&mut self) -> Answer {
        let answer = async {
            let (status, head) = self.head().await.expect("an answer");
            let mut body = Vec::new();
            if let Some(length) = header(&head, "content-length") {
                body = self.take(length.parse().expect("a length")).await.expect("the body");
            } else if header(&head, "transfer-encoding") == Some("chunked") {
                while let Some(chunk) = self.chunk().await {
                    body.extend(chunk);
                }
            }
            Answer { status, head, body }
        };
        timeout(PATIENCE, answer).await.expect("an answer in time")
    }
}

fn lines(headers: &[(&str, &str)]) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

pub async fn get(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut wire = Wire::connect(to).await;
    let headers = lines(headers);
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n").as_bytes()).await;
    wire.answer().await
}

pub async fn post_json(to: SocketAddr, path: &str, body: &str) -> Answer {
    post(to, path, &[("content-type", "application/json")], body.as_bytes()).await
}

pub async fn post(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut wire = Wire::connect(to).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n{}\r\n",
        body.len(),
        lines(headers)
    );
    wire.send(head.as_bytes()).await;
    wire.send(body).await;
    wire.answer().await
}
