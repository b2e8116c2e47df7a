//! The embedded log: in this process and gone with it, otherwise as Kafka's: shards, offsets,
//! retention by bytes and age, and a reader of its own that hands records on in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::record::{Parts, Record, RecordWriter, fields_of};
use super::{PublishError, Receipt, Role, Sink, Source};
use crate::config::Memory;
use crate::cursor::{Offset, Position, Shard, Tag};
use crate::event::{Audience, NewEvent};

/// The name of the rooms' source.
const EVENTS: &str = "tidegate.events";
/// The name of the broadcasts' source.
const BROADCAST: &str = "tidegate.broadcast";
/// How many records are handed on at once.
const BATCH: usize = 1024;

#[derive(Debug, Default)]
struct ShardLog {
    records: VecDeque<Record>,
    /// The offset of the oldest record.
    start: u64,
}

impl ShardLog {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }
}

#[derive(Debug)]
struct Store {
    shards: Vec<(Shard, ShardLog)>,
    writer: RecordWriter,
    bytes: usize,
    /// The last timestamp: the clock never steps back.
    clock: i64,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    appended: Notify,
    sources: [Source; 2],
    tag: Tag,
    most_bytes: usize,
    most_age: Duration,
}

/// The embedded log.
#[derive(Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    reader: JoinHandle<()>,
}

impl MemoryLog {
    /// An empty log whose records are handed to `sink` by a task of its own.
    pub fn open(settings: &Memory, sink: impl Sink) -> Self {
        let sources = [
            Source::new(EVENTS, Role::Events, settings.shards),
            Source::new(BROADCAST, Role::Broadcast, 1),
        ];
        let shards = sources.iter().flat_map(|source| {
            (0..source.shards)
                .map(|index| (Shard { source: source.id, index }, ShardLog::default()))
        });
        let shared = Arc::new(Shared {
            store: Mutex::new(Store {
                shards: shards.collect(),
                writer: RecordWriter::default(),
                bytes: 0,
                clock: 0,
                closed: false,
            }),
            appended: Notify::new(),
            sources,
            tag: Tag::of_epoch(rand::random()),
            most_bytes: settings.max_bytes,
            most_age: settings.max_age,
        });
        let reader = tokio::spawn(read(Arc::clone(&shared), sink));
        Self { shared, reader }
    }

    /// Appends `event`.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] if the log could hold nothing else beside it,
    /// [`PublishError::NotAccepted`] once the log is closed.
    pub fn publish(&self, event: &NewEvent) -> Result<Receipt, PublishError> {
        let shared = &*self.shared;
        if event.data.len() > shared.most_bytes / 2 {
            let most = shared.most_bytes / 2;
            return Err(PublishError::TooLarge(format!(
                "it has {} bytes and half of memory.max_bytes is {most}",
                event.data.len()
            )));
        }
        let key = event.audience.record_key().as_bytes();
        let shard = match &event.audience {
            Audience::Room(_) => shared.sources[0].shard_of(key),
            Audience::Broadcast(_) => shared.sources[1].shard_of(key),
        };
        let fields = fields_of(event);
        let mut store = shared.store.lock();
        if store.closed {
            return Err(PublishError::NotAccepted("the embedded log is closed".to_owned()));
        }
        let timestamp = store.clock.max(now_ms());
        store.clock = timestamp;
        let Store { shards, writer, bytes, .. } = &mut *store;
        let Some((_, log)) = shards.iter_mut().find(|(s, _)| *s == shard) else {
            return Err(PublishError::NotAccepted("the embedded log has no such shard".to_owned()));
        };
        let offset = Offset(log.end().into());
        let parts = Parts {
            shard,
            offset,
            timestamp,
            tag: Some(shared.tag),
            key: Some(key),
            value: Some(&event.data),
        };
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let record = writer.write(parts, fields);
        *bytes += record.bytes();
        log.records.push_back(record);
        store.trim(timestamp, shared);
        drop(store);
        shared.appended.notify_one();
        Ok(Receipt { shard, offset, tag: shared.tag, timestamp })
    }

    /// Takes nothing more and hands nothing more on.
    pub fn close(&self) {
        self.shared.store.lock().closed = true;
        self.reader.abort();
    }
}

impl Store {
    /// Lets go of what is too much or too old: the oldest first.
    fn trim(&mut self, now: i64, shared: &Shared) {
        let age = i64::try_from(shared.most_age.as_millis()).unwrap_or(i64::MAX);
        loop {
            let oldest = self
                .shards
                .iter_mut()
                .filter_map(|(_, log)| Some((log.records.front()?.timestamp, log)))
                .min_by_key(|(timestamp, _)| *timestamp);
            let Some((timestamp, log)) = oldest else { return };
            if self.bytes <= shared.most_bytes && timestamp >= now.saturating_sub(age) {
                return;
            }
            if let Some(record) = log.records.pop_front() {
                self.bytes -= record.bytes();
                log.start += 1;
            }
        }
    }
}

/// Hands records on as they are appended. A reader that falls behind the log's start is begun
/// anew there, as Kafka's would be.
async fn read(shared: Arc<Shared>, mut sink: impl Sink) {
    sink.sources(&shared.sources);
    let shards: Vec<Shard> = shared.store.lock().shards.iter().map(|(shard, _)| *shard).collect();
    for shard in &shards {
        sink.start(*shard, Position { next: Offset(0), tag: shared.tag }, Offset(0), None);
    }
    sink.reachable(Ok(()));
    sink.caught_up();
    let mut next = vec![0u64; shards.len()];
    let mut batch = Vec::new();
    loop {
        for (nth, shard) in shards.iter().enumerate() {
            let restarted = {
                let store = shared.store.lock();
                let log = &store.shards[nth].1;
                let restarted = (next[nth] < log.start).then_some(log.start);
                next[nth] = next[nth].max(log.start);
                let skip = usize::try_from(next[nth] - log.start).unwrap_or(usize::MAX);
                batch.extend(log.records.iter().skip(skip).take(BATCH).cloned());
                restarted
            };
            if let Some(start) = restarted {
                let start = Offset(start.into());
                sink.start(*shard, Position { next: start, tag: shared.tag }, start, None);
            }
            next[nth] += batch.len() as u64;
            if !batch.is_empty() {
                sink.records(&mut batch);
                batch.clear();
            }
        }
        let behind = {
            let store = shared.store.lock();
            store.shards.iter().zip(&next).any(|((_, log), next)| log.end() > *next)
        };
        if behind {
            tokio::task::yield_now().await;
        } else {
            // A permit is kept if a record was appended since the look above.
            shared.appended.notified().await;
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
