//! Between the thread that polls and the sink: records that come in bulk are handed on by a second
//! thread, so that a pod which is behind routes some while it reads the next.
//!
//! A lone record is handed on where it was read: another thread would have to be woken for it. The
//! sink is called in the order in which things were found out, by one thread at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::cursor::{Offset, Position, Shard};
use crate::log::record::Record;
use crate::log::{KeysOnly, Sink, Source};

/// The fewest records that are worth waking a thread for.
const BULK: usize = 128;
/// How many calls may wait; then the reading does. Each has a batch at most.
const MOST_WAITING: usize = 8;

/// Something to tell the sink.
enum Call {
    Sources(Vec<Source>),
    Start(Shard, Position, Offset, Option<KeysOnly>),
    Older(Shard, i64),
    Records(Vec<Record>),
    Lag(Shard, Arc<str>, u64),
    CaughtUp,
    Reachable(Result<(), String>),
    SourcesRead(Result<(), String>),
}

impl Call {
    /// Tells it; a batch comes back empty.
    fn make(self, sink: &mut impl Sink) -> Option<Vec<Record>> {
        match self {
            Self::Sources(sources) => sink.sources(&sources),
            Self::Start(shard, from, log_start, keys_only) => {
                sink.start(shard, from, log_start, keys_only);
            }
            Self::Older(shard, time) => sink.older(shard, time),
            Self::Records(mut batch) => {
                sink.records(&mut batch);
                batch.clear();
                return Some(batch);
            }
            Self::Lag(shard, source, records) => sink.lag(shard, &source, records),
            Self::CaughtUp => sink.caught_up(),
            Self::Reachable(state) => sink.reachable(state),
            Self::SourcesRead(state) => sink.sources_read(state),
        }
        None
    }
}

/// What the two threads share.
struct Shared<S> {
    sink: Mutex<S>,
    /// Calls that were queued and not finished. Only the polling thread adds to it, so that it may
    /// call the sink itself where it sees none.
    waiting: AtomicUsize,
    /// Batches to be filled again.
    spare: Mutex<Vec<Vec<Record>>>,
}

/// A sink that hands on to another one.
pub(super) struct Relay<S> {
    shared: Arc<Shared<S>>,
    /// Gone when the thread is to end.
    calls: Option<SyncSender<Call>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Sink> Relay<S> {
    /// Hands on to `sink`.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn new(sink: S) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            sink: Mutex::new(sink),
            waiting: AtomicUsize::new(0),
            spare: Mutex::default(),
        });
        let (calls, queue) = sync_channel(MOST_WAITING);
        let relay = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kafka-relay".to_owned());
        let thread = thread.spawn(move || run(&relay, &queue))?;
        Ok(Self { shared, calls: Some(calls), thread: Some(thread) })
    }

    fn call(&self, call: Call, bulk: bool) {
        if !bulk && self.shared.waiting.load(Ordering::Acquire) == 0 {
            call.make(&mut *self.shared.sink.lock());
            return;
        }
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.calls.as_ref().map(|calls| calls.send(call).is_ok());
        // It ends by a panic only, and then nothing can be handed on any more.
        assert!(sent == Some(true), "the thread that hands on has ended");
    }
}

fn run<S: Sink>(shared: &Shared<S>, queue: &Receiver<Call>) {
    while let Ok(call) = queue.recv() {
        if let Some(batch) = call.make(&mut *shared.sink.lock()) {
            shared.spare.lock().push(batch);
        }
        shared.waiting.fetch_sub(1, Ordering::Release);
    }
}

impl<S: Sink> Sink for Relay<S> {
    fn sources(&mut self, sources: &[Source]) {
        self.call(Call::Sources(sources.to_vec()), false);
    }

    fn start(
        &mut self,
        shard: Shard,
        from: Position,
        log_start: Offset,
        keys_only: Option<KeysOnly>,
    ) {
        self.call(Call::Start(shard, from, log_start, keys_only), false);
    }

    fn older(&mut self, shard: Shard, time: i64) {
        self.call(Call::Older(shard, time), false);
    }

    fn records(&mut self, batch: &mut Vec<Record>) {
        if batch.len() < BULK && self.shared.waiting.load(Ordering::Acquire) == 0 {
            self.shared.sink.lock().records(batch);
            return;
        }
        let empty = self.shared.spare.lock().pop();
        let empty = empty.unwrap_or_else(|| Vec::with_capacity(batch.capacity()));
        self.call(Call::Records(std::mem::replace(batch, empty)), true);
    }

    fn lag(&mut self, shard: Shard, source: &str, records: u64) {
        self.call(Call::Lag(shard, source.into(), records), false);
    }

    fn caught_up(&mut self) {
        self.call(Call::CaughtUp, false);
    }

    fn reachable(&mut self, state: Result<(), String>) {
        self.call(Call::Reachable(state), false);
    }

    fn sources_read(&mut self, state: Result<(), String>) {
        self.call(Call::SourcesRead(state), false);
    }
}

impl<S> Drop for Relay<S> {
    /// What was read is handed on first.
    fn drop(&mut self) {
        self.calls.take();
        if let Some(thread) = self.thread.take() {
            // A panic was written when it came.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::cursor::{SourceId, Tag};
    use crate::log::record::{Parts, RecordWriter};

    const SHARD: Shard = Shard { source: SourceId(1), index: 0 };

    /// Tells what it was told: offsets, and how far behind it is.
    struct Heard(Sender<Result<u128, u64>>);

    impl Sink for Heard {
        fn sources(&mut self, _: &[Source]) {}
        fn start(&mut self, _: Shard, _: Position, _: Offset, _: Option<KeysOnly>) {}
        fn records(&mut self, batch: &mut Vec<Record>) {
            for record in batch.drain(..) {
                self.0.send(Ok(record.offset.0)).expect("the test listens");
            }
        }
        fn lag(&mut self, _: Shard, _: &str, records: u64) {
            self.0.send(Err(records)).expect("the test listens");
        }
        fn caught_up(&mut self) {}
        fn reachable(&mut self, _: Result<(), String>) {}
    }

    #[test]
    fn few_and_many_records_and_what_is_said_between_keep_their_order() {
        let (told, heard) = channel();
        let mut relay = Relay::new(Heard(told)).expect("a thread");
        let mut writer = RecordWriter::default();
        let mut expected = Vec::new();
        let mut next = 0;
        for round in 0..200_u64 {
            let count = if round % 3 == 0 { 1 } else { BULK * (round as usize % 5) };
            let mut batch = Vec::new();
            for _ in 0..count {
                let parts = Parts {
                    shard: SHARD,
                    offset: Offset(next),
                    timestamp: 0,
                    tag: Some(Tag::UNKNOWN),
                    key: None,
                    value: None,
                };
                batch.push(writer.write(parts, std::iter::empty()));
                expected.push(Ok(next));
                next += 1;
            }
            relay.records(&mut batch);
            assert!(batch.is_empty());
            relay.lag(SHARD, "events", round);
            expected.push(Err(round));
        }
        // Nothing is left behind.
        drop(relay);
        assert_eq!(heard.into_iter().collect::<Vec<_>>(), expected);
    }
}
