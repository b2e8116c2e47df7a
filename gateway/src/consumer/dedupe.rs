//! Which records repeat an earlier one, as a pure function of the log.
//!
//! A record is a duplicate if an earlier record of its shard, itself a duplicate or not, has the
//! same room and key and is at most `dedupe.window` older by the log's own timestamps: so every
//! use of a key renews its window. No clock and no memory of the pod decides anything, so all
//! pods agree, and a pod that starts agrees with them once it has read back one window of keys.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::millis;
use crate::cursor::{Offset, Position, Shard};
use crate::event::MessageId;
use crate::hub::Fate;
use crate::log::record::Record;
use crate::log::{KeysOnly, Source, decode};

/// The first use of a key: what every duplicate's receipt repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// Where it is.
    pub offset: Offset,
    /// The position after it.
    pub after: Position,
    /// Its event's identity.
    pub message_id: MessageId,
    /// The log's time of it, in milliseconds since the Unix epoch.
    pub published_at: i64,
}

#[derive(Debug)]
struct Use {
    first: First,
    last_ms: i64,
}

/// The keys that were used in one shard within the window.
#[derive(Debug, Default)]
pub struct Uses {
    uses: HashMap<MessageId, Use>,
    /// Every use, oldest first, to know which keys' windows are over.
    order: VecDeque<(i64, MessageId)>,
}

/// What is known of the keys of one shard.
#[derive(Debug, Default)]
struct ShardKeys {
    uses: Uses,
    keys_only: Option<KeysOnly>,
}

/// The keys that were used lately.
#[derive(Debug)]
pub struct Dedupe {
    window_ms: i64,
    shards: Mutex<HashMap<Shard, ShardKeys>>,
    /// Changes after every batch with a key in it.
    judged: watch::Sender<u64>,
}

impl Dedupe {
    /// No keys yet; a use counts for `window`.
    #[must_use]
    pub fn new(window: Duration) -> Arc<Self> {
        Arc::new(Self {
            window_ms: millis(window),
            shards: Mutex::default(),
            judged: watch::Sender::new(0),
        })
    }

    /// Begins a shard, whose first records may be read for their keys only. Keys that are known
    /// stay known: a log that begins anew does not make a second delivery right.
    pub fn start(&self, shard: Shard, keys_only: Option<KeysOnly>) {
        self.shards.lock().entry(shard).or_default().keys_only = keys_only;
    }

    /// Judges the records of a batch in their order.
    pub fn judge<'s>(
        &self,
        batch: &[Record],
        source_of: impl Fn(Shard) -> Option<&'s Source>,
    ) -> Vec<Fate> {
        let mut shards = self.shards.lock();
        let mut fates = Vec::with_capacity(batch.len());
        // Records come in runs of one shard.
        for run in batch.chunk_by(|a, b| a.shard == b.shard) {
            let shard = run[0].shard;
            let keys = shards.entry(shard).or_default();
            let source = source_of(shard);
            fates.extend(run.iter().map(|record| {
                let fate = source
                    .and_then(|source| key_of(record, source))
                    .map_or(Fate::Route, |(id, message_id)| {
                        keys.uses.judge(record, id, message_id, self.window_ms)
                    });
                match keys.keys_only {
                    Some(only) if only.takes(record) => Fate::KeyOnly,
                    _ => fate,
                }
            }));
        }
        fates
    }

    /// Tells those who wait for a verdict that a batch was judged and routed.
    pub fn tell(&self) {
        self.judged.send_modify(|batches| *batches = batches.wrapping_add(1));
    }

    /// Follows [`Dedupe::tell`].
    #[must_use]
    pub fn judged(&self) -> watch::Receiver<u64> {
        self.judged.subscribe()
    }

    /// The first use of the key that makes `id`, in the run of uses that is going on in `shard`.
    #[must_use]
    pub fn first(&self, shard: Shard, id: MessageId) -> Option<First> {
        self.shards.lock().get(&shard)?.uses.uses.get(&id).map(|used| used.first)
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.lock().values().map(|keys| keys.uses.uses.len()).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Uses {
    /// Judges a record that uses a key, and notes the use. `id` is that of room and key,
    /// `message_id` the record's own, `window` in milliseconds.
    pub fn judge(
        &mut self,
        record: &Record,
        id: MessageId,
        message_id: MessageId,
        window: i64,
    ) -> Fate {
        let now = record.timestamp;
        self.forget(now.saturating_sub(window));
        self.order.push_back((now, id));
        let first = First {
            offset: record.offset,
            after: Position { next: record.offset.next(), tag: record.tag },
            message_id,
            published_at: now,
        };
        match self.uses.get_mut(&id) {
            // Written by a producer's clock, time may step back: a use is never too young.
            Some(used) if now.saturating_sub(used.last_ms) <= window => {
                used.last_ms = used.last_ms.max(now);
                Fate::Duplicate
            }
            _ => {
                self.uses.insert(id, Use { first, last_ms: now });
                Fate::Route
            }
        }
    }

    /// Forgets the keys whose last use was before `start`.
    fn forget(&mut self, start: i64) {
        while let Some((at, id)) = self.order.front().copied()
            && at < start
        {
            self.order.pop_front();
            if self.uses.get(&id).is_some_and(|used| used.last_ms < start) {
                self.uses.remove(&id);
            }
        }
    }
}

/// What identifies the room and key of a record that has one, and the id that its event goes by.
#[must_use]
pub fn key_of(record: &Record, source: &Source) -> Option<(MessageId, MessageId)> {
    let key = decode::idempotency_key(record)?;
    let head = decode::head(record, source).ok()?;
    let message_id = decode::message_id(record, &head, source).ok()?;
    Some((MessageId::from_key(&head.audience, &key), message_id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cursor::SourceId;
    use crate::log::Role;
    use crate::log::record::{Parts, RecordWriter};

    const SHARD: Shard = Shard { source: SourceId(1), index: 0 };
    const WINDOW: i64 = 100;

    fn records(log: &[(i64, Option<u8>)]) -> Vec<Record> {
        let mut writer = RecordWriter::default();
        let record = |(offset, (timestamp, key)): (usize, &(i64, Option<u8>))| {
            let key = key.map(|k| format!("k{k}"));
            let mut fields: Vec<(&[u8], &[u8])> = vec![(b"event_type", b"t")];
            if let Some(key) = &key {
                fields.push((b"idempotency_key", key.as_bytes()));
            }
            let parts = Parts {
                shard: SHARD,
                offset: Offset(offset as u128),
                timestamp: *timestamp,
                tag: None,
                key: Some(b"room"),
                value: Some(b"1"),
            };
            writer.write(parts, fields.into_iter())
        };
        log.iter().enumerate().map(record).collect()
    }

    fn dedupe() -> Arc<Dedupe> {
        Dedupe::new(Duration::from_millis(WINDOW as u64))
    }

    fn judge(dedupe: &Dedupe, records: &[Record]) -> Vec<Fate> {
        let source = Source::new("events", Role::Events, 1);
        dedupe.judge(records, |_| Some(&source))
    }

    /// The rule as the contract says it, without any state.
    fn by_the_rule(log: &[(i64, Option<u8>)]) -> Vec<Fate> {
        let is_duplicate = |n: usize, (at, key): &(i64, Option<u8>)| {
            key.is_some() && log[..n].iter().any(|(b, k)| k == key && at - b <= WINDOW)
        };
        log.iter()
            .enumerate()
            .map(|(n, r)| if is_duplicate(n, r) { Fate::Duplicate } else { Fate::Route })
            .collect()
    }

    fn any_log() -> impl Strategy<Value = Vec<(i64, Option<u8>)>> {
        let record = (0..60i64, proptest::option::weighted(0.8, 0..4u8));
        proptest::collection::vec(record, 0..80).prop_map(|steps| {
            let mut now = 0;
            let at = |(step, key)| {
                now += step;
                (now, key)
            };
            steps.into_iter().map(at).collect()
        })
    }

    proptest! {
        #[test]
        fn it_is_the_rule_of_the_contract(log in any_log()) {
            prop_assert_eq!(judge(&dedupe(), &records(&log)), by_the_rule(&log));
        }

        #[test]
        fn a_pod_that_starts_later_agrees_with_one_that_saw_everything(
            log in any_log(),
            from in 0..80usize,
        ) {
            let records = records(&log);
            let all = judge(&dedupe(), &records);
            let from = from.min(records.len());
            let began = records.get(from).map_or(0, |r| r.timestamp);
            let late = dedupe();
            let only = KeysOnly { before_ms: began + WINDOW, below: Offset(u128::MAX) };
            late.start(SHARD, Some(only));
            // As the log finds the place: the first record at or after a time.
            let from = records.partition_point(|r| r.timestamp < began).min(from);
            for (n, fate) in judge(&late, &records[from..]).into_iter().enumerate() {
                if fate != Fate::KeyOnly {
                    prop_assert_eq!(fate, all[from + n]);
                }
            }
        }
    }

    #[test]
    fn keys_are_forgotten_when_their_window_is_over() {
        let dedupe = dedupe();
        let log: Vec<_> = (0..200u8).map(|n| (i64::from(n) * 10, Some(n))).collect();
        judge(&dedupe, &records(&log));
        assert!(dedupe.len() <= 11, "{}", dedupe.len());
    }

    #[test]
    fn a_duplicates_receipt_is_the_first_ones() {
        let dedupe = dedupe();
        let records = records(&[(5, Some(1)), (90, Some(1)), (180, Some(1))]);
        judge(&dedupe, &records);
        let source = Source::new("events", Role::Events, 1);
        let (id, _) = key_of(&records[2], &source).expect("a key");
        let first = dedupe.first(SHARD, id).expect("known");
        assert_eq!((first.offset, first.published_at), (Offset(0), 5));
    }
}
