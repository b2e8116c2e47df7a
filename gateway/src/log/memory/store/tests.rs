use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TAG: Tag = Tag(1 << 31 | 7);

fn settings(shards: u32, max_bytes: usize, max_age_ms: u64) -> Memory {
    Memory {
        shards,
        max_bytes,
        max_age: Duration::from_millis(max_age_ms),
        dead_letters_bytes: 1 << 20,
    }
}

fn store(max_bytes: usize, max_age_ms: u64) -> Store {
    Store::new(&settings(3, max_bytes, max_age_ms), TAG)
}

fn append(store: &mut Store, key: &str, value: &[u8], now: i64) -> Receipt {
    let fields = [(&b"message_id"[..], &b"m"[..])].into_iter();
    store.append(Role::Events, key.as_bytes(), fields, value, now).expect("it fits")
}

/// What a record with this key and value counts for.
fn cost_of(key: &str, value: &[u8]) -> usize {
    let mut store = store(usize::MAX, u64::MAX);
    append(&mut store, key, value, 0);
    store.bytes
}

fn values(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.value().expect("a value").to_vec()).collect()
}

fn take_all(store: &Store, reader: &mut Reader) -> Vec<Record> {
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    loop {
        assert!(store.take(reader, &mut batch).is_empty(), "nothing was missed");
        if batch.is_empty() {
            return all;
        }
        all.append(&mut batch);
    }
}

#[test]
fn offsets_begin_at_0_in_every_shard_and_have_no_holes() {
    let mut store = store(usize::MAX, u64::MAX);
    let mut next: BTreeMap<Shard, u128> = BTreeMap::new();
    for n in 0..60 {
        let key = format!("k{}", n % 7);
        let receipt = append(&mut store, &key, b"1", 5);
        assert_eq!(receipt.shard, store.sources[0].shard_of(key.as_bytes()));
        assert_eq!((receipt.tag, receipt.timestamp), (TAG, 5));
        let next = next.entry(receipt.shard).or_default();
        assert_eq!(receipt.offset.0, *next);
        *next += 1;
    }
    assert!(next.len() > 1, "the keys lie on several shards");
}

#[test]
fn a_broadcast_lies_on_a_source_of_its_own() {
    let mut store = store(usize::MAX, u64::MAX);
    append(&mut store, "a", b"1", 0);
    let receipt =
        store.append(Role::Broadcast, b"t", std::iter::empty(), b"2", 0).expect("it fits");
    let broadcast = Shard { source: store.sources[1].id, index: 0 };
    assert_eq!((receipt.shard, receipt.offset), (broadcast, Offset(0)));
    let read = read(&store, broadcast, Offset(0));
    assert_eq!(values(&read.records), [b"2"]);
}

#[test]
fn the_oldest_go_when_there_are_too_many_bytes_whichever_shard_they_are_on() {
    let most = cost_of("k0", b"12345678") * 5;
    let mut store = store(most, u64::MAX);
    let places: Vec<_> = (0..20)
        .map(|n| append(&mut store, &format!("k{}", n % 4), format!("value{n:03}").as_bytes(), 0))
        .collect();
    assert_eq!(store.records.len(), 5);
    assert_eq!(store.bytes, most);
    for (n, place) in places.iter().enumerate() {
        let read = read(&store, place.shard, place.offset);
        if n < 15 {
            assert!(read.log_start > place.offset, "{n} is gone");
        } else {
            assert_eq!(values(&read.records[..1]), [format!("value{n:03}").as_bytes()]);
        }
    }
}

#[test]
fn the_oldest_go_when_they_are_too_old() {
    let mut store = store(usize::MAX, 1_000);
    for now in [0, 500, 1_000] {
        append(&mut store, "k", b"1", now);
    }
    assert_eq!(store.records.len(), 3);
    store.expire(1_000);
    assert_eq!(store.records.len(), 3);
    store.expire(1_001);
    assert_eq!(store.records.len(), 2);
    store.expire(9_000);
    assert_eq!((store.records.len(), store.bytes), (0, 0));
    let shard = store.sources[0].shard_of(b"k");
    let read = read(&store, shard, Offset(0));
    assert_eq!((read.log_start, read.end), (Offset(3), Offset(3)), "offsets are not used again");
}

#[test]
fn a_record_larger_than_the_log_is_refused_and_moves_nothing() {
    let most = cost_of("k", b"1");
    let mut store = store(most, u64::MAX);
    append(&mut store, "k", b"1", 0);
    let fields = [(&b"message_id"[..], &b"m"[..])].into_iter();
    let refused = store.append(Role::Events, b"k", fields, b"22", 0);
    assert_eq!(refused, Err(most + 1));
    assert_eq!(store.records.len(), 1);
}

#[test]
fn a_reader_that_fell_behind_goes_on_at_the_log_s_start() {
    let most = cost_of("k0", b"1") * 4;
    let mut store = store(most, u64::MAX);
    let mut reader = store.reader();
    for n in 0..10 {
        append(&mut store, &format!("k{}", n % 4), b"1", 0);
    }
    let mut batch = Vec::new();
    let restarted = store.take(&mut reader, &mut batch);
    assert_eq!(batch.len(), 4);
    for (shard, start) in store.starts() {
        assert_eq!(restarted.contains(&(shard, start)), start > 0, "only where something is gone");
    }
    assert!(store.lags(&reader).all(|(_, lag)| lag == 0));
}

#[test]
fn a_batch_is_bounded_in_records_and_bytes() {
    let mut store = store(usize::MAX, u64::MAX);
    for _ in 0..BATCH_RECORDS + 1 {
        append(&mut store, "k", b"1", 0);
    }
    for _ in 0..2 {
        append(&mut store, "k", &vec![b'1'; BATCH_BYTES], 0);
    }
    let mut reader = store.reader();
    for expected in [BATCH_RECORDS, 1, 1, 1, 0] {
        let mut batch = Vec::new();
        store.take(&mut reader, &mut batch);
        assert_eq!(batch.len(), expected);
    }
}

#[test]
fn a_read_is_bounded_and_says_where_the_shard_begins_and_ends() {
    let mut store = store(usize::MAX, u64::MAX);
    for n in 0..5 {
        append(&mut store, "k", &[b'0' + n], 0);
    }
    let shard = store.sources[0].shard_of(b"k");
    let read = |from, until, most_bytes| {
        let (from, until) = (Offset(from), Offset(until));
        store.read(&Span { shard, from, until, most_bytes }).expect("a shard")
    };
    let all = usize::MAX;
    assert_eq!(values(&read(1, 3, all).records), [b"1", b"2"]);
    assert_eq!(read(1, 3, all).next, Offset(3));
    assert_eq!(values(&read(1, 9, 1).records), [b"1"], "one record always is");
    assert_eq!(read(1, 9, 1).next, Offset(2));
    assert_eq!(values(&read(4, 9, all).records), [b"4"]);
    assert_eq!(read(4, 9, all).next, Offset(5));
    assert_eq!((read(5, 9, all).records.len(), read(5, 9, all).next), (0, Offset(5)));
    assert_eq!(read(3, 0, all).records.len(), 0, "only to hear where the shard ends");
    assert_eq!(read(u128::MAX, 9, all).end, Offset(5), "who asks for more is ahead of this log");
    let shard = Shard { index: 99, ..shard };
    let (from, until) = (Offset(0), Offset(9));
    assert!(store.read(&Span { shard, from, until, most_bytes: 9 }).is_none());
}

#[test]
fn a_log_that_has_emptied_gives_its_memory_back() {
    let mut store = store(usize::MAX, 1_000);
    for _ in 0..10_000 {
        append(&mut store, "k", b"1", 0);
    }
    store.expire(5_000);
    assert!(store.records.capacity() <= KEPT);
    assert!(store.slots.iter().all(|slot| slot.arrivals.capacity() <= KEPT));
}

/// Something that happens to a log.
#[derive(Debug, Clone)]
enum Step {
    Append { key: u8, bytes: usize },
    Pass(i64),
    Take,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6u8, 0..400usize).prop_map(|(key, bytes)| Step::Append { key, bytes }),
        1 => (0..400i64).prop_map(Step::Pass),
        2 => Just(Step::Take),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens: the log is within its bounds and holds the youngest of all that came, and
    /// a reader gets every record once, in order, but for those it was told that it missed.
    #[test]
    fn nothing_is_lost_or_repeated_silently(steps in steps()) {
        const MOST_BYTES: usize = 3_000;
        const MOST_AGE: i64 = 500;
        let mut store = store(MOST_BYTES, 500);
        let mut reader = store.reader();
        let mut now = 0;
        let mut everything: Vec<Receipt> = Vec::new();
        // By shard, the next offset that the reader is to be handed.
        let mut expected: BTreeMap<Shard, u128> = BTreeMap::new();
        let check = |store: &Store, everything: &[Receipt], now: i64| {
            assert!(store.bytes <= MOST_BYTES);
            assert_eq!(store.bytes, store.records.iter().map(cost).sum::<usize>());
            let held: Vec<_> = store.records.iter().map(|r| (r.shard, r.offset)).collect();
            let youngest: Vec<_> = everything[everything.len() - held.len()..]
                .iter()
                .map(|receipt| (receipt.shard, receipt.offset))
                .collect();
            assert_eq!(held, youngest);
            assert!(store.records.iter().all(|r| r.timestamp >= now - MOST_AGE));
            for (shard, _) in store.starts() {
                let read = read(store, shard, Offset(0));
                let offsets: Vec<_> = read.records.iter().map(|r| r.offset.0).collect();
                assert_eq!(offsets, (read.log_start.0..read.end.0).collect::<Vec<_>>());
                assert!(read.records.iter().all(|r| r.shard == shard));
            }
        };
        for step in steps.into_iter().chain([Step::Take]) {
            match step {
                Step::Append { key, bytes } => {
                    let value = vec![b'1'; bytes];
                    everything.push(append(&mut store, &format!("k{key}"), &value, now));
                }
                Step::Pass(ms) => {
                    now += ms;
                    store.expire(now);
                }
                Step::Take => {
                    let mut batch = Vec::new();
                    for (shard, start) in store.take(&mut reader, &mut batch) {
                        let expected = expected.entry(shard).or_default();
                        assert!(*expected < start.into(), "told to miss what was not missed");
                        *expected = start.into();
                    }
                    for record in batch {
                        let expected = expected.entry(record.shard).or_default();
                        assert_eq!(record.offset.0, *expected);
                        *expected += 1;
                    }
                }
            }
            check(&store, &everything, now);
        }
        take_all(&store, &mut reader);
        assert!(store.lags(&reader).all(|(_, lag)| lag == 0));
    }
}

#[test]
fn a_time_is_found_at_its_first_record() {
    let mut store = store(usize::MAX, u64::MAX);
    for now in [10, 10, 20, 30] {
        append(&mut store, "k", b"1", now);
    }
    let shard = store.sources[0].shard_of(b"k");
    for (time, at) in [(i64::MIN, 0), (10, 0), (11, 2), (20, 2), (30, 3), (31, 4)] {
        assert_eq!(store.seek(shard, time), Some(Offset(at)), "{time}");
    }
}

fn read(store: &Store, shard: Shard, from: Offset) -> Stretch {
    let span = Span { shard, from, until: Offset(u128::MAX), most_bytes: usize::MAX };
    store.read(&span).expect("a shard")
}
