//! Reading shards back for many at once: whoever wants a part of the same shard shares the reading.
//!
//! Each shard that somebody is behind in has one task. It reads a stretch where the one is that has
//! waited longest, and whoever is within that stretch, too, gets its events from it. A reader is
//! answered in chunks, which bounds what is held for one that writes slowly.
//!
//! Idempotency is a pure function of the log, here as in the consumer: what repeats a key within
//! `dedupe.window` is left out. So before the first record with a key the uses of keys in the
//! window before it are read back.

mod want;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clock::millis;
use crate::consumer::dedupe::{Uses, key_of};
use crate::cursor::{Offset, Shard, Tag};
use crate::event::{Audience, EventId};
use crate::hub::facts::Reach;
use crate::hub::{Behind, Fate, Hub, Item};
use crate::log::decode::{self, Head};
use crate::log::record::Record;
use crate::log::{Log, Source, Span, Stretch, Unread};

use want::{Answer, Want, pass};
pub(super) use want::{Chunk, Filter, Found};

/// How much is read at once, in bytes.
const STRETCH_BYTES: usize = 1024 * 1024;

/// The uses of keys in a part of a shard that ends at `next`.
#[derive(Debug)]
struct Keys {
    uses: Uses,
    next: Offset,
}

/// Who reads what.
#[derive(Debug)]
pub(super) struct Scans {
    hub: Arc<Hub>,
    log: Arc<Log>,
    dedupe_ms: i64,
    /// Shards with a task, and who has come since it last looked.
    waiting: Mutex<HashMap<Shard, Vec<Want>>>,
}

impl Scans {
    pub(super) fn new(hub: Arc<Hub>, log: Arc<Log>, dedupe: Duration) -> Arc<Self> {
        Arc::new(Self { hub, log, dedupe_ms: millis(dedupe), waiting: Mutex::default() })
    }

    /// Where a shard begins and ends, and what lies just before `next`.
    pub(super) async fn reach(
        &self,
        shard: Shard,
        next: Offset,
        deadline: Instant,
    ) -> Result<Reach, Unread> {
        let from = Offset(next.0.saturating_sub(1));
        let span = Span { shard, from, until: next, most_bytes: 1 };
        let Stretch { records, log_start, end, .. } = self.log.read(span, deadline).await?;
        let before = records.first().filter(|record| record.offset.next() == next);
        Ok(Reach { log_start, end, before: before.map_or(Tag::UNKNOWN, |record| record.tag) })
    }

    /// Reads on in a part of a shard.
    pub(super) async fn chunk(
        self: &Arc<Self>,
        part: Behind,
        filter: &Arc<Filter>,
        deadline: Instant,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        let want = Want {
            next: part.from,
            until: part.until,
            filter: Arc::clone(filter),
            deadline,
            answer,
            is_checked: part.from.tag == Tag::UNKNOWN,
            items: Vec::new(),
            bytes: 0,
            scanned: 0,
            turn: 0,
        };
        {
            let mut waiting = self.waiting.lock();
            let has_task = waiting.contains_key(&part.shard);
            waiting.entry(part.shard).or_default().push(want);
            if !has_task {
                let task = Task { scans: Arc::clone(self), shard: part.shard };
                tokio::spawn(task.run());
            }
        }
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unread::Unreachable("the reading was given up".to_owned())),
            Err(_) => Err(Unread::Unreachable("the log did not answer in time".to_owned())),
        }
    }
}

/// Reads one shard as long as somebody wants it.
struct Task {
    scans: Arc<Scans>,
    shard: Shard,
}

impl Drop for Task {
    /// A task that panicked has not said that it is over: the next who comes starts another.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.scans.waiting.lock().remove(&self.shard);
        }
    }
}

impl Task {
    async fn run(self) {
        let mut wants: Vec<Want> = Vec::new();
        let mut keys: Option<Keys> = None;
        for turn in 1.. {
            if !self.take_in(&mut wants) {
                return;
            }
            let Some(lead) = wants.iter().min_by_key(|want| want.turn) else { continue };
            let (first, deadline) = (lead.first(), lead.deadline);
            let until = wants.iter().filter(|want| want.first() >= first).map(|want| want.until);
            let until = until.max().unwrap_or(first);
            let span = Span { shard: self.shard, from: first, until, most_bytes: STRETCH_BYTES };
            let shared = match self.scans.log.read(span, deadline).await {
                Ok(stretch) => {
                    self.share(&mut wants, &mut keys, first, &stretch, turn, deadline).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = shared {
                keys = None;
                for want in wants.drain(..) {
                    let _ = want.answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Takes in who has come; false if there is nobody, and then the task is over.
    fn take_in(&self, wants: &mut Vec<Want>) -> bool {
        wants.retain(|want| !want.answer.is_closed());
        let mut waiting = self.scans.waiting.lock();
        wants.extend(waiting.get_mut(&self.shard).into_iter().flat_map(std::mem::take));
        if wants.is_empty() {
            // Under the lock: who comes now starts another task.
            waiting.remove(&self.shard);
        }
        !wants.is_empty()
    }

    /// Gives everybody who is within a stretch from `first` on what it has for them.
    async fn share(
        &self,
        wants: &mut Vec<Want>,
        keys: &mut Option<Keys>,
        first: Offset,
        stretch: &Stretch,
        turn: u64,
        deadline: Instant,
    ) -> Result<(), Unread> {
        let source = self.scans.hub.source_of(self.shard).ok_or(Unread::NoSuchShard)?;
        let is_here = |want: &mut Want| {
            first <= want.first() && (want.first() < stretch.next || want.first() == first)
        };
        let mut here: Vec<Want> = wants.extract_if(.., is_here).collect();
        here = here.into_iter().filter_map(|want| self.check(want, stretch)).collect();
        for want in &mut here {
            want.turn = turn;
        }
        let matched = matches(&self.scans.hub, &stretch.records, &here, &source);
        let has_key = matched.iter().any(|(nth, _)| has_key(&stretch.records[*nth]));
        let mut scanned: usize = stretch.records.iter().map(Record::bytes).sum();
        if keys.as_ref().is_none_or(|keys| !(first..=first.next()).contains(&keys.next)) {
            *keys = None;
        }
        if has_key && keys.is_none() {
            let (uses, bytes) = self.look_back(first, stretch, &source, deadline).await?;
            scanned += bytes;
            *keys = Some(Keys { uses, next: first });
        }
        let dropped = keys.as_mut().map(|keys| self.judge(keys, stretch, &source));
        for (nth, head) in matched {
            let record = &stretch.records[nth];
            if dropped.as_ref().is_some_and(|dropped| dropped[nth]) {
                continue;
            }
            let mut item: Option<Arc<Item>> = None;
            for want in &mut here {
                let is_past = want.next.next > record.offset || record.offset >= want.until;
                if is_past || want.is_full() || !want.filter.takes(&head) {
                    continue;
                }
                let item = item.get_or_insert_with(|| {
                    self.scans.hub.read_for(record.clone(), head.clone(), &source)
                });
                want.bytes += record.bytes();
                want.items.push(Arc::clone(item));
                // What comes before was looked at with it.
                want.next = item.position_after();
            }
        }
        for mut want in here {
            want.scanned += scanned;
            if !want.is_full() {
                pass(&mut want, stretch);
            }
            if want.is_done() {
                want.answer();
            } else {
                wants.push(want);
            }
        }
        Ok(())
    }

    /// Whether a reader's place is one of this log's, and what it has from there on.
    fn check(&self, mut want: Want, stretch: &Stretch) -> Option<Want> {
        let start = self.scans.hub.position_at(self.shard, stretch.log_start);
        let found = if stretch.end < want.until {
            // This pod has read more than there is.
            Found::OtherLog(start)
        } else if want.next.next < stretch.log_start {
            Found::Trimmed(start)
        } else if !want.is_checked && self.is_of_another_log(&want, stretch) {
            Found::OtherLog(start)
        } else {
            want.is_checked = true;
            return Some(want);
        };
        let _ = want.answer.send(Ok(found));
        None
    }

    /// Whether another record lies before the reader's place than when it was there.
    fn is_of_another_log(&self, want: &Want, stretch: &Stretch) -> bool {
        let before = Offset(want.next.next.0.saturating_sub(1));
        let found = stretch.records.binary_search_by_key(&before, |record| record.offset);
        found.is_ok_and(|nth| !stretch.records[nth].tag.agrees(want.next.tag))
    }

    /// The uses of keys in the window before the stretch's first record with one.
    async fn look_back(
        &self,
        first: Offset,
        stretch: &Stretch,
        source: &Source,
        deadline: Instant,
    ) -> Result<(Uses, usize), Unread> {
        let mut uses = Uses::default();
        let mut bytes = 0;
        let Some(keyed) = stretch.records.iter().find(|record| has_key(record)) else {
            return Ok((uses, 0));
        };
        let since = keyed.timestamp.saturating_sub(self.scans.dedupe_ms);
        let mut from = self.scans.log.seek(self.shard, since, deadline).await?;
        while from < first {
            let most_bytes = STRETCH_BYTES;
            let span = Span { shard: self.shard, from, until: first, most_bytes };
            let before = self.scans.log.read(span, deadline).await?;
            for record in &before.records {
                bytes += record.bytes();
                self.note(&mut uses, record, source);
            }
            if before.next <= from {
                break;
            }
            from = before.next;
        }
        Ok((uses, bytes))
    }

    /// Notes the use of a key, if the record has one; true if it repeats another.
    fn note(&self, uses: &mut Uses, record: &Record, source: &Source) -> bool {
        key_of(record, source).is_some_and(|(id, message_id)| {
            uses.judge(record, id, message_id, self.scans.dedupe_ms) == Fate::Duplicate
        })
    }

    /// Which records of a stretch repeat another.
    fn judge(&self, keys: &mut Keys, stretch: &Stretch, source: &Source) -> Vec<bool> {
        let mut dropped = Vec::with_capacity(stretch.records.len());
        for record in &stretch.records {
            let is_new = record.offset >= keys.next;
            dropped.push(is_new && self.note(&mut keys.uses, record, source));
        }
        keys.next = stretch.next;
        dropped
    }
}

fn has_key(record: &Record) -> bool {
    decode::idempotency_key(record).is_some()
}

/// The records that somebody wants, by their number.
fn matches(hub: &Hub, records: &[Record], wants: &[Want], source: &Source) -> Vec<(usize, Head)> {
    let mut rooms: HashMap<&EventId, Vec<&Want>> = HashMap::new();
    for want in wants {
        for pattern in &want.filter.patterns {
            rooms.entry(&pattern.id).or_default().push(want);
        }
    }
    let Some(first) = wants.iter().map(|want| want.next.next).min() else { return Vec::new() };
    let mut matched = Vec::new();
    for (nth, record) in records.iter().enumerate() {
        if record.offset < first {
            continue;
        }
        let Ok(head) = hub.head(record, source) else { continue };
        let is_wanted = match &head.audience {
            Audience::Broadcast(_) => true,
            Audience::Room(room) => rooms
                .get(&room.id)
                .is_some_and(|wants| wants.iter().any(|want| want.filter.takes(&head))),
        };
        if is_wanted {
            matched.push((nth, head));
        }
    }
    matched
}
