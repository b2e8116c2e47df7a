//! A cursor on a pod: where it has the reader go on, and what that reader is then given.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::config::Config;
use tidegate::cursor::{Cursor, Offset, Position, Shard, Tag};
use tidegate::event::Pattern;
use tidegate::hub::facts::Facts;
use tidegate::hub::{Bounds, Fate, Hub, Spelling, Start, Subscribed};
use tidegate::log::letter::outbox;
use tidegate::log::record::{Parts, Record, RecordWriter};
use tidegate::log::{Role, Source};

use super::cursor;
use crate::Outcome;
use crate::dice::Dice;

/// As for the text of a cursor.
pub const TOKENS: &[&str] = cursor::TOKENS;

const RECORDS: u32 = 20;
/// The first place of each shard that the log still has.
const LOG_START: u32 = 5;

/// The room's own shard, another one of its source, and the broadcasts'.
fn shards() -> [Shard; 3] {
    let [events, broadcast] = sources();
    let own = events.shard_of(b"a");
    let other = Shard { index: (own.index + 1) % 3, ..own };
    [own, other, Shard { source: broadcast.id, index: 0 }]
}

fn sources() -> [Source; 2] {
    [Source::new("events", Role::Events, 3), Source::new("broadcast", Role::Broadcast, 1)]
}

/// The records of a shard that the log still has; in the room's own every second is of its type.
fn records(shard: Shard) -> Vec<Record> {
    let mut writer = RecordWriter::default();
    let is_broadcast = shard == shards()[2];
    let record = |n: u32| {
        let kind: &[u8] = if n.is_multiple_of(2) || is_broadcast { b"t" } else { b"u" };
        let parts = Parts {
            shard,
            offset: Offset(n.into()),
            timestamp: 1_763_700_000_000 + i64::from(n),
            tag: None,
            key: Some(if is_broadcast { b"t" } else { b"a" }),
            value: Some(b"1"),
        };
        writer.write(parts, [(&b"event_type"[..], kind)].into_iter())
    };
    (LOG_START..RECORDS).map(record).collect()
}

/// A pod that has read all of the log.
fn pod() -> Arc<Hub> {
    let bounds = Bounds {
        window_bytes: 1 << 20,
        window_age: Duration::from_secs(600),
        queue_bytes: 1 << 20,
        value_bytes: 1 << 20,
        lanes: 0,
        spelling: Spelling { json_depth: 16, lz4_min_bytes: 1024 },
    };
    let (letters, _) = outbox(&Config::default());
    let hub = Hub::new(bounds, letters);
    hub.set_sources(&sources());
    for source in sources() {
        for index in 0..source.shards {
            let start = Position { next: Offset(LOG_START.into()), tag: Tag::UNKNOWN };
            hub.start(Shard { source: source.id, index }, start, start.next);
        }
    }
    for shard in [shards()[0], shards()[2]] {
        hub.route(records(shard).into_iter().map(|record| (record, Fate::Route)));
    }
    hub
}

thread_local! {
    static POD: (Arc<Hub>, [Vec<Record>; 2]) =
        (pod(), [records(shards()[0]), records(shards()[2])]);
}

/// A cursor of these shards, some of its tags right.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut cursor = Cursor::default();
    for (n, shard) in shards().into_iter().enumerate() {
        if dice.one_in(8) {
            continue;
        }
        let next = if dice.one_in(8) { dice.number() } else { dice.below(22) as u64 };
        let tag = POD.with(|(_, records)| {
            let records = &records[usize::from(n > 1)];
            let before = records.iter().find(|r| r.offset.0 + 1 == u128::from(next));
            before.map_or(Tag::UNKNOWN, |record| record.tag)
        });
        let tag = if dice.one_in(8) { Tag(dice.number() as u32) } else { tag };
        cursor.set(shard, Position { next: Offset(next.into()), tag });
    }
    cursor.flagged(dice.one_in(8)).to_string().into_bytes()
}

/// Each event is given once and in order, none that the cursor covers; and without a gap, all.
pub fn check(input: &[u8]) -> Outcome {
    let asked = match cursor::read(input) {
        Ok((_, asked)) => asked,
        Err(error) => return Outcome::Refused(cursor::reason(error)),
    };
    let Ok(room) = Pattern::new("a", "t") else { return Outcome::Accepted };
    POD.with(|(hub, records)| {
        let start = Start::Resume(asked.clone());
        let subscribed = hub.subscribe(&[room], None, &start, &Facts::default());
        let mut opened = match subscribed.expect("the log is reached") {
            Subscribed::Opened(opened) => opened,
            Subscribed::Partly(_) => return Outcome::Refused("partly"),
            Subscribed::Ask(questions) => {
                assert!(!questions.is_empty());
                return Outcome::Refused("asks_the_log");
            }
        };
        let (mut given, mut some) = (Vec::new(), Vec::new());
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(read) =
            opened.subscription.poll_next(&mut context, 1 << 10, &mut some)
        {
            read.expect("nobody publishes meanwhile");
            given.append(&mut some);
        }
        let places = given.iter().map(|d| (d.item.shard(), d.item.offset()));
        for (shard, records) in shards().into_iter().step_by(2).zip(records) {
            let places: Vec<_> = places.clone().filter(|p| p.0 == shard).map(|p| p.1).collect();
            assert!(places.is_sorted_by(|a, b| a < b), "in order, each once");
            let from = asked.get(shard).map(|position| position.next);
            let expected = records
                .iter()
                .map(|record| record.offset)
                .filter(|offset| shard == shards()[2] || offset.0 % 2 == 0)
                .filter(|offset| from.is_some_and(|from| *offset >= from));
            if opened.gap.is_none() && from.is_some() {
                assert_eq!(places, expected.collect::<Vec<_>>());
            }
        }
        match opened.gap {
            Some(gap) => Outcome::Refused(gap.reason.as_str()),
            None => Outcome::Accepted,
        }
    })
}
