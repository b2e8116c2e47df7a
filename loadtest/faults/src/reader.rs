//! A reader that comes back as a browser's `EventSource` does: after what the server said last as
//! `retry:`, with the last id it had, to whatever gateway it is sent to.

pub mod blocks;
pub mod book;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tidegate_swarm::sse::Kind;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::blocks::{Block, Blocks};
use self::book::Book;
use crate::door::{Ask, Doors};
use crate::plan::{ReaderPlan, Series};
use crate::wire::Part;

/// How long the head of an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Before the server has said anything: what browsers wait.
const UNTOLD_RETRY: Duration = Duration::from_secs(3);
/// So many heartbeats may be missed before the connection is given up.
const MISSED_HEARTBEATS: u32 = 3;
/// Until the first block has said how often the heart beats.
const UNTOLD_HEARTBEAT: Duration = Duration::from_secs(5);

/// What readers are told besides what they read.
#[derive(Debug, Clone)]
pub struct Orders {
    /// While it holds, nothing is read.
    pub frozen: watch::Receiver<bool>,
    /// At each change they leave, and come back as after any other end.
    pub leave: watch::Receiver<u32>,
}

/// One reader.
#[derive(Debug)]
pub struct Reader {
    plan: ReaderPlan,
    series: Arc<[Series]>,
    doors: Arc<Doors>,
    book: Arc<Mutex<Book>>,
    orders: Orders,
    rng: StdRng,
    last_id: String,
    retry: Duration,
    heartbeat: Duration,
}

impl Reader {
    /// One that has not begun.
    #[must_use]
    pub fn new(
        plan: ReaderPlan,
        series: Arc<[Series]>,
        doors: Arc<Doors>,
        orders: Orders,
        seed: u64,
    ) -> Self {
        Self {
            book: Arc::new(Mutex::new(Book::new(&plan))),
            plan,
            series,
            doors,
            orders,
            rng: StdRng::seed_from_u64(seed),
            last_id: String::new(),
            retry: UNTOLD_RETRY,
            heartbeat: UNTOLD_HEARTBEAT,
        }
    }

    /// Its account.
    #[must_use]
    pub fn book(&self) -> Arc<Mutex<Book>> {
        Arc::clone(&self.book)
    }

    fn note(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads for ever.
    pub async fn run(mut self) {
        loop {
            let door = self.doors.pick(&mut self.rng);
            let mut leave = self.orders.leave.clone();
            leave.mark_unchanged();
            // However it ends, there is a next one.
            tokio::select! {
                _ = self.connection(door) => {}
                // Fails when nobody can say so any more.
                Ok(()) = leave.changed() => {}
            }
            sleep(self.retry).await;
        }
    }

    async fn connection(&mut self, door: usize) -> io::Result<()> {
        let ReaderPlan { path, room: (id, kind), user, .. } = &self.plan;
        let lines = self.doors.lines(door, &Ask { action: "subscribe", id, kind, user });
        let mut request = format!("GET {path} HTTP/1.1\r\n{lines}Accept: text/event-stream\r\n");
        if !self.last_id.is_empty() {
            request.push_str(&format!("Last-Event-ID: {}\r\n", self.last_id));
        }
        request.push_str("\r\n");
        let mut wire = self.doors.connect(door).await?;
        wire.send(request.as_bytes()).await?;
        let Part::Head(head) = timeout(ANSWER, wire.part()).await?? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if self.doors.door(door).proxied && matches!(head.status, 502..=504) {
            self.note().turn_away(head.status);
            return Ok(());
        }
        if head.status != 200 || !head.event_stream {
            self.note().surprise(format!("{} ends an EventSource for good", head.status));
            return Ok(());
        }
        {
            let mut book = self.note();
            book.connected += 1;
            if book.connected > 1 {
                book.reconnects.push(tokio::time::Instant::now());
            }
        }
        let mut blocks = Blocks::default();
        let mut complete = Vec::new();
        loop {
            // Fails when nobody can freeze it any more.
            let _ = self.orders.frozen.wait_for(|frozen| !frozen).await;
            match timeout(self.heartbeat * MISSED_HEARTBEATS, wire.part()).await?? {
                Part::Body(bytes) => blocks.feed(&bytes, &mut complete),
                Part::Head(_) => {}
                Part::End => return Ok(()),
            }
            for block in complete.drain(..) {
                self.take(block, door);
            }
        }
    }

    fn take(&mut self, block: Block, door: usize) {
        if let Some(retry) = block.retry {
            self.retry = retry;
        }
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.hear();
        if let Some(data) = &block.data {
            let said = |name: &str| -> serde_json::Value {
                let said: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
                said[name].clone()
            };
            match block.kind {
                Kind::Delivery => book.event(data, &self.series),
                Kind::Connected => {
                    let every = said("heartbeat_ms").as_u64().map(Duration::from_millis);
                    self.heartbeat = every.unwrap_or(UNTOLD_HEARTBEAT);
                    let pod = said("pod").as_str().unwrap_or("unnamed").to_owned();
                    book.arrive(pod, said("start") == "resume");
                }
                Kind::Gap => {
                    book.gap(said("reason").as_str().unwrap_or("unnamed").to_owned(), door);
                }
                Kind::Goodbye => {
                    let reason = said("reason").as_str().unwrap_or("unnamed").to_owned();
                    *book.goodbyes.entry(reason).or_default() += 1;
                }
                Kind::Heartbeat => {}
                Kind::Other => book.surprise(format!("an unknown event: {block:?}")),
            }
        }
        if let Some(id) = block.id {
            self.last_id = id;
            (book.has_cursor, book.cursor_since) = (true, book.heard);
        }
    }
}
