//! One stream, read by hand, and one event, published by hand.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tidegate_faults::door::{Ask, Doors};
use tidegate_faults::reader::blocks::{Block, Blocks};
use tidegate_faults::wire::{Part, Wire};
use tidegate_swarm::sse::Kind;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open stream of a room.
#[derive(Debug)]
pub(crate) struct Stream {
    wire: Wire,
    blocks: Blocks,
    complete: VecDeque<Block>,
    /// Who serves it.
    pub(crate) pod: String,
}

impl Stream {
    /// Opens one through a door and waits until it stands.
    pub(crate) async fn open(doors: &Doors, door: usize, id: &str, kind: &str) -> Result<Self> {
        timeout(PATIENCE, Self::connect(doors, door, id, kind)).await.context("to subscribe")?
    }

    /// As [`Self::open`], and waits for ever.
    pub(crate) async fn connect(doors: &Doors, door: usize, id: &str, kind: &str) -> Result<Self> {
        let lines = doors.lines(door, &Ask { action: "subscribe", id, kind, user: "" });
        let mut wire = doors.connect(door).await?;
        let path = format!("/v1/subscribe/events/{id}/types/{kind}");
        let head = format!("GET {path} HTTP/1.1\r\n{lines}Accept: text/event-stream\r\n\r\n");
        wire.send(head.as_bytes()).await?;
        match wire.part().await? {
            Part::Head(head) if head.status == 200 && head.event_stream => {}
            other => bail!("no stream: {other:?}"),
        }
        let (blocks, complete) = (Blocks::default(), VecDeque::new());
        let mut stream = Self { wire, blocks, complete, pod: String::new() };
        loop {
            let block = stream.block().await?;
            if block.kind == Kind::Connected {
                let data: Value = serde_json::from_str(block.data.as_deref().unwrap_or_default())?;
                stream.pod = data["pod"].as_str().unwrap_or_default().to_owned();
                return Ok(stream);
            }
            ensure!(block.kind != Kind::Goodbye, "it says goodbye: {block:?}");
        }
    }

    /// The next block. Nothing is lost when this is given up in the middle.
    pub(crate) async fn block(&mut self) -> Result<Block> {
        loop {
            if let Some(block) = self.complete.pop_front() {
                return Ok(block);
            }
            match self.wire.part().await? {
                Part::Body(bytes) => {
                    let mut complete = Vec::new();
                    self.blocks.feed(&bytes, &mut complete);
                    self.complete.extend(complete);
                }
                Part::Head(_) => {}
                Part::End => bail!("the stream has ended"),
            }
        }
    }

    /// The `data` of the next event, whatever stands between.
    pub(crate) async fn event(&mut self) -> Result<Value> {
        loop {
            let block = self.block().await?;
            if let (Kind::Delivery, Some(data)) = (block.kind, &block.data) {
                let mut envelope: Value = serde_json::from_str(data)?;
                return Ok(envelope["data"].take());
            }
        }
    }
}

/// Publishes an event on a connection of its own.
pub(crate) async fn publish(
    doors: &Doors,
    door: usize,
    room: (&str, &str),
    data: &Value,
) -> Result<()> {
    let mut wire = doors.connect(door).await?;
    timeout(PATIENCE, publish_on(&mut wire, doors, door, room, data)).await.context("to publish")?
}

/// Publishes an event on a connection that stays.
pub(crate) async fn publish_on(
    wire: &mut Wire,
    doors: &Doors,
    door: usize,
    (id, kind): (&str, &str),
    data: &Value,
) -> Result<()> {
    let lines = doors.lines(door, &Ask { action: "publish", id, kind, user: "" });
    let body = json!({"data": data}).to_string();
    let request = format!(
        "POST /v1/sse/events/{id}/types/{kind} HTTP/1.1\r\n{lines}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    wire.send(request.as_bytes()).await?;
    let answer = wire.answer().await?;
    let said = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 200, "publish: {} {said}", answer.status);
    Ok(())
}

/// Publishes an event through one door and waits for it on a stream through another.
pub(crate) async fn round_trip(doors: &Doors, (to, from): (usize, usize), id: &str) -> Result<()> {
    let mut stream = Stream::open(doors, from, id, "Seen").await?;
    let data = json!({"seen": rand::random::<u32>()});
    publish(doors, to, (id, "Seen"), &data).await?;
    // Broadcasts come by as well.
    let seen = async {
        while stream.event().await? != data {}
        Ok::<_, anyhow::Error>(())
    };
    timeout(PATIENCE, seen).await.context("the event")?
}
