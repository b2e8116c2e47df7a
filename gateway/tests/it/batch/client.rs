//! A batch that is still open, over either version of HTTP.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::gateway::Gateway;
use crate::support::http::{PATIENCE, Wire};
use crate::support::http2;

/// How the client speaks.
#[derive(Debug, Clone, Copy)]
pub enum Version {
    Http1,
    Http2,
}

/// Both, for tests that hold for either.
pub const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

/// A batch that is still open.
pub struct Batch {
    way: Way,
    text: Vec<u8>,
}

enum Way {
    Http1(Wire),
    Http2 { lines: SendStream<Bytes>, answers: RecvStream },
}

impl Batch {
    /// Opens one on a connection of its own.
    pub async fn open(version: Version, gateway: &Gateway, path: &str) -> Self {
        match version {
            Version::Http1 => Self::open_http1(gateway, path).await,
            Version::Http2 => {
                let mut client = http2::connect(gateway.public(), 65_535).await;
                Self::open_on(&mut client, path).await
            }
        }
    }

    async fn open_http1(gateway: &Gateway, path: &str) -> Self {
        let mut wire = Wire::connect(gateway.public()).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\n\
             transfer-encoding: chunked\r\n\r\n"
        );
        wire.send(head.as_bytes()).await;
        let (status, head) = wire.head().await.expect("an answer before the body's end");
        assert_eq!(status, 200, "{head}");
        Self { way: Way::Http1(wire), text: Vec::new() }
    }

    /// Opens one as a stream of this connection.
    pub async fn open_on(client: &mut SendRequest<Bytes>, path: &str) -> Self {
        let request =
            Request::post(format!("http://t{path}")).header("content-type", "application/x-ndjson");
        let (answer, lines) = http2::begin(client, request);
        let answer = timeout(PATIENCE, answer).await.expect("before the body's end");
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        Self { way: Way::Http2 { lines, answers: answer.into_body() }, text: Vec::new() }
    }

    pub async fn send(&mut self, text: &str) {
        match &mut self.way {
            Way::Http1(wire) => {
                let chunk = format!("{:x}\r\n{text}\r\n", text.len());
                wire.send(chunk.as_bytes()).await;
            }
            Way::Http2 { lines, .. } => {
                lines.send_data(Bytes::copy_from_slice(text.as_bytes()), false).expect("sent");
            }
        }
    }

    pub async fn finish(&mut self) {
        match &mut self.way {
            Way::Http1(wire) => wire.send(b"0\r\n\r\n").await,
            Way::Http2 { lines, .. } => lines.send_data(Bytes::new(), true).expect("sent"),
        }
    }

    /// Resets the stream in the middle, as a client does that has lost interest.
    pub fn reset(mut self) {
        if let Way::Http2 { lines, .. } = &mut self.way {
            lines.send_reset(h2::Reason::CANCEL);
        }
    }

    /// The next answer; `None` at the end.
    pub async fn answer(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.text.drain(..=at).collect();
                return Some(serde_json::from_slice(&line).expect("JSON"));
            }
            match &mut self.way {
                Way::Http1(wire) => {
                    let chunk = timeout(PATIENCE, wire.chunk()).await.expect("in time")?;
                    self.text.extend(chunk);
                }
                Way::Http2 { answers, .. } => self.text.extend(http2::data(answers).await?),
            }
        }
    }
}
