//! The embedded log: in this process and gone with it, otherwise as Kafka's. There are shards and
//! offsets, `memory.max_bytes` and `memory.max_age` let go of the oldest, and a task of its own
//! hands records on in order.
//!
//! Whoever appends a lone event hands it on as well, if nobody else does just then: to wake a task for
//! it would take longer than all the rest.
//!
//! Nothing is queued for the reader: it reads from the log itself, so publishers never wait for
//! it and nothing grows when it is slow. If the log lets go of records that it has not read, it
//! goes on at the log's start, with another [`Sink::start`] for every shard it missed records of.
//!
//! What is counted against `memory.max_bytes` are the records. The buffers that hold them are
//! shared and can come to twice as much, where records are little larger than half a buffer.

mod clock;
mod letters;
mod store;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

pub use letters::LetterScan;
pub use store::source_of;

use self::clock::Clock;
use self::letters::Ring;
use self::store::{Reader, Store};
use super::letter::{Entry, Letter, Place, Purge, Replay};
use super::record::{Record, fields_of};
use super::{Kept, PublishError, Receipt, Role, Sink, Span, Stretch, Unread};
use crate::config::Memory;
use crate::cursor::{Offset, Position, Shard, Tag};
use crate::event::{Audience, NewEvent};

/// What the dead letters' place is called.
pub const DEAD_LETTERS: &str = "tidegate.dead-letters";

/// How long the task that hands records on leaves it to a publisher who does.
const RETRY: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the reader. Keeps one permit, so an event between two looks is not overlooked.
    appended: Notify,
}

/// One lock for all of it: an offset, its timestamp and its place among the others are given out
/// together, or they would disagree.
#[derive(Debug)]
struct State {
    store: Store,
    clock: Clock,
    closed: bool,
}

/// The embedded log. Closed when it is dropped.
#[derive(Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    /// The task's own: with it goes the sink.
    reading: Weak<Mutex<Reading>>,
    reader: JoinHandle<()>,
    letters: Mutex<Ring>,
}

impl MemoryLog {
    /// An empty log whose records are handed to `sink` by a task of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(settings: &Memory, sink: impl Sink) -> Self {
        let store = Store::new(settings, Tag::of_epoch(rand::random()));
        let state = State { store, clock: Clock::new(), closed: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), appended: Notify::new() });
        let mut look = tokio::time::interval(store::expire_every(settings));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reading = Reading::begin(Arc::clone(&shared), Box::new(sink));
        let own = Arc::new(Mutex::new(reading));
        let reading = Arc::downgrade(&own);
        let reader = tokio::spawn(read(Arc::clone(&shared), own, look));
        let letters = Mutex::new(Ring::new(settings.dead_letters_bytes));
        Self { shared, reading, reader, letters }
    }

    /// Appends `event`. A task hands it on, with what is appended meanwhile.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] if it is larger than the whole log may be,
    /// [`PublishError::NotAccepted`] once the log is closed.
    pub fn publish(&self, event: &NewEvent) -> Result<Receipt, PublishError> {
        let receipt = self.append(event)?;
        self.shared.appended.notify_one();
        Ok(receipt)
    }

    /// The same, and hands it on at once, unless that is being done already.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_alone(&self, event: &NewEvent) -> Result<Receipt, PublishError> {
        let receipt = self.append(event)?;
        let reading = self.reading.upgrade();
        match reading.as_ref().and_then(|reading| reading.try_lock()) {
            Some(mut reading) => {
                reading.hand_on();
            }
            // Whoever hands on may have taken its last look before.
            None => self.shared.appended.notify_one(),
        }
        Ok(receipt)
    }

    fn append(&self, event: &NewEvent) -> Result<Receipt, PublishError> {
        let role = match &event.audience {
            Audience::Room(_) => Role::Events,
            Audience::Broadcast(_) => Role::Broadcast,
        };
        let fields = fields_of(event);
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let key = event.audience.record_key().as_bytes();
        let mut state = self.shared.state.lock();
        if state.closed {
            let why = "the embedded log is closed".to_owned();
            return Err(PublishError::NotAccepted(why));
        }
        let now = state.clock.now();
        state.store.append(role, key, fields, &event.data, now).map_err(|bytes| {
            let why = format!("with {bytes} bytes it is larger than memory.max_bytes");
            PublishError::TooLarge(why)
        })
    }

    /// Reads back a part of a shard. The records share the log's memory.
    ///
    /// # Errors
    /// [`Unread::NoSuchShard`].
    pub fn read(&self, span: &Span) -> Result<Stretch, Unread> {
        self.shared.state.lock().store.read(span).ok_or(Unread::NoSuchShard)
    }

    /// The offset of the first record of `shard` that is not older than `time`, in milliseconds
    /// since the Unix epoch; the end if there is none.
    ///
    /// # Errors
    /// [`Unread::NoSuchShard`].
    pub fn seek(&self, shard: Shard, time: i64) -> Result<Offset, Unread> {
        self.shared.state.lock().store.seek(shard, time).ok_or(Unread::NoSuchShard)
    }

    /// Keeps a dead letter, once, until newer ones need its room.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] if it is larger than all of them may be.
    pub fn keep(&self, letter: &Letter) -> Result<Kept, PublishError> {
        self.letters.lock().keep(Entry::Letter(letter.clone()), self.now())
    }

    /// Marks a dead letter as published again.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub fn mark(&self, place: &Place, replay: &Replay) -> Result<(), PublishError> {
        let marker = Entry::Replayed(place.clone(), replay.clone());
        self.letters.lock().keep(marker, self.now()).map(drop)
    }

    /// Reads the dead letters.
    #[must_use]
    pub fn scan_letters(&self) -> LetterScan<'_> {
        LetterScan::new(&self.letters)
    }

    /// Removes dead letters and returns how many records that were.
    pub fn purge_letters(&self, purge: Purge) -> u64 {
        self.letters.lock().purge(purge)
    }

    fn now(&self) -> i64 {
        self.shared.state.lock().clock.now()
    }

    /// What the tag of every position of this log is, and of no other: 32 bits, never 0.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.shared.state.lock().store.tag()
    }

    /// Takes nothing more, and hands nothing more on but a batch that is on its way. What was not
    /// handed on is gone with the process, as all that the log holds is.
    pub fn close(&self) {
        self.shared.state.lock().closed = true;
        self.reader.abort();
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Hands records on whenever there are some, and looks after the log.
async fn read(shared: Arc<Shared>, reading: Arc<Mutex<Reading>>, mut look: tokio::time::Interval) {
    let mut told = Vec::new();
    loop {
        let Some(took) = reading.try_lock().map(|mut reading| reading.hand_on()) else {
            // A publisher hands on. To wait for its lock would hold up this thread's other tasks.
            tokio::time::sleep(RETRY).await;
            continue;
        };
        tokio::select! {
            biased;
            _ = look.tick() => if let Some(mut reading) = reading.try_lock() {
                // Who hands on just now makes every figure old.
                reading.look_after(&mut told);
            },
            // Between two batches the streams of this thread get their turn.
            () = tokio::task::yield_now(), if took => {}
            () = shared.appended.notified(), if !took => {}
        }
    }
}

/// Who hands records on, and how far that has come.
struct Reading {
    shared: Arc<Shared>,
    sink: Box<dyn Sink>,
    reader: Reader,
    batch: Vec<Record>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Reading {
    /// Says what there is: an empty log, read to its end.
    fn begin(shared: Arc<Shared>, sink: Box<dyn Sink>) -> Self {
        let (sources, starts, tag, reader) = {
            let store = &shared.state.lock().store;
            let starts: Vec<_> = store.starts().collect();
            (store.sources().clone(), starts, store.tag(), store.reader())
        };
        let mut reading = Self { shared, sink, reader, batch: Vec::new() };
        reading.sink.sources(&sources);
        reading.start(&starts, tag);
        reading.sink.reachable(Ok(()));
        reading.sink.caught_up();
        reading
    }

    fn start(&mut self, shards: &[(Shard, u64)], tag: Tag) {
        for &(shard, start) in shards {
            let start = Offset(start.into());
            self.sink.start(shard, Position { next: start, tag }, start, None);
        }
    }

    /// Hands the next batch on; false if there is none.
    fn hand_on(&mut self) -> bool {
        let (restarted, tag) = {
            let State { store, closed, .. } = &*self.shared.state.lock();
            if *closed {
                return false;
            }
            (store.take(&mut self.reader, &mut self.batch), store.tag())
        };
        let _closes = ClosesInPanic(Arc::clone(&self.shared));
        if !restarted.is_empty() {
            let shards = restarted.len();
            tracing::warn!(shards, "the embedded log let go of records before they were read");
            self.start(&restarted, tag);
        }
        if self.batch.is_empty() {
            return false;
        }
        self.sink.records(&mut self.batch);
        self.batch.clear();
        true
    }

    /// Lets go of what has become too old, and says how far behind the reader is.
    fn look_after(&mut self, told: &mut Vec<Option<u64>>) {
        let (sources, lags) = {
            let State { store, clock, .. } = &mut *self.shared.state.lock();
            store.expire(clock.now());
            (store.sources().clone(), store.lags(&self.reader).collect::<Vec<_>>())
        };
        told.resize(lags.len(), None);
        for ((shard, lag), told) in lags.into_iter().zip(told) {
            if *told == Some(lag) {
                continue;
            }
            *told = Some(lag);
            let source = sources.iter().find(|source| source.id == shard.source);
            self.sink.lag(shard, source.map_or("", |source| &source.name), lag);
        }
    }
}

/// A sink that panicked is handed nothing more. Receipts for events that nobody will ever be handed
/// would be lies.
struct ClosesInPanic(Arc<Shared>);

impl Drop for ClosesInPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state.lock().closed = true;
        }
    }
}

#[cfg(test)]
mod tests;
