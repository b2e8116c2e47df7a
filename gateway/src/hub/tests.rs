//! The hub's promise, for every interleaving: a reader gets each event of its rooms once, in the
//! log's order, and any `id:` it was given resumes it exactly, on any pod.

mod budget;
mod foreign;
mod found;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::facts::{Facts, Question, Reach};
use super::*;
use crate::config::Config;
use crate::cursor::{Cursor, Tag};
use crate::event::{Event, User};
use crate::log::Role;
use crate::log::letter::outbox;
use crate::log::record::{Parts, RecordWriter};
use crate::wire::{GapReason, Variant};

const SHARDS: u32 = 3;
pub(in crate::hub) const LOOSE_SHARDS: u32 = 2;
const IDS: [&str; 4] = ["a", "b", "c", "d"];
const KINDS: [&str; 2] = ["s", "t"];

pub(in crate::hub) fn bounds() -> Bounds {
    Bounds {
        window_bytes: 64 << 20,
        window_age: Duration::from_secs(600),
        queue_bytes: 1 << 20,
        value_bytes: 64 << 20,
        lanes: 0,
        spelling: Spelling { json_depth: 16, lz4_min_bytes: 1024 },
    }
}

/// The gateway's own, and one whose records lie on any shard.
pub(in crate::hub) fn sources() -> [Source; 3] {
    [
        Source::new("events", Role::Events, SHARDS),
        Source::new("broadcast", Role::Broadcast, 1),
        Source::new("loose", Role::Events, LOOSE_SHARDS).unkeyed(),
    ]
}

/// What a publisher did.
#[derive(Debug, Clone)]
pub(in crate::hub) enum Publish {
    Room {
        id: usize,
        kind: usize,
        to: Option<bool>,
    },
    /// The same, on this shard of the source that is not keyed.
    Loose {
        id: usize,
        kind: usize,
        shard: u32,
    },
    Broadcast,
}

/// A log that several pods read, each at its own pace.
#[derive(Default)]
pub(in crate::hub) struct TestLog {
    pub(in crate::hub) shards: HashMap<Shard, Vec<Record>>,
    writer: RecordWriter,
    published: u64,
    last: Option<(Shard, Offset)>,
    /// The time of the next record.
    pub(in crate::hub) clock: i64,
}

impl TestLog {
    pub(in crate::hub) fn publish(&mut self, what: &Publish) {
        self.publish_sized(what, 0);
    }

    /// The same, with a value of at least so many bytes.
    pub(in crate::hub) fn publish_sized(&mut self, what: &Publish, bytes: usize) {
        let [events, broadcast, loose] = sources();
        let (key, kind, to, shard) = match what {
            Publish::Room { id, kind, to } => {
                let id = IDS[*id];
                (id, KINDS[*kind], *to, events.shard_of(id.as_bytes()))
            }
            Publish::Loose { id, kind, shard } => {
                (IDS[*id], KINDS[*kind], None, Shard { source: loose.id, index: *shard })
            }
            Publish::Broadcast => ("s", "s", None, Shard { source: broadcast.id, index: 0 }),
        };
        let records = self.shards.entry(shard).or_default();
        let number = self.published.to_string();
        let value = number + &" ".repeat(bytes);
        self.published += 1;
        let mut fields: Vec<(&[u8], &[u8])> = vec![(b"event_type", kind.as_bytes())];
        if let Some(me) = to {
            fields.push((b"to_user", if me { b"me" } else { b"you" }));
        }
        let parts = Parts {
            shard,
            offset: Offset(records.len() as u128),
            timestamp: self.clock,
            tag: None,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
        };
        self.last = Some((shard, parts.offset));
        records.push(self.writer.write(parts, fields.into_iter()));
    }

    /// Where the last record is.
    pub(in crate::hub) fn last(&self) -> Option<(Shard, Offset)> {
        self.last
    }
}

/// One pod: a hub, and how far it has read.
pub(in crate::hub) struct Pod {
    pub(in crate::hub) hub: Arc<Hub>,
    read: HashMap<Shard, usize>,
    /// How many of the sources it has found.
    found: usize,
}

impl Pod {
    pub(in crate::hub) fn new() -> Self {
        Self::with(bounds())
    }

    pub(in crate::hub) fn with(bounds: Bounds) -> Self {
        let mut pod = Self::without_sources(bounds);
        pod.find(sources().len());
        pod
    }

    fn without_sources(bounds: Bounds) -> Self {
        let (letters, _) = outbox(&Config::default());
        Self { hub: Hub::new(bounds, letters), read: HashMap::new(), found: 0 }
    }

    /// Finds the first `count` sources; what is new is read from its start.
    fn find(&mut self, count: usize) {
        let sources = sources();
        self.hub.set_sources(&sources[..count]);
        for shard in sources[self.found..count].iter().flat_map(Source::all_shards) {
            self.hub.start(shard, Position::default(), Offset(0));
        }
        self.found = count;
    }

    /// Reads up to `most` records of the `nth` shard.
    pub(in crate::hub) fn consume(&mut self, log: &TestLog, nth: usize, most: usize) {
        let found = &sources()[..self.found];
        let is_read = |shard: &&Shard| found.iter().any(|source| source.id == shard.source);
        let mut shards: Vec<_> = log.shards.keys().filter(is_read).copied().collect();
        shards.sort();
        let Some(shard) = shards.get(nth % shards.len().max(1)) else { return };
        let read = self.read.entry(*shard).or_default();
        let records: Vec<_> = log.shards[shard].iter().skip(*read).take(most).cloned().collect();
        *read += records.len();
        self.hub.route(records.into_iter().map(|record| (record, Fate::Route)));
    }

    /// Opens a reader of what the window has. Cursors of pods that are further are of this log.
    pub(in crate::hub) fn open(
        &self,
        patterns: &[Pattern],
        user: Option<&User>,
        start: &Start,
    ) -> Opened {
        let facts = self.facts(patterns, start);
        match self.hub.subscribe(patterns, user, start, &facts).expect("ready") {
            Subscribed::Opened(opened) => *opened,
            other => panic!("the window has not all of it: {other:?}"),
        }
    }

    /// A page of what the window has.
    pub(in crate::hub) fn page(
        &self,
        pattern: &Pattern,
        user: Option<&User>,
        start: Start,
        limit: usize,
    ) -> Page {
        let facts = self.facts(std::slice::from_ref(pattern), &start);
        let page = self.hub.history(pattern, user, start, limit, &facts);
        page.expect("ready").expect("the window has it")
    }

    /// What the log says of cursors that are further than this pod: that it has these records.
    fn facts(&self, patterns: &[Pattern], start: &Start) -> Facts {
        let mut facts = Facts::default();
        let planned = self.hub.plan(patterns, start, &facts).expect("ready");
        let Planned::Ask(questions) = planned else { return facts };
        for question in questions {
            let Question::Reach { shard, next } = question else { panic!("{question:?}") };
            let reach = Reach { log_start: Offset(0), end: next, before: Tag::UNKNOWN };
            facts.learn_reach(shard, next, reach);
        }
        facts
    }

    pub(in crate::hub) fn consume_all(&mut self, log: &TestLog) {
        for nth in 0..log.shards.len() {
            self.consume(log, nth, usize::MAX);
        }
    }
}

/// A client: what it asked for, what it got, and the last id it saw.
struct Client {
    patterns: Vec<Pattern>,
    subscription: Subscription,
    last_id: Cursor,
    /// Shard, offset and data of what it was written.
    got: Vec<(Shard, Offset, String)>,
}

fn cursor_of(block: &[u8]) -> Option<Cursor> {
    let text = std::str::from_utf8(block).expect("UTF-8");
    let line = text.lines().find_map(|l| l.strip_prefix("id: "))?;
    Some(Cursor::parse(line).expect("cursor"))
}

impl Client {
    fn connect(pod: &Pod, patterns: &[Pattern]) -> Self {
        let me = User::new("me").expect("user");
        let opened = pod.open(patterns, Some(&me), &Start::Live);
        Self {
            patterns: patterns.to_vec(),
            subscription: opened.subscription,
            last_id: opened.connected_at.expect("a live start has an id"),
            got: Vec::new(),
        }
    }

    fn reconnect(&mut self, pod: &Pod) {
        let start = Start::Resume(self.last_id.clone());
        let me = User::new("me").expect("user");
        let opened = pod.open(&self.patterns, Some(&me), &start);
        assert_eq!(opened.gap, None, "nothing was lost");
        assert_eq!(opened.connected_at, Some(self.last_id.clone()));
        self.subscription = opened.subscription;
    }

    /// Takes what there is, but writes at most `most` events of it: the rest is lost with the
    /// connection, as when it is cut.
    fn poll(&mut self, most: usize) -> usize {
        let mut out = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = self.subscription.poll_next(&mut cx, 500, &mut out) {
            result.expect("no lag");
        }
        let taken = out.len();
        for delivery in out.into_iter().take(most) {
            let frame = delivery.frame(Variant::default()).expect("an event");
            let block = match &delivery.id_line {
                None => frame.block(),
                Some(line) => [line.as_ref(), frame.body().as_ref()].concat().into(),
            };
            self.last_id = cursor_of(&block).expect("every event has an id");
            let item = &delivery.item;
            let data = item.event().expect("an event").data;
            self.got.push((
                item.shard(),
                item.offset(),
                String::from_utf8(data.to_vec()).expect("UTF-8"),
            ));
        }
        taken
    }

    fn heartbeat(&mut self) {
        if let Some(cursor) = self.subscription.current() {
            self.last_id = cursor;
        }
    }

    fn wants(&self, what: &Publish) -> bool {
        match what {
            Publish::Broadcast => true,
            Publish::Room { to: Some(false), .. } => false,
            Publish::Room { id, kind, .. } | Publish::Loose { id, kind, .. } => {
                self.patterns.iter().any(|p| p.id.as_str() == IDS[*id] && p.takes(KINDS[*kind]))
            }
        }
    }
}

/// Somebody who leafs through a room's history, a page at a time, on any pod.
struct Leafer {
    pattern: Pattern,
    next: Start,
    /// What the pages had.
    got: Vec<(Event, Cursor)>,
}

impl Leafer {
    fn new(pattern: Pattern) -> Self {
        Self { pattern, next: Start::From(Since::Earliest), got: Vec::new() }
    }

    /// Reads a page; false if it is empty.
    fn read(&mut self, pod: &Pod, limit: usize) -> bool {
        let me = User::new("me").expect("user");
        let page = pod.page(&self.pattern, Some(&me), self.next.clone(), limit);
        assert_eq!(page.gap, None, "nothing was lost");
        assert!(page.events.len() <= limit);
        let is_end = page.events.is_empty();
        self.next = Start::Resume(page.next);
        self.got.extend(page.events);
        !is_end
    }
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("UTF-8")
}

#[derive(Debug, Clone)]
enum Step {
    Publish(Publish),
    Consume {
        pod: usize,
        shard: usize,
        most: usize,
    },
    Poll {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Leaf {
        leafer: usize,
        limit: usize,
        pod: usize,
    },
    /// The connection is cut after `most` events of what was pending; the client comes back.
    Cut {
        client: usize,
        most: usize,
        pod: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publish = prop_oneof![
        6 => (0..IDS.len(), 0..KINDS.len(), proptest::option::weighted(0.3, any::<bool>()))
            .prop_map(|(id, kind, to)| Publish::Room { id, kind, to }),
        3 => (0..IDS.len(), 0..KINDS.len(), 0..LOOSE_SHARDS)
            .prop_map(|(id, kind, shard)| Publish::Loose { id, kind, shard }),
        1 => Just(Publish::Broadcast),
    ];
    let step = prop_oneof![
        5 => publish.prop_map(Step::Publish),
        5 => (0..2usize, 0..6usize, 1..4usize)
            .prop_map(|(pod, shard, most)| Step::Consume { pod, shard, most }),
        3 => (0..4usize).prop_map(|client| Step::Poll { client }),
        1 => (0..4usize).prop_map(|client| Step::Heartbeat { client }),
        2 => (0..4usize, 0..3usize, 0..2usize)
            .prop_map(|(client, most, pod)| Step::Cut { client, most, pod }),
        1 => (0..2usize, 1..6usize, 0..2usize)
            .prop_map(|(leafer, limit, pod)| Step::Leaf { leafer, limit, pod }),
    ];
    proptest::collection::vec(step, 1..120)
}

fn patterns_of(client: usize) -> Vec<Pattern> {
    let pattern = |id, kind| Pattern::new(id, kind).expect("pattern");
    match client {
        0 => vec![pattern("a", "s")],
        1 => vec![pattern("a", "*")],
        2 => vec![pattern("a", "s"), pattern("b", "*"), pattern("a", "*")],
        _ => vec![pattern("c", "t"), pattern("d", "s")],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_reader_gets_each_event_once_and_in_order_whatever_happens(steps in steps()) {
        let mut log = TestLog::default();
        let mut pods = [Pod::new(), Pod::new()];
        let mut published = Vec::new();
        let mut clients: Vec<Client> =
            (0..4).map(|n| Client::connect(&pods[n % 2], &patterns_of(n))).collect();
        let mut leafers: Vec<Leafer> =
            (0..2).map(|n| Leafer::new(patterns_of(n).remove(0))).collect();
        for step in steps {
            match step {
                Step::Publish(what) => {
                    log.publish(&what);
                    published.push(what);
                }
                Step::Consume { pod, shard, most } => pods[pod].consume(&log, shard, most),
                Step::Poll { client } => { clients[client].poll(usize::MAX); }
                Step::Heartbeat { client } => clients[client].heartbeat(),
                Step::Leaf { leafer, limit, pod } => { leafers[leafer].read(&pods[pod], limit); }
                Step::Cut { client, most, pod } => {
                    clients[client].poll(most);
                    clients[client].reconnect(&pods[pod]);
                }
            }
        }
        for pod in &mut pods {
            pod.consume_all(&log);
        }
        for client in &mut clients {
            while client.poll(usize::MAX) > 0 {}
            let mut expected: Vec<String> = published
                .iter()
                .enumerate()
                .filter(|(_, what)| client.wants(what))
                .map(|(n, _)| n.to_string())
                .collect();
            let mut got: Vec<String> = client.got.iter().map(|g| g.2.clone()).collect();
            expected.sort();
            got.sort();
            prop_assert_eq!(got, expected, "each once");
            let mut last: HashMap<Shard, Offset> = HashMap::new();
            for (shard, offset, _) in &client.got {
                if let Some(before) = last.insert(*shard, *offset) {
                    prop_assert!(before < *offset, "in the log's order");
                }
            }
        }
        for (n, leafer) in leafers.iter_mut().enumerate() {
            let mut pages = 0;
            while leafer.read(&pods[pages % 2], 1 + pages % 3) {
                pages += 1;
            }
            // What a stream of the same room was written, once each and in the log's order.
            let mut streamed: Vec<String> = clients[n].got.iter().map(|g| g.2.clone()).collect();
            let mut got: Vec<String> = leafer.got.iter().map(|(e, _)| text(&e.data)).collect();
            let order_of: Vec<(Shard, Vec<u64>)> = log
                .shards
                .iter()
                .map(|(shard, records)| {
                    let of_shard: Vec<String> =
                        records.iter().filter_map(|r| Some(text(&r.value()?))).collect();
                    let order = got.iter().filter(|data| of_shard.contains(data));
                    (*shard, order.map(|data| data.parse().expect("a number")).collect())
                })
                .collect();
            for (shard, order) in order_of {
                prop_assert!(order.is_sorted(), "in the log's order: {:?} {:?}", shard, order);
            }
            // Each cursor resumes just after its event, on the other pod too.
            for (at, (event, cursor)) in leafer.got.iter().enumerate().step_by(3) {
                let me = User::new("me").expect("user");
                let start = Start::Resume(cursor.clone());
                let pod = &pods[at % 2];
                let rest = pod.page(&leafer.pattern, Some(&me), start, 1_000);
                prop_assert_eq!(rest.gap, None);
                let mut rest: Vec<String> = rest.events.iter().map(|(e, _)| text(&e.data)).collect();
                let mut after = got[at + 1..].to_vec();
                rest.sort();
                after.sort();
                prop_assert_eq!(rest, after, "after {:?}", event);
            }
            streamed.sort();
            got.sort();
            prop_assert_eq!(got, streamed, "each once");
        }
    }

    #[test]
    fn no_cursor_makes_the_hub_panic_or_hand_out_another_rooms_events(
        parts in proptest::collection::vec((0..4usize, 0..6u32, any::<u64>(), any::<u16>()), 0..8),
        small in any::<bool>(),
    ) {
        let mut log = TestLog::default();
        let mut pod = Pod::new();
        for n in 0..40 {
            log.publish(&Publish::Room { id: n % 4, kind: n % 2, to: None });
        }
        pod.consume_all(&log);
        let [events, broadcast, loose] = sources();
        let names = [events.id, broadcast.id, loose.id, crate::cursor::SourceId(7)];
        let cursor = Cursor::new(parts.into_iter().map(|(source, index, next, tag)| {
            let next = if small { next % 50 } else { next };
            let position = Position { next: Offset(next.into()), tag: Tag(tag.into()) };
            (Shard { source: names[source], index }, position)
        }));
        let pattern = Pattern::new("a", "s").expect("pattern");
        let patterns = std::slice::from_ref(&pattern);
        let (start, mut facts) = (Start::Resume(cursor), Facts::default());
        let mut opened = loop {
            match pod.hub.subscribe(patterns, None, &start, &facts).expect("ready") {
                Subscribed::Opened(opened) => break opened,
                Subscribed::Partly(partly) => panic!("the window has all: {partly:?}"),
                Subscribed::Ask(questions) => for question in questions {
                    let Question::Reach { shard, next } = question else { panic!("{question:?}") };
                    let reach = Reach { log_start: Offset(0), end: Offset(30), before: Tag(1) };
                    facts.learn_reach(shard, next, reach);
                },
            }
        };
        let mut out = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while opened.subscription.poll_next(&mut cx, 1 << 20, &mut out).is_ready() {
            for delivery in out.drain(..) {
                let Audience::Room(room) = &delivery.item.head.audience else { continue };
                prop_assert_eq!(room.to_string(), "a/s");
            }
        }
    }
}

#[test]
fn the_window_keeps_to_its_budget_and_says_what_it_no_longer_has() {
    let mut pod = Pod::with(Bounds { window_bytes: 20_000, ..bounds() });
    let mut log = TestLog::default();
    let patterns = [Pattern::new("a", "s").expect("pattern")];
    let mut client = Client::connect(&pod, &patterns);
    let first = client.last_id.clone();
    for _ in 0..1_000 {
        log.publish(&Publish::Room { id: 0, kind: 0, to: None });
        pod.consume_all(&log);
        client.poll(usize::MAX);
    }
    assert_eq!(client.got.len(), 1_000, "who keeps up loses nothing");
    pod.hub.sweep();
    assert!(pod.hub.window_bytes() <= 20_000, "{}", pod.hub.window_bytes());
    let facts = Facts::default();
    let start = Start::Resume(first.clone());
    let subscribed = pod.hub.subscribe(&patterns, None, &start, &facts).expect("ready");
    let Subscribed::Partly(partly) = subscribed else { panic!("{subscribed:?}") };
    let [behind] = partly.plan.behind[..] else { panic!("{:?}", partly.plan) };
    assert_eq!(Some(behind.from), first.get(behind.shard));
    assert_eq!(partly.plan.gap, None, "nothing is lost");
    // From where it says on it has everything.
    let mut cursor = first;
    cursor.set(behind.shard, Position { next: behind.until, tag: Tag::UNKNOWN });
    let opened = pod.open(&patterns, None, &Start::Resume(cursor));
    assert_eq!((opened.gap, opened.replayed as u128), (None, 1_000 - behind.until.0));
    let before = Position { next: Offset(behind.until.0 - 1), tag: Tag::UNKNOWN };
    let start = Start::Resume(Cursor::new([(behind.shard, before)]));
    let subscribed = pod.hub.subscribe(&patterns, None, &start, &facts).expect("ready");
    assert!(matches!(subscribed, Subscribed::Partly(_)), "{subscribed:?}");
}

#[test]
fn a_long_replay_from_the_window_comes_in_parts_without_a_hole_or_a_double() {
    let mut pod = Pod::new();
    let mut log = TestLog::default();
    let patterns = [Pattern::new("a", "s").expect("pattern")];
    let first = Client::connect(&pod, &patterns).last_id;
    for n in 0..5_000 {
        log.publish(&Publish::Room { id: 0, kind: n % 2, to: None });
    }
    pod.consume_all(&log);
    let mut own = first;
    let mut got = Vec::new();
    let opened = loop {
        let start = Start::Resume(own.clone());
        match pod.hub.subscribe(&patterns, None, &start, &Facts::default()).expect("ready") {
            Subscribed::Opened(opened) => break opened,
            Subscribed::Partly(partly) => {
                assert!(partly.plan.behind.is_empty() && partly.plan.gap.is_none());
                assert!(partly.items.len() < 2_000);
                got.extend(partly.items.iter().map(|item| item.offset().0));
                own.advance_all(&partly.after);
            }
            Subscribed::Ask(questions) => panic!("{questions:?}"),
        }
    };
    assert_eq!(got.len() + opened.replayed, 2_500);
    assert!(got.is_sorted() && got.iter().all(|offset| offset % 2 == 0));
    let mut client = Client::connect(&pod, &patterns);
    client.subscription = opened.subscription;
    while client.poll(usize::MAX) > 0 {}
    got.extend(client.got.iter().map(|(_, offset, _)| offset.0));
    assert_eq!(got, (0..2_500).map(|n| n * 2).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_lags_falls_off_and_the_others_notice_nothing() {
    let mut pod = Pod::with(Bounds { queue_bytes: 2_000, ..bounds() });
    let mut log = TestLog::default();
    let patterns = [Pattern::new("a", "s").expect("pattern")];
    let mut quick = Client::connect(&pod, &patterns);
    let mut slow = Client::connect(&pod, &patterns);
    for _ in 0..100 {
        log.publish(&Publish::Room { id: 0, kind: 0, to: None });
        pod.consume_all(&log);
        quick.poll(usize::MAX);
    }
    assert_eq!(quick.got.len(), 100);
    let mut cx = Context::from_waker(Waker::noop());
    let polled = slow.subscription.poll_next(&mut cx, 500, &mut Vec::new());
    assert!(matches!(polled, Poll::Ready(Err(Lagged))));
    // What it was cut for is in the window: it comes back and has lost nothing.
    slow.reconnect(&pod);
    while slow.poll(usize::MAX) > 0 {}
    assert_eq!(slow.got.len(), 100);
}

#[test]
fn so_many_rooms_that_no_cursor_holds_them_are_refused() {
    let pod = Pod::new();
    let many = Source::new("many", Role::Events, 300);
    pod.hub.set_sources(std::slice::from_ref(&many));
    for shard in many.all_shards() {
        pod.hub.start(shard, Position::default(), Offset(0));
    }
    let patterns: Vec<Pattern> =
        (0..300).map(|n| Pattern::new(&n.to_string(), "s").expect("pattern")).collect();
    let facts = Facts::default();
    let open = |patterns| pod.hub.subscribe(patterns, None, &Start::Live, &facts).map(drop);
    assert_eq!(open(&patterns), Err(Unopened::TooManyRooms));
    assert_eq!(open(&patterns[..100]), Ok(()));
    assert_eq!(pod.hub.rooms(), 0, "nothing is left behind");
}

#[test]
fn rooms_that_are_routed_to_while_they_are_merged_lose_nothing() {
    const EVENTS: usize = 10_000;
    let mut log = TestLog::default();
    for n in 0..EVENTS {
        log.publish(&Publish::Room { id: 0, kind: n % 2, to: None });
    }
    let mut pod = Pod::new();
    let patterns = KINDS.map(|kind| Pattern::new("a", kind).expect("pattern"));
    let mut client = Client::connect(&pod, &patterns);
    let got = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let routing = scope.spawn(|| {
            for routed in (2..=EVENTS).step_by(2) {
                pod.consume(&log, 0, 2);
                // The reader is always about to look again.
                let is_read = || got.load(Ordering::Acquire) >= routed;
                (0..10_000).find(|_| is_read());
            }
        });
        while client.poll(usize::MAX) > 0 || !routing.is_finished() {
            got.store(client.got.len(), Ordering::Release);
        }
    });
    while client.poll(usize::MAX) > 0 {}
    assert_eq!(client.got.len(), EVENTS, "each once");
}

#[test]
fn a_room_that_nobody_reads_any_more_is_forgotten() {
    let pod = Pod::new();
    let patterns = [Pattern::new("a", "s").expect("a"), Pattern::new("b", "*").expect("b")];
    let one = Client::connect(&pod, &patterns);
    let two = Client::connect(&pod, &patterns[..1]);
    assert_eq!(pod.hub.rooms(), 2);
    drop(one);
    assert_eq!(pod.hub.rooms(), 1);
    drop(two);
    assert_eq!(pod.hub.rooms(), 0);
}

#[test]
fn a_shard_that_begins_elsewhere_cuts_the_readers_it_feeds_and_no_others() {
    let mut pod = Pod::new();
    let mut log = TestLog::default();
    let pattern = |id: &str| [Pattern::new(id, "s").expect("pattern")];
    let [events, ..] = sources();
    let shard = events.shard_of(b"a");
    let other = IDS.iter().find(|id| events.shard_of(id.as_bytes()) != shard).expect("another");
    let mut fed = Client::connect(&pod, &pattern("a"));
    let mut unfed = Client::connect(&pod, &pattern(other));
    log.publish(&Publish::Room { id: 0, kind: 0, to: None });
    pod.consume_all(&log);
    fed.poll(usize::MAX);
    // The log lost what came between.
    let from = Position { next: Offset(50), tag: Tag::UNKNOWN };
    pod.hub.start(shard, from, Offset(50));
    let mut cx = Context::from_waker(Waker::noop());
    let polled = fed.subscription.poll_next(&mut cx, 500, &mut Vec::new());
    assert!(matches!(polled, Poll::Ready(Err(Lagged))), "cut, to be told when it comes back");
    assert!(unfed.subscription.poll_next(&mut cx, 500, &mut Vec::new()).is_pending());
    let opened = pod.open(&pattern("a"), None, &Start::Resume(fed.last_id.clone()));
    assert_eq!(opened.gap.map(|gap| gap.reason), Some(GapReason::Expired));
}

#[test]
fn a_payload_that_is_small_without_its_whitespace_is_not_compressed() {
    let mut pod = Pod::new();
    let mut client = Client::connect(&pod, &[Pattern::new("a", "s").expect("pattern")]);
    let mut log = TestLog::default();
    log.publish(&Publish::Room { id: 0, kind: 0, to: None });
    let (&shard, records) = log.shards.iter_mut().next().expect("a record");
    let padded = format!("{}7", " ".repeat(2 * bounds().spelling.lz4_min_bytes));
    let parts = Parts {
        shard,
        offset: Offset(0),
        timestamp: 1,
        tag: None,
        key: Some(b"a"),
        value: Some(padded.as_bytes()),
    };
    let fields: [(&[u8], &[u8]); 1] = [(b"event_type", b"s")];
    records[0] = log.writer.write(parts, fields.into_iter());
    pod.consume_all(&log);
    let mut out = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(client.subscription.poll_next(&mut cx, 500, &mut out).is_ready());
    let block =
        |lz4| out[0].frame(Variant { lz4, ..Variant::default() }).expect("an event").block();
    assert_eq!(block(true), block(false));
    assert_eq!(block(true).as_ptr(), block(false).as_ptr(), "the same bytes");
}
