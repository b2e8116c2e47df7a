//! The way in for dead letters: from any thread, and never waiting.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::mailman::Mailman;
use super::{Letter, Place};
use crate::config::{Config, LogKind};
use crate::cursor::{Offset, Shard};
use crate::log::decode::Malformed;
use crate::log::record::Record;
use crate::log::{memory, redis};
use crate::telemetry::metrics::{self, DeadLetter, LostLetter};

/// How many letters may wait. What comes beyond it is counted and lost: the log's readers must not
/// wait for a log that does not take letters.
const QUEUE: usize = 4096;
/// How many bytes of records may wait.
const QUEUE_BYTES: usize = 16 << 20;
/// What a letter takes up beside its record, in bytes.
const LETTER_BYTES: usize = 512;
/// How many places are remembered, so that a record that is looked at again is not written again.
const REMEMBERED: usize = 4096;
/// How often at most it is said that letters were lost.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// A letter that waits, and the bytes that it holds.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) letter: Letter,
    pub(super) _room: OwnedSemaphorePermit,
}

/// Takes letters for the mailman. Clones share their queue.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    pod: String,
    /// Where letters lie: a record from there never gets a letter, or there would be no end.
    own: String,
    /// The most bytes of a record that are kept.
    most_bytes: usize,
    /// Writes an offset as the log does.
    spell: fn(Offset) -> String,
    posted: Mutex<Posted>,
    lost: Mutex<Lost>,
}

#[derive(Default)]
struct Posted {
    places: HashSet<(Shard, Offset)>,
    order: VecDeque<(Shard, Offset)>,
}

#[derive(Default)]
struct Lost {
    unsaid: u64,
    said: Option<Instant>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("own", &self.0.own).finish_non_exhaustive()
    }
}

/// An outbox for the log of these settings, and the mailman who delivers what is put into it.
#[must_use]
pub fn outbox(config: &Config) -> (Outbox, Mailman) {
    let (queue, letters) = mpsc::channel(QUEUE);
    let (own, spell): (String, fn(Offset) -> String) = match config.log.kind {
        LogKind::Memory => (memory::DEAD_LETTERS.to_owned(), |offset| offset.to_string()),
        LogKind::Kafka => (config.kafka.dead_letters_topic.clone(), |offset| offset.to_string()),
        LogKind::Redis => (redis::dead_letters(&config.redis.prefix), redis::spell),
    };
    let outbox = Outbox(Arc::new(Inner {
        queue,
        room: Arc::new(Semaphore::new(QUEUE_BYTES)),
        pod: config.pod.name.clone(),
        own,
        most_bytes: config.limits.body_bytes,
        spell,
        posted: Mutex::default(),
        lost: Mutex::default(),
    }));
    (outbox, Mailman::new(letters, config.log.kind != LogKind::Memory))
}

impl Outbox {
    /// Hands a letter about `record`, which came from `source`, to the mailman. A record that had
    /// its letter lately gets no other one.
    pub fn post(&self, source: &str, record: &Record, reason: DeadLetter, detail: &str) {
        let Inner { own, pod, most_bytes, spell, posted, .. } = &*self.0;
        if source == own {
            return;
        }
        let at = (record.shard, record.offset);
        if posted.lock().places.contains(&at) {
            return;
        }
        let place = Place::new(source, record.shard.index, &spell(record.offset));
        let letter = Letter::of(record, place, reason, pod, *most_bytes).with_detail(detail);
        if self.put(letter) {
            posted.lock().remember(at);
        } else {
            self.lose();
        }
    }

    /// The same for a record that is no event. One that is merely to be skipped gets no letter.
    pub fn post_malformed(&self, source: &str, record: &Record, error: &Malformed) {
        if let Some(reason) = error.dead_letter() {
            self.post(source, record, reason, &error.to_string());
        }
    }

    /// Puts a letter into the queue, if there is room.
    fn put(&self, letter: Letter) -> bool {
        let bytes = u32::try_from(letter.bytes() + LETTER_BYTES).unwrap_or(u32::MAX);
        Arc::clone(&self.0.room)
            .try_acquire_many_owned(bytes)
            .is_ok_and(|room| self.0.queue.try_send(Queued { letter, _room: room }).is_ok())
    }

    fn lose(&self) {
        metrics::dead_letters_lost(LostLetter::QueueFull, 1);
        let mut lost = self.0.lost.lock();
        lost.unsaid += 1;
        if lost.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            lost.said = Some(Instant::now());
            tracing::warn!(
                letters = std::mem::take(&mut lost.unsaid),
                "dead letters come faster than the log takes them: some are not kept"
            );
        }
    }
}

impl Posted {
    fn remember(&mut self, at: (Shard, Offset)) {
        if self.places.insert(at) {
            self.order.push_back(at);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }
}
