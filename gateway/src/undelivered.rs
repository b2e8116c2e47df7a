//! Events that were published with a time to be delivered in, and that no pod has written to any
//! open stream by then: they become dead letters, `undelivered`.
//!
//! No pod owns them. Every pod reads every event, so every pod knows the promise; the first one
//! that writes the event to a stream notes that where all can read it ([`Note`]). Once the time is
//! over each pod reads the notes up to their end, and only what nobody has noted becomes a letter.
//! Letters are keyed by the event's place, so two pods that find the same write the same letter.
//! `docs/adr/0009-undelivered.md` says how a crash can at worst err.

mod ledger;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

pub use ledger::At;

use crate::clock::{millis, now_ms};
use crate::cursor::{Offset, Shard, SourceId};
use crate::hub::Hub;
use crate::log::letter::Outbox;
use crate::log::note::{self, Delivery, Note};
use crate::log::{Log, Span, Unread};
use crate::telemetry::metrics::DeadLetter;
use ledger::Ledger;

/// The most promises that a pod keeps in mind, and the most notes that wait to be written.
const MOST: usize = 100_000;
/// How long after the deadline it is looked whether somebody has written the event: notes travel,
/// and clocks differ.
const MARGIN: Duration = Duration::from_secs(2);
/// By how much pods are apart when they look, at most.
const SPREAD: Duration = Duration::from_secs(1);
/// How long one attempt at the log may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The pause after one that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How many have to fail in a row before an operator hears of it: a broker that is replaced is no
/// news.
const NEWS: u32 = 10;
/// How many events are looked at at once.
const BATCH: usize = 256;
/// How much of the notes is read at once, in bytes.
const READ_BYTES: usize = 1024 * 1024;

/// Keeps the promises of a pod in mind.
#[derive(Debug)]
pub struct Undelivered {
    ledger: Mutex<Ledger>,
    /// What the other pods are to be told.
    notes: Mutex<VecDeque<(At, Delivery, i64)>>,
    telling: tokio::sync::Mutex<()>,
    /// There is something to be told, or an earlier deadline.
    wake: Notify,
    /// From this time to deliver in on, a promise outlives the recent window.
    long_ms: i64,
}

impl Undelivered {
    /// No promises yet. `window` is how far back a pod that starts reads events.
    #[must_use]
    pub fn new(window: Duration) -> Arc<Self> {
        let window_ms = millis(window);
        Arc::new(Self {
            ledger: Mutex::new(Ledger::new(MOST, window_ms.saturating_mul(2).max(600_000))),
            notes: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            long_ms: window_ms / 2,
        })
    }

    /// An event with a deadline was read from the log. Times are in milliseconds since the epoch.
    pub fn promised(&self, at: At, deadline: i64) {
        let (kept, is_next) = {
            let mut ledger = self.ledger.lock();
            let kept = ledger.promise(at, deadline);
            (kept, ledger.earliest() == Some(deadline))
        };
        if kept.is_err() {
            tracing::warn!(
                most = MOST,
                "more events wait to be delivered than a pod keeps in mind; this one is not watched"
            );
        } else if is_next {
            self.wake.notify_one();
        }
    }

    /// This pod published an event that is to be delivered within so many milliseconds. One with a
    /// long time is noted, for pods that start when the recent window no longer has it.
    pub fn published(&self, at: At, published_at: i64, within_ms: u64) {
        let within = i64::try_from(within_ms).unwrap_or(i64::MAX);
        if within >= self.long_ms {
            self.note(at, Delivery::Promised, published_at.saturating_add(within));
        }
    }

    /// This pod has written the event to an open stream.
    pub fn written(&self, at: At, deadline: i64) {
        let mut ledger = self.ledger.lock();
        let was_open = ledger.settle(at, deadline).is_some();
        drop(ledger);
        // A replay of what is long over is no news.
        if was_open || deadline.saturating_add(millis(MARGIN)) > now_ms() {
            self.note(at, Delivery::Written, deadline);
        }
    }

    fn note(&self, at: At, delivery: Delivery, deadline: i64) {
        let mut notes = self.notes.lock();
        if notes.len() >= MOST {
            // Bounded: at worst an event that was written is said not to be.
            tracing::warn!("the log does not take the notes of deliveries; some are not kept");
            return;
        }
        notes.push_back((at, delivery, deadline));
        drop(notes);
        self.wake.notify_one();
    }

    /// Writes the notes that wait. What the log does not take waits on.
    ///
    /// # Errors
    /// Why the log did not take them.
    pub async fn tell(&self, log: &Log, hub: &Hub) -> Result<(), String> {
        // One at a time: what is written is taken off the front.
        let _telling = self.telling.lock().await;
        loop {
            let waiting: Vec<_> = self.notes.lock().iter().take(BATCH).copied().collect();
            if waiting.is_empty() {
                return Ok(());
            }
            let spelled = waiting.iter().filter_map(|&(at, delivery, deadline)| {
                // A source that is gone has no events that anybody could ask for.
                let source = hub.source_of(at.shard)?.name.to_string();
                let (shard, offset) = (at.shard.index, at.offset.0);
                Some(Note { source, shard, offset, delivery, deadline })
            });
            let spelled: Vec<_> = spelled.collect();
            log.note(&spelled, Instant::now() + ATTEMPT)
                .await
                .map_err(|error| error.to_string())?;
            // Only now: whoever is stopped half-way leaves them to the next.
            self.notes.lock().drain(..waiting.len());
        }
    }

    /// Looks after the promises until it is dropped.
    pub async fn run(self: Arc<Self>, log: Arc<Log>, hub: Arc<Hub>, letters: Outbox) {
        // Of its own for each pod, so that most find another's letter.
        let spread = SPREAD.mul_f64(rand::rng().random());
        let mut keeper =
            Keeper { promises: self, log, hub, letters, patience: MARGIN + spread, next: None };
        let mut failures = 0;
        while let Err(why) = keeper.begin().await {
            failures += 1;
            failed(failures, &why);
            sleep(AGAIN).await;
        }
        loop {
            if let Err(why) = keeper.turn().await {
                failures += 1;
                failed(failures, &why);
                sleep(AGAIN).await;
                continue;
            }
            if std::mem::take(&mut failures) >= NEWS {
                tracing::info!("deliveries are looked after again");
            }
            let due = keeper.due_in();
            tokio::select! {
                () = keeper.promises.wake.notified() => {}
                () = sleep(due.unwrap_or_default()), if due.is_some() => {}
            }
        }
    }
}

/// Says that so many attempts in a row have failed: to operators once.
fn failed(failures: u32, why: &str) {
    if failures == NEWS {
        tracing::warn!(
            why,
            "events with X-Deliver-Within are not looked after for now: \
             those that nobody is sent become dead letters only when the log takes and gives notes again"
        );
    } else {
        tracing::debug!(why, failures, "deliveries cannot be looked after");
    }
}

/// What looks after the promises.
struct Keeper {
    promises: Arc<Undelivered>,
    log: Arc<Log>,
    hub: Arc<Hub>,
    letters: Outbox,
    /// How long after a deadline this pod looks.
    patience: Duration,
    /// The first note that was not read; `None` before the first look.
    next: Option<Offset>,
}

impl Keeper {
    /// How long until the next event is to be looked at.
    fn due_in(&self) -> Option<Duration> {
        let earliest = self.promises.ledger.lock().earliest()?;
        let at = earliest.saturating_add(millis(self.patience));
        let left = at.saturating_sub(now_ms());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
    }

    /// Finds out what has to be known before anything can be judged: what was noted before this pod
    /// began, and which sources the log has, or what lies in them would seem to be gone.
    async fn begin(&mut self) -> Result<(), String> {
        if !self.hub.knows_sources() {
            return Err("the log has not said yet which sources it has".to_owned());
        }
        self.read_notes().await.map_err(|error| error.to_string())
    }

    async fn turn(&mut self) -> Result<(), String> {
        self.promises.tell(&self.log, &self.hub).await?;
        while self.due_in() == Some(Duration::ZERO) {
            self.read_notes().await.map_err(|error| error.to_string())?;
            self.judge().await.map_err(|error| error.to_string())?;
            self.promises.tell(&self.log, &self.hub).await?;
        }
        self.promises.ledger.lock().forget(now_ms());
        Ok(())
    }

    /// Reads what was noted up to now.
    async fn read_notes(&mut self) -> Result<(), Unread> {
        let Some(shard) = self.log.notes() else { return Ok(()) };
        let deadline = Instant::now() + ATTEMPT;
        let mut from = match self.next {
            Some(next) => next,
            None => {
                let since = now_ms() - millis(note::KEPT);
                match self.log.seek(shard, since, deadline).await {
                    // Nobody has noted anything yet.
                    Err(Unread::NoSuchShard) => return Ok(()),
                    found => found?,
                }
            }
        };
        loop {
            let until = Offset(u128::MAX);
            let span = Span { shard, from, until, most_bytes: READ_BYTES };
            let stretch = match self.log.read(span, Instant::now() + ATTEMPT).await {
                Err(Unread::NoSuchShard) => return Ok(()),
                found => found?,
            };
            for note in stretch.records.iter().filter_map(Note::of) {
                self.promises.heed(&note);
            }
            // Made anew: what it says begins anew, too.
            let next = if stretch.end < from { stretch.log_start } else { stretch.next };
            self.next = Some(next);
            if next >= stretch.end || next == from {
                return Ok(());
            }
            from = next;
        }
    }

    /// Makes letters of what nobody has written in time.
    async fn judge(&mut self) -> Result<(), Unread> {
        let before = now_ms().saturating_sub(millis(self.patience)).saturating_add(1);
        let overdue = self.promises.ledger.lock().overdue(before, BATCH);
        for (at, deadline) in overdue {
            let until = at.offset.next();
            let span = Span { shard: at.shard, from: at.offset, until, most_bytes: 1 };
            let found = match self.log.read(span, Instant::now() + ATTEMPT).await {
                Err(Unread::NoSuchShard) => None,
                found => found?.records.into_iter().find(|record| record.offset == at.offset),
            };
            // Written while it was read.
            if self.promises.ledger.lock().deadline(at).is_none() {
                continue;
            }
            match (&found, self.hub.source_of(at.shard)) {
                (Some(record), Some(source)) => {
                    let detail = "no pod had written it to an open stream in time";
                    self.letters.post(&source.name, record, DeadLetter::Undelivered, detail);
                }
                _ => tracing::warn!(
                    shard = at.shard.index,
                    offset = %at.offset,
                    "an event was not delivered in time, and the log no longer has it"
                ),
            }
            self.promises.ledger.lock().settle(at, deadline);
            self.promises.note(at, Delivery::Undelivered, deadline);
        }
        Ok(())
    }
}

impl Undelivered {
    /// Takes in what a pod has noted.
    fn heed(&self, note: &Note) {
        let shard = Shard { source: SourceId::of(&note.source), index: note.shard };
        let at = At { shard, offset: Offset(note.offset) };
        let mut ledger = self.ledger.lock();
        match note.delivery {
            // Full: said where events are read.
            Delivery::Promised => drop(ledger.promise(at, note.deadline)),
            Delivery::Written | Delivery::Undelivered => drop(ledger.settle(at, note.deadline)),
        }
    }
}
