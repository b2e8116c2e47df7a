//! A sink that remembers what it was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tidegate::cursor::{Offset, Position, Shard, Tag};
use tidegate::log::record::{Record, field};
use tidegate::log::{KeysOnly, Sink, Source};
use tokio::time::Instant;

/// A record that was handed on.
#[derive(Debug, Clone)]
pub struct Seen {
    pub shard: Shard,
    pub offset: Offset,
    pub timestamp: i64,
    pub tag: Tag,
    pub key: String,
    pub message_id: String,
    pub value: String,
    /// Handed on before everything was that had been there at the start.
    pub caught_up: bool,
}

/// What a sink was told.
#[derive(Debug, Default)]
pub struct Told {
    pub sources: Vec<Vec<Source>>,
    pub starts: Vec<(Shard, Position, Offset)>,
    pub records: Vec<Seen>,
    pub lag: BTreeMap<(String, u32), u64>,
    pub caught_up: Option<Instant>,
    pub reachable: Vec<Result<(), String>>,
    pub sources_read: Vec<Result<(), String>>,
}

impl Told {
    /// The values of one key, in the order in which they came.
    pub fn values_of(&self, key: &str) -> Vec<String> {
        self.records.iter().filter(|r| r.key == key).map(|r| r.value.clone()).collect()
    }

    /// How often a message was handed on.
    pub fn times(&self, message_id: &str) -> usize {
        self.records.iter().filter(|r| r.message_id == message_id).count()
    }

    pub fn is_reachable(&self) -> bool {
        matches!(self.reachable.last(), Some(Ok(())))
    }

    /// The last reason why not.
    pub fn unreachable(&self) -> Option<&str> {
        self.reachable.last()?.as_ref().err().map(String::as_str)
    }

    /// That within each start of a shard offsets go up and begin at or after it.
    pub fn assert_in_order(&self) {
        let mut next: BTreeMap<Shard, Offset> = BTreeMap::new();
        for record in &self.records {
            let least = next.insert(record.shard, record.offset.next()).unwrap_or_default();
            assert!(record.offset >= least, "{record:?} came after {least}");
        }
    }
}

/// A sink that remembers. Clones share their memory.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    told: Arc<Mutex<Told>>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

/// Opens the gate when it is dropped.
#[derive(Debug)]
pub struct StandingStill(Arc<Gate>);

impl Drop for StandingStill {
    fn drop(&mut self) {
        *self.0.closed.lock() = false;
        self.0.opened.notify_all();
    }
}

impl Recording {
    /// What it was told so far.
    pub fn told<T>(&self, read: impl FnOnce(&Told) -> T) -> T {
        read(&self.told.lock())
    }

    /// While it is held no record is taken: the log's thread stands still, as in a frozen process.
    pub fn stand_still(&self) -> StandingStill {
        *self.gate.closed.lock() = true;
        StandingStill(Arc::clone(&self.gate))
    }
}

impl Sink for Recording {
    fn sources(&mut self, sources: &[Source]) {
        self.told.lock().sources.push(sources.to_vec());
    }

    fn start(&mut self, shard: Shard, from: Position, log_start: Offset, _: Option<KeysOnly>) {
        self.told.lock().starts.push((shard, from, log_start));
    }

    fn records(&mut self, batch: &mut Vec<Record>) {
        self.gate.opened.wait_while(&mut self.gate.closed.lock(), |closed| *closed);
        let mut told = self.told.lock();
        let caught_up = told.caught_up.is_some();
        for record in batch.drain(..) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let message_id =
                record.fields().find(|(name, _)| *name == field::MESSAGE_ID.as_bytes());
            told.records.push(Seen {
                shard: record.shard,
                offset: record.offset,
                timestamp: record.timestamp,
                tag: record.tag,
                key: text(record.key().unwrap_or_default()),
                message_id: text(message_id.map(|(_, value)| value).unwrap_or_default()),
                value: text(&record.value().unwrap_or_default()),
                caught_up,
            });
        }
    }

    fn lag(&mut self, shard: Shard, source: &str, records: u64) {
        self.told.lock().lag.insert((source.to_owned(), shard.index), records);
    }

    fn caught_up(&mut self) {
        self.told.lock().caught_up = Some(Instant::now());
    }

    fn reachable(&mut self, state: Result<(), String>) {
        self.told.lock().reachable.push(state);
    }

    fn sources_read(&mut self, state: Result<(), String>) {
        self.told.lock().sources_read.push(state);
    }
}
