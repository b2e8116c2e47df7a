//! Replays of a real embedded log whose recent window is small: whatever the place, what follows
//! comes once and in order, and then what is published next.

use std::collections::HashMap;
use std::future::poll_fn;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::{Config, Memory};
use crate::consumer::{Consumer, Dedupe};
use crate::cursor::{Shard, Tag};
use crate::event::{
    Audience, EventId, EventType, IdempotencyKey, MessageId, NewEvent, Room, TraceContext,
};
use crate::health::Health;
use crate::hub::{Bounds, Since, Spelling};
use crate::log::letter::outbox;
use crate::log::memory::MemoryLog;
use crate::wire::Variant;

const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    events: 100_000,
    time: Duration::from_secs(60),
    concurrent: 8,
    wait: Duration::from_secs(10),
};
const IDS: [&str; 3] = ["a", "b", "c"];

/// A pod with a log of its own.
struct Pod {
    hub: Arc<Hub>,
    log: Arc<Log>,
    replays: Arc<Replays>,
    published: usize,
    /// The last receipt of each shard.
    ends: HashMap<Shard, Offset>,
}

/// What a reader got: event id, data, and the id that came with it.
type Got = (String, String, Cursor);

impl Pod {
    fn new(window_bytes: usize, limits: Limits) -> Self {
        let (letters, _) = outbox(&Config::default());
        let bounds = Bounds {
            window_bytes,
            window_age: Duration::from_secs(600),
            queue_bytes: 1 << 20,
            value_bytes: 1 << 20,
            lanes: 0,
            spelling: Spelling { json_depth: 16, lz4_min_bytes: 1024 },
        };
        let hub = Hub::new(bounds, letters.clone());
        let window = Duration::from_secs(120);
        let dedupe = Dedupe::new(window);
        let health = Arc::new(Health::new());
        let consumer = Consumer::new(
            Arc::clone(&hub),
            health,
            dedupe,
            crate::undelivered::Undelivered::new(window),
            "memory",
            letters,
        );
        let settings = Config::default().memory;
        let settings = Memory { max_bytes: 64 << 20, ..settings };
        let log = Arc::new(Log::Memory(MemoryLog::open(&settings, consumer)));
        let replays = Replays::new(Arc::clone(&hub), Arc::clone(&log), limits, window);
        Self { hub, log, replays, published: 0, ends: HashMap::new() }
    }

    async fn publish(&mut self, id: Option<&str>, key: Option<usize>, bytes: usize) {
        let kind = EventType::new("t").expect("a type");
        let audience = match id {
            Some(id) => Audience::Room(Room { id: EventId::new(id).expect("an id"), kind }),
            None => Audience::Broadcast(kind),
        };
        let idempotency_key =
            key.map(|key| IdempotencyKey::new(&format!("k{key}")).expect("a key"));
        let event = NewEvent {
            message_id: MessageId::fresh(),
            event_name: None,
            from_user: None,
            to_user: None,
            data: Bytes::from(format!("\"{}{}\"", self.published, "-".repeat(bytes))),
            headers: Vec::new(),
            is_final: false,
            idempotency_key,
            deliver_within_ms: None,
            replay_of: None,
            trace: TraceContext::default(),
            audience,
        };
        self.published += 1;
        let receipt = self.log.publish(&event, Instant::now()).await.expect("accepted");
        self.ends.insert(receipt.shard, receipt.offset);
    }

    /// Waits until the pod has read all that was published.
    async fn read_all(&self) {
        for (shard, offset) in &self.ends {
            while !self.hub.has_read(*shard, *offset) {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn begin(&self, patterns: &[Pattern], start: Start) -> Begun {
        self.replays.begin(patterns, None, start).await.expect("begun")
    }
}

fn patterns(ids: &[&str]) -> Vec<Pattern> {
    ids.iter().map(|id| Pattern::new(id, "*").expect("a pattern")).collect()
}

/// Takes `most` events, and the holes that come with them.
async fn take(feed: &mut Feed, most: usize) -> (Vec<Got>, Vec<Gap>) {
    let (mut got, mut gaps) = (Vec::new(), Vec::new());
    let mut out = Vec::new();
    while got.len() < most {
        let next = poll_fn(|cx| feed.poll_next(cx, 4096, &mut out));
        match tokio::time::timeout(Duration::from_secs(20), next).await.expect("something comes") {
            Ok(Turn::Events) => {}
            Ok(Turn::Gap(gap)) => gaps.push(gap),
            Err(ended) => panic!("{ended:?} after {} events", got.len()),
        }
        for delivery in out.drain(..) {
            let frame = delivery.frame(Variant::default()).expect("a frame");
            let block = match &delivery.id_line {
                Some(line) => [&line[..], &frame.body()[..]].concat(),
                None => frame.block().to_vec(),
            };
            let block = String::from_utf8(block).expect("UTF-8");
            let id = block.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id");
            let event = delivery.item.event().expect("an event");
            let data = String::from_utf8(event.data.to_vec()).expect("UTF-8");
            let of = match event.audience {
                Audience::Room(room) => room.id.to_string(),
                Audience::Broadcast(_) => "*".to_owned(),
            };
            got.push((of, data, Cursor::parse(id).expect("a cursor")));
        }
    }
    (got, gaps)
}

/// What came, room by room: no order is claimed between two shards.
fn by_room(got: &[Got]) -> HashMap<&str, Vec<&str>> {
    let mut rooms: HashMap<&str, Vec<&str>> = HashMap::new();
    for (of, data, _) in got {
        rooms.entry(of).or_default().push(data);
    }
    rooms
}

#[derive(Debug, Clone)]
enum Publish {
    Room(usize, Option<usize>),
    Broadcast,
}

fn publishes() -> impl Strategy<Value = Vec<Publish>> {
    let publish = prop_oneof![
        6 => (0..3usize, proptest::option::weighted(0.3, 0..40usize))
            .prop_map(|(id, key)| Publish::Room(id, key)),
        1 => Just(Publish::Broadcast),
    ];
    proptest::collection::vec(publish, 50..400)
}

async fn publish_all(pod: &mut Pod, publishes: &[Publish]) {
    for publish in publishes {
        match publish {
            Publish::Room(id, key) => pod.publish(Some(IDS[*id]), *key, 0).await,
            Publish::Broadcast => pod.publish(None, None, 0).await,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// The promise, with a window that has next to nothing: from the log's start and from every id
    /// all that follows comes once and in order, live events included, and duplicates do not.
    #[test]
    fn every_id_is_resumed_exactly(
        before in publishes(),
        after in publishes(),
        rooms in prop_oneof![Just(vec!["a"]), Just(vec!["a", "b", "c"])],
        window in prop_oneof![Just(2_000), Just(20_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut pod = Pod::new(window, LIMITS);
            publish_all(&mut pod, &before).await;
            pod.read_all().await;
            let patterns = patterns(&rooms);
            let mut all = pod.begin(&patterns, Start::From(Since::Earliest)).await;
            assert_eq!(all.gap, None);
            let mut keys = std::collections::HashSet::new();
            let expected = before.iter().chain(&after).filter(|publish| match publish {
                Publish::Room(id, key) => {
                    rooms.contains(&IDS[*id]) && key.is_none_or(|key| keys.insert((*id, key)))
                }
                Publish::Broadcast => true,
            });
            let expected = expected.count();
            // Some of it is published while the replay goes on.
            publish_all(&mut pod, &after).await;
            let (got, gaps) = take(&mut all.feed, expected).await;
            assert_eq!(gaps, []);
            pod.read_all().await;
            for (nth, (_, _, id)) in got.iter().enumerate().step_by(19) {
                let mut begun = pod.begin(&patterns, Start::Resume(id.clone())).await;
                assert_eq!((&begun.gap, begun.connected_at.as_ref()), (&None, Some(id)));
                let (rest, gaps) = take(&mut begun.feed, expected - nth - 1).await;
                assert_eq!(gaps, []);
                assert_eq!(by_room(&rest), by_room(&got[nth + 1..]));
            }
        });
    }
}

#[tokio::test]
async fn a_replay_that_costs_more_than_it_may_goes_on_at_the_head_and_says_so() {
    for limits in [Limits { events: 700, ..LIMITS }, Limits { bytes: 200_000, ..LIMITS }] {
        let mut pod = Pod::new(2_000, limits);
        for _ in 0..4_000 {
            pod.publish(Some("a"), None, 100).await;
        }
        pod.read_all().await;
        let mut begun = pod.begin(&patterns(&["a"]), Start::From(Since::Earliest)).await;
        let (first, _) = take(&mut begun.feed, 1).await;
        assert!(first[0].1.starts_with("\"0-"), "{first:?}");
        let mut out = Vec::new();
        let gap = loop {
            match poll_fn(|cx| begun.feed.poll_next(cx, 4096, &mut out)).await.expect("goes on") {
                Turn::Events => {}
                Turn::Gap(gap) => break gap,
            }
        };
        assert!(out.len() < 3_000, "{} events", out.len());
        assert_eq!(gap.reason, GapReason::TooFar);
        pod.publish(Some("a"), None, 0).await;
        let (next, _) = take(&mut begun.feed, 1).await;
        assert_eq!(next[0].1, "\"4000\"");
    }
}

#[tokio::test]
async fn only_so_many_replay_at_once_and_who_waits_too_long_comes_back_later() {
    let limits = Limits { concurrent: 1, wait: Duration::from_millis(50), ..LIMITS };
    let mut pod = Pod::new(2_000, limits);
    for _ in 0..4_000 {
        pod.publish(Some("a"), None, 100).await;
    }
    pod.read_all().await;
    let rooms = patterns(&["a"]);
    let mut first = pod.begin(&rooms, Start::From(Since::Earliest)).await;
    take(&mut first.feed, 1).await;
    let mut second = pod.begin(&rooms, Start::From(Since::Earliest)).await;
    let asked = second.connected_at.clone().expect("an id");
    let ended = poll_fn(|cx| second.feed.poll_next(cx, 4096, &mut Vec::new())).await;
    assert_eq!(ended, Err(Ended::Later(asked)));
    drop(first);
    let mut third = pod.begin(&rooms, Start::From(Since::Earliest)).await;
    assert_eq!(take(&mut third.feed, 4_000).await.0.len(), 4_000);
}

#[tokio::test]
async fn during_a_replay_a_heartbeat_says_what_was_written() {
    let mut pod = Pod::new(2_000, LIMITS);
    for _ in 0..4_000 {
        pod.publish(Some("a"), None, 100).await;
    }
    pod.read_all().await;
    let mut begun = pod.begin(&patterns(&["a"]), Start::From(Since::Earliest)).await;
    assert_eq!(begun.feed.current(), begun.connected_at);
    let (got, _) = take(&mut begun.feed, 10).await;
    let (_, _, last) = got.last().expect("events");
    assert_eq!(begun.feed.current().as_ref(), Some(last));
}

#[tokio::test]
async fn a_cursor_of_another_log_is_told_so_and_goes_on_at_this_ones_start() {
    let mut pod = Pod::new(2_000, LIMITS);
    for _ in 0..500 {
        pod.publish(Some("a"), None, 0).await;
    }
    pod.read_all().await;
    let rooms = patterns(&["a"]);
    let begun = pod.begin(&rooms, Start::Live).await;
    let mut cursor = begun.connected_at.expect("an id");
    let shards: Vec<_> = cursor.components().to_vec();
    for (shard, position) in shards {
        let next = Offset(position.next.0 / 2);
        cursor.set(shard, crate::cursor::Position { next, tag: Tag::of_epoch(77) });
    }
    let mut begun = pod.begin(&rooms, Start::Resume(cursor.clone())).await;
    let gap = begun.gap.expect("a hole");
    assert_eq!((gap.reason, gap.requested), (GapReason::Recreated, Some(cursor)));
    let (got, gaps) = take(&mut begun.feed, 500).await;
    assert_eq!((got.len(), gaps.len()), (500, 0));
}

#[tokio::test]
async fn pages_of_history_go_back_before_the_window() {
    let mut pod = Pod::new(2_000, LIMITS);
    for n in 0..3_000 {
        pod.publish(Some(IDS[n % 3]), None, 0).await;
    }
    pod.read_all().await;
    let pattern = &patterns(&["b"])[0];
    let mut start = Start::From(Since::Earliest);
    let mut got = Vec::new();
    loop {
        let page = pod.replays.history(pattern, None, start, 170).await.expect("a page");
        assert_eq!(page.gap, None);
        assert!(page.events.len() <= 170);
        start = Start::Resume(page.next);
        if page.events.is_empty() {
            break;
        }
        got.extend(page.events.iter().map(|(event, _)| {
            let text = std::str::from_utf8(&event.data).expect("UTF-8").trim_matches('"');
            text.parse::<usize>().expect("a number")
        }));
    }
    assert_eq!(got, (0..1_000).map(|n| 3 * n + 1).collect::<Vec<_>>());
}
