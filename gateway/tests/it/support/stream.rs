//! An event stream as a test reads it: block by block, with deadlines, and the bytes as they are.

use std::net::SocketAddr;
use tokio::time::timeout;

use super::http::{PATIENCE, Wire};

/// One block of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: String,
    pub retry: Option<u64>,
    pub comment: bool,
}

impl Block {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn is_own(&self) -> bool {
        self.event.as_deref().is_some_and(|e| e.starts_with("tidegate."))
    }
}

/// An open stream.
pub struct Stream {
    wire: Wire,
    pub head: String,
    text: Vec<u8>,
    /// The last id that was seen, as an `EventSource` keeps it.
    pub last_id: Option<String>,
}

impl Stream {
    /// Opens a stream; panics unless it is answered with 200.
    pub async fn open(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::open_over(Wire::connect(to).await, path, headers).await
    }

    /// The same, over a connection that is there.
    pub async fn open_over(mut wire: Wire, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request =
            format!("GET {path} HTTP/1.1\r\nhost: t\r\naccept: text/event-stream\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.send(format!("{request}\r\n").as_bytes()).await;
        let (status, head) =
            timeout(PATIENCE, wire.head()).await.expect("in time").expect("an answer");
        assert_eq!(status, 200, "{head}\n{}", String::from_utf8_lossy(&wire.buffer));
        Self { wire, head, text: Vec::new(), last_id: None }
    }

    /// Opens a stream and reads its first block.
    pub async fn connect(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (Self, Block) {
        let mut stream = Self::open(to, path, headers).await;
        let first = stream.block().await.expect("a first block");
        assert_eq!(first.event.as_deref(), Some("tidegate.connected"), "{first:?}");
        (stream, first)
    }

    /// The next block; `None` at a clean end.
    pub async fn block(&mut self) -> Option<Block> {
        timeout(PATIENCE, self.read_block()).await.expect("a block in time")
    }

    async fn read_block(&mut self) -> Option<Block> {
        loop {
            if let Some(at) = self.text.windows(2).position(|w| w == b"\n\n") {
                let text: Vec<u8> = self.text.drain(..at + 2).collect();
                let block = parse(std::str::from_utf8(&text).expect("UTF-8"));
                if block.id.is_some() {
                    self.last_id.clone_from(&block.id);
                }
                return Some(block);
            }
            let chunk = self.wire.chunk().await?;
            self.text.extend(chunk);
        }
    }

    /// The next block that is not a heartbeat.
    pub async fn next(&mut self) -> Block {
        loop {
            let block = self.block().await.expect("the stream goes on");
            if block.event.as_deref() != Some("tidegate.heartbeat") && !block.comment {
                return block;
            }
        }
    }

    /// The `data` members of the next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<serde_json::Value> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let block = self.next().await;
            assert!(!block.is_own(), "{block:?}");
            taken.push(block.json()["data"].clone());
        }
        taken
    }

    /// Asserts that everything published so far was read: the next event is this marker's.
    pub async fn expect_data(&mut self, data: serde_json::Value) -> Block {
        let block = self.next().await;
        assert_eq!(block.json()["data"], data, "{block:?}");
        block
    }
}

/// Reads one block.
pub fn parse(text: &str) -> Block {
    let mut block = Block::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once(':').expect("a field") {
            ("", _) => block.comment = true,
            ("id", value) => block.id = Some(value.trim_start().to_owned()),
            ("event", value) => block.event = Some(value.trim_start().to_owned()),
            ("data", value) => block.data.push_str(value.trim_start()),
            ("retry", value) => block.retry = value.trim().parse().ok(),
            other => panic!("an unknown field: {other:?}"),
        }
    }
    block
}
