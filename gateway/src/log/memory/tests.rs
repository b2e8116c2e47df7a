use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::event::{EventId, EventType, MessageId, Room, TraceContext, User};
use crate::log::{KeysOnly, Source, murmur2};

/// What a sink was told.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Sources(Vec<Source>),
    Start(Shard, Position, Offset),
    Record(Shard, Offset, Bytes),
    Lag(Shard, String, u64),
    CaughtUp,
    Reachable(Result<(), String>),
}

/// A sink that remembers, and can be held up or broken.
#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    told: Vec<Told>,
    /// Waited for once, before the first records are taken.
    gate: Option<mpsc::Receiver<()>>,
    panics: bool,
}

impl Sink for Recording {
    fn sources(&mut self, sources: &[Source]) {
        self.0.lock().told.push(Told::Sources(sources.to_vec()));
    }

    fn start(
        &mut self,
        shard: Shard,
        from: Position,
        log_start: Offset,
        keys_only: Option<KeysOnly>,
    ) {
        assert_eq!(keys_only, None, "there is no window before an empty log");
        self.0.lock().told.push(Told::Start(shard, from, log_start));
    }

    fn records(&mut self, batch: &mut Vec<Record>) {
        let gate = self.0.lock().gate.take();
        if let Some(gate) = gate {
            let _ = gate.recv();
        }
        let mut recorded = self.0.lock();
        assert!(!recorded.panics, "a sink that is broken");
        for record in batch.drain(..) {
            let value = record.value().expect("a value");
            recorded.told.push(Told::Record(record.shard, record.offset, value));
        }
    }

    fn lag(&mut self, shard: Shard, source: &str, records: u64) {
        self.0.lock().told.push(Told::Lag(shard, source.to_owned(), records));
    }

    fn caught_up(&mut self) {
        self.0.lock().told.push(Told::CaughtUp);
    }

    fn reachable(&mut self, state: Result<(), String>) {
        self.0.lock().told.push(Told::Reachable(state));
    }
}

impl Recording {
    fn records(&self) -> Vec<(Shard, Offset, Bytes)> {
        let told = self.0.lock().told.clone();
        told.into_iter()
            .filter_map(|told| match told {
                Told::Record(shard, offset, value) => Some((shard, offset, value)),
                _ => None,
            })
            .collect()
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn settings(max_bytes: usize) -> Memory {
    Memory { shards: 4, max_bytes, max_age: Duration::from_secs(3600), dead_letters_bytes: 1 << 20 }
}

fn event(audience: Audience, data: &str) -> NewEvent {
    NewEvent {
        audience,
        message_id: MessageId::fresh(),
        event_name: None,
        from_user: None,
        to_user: None,
        data: Bytes::copy_from_slice(data.as_bytes()),
        headers: Vec::new(),
        is_final: false,
        idempotency_key: None,
        deliver_within_ms: None,
        replay_of: None,
        trace: TraceContext::default(),
    }
}

fn room(id: &str) -> Audience {
    let id = EventId::new(id).expect("an id");
    Audience::Room(Room { id, kind: EventType::new("t").expect("a type") })
}

#[tokio::test]
async fn an_open_log_is_caught_up_at_once() {
    let sink = Recording::default();
    let log = MemoryLog::open(&settings(1 << 20), sink.clone());
    eventually("caught up", || sink.0.lock().told.contains(&Told::CaughtUp)).await;
    let told = sink.0.lock().told.clone();
    let Told::Sources(sources) = &told[0] else { panic!("{:?}", told[0]) };
    let shards: Vec<_> = sources.iter().map(|s| (&*s.name, s.role, s.shards)).collect();
    let expected =
        [("tidegate.events", Role::Events, 4), ("tidegate.broadcast", Role::Broadcast, 1)];
    assert_eq!(shards, expected);
    assert!(log.tag().is_epoch());
    let position = Position { next: Offset(0), tag: log.tag() };
    for told in &told[1..6] {
        let Told::Start(_, from, start) = told else { panic!("{told:?}") };
        assert_eq!((*from, *start), (position, Offset(0)));
    }
    assert_eq!(told[6..8], [Told::Reachable(Ok(())), Told::CaughtUp]);
}

#[tokio::test]
async fn a_record_comes_out_as_from_kafka() {
    let (sender, records) = mpsc::sync_channel(1);
    struct First(mpsc::SyncSender<Record>);
    impl Sink for First {
        fn sources(&mut self, _: &[Source]) {}
        fn start(&mut self, _: Shard, _: Position, _: Offset, _: Option<KeysOnly>) {}
        fn records(&mut self, batch: &mut Vec<Record>) {
            let _ = self.0.try_send(batch[0].clone());
        }
        fn lag(&mut self, _: Shard, _: &str, _: u64) {}
        fn caught_up(&mut self) {}
        fn reachable(&mut self, _: Result<(), String>) {}
    }
    let log = MemoryLog::open(&settings(1 << 20), First(sender));
    let mut event = event(room("cart-1"), r#"{"n":1}"#);
    event.to_user = Some(User::new("ann").expect("a user"));
    event.headers = vec![("X-Request-ID".into(), "7".into())];
    let receipt = log.publish(&event).expect("accepted");
    let mut got = None;
    eventually("the record", || {
        got = records.try_recv().ok();
        got.is_some()
    })
    .await;
    let record = got.expect("a record");
    assert_eq!(record.key(), Some(&b"cart-1"[..]));
    assert_eq!(record.value().as_deref(), Some(&br#"{"n":1}"#[..]));
    let fields: Vec<_> = record.fields().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
    let expected: Vec<_> = fields_of(&event)
        .into_iter()
        .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()))
        .collect();
    assert_eq!(fields, expected);
    assert_eq!((record.shard, record.offset), (receipt.shard, receipt.offset));
    assert_eq!((record.timestamp, record.tag), (receipt.timestamp, receipt.tag));
    assert_eq!(record.shard.index, murmur2::partition(b"cart-1", 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_at_once_lose_nothing_and_keep_their_order() {
    let sink = Recording::default();
    let log = Arc::new(MemoryLog::open(&settings(1 << 26), sink.clone()));
    let publishers = (0..8).map(|who| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for n in 0..500 {
                // Two publishers to a room: their events mix, each one's stay in order.
                let event = event(room(&format!("r{}", who / 2)), &format!("{who}/{n}"));
                log.publish(&event).expect("accepted");
                if n % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("published");
    }
    eventually("all of them", || sink.records().len() == 4_000).await;
    let mut offsets: BTreeMap<Shard, u128> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (shard, offset, value) in sink.records() {
        let next = offsets.entry(shard).or_default();
        assert_eq!(offset.0, *next, "no hole and no repetition");
        *next += 1;
        let value = String::from_utf8(value.to_vec()).expect("text");
        let (who, n) = value.split_once('/').expect("who/n");
        let count = counts.entry(who.to_owned()).or_default();
        assert_eq!(n, count.to_string(), "publisher {who}");
        *count += 1;
    }
    assert!(counts.values().all(|count| *count == 500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_stands_still_holds_no_publisher_up_and_is_told_what_it_missed() {
    let (release, gate) = mpsc::channel();
    let sink = Recording::default();
    sink.0.lock().gate = Some(gate);
    let log = MemoryLog::open(&settings(64 * 1024), sink.clone());
    log.publish(&event(room("a"), "0")).expect("accepted");
    eventually("the sink has begun", || sink.0.lock().gate.is_none()).await;
    let mut last = None;
    for n in 1..=2_000 {
        last = Some(log.publish(&event(room("a"), &n.to_string())).expect("accepted"));
    }
    let last = last.expect("published");
    let held = log.read(&everything(last.shard)).expect("a shard");
    assert!(held.log_start > Offset(1), "the log let go of the oldest");
    release.send(()).expect("the sink waits");
    eventually("the newest", || sink.records().last().is_some_and(|r| r.1 == last.offset)).await;
    let told = sink.0.lock().told.clone();
    let again = Position { next: held.log_start, tag: log.tag() };
    let again = Told::Start(last.shard, again, held.log_start);
    let at = told.iter().position(|told| *told == again).expect("begun again");
    let before = told[..at].iter().filter(|told| matches!(told, Told::Record(..))).count();
    assert_eq!(before, 1);
    let after: Vec<u128> = sink.records()[1..].iter().map(|r| r.1.0).collect();
    assert_eq!(after, (held.log_start.0..=last.offset.0).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_event_is_handed_on_by_who_appends_it_unless_that_is_being_done() {
    let sink = Recording::default();
    let log = Arc::new(MemoryLog::open(&settings(1 << 20), sink.clone()));
    log.publish_alone(&event(room("a"), "0")).expect("accepted");
    assert_eq!(sink.records().len(), 1, "no task has had its turn since");

    let (release, gate) = mpsc::channel();
    sink.0.lock().gate = Some(gate);
    let held_up = Arc::clone(&log);
    let held_up = std::thread::spawn(move || held_up.publish_alone(&event(room("a"), "1")));
    eventually("the sink has begun", || sink.0.lock().gate.is_none()).await;
    log.publish_alone(&event(room("a"), "2")).expect("accepted");
    assert_eq!(sink.records().len(), 1, "neither is it held up, nor does it overtake");
    release.send(()).expect("the sink waits");
    held_up.join().expect("no panic").expect("accepted");
    eventually("the third", || sink.records().len() == 3).await;
    let values: Vec<_> = sink.records().into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, ["0", "1", "2"]);
}

#[tokio::test]
async fn lag_is_told_of_every_shard_and_is_none_when_all_was_read() {
    let sink = Recording::default();
    let log = MemoryLog::open(&settings(1 << 20), sink.clone());
    log.publish(&event(room("a"), "1")).expect("accepted");
    let lags = || {
        let told = sink.0.lock().told.clone();
        told.into_iter()
            .filter_map(|t| if let Told::Lag(_, name, n) = t { Some((name, n)) } else { None })
            .collect::<Vec<_>>()
    };
    eventually("every shard", || lags().len() == 5).await;
    assert!(lags().iter().all(|(_, lag)| *lag == 0), "{:?}", lags());
    assert_eq!(lags()[4].0, "tidegate.broadcast");
}

#[tokio::test]
async fn a_log_nobody_writes_to_empties_with_age() {
    let settings = Memory { max_age: Duration::from_millis(20), ..settings(1 << 20) };
    let log = MemoryLog::open(&settings, Recording::default());
    let receipt = log.publish(&event(room("a"), "1")).expect("accepted");
    let read = || log.read(&everything(receipt.shard)).expect("a shard");
    eventually("it is gone", || read().log_start == Offset(1)).await;
}

#[tokio::test]
async fn an_event_larger_than_the_log_is_refused() {
    let log = MemoryLog::open(&settings(1_000), Recording::default());
    let refused = log.publish(&event(room("a"), &"1".repeat(1_000)));
    assert!(matches!(refused, Err(PublishError::TooLarge(_))), "{refused:?}");
    log.publish(&event(room("a"), "1")).expect("accepted");
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_ends_its_task() {
    let sink = Recording::default();
    let log = MemoryLog::open(&settings(1 << 20), sink.clone());
    log.close();
    let refused = log.publish(&event(room("a"), "1"));
    assert!(matches!(refused, Err(PublishError::NotAccepted(_))), "{refused:?}");
    eventually("the sink is let go", || Arc::strong_count(&sink.0) == 1).await;
}

#[tokio::test]
async fn a_dropped_log_ends_its_task() {
    let sink = Recording::default();
    drop(MemoryLog::open(&settings(1 << 20), sink.clone()));
    eventually("the sink is let go", || Arc::strong_count(&sink.0) == 1).await;
}

#[tokio::test]
async fn a_sink_that_breaks_ends_publishing() {
    let sink = Recording::default();
    sink.0.lock().panics = true;
    let log = MemoryLog::open(&settings(1 << 20), sink.clone());
    log.publish(&event(room("a"), "1")).expect("accepted");
    eventually("refused", || {
        matches!(log.publish(&event(room("a"), "2")), Err(PublishError::NotAccepted(_)))
    })
    .await;
}

#[tokio::test]
async fn two_logs_differ_in_their_tag() {
    let log = || MemoryLog::open(&settings(1 << 20), Recording::default());
    assert_ne!(log().tag(), log().tag());
}

fn everything(shard: Shard) -> Span {
    Span { shard, from: Offset(0), until: Offset(u128::MAX), most_bytes: usize::MAX }
}
