//! What a slow reader is promised, for every interleaving: order, no doubles, a hole said for all
//! that is missing, and cursors that resume exactly.

use std::collections::{BTreeSet, HashMap};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::super::tests::{LOOSE_SHARDS, Pod, Publish, TestLog, bounds, sources};
use super::super::{Bounds, Start, Subscription};
use super::*;
use crate::config::Slow;
use crate::cursor::{Offset, Position};
use crate::event::Pattern;
use crate::wire::Variant;

/// How far a reader may lag here: a few events.
const QUEUE_BYTES: usize = 700;
const IDS: [&str; 4] = ["a", "b", "c", "d"];
const KINDS: [&str; 2] = ["s", "t"];

fn me() -> Option<User> {
    Some(User::new("me").expect("user"))
}

fn pattern(id: &str, kind: &str) -> Pattern {
    Pattern::new(id, kind).expect("pattern")
}

/// Where an event is.
type Place = (Shard, Offset);

/// What a stream carried.
#[derive(Debug, Clone)]
enum Wrote {
    Event(Place, Cursor),
    Gap(Gap),
    /// A first block or a heartbeat.
    Id(Cursor),
}

impl Wrote {
    fn id(&self) -> &Cursor {
        match self {
            Self::Event(_, id) | Self::Id(id) => id,
            Self::Gap(gap) => &gap.resumed_at,
        }
    }
}

/// A client that is slow, and comes back when it is cut.
struct Client {
    patterns: Vec<Pattern>,
    slow: Slow,
    subscription: Subscription,
    wrote: Vec<Wrote>,
}

impl Client {
    fn connect(pod: &Pod, patterns: Vec<Pattern>, slow: Slow, start: Start) -> Self {
        let mut opened = pod.open(&patterns, me().as_ref(), &start);
        opened.subscription.when_slow(slow);
        assert_eq!(opened.gap, None, "the window has everything");
        let wrote = vec![Wrote::Id(opened.connected_at.expect("an id"))];
        Self { patterns, slow, subscription: opened.subscription, wrote }
    }

    fn last_id(&self) -> Cursor {
        self.wrote.last().expect("the first block").id().clone()
    }

    fn reconnect(&mut self, pod: &Pod) {
        let start = Start::Resume(self.last_id());
        let new = Self::connect(pod, self.patterns.clone(), self.slow, start);
        self.subscription = new.subscription;
        self.wrote.extend(new.wrote);
    }

    /// Takes what there is and writes `most` blocks of it. False if there was nothing.
    fn poll(&mut self, pod: &Pod, most: usize) -> bool {
        let mut out = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        match self.subscription.poll_next(&mut cx, 400, &mut out) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Lagged)) => {
                assert_eq!(self.slow, Slow::Disconnect, "only this one is cut");
                self.reconnect(pod);
                return true;
            }
        }
        let gap = if out.is_empty() { self.subscription.take_gap().map(Wrote::Gap) } else { None };
        let events = out.into_iter().map(|delivery| {
            let frame = delivery.frame(Variant::default()).expect("an event");
            let line = delivery.id_line.clone().unwrap_or_else(|| frame.block());
            let text = std::str::from_utf8(&line).expect("UTF-8");
            let id = text.lines().find_map(|l| l.strip_prefix("id: ")).expect("an id");
            let place = (delivery.item.shard(), delivery.item.offset());
            Wrote::Event(place, Cursor::parse(id).expect("a cursor"))
        });
        self.wrote.extend(gap.into_iter().chain(events).take(most));
        true
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

    /// That all that was written is true. `wanted` is what was published for it.
    fn check(&self, wanted: &BTreeSet<Place>) -> Result<(), TestCaseError> {
        let is_before = |place: &Place, cursor: &Cursor| {
            cursor.get(place.0).is_some_and(|p: Position| place.1 < p.next)
        };
        let mut written: BTreeSet<Place> = BTreeSet::new();
        let mut missing: BTreeSet<Place> = BTreeSet::new();
        let mut last: HashMap<Shard, Offset> = HashMap::new();
        for block in &self.wrote {
            let owed = || wanted.iter().filter(|place| is_before(place, block.id()));
            match block {
                Wrote::Event(place, _) => {
                    let before = last.insert(place.0, place.1);
                    prop_assert!(before.is_none_or(|b| b < place.1), "in order, once: {place:?}");
                    written.insert(*place);
                }
                Wrote::Gap(gap) => {
                    prop_assert_eq!(gap.reason, GapReason::Overflow);
                    let requested = gap.requested.as_ref().expect("the window reaches so far");
                    for place in owed().filter(|place| !written.contains(place)) {
                        let known = missing.contains(place);
                        prop_assert!(known || !is_before(place, requested), "{place:?}");
                        missing.insert(*place);
                    }
                }
                Wrote::Id(_) => {}
            }
            // Of what lies before an id nothing is left out in silence...
            for place in owed() {
                prop_assert!(written.contains(place) || missing.contains(place), "{place:?}");
            }
            // ... and nothing after it was written.
            prop_assert!(written.iter().all(|place| is_before(place, block.id())), "{block:?}");
        }
        prop_assert!(written.is_subset(wanted), "no strangers' events");
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(Publish, usize),
    Consume { pod: usize, shard: usize, most: usize },
    Poll { client: usize },
    Heartbeat { client: usize },
    Cut { client: usize, most: usize, pod: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publish = prop_oneof![
        6 => (0..2usize, 0..KINDS.len(), proptest::option::weighted(0.3, any::<bool>()))
            .prop_map(|(id, kind, to)| Publish::Room { id, kind, to }),
        1 => (2..IDS.len(), 0..KINDS.len())
            .prop_map(|(id, kind)| Publish::Room { id, kind, to: None }),
        2 => (0..2usize, 0..KINDS.len(), 0..LOOSE_SHARDS)
            .prop_map(|(id, kind, shard)| Publish::Loose { id, kind, shard }),
        1 => Just(Publish::Broadcast),
    ];
    let step = prop_oneof![
        8 => (publish, 0..200usize).prop_map(|(what, bytes)| Step::Publish(what, bytes)),
        6 => (0..2usize, 0..6usize, 1..6usize)
            .prop_map(|(pod, shard, most)| Step::Consume { pod, shard, most }),
        2 => (0..CLIENTS).prop_map(|client| Step::Poll { client }),
        1 => (0..CLIENTS).prop_map(|client| Step::Heartbeat { client }),
        1 => (0..CLIENTS, 0..3usize, 0..2usize)
            .prop_map(|(client, most, pod)| Step::Cut { client, most, pod }),
    ];
    proptest::collection::vec(step, 1..150)
}

const CLIENTS: usize = 9;

/// Each policy with one room, every type of an id, and several rooms.
fn client(nth: usize, pod: &Pod) -> Client {
    let slow = [Slow::Drop, Slow::Latest, Slow::Disconnect][nth % 3];
    let patterns = match nth / 3 {
        0 => vec![pattern("a", "s")],
        1 => vec![pattern("a", "*")],
        _ => vec![pattern("a", "s"), pattern("b", "*"), pattern("c", "t"), pattern("a", "*")],
    };
    Client::connect(pod, patterns, slow, Start::Live)
}

fn small() -> Bounds {
    Bounds { queue_bytes: QUEUE_BYTES, ..bounds() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_slow_reader_gets_what_its_policy_says_whatever_happens(steps in steps()) {
        whatever_happens(steps)?;
    }
}

/// What the property once found: the oldest event in the ring was one that the reader had from a pod
/// that was further, and what had fallen off before it was not said to be missing.
#[test]
fn a_hole_before_an_event_that_the_reader_has_is_said() {
    let room = |id, kind| Step::Publish(Publish::Room { id, kind, to: None }, 0);
    let loose = |id, shard, bytes| Step::Publish(Publish::Loose { id, kind: 0, shard }, bytes);
    let consume = |pod, shard, most| Step::Consume { pod, shard, most };
    let steps = vec![
        room(0, 1),
        room(0, 0),
        loose(0, 0, 0),
        room(1, 0),
        consume(0, 2, 1),
        room(0, 0),
        loose(0, 0, 0),
        loose(0, 0, 109),
        consume(0, 2, 1),
        Step::Publish(Publish::Broadcast, 0),
        consume(0, 2, 1),
        loose(0, 0, 188),
        loose(1, 1, 0),
        room(0, 0),
        consume(1, 4, 1),
        consume(0, 0, 3),
        Step::Cut { client: 4, most: 1, pod: 1 },
    ];
    whatever_happens(steps).expect("all that is missing is said");
}

fn whatever_happens(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut log = TestLog::default();
    let mut pods = [Pod::with(small()), Pod::with(small())];
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| client(n, &pods[n % 2])).collect();
    let mut published = Vec::new();
    for step in steps {
        match step {
            Step::Publish(what, bytes) => {
                log.publish_sized(&what, bytes);
                published.push((log.last().expect("just published"), what));
            }
            Step::Consume { pod, shard, most } => pods[pod].consume(&log, shard, most),
            Step::Poll { client } => {
                clients[client].poll(&pods[client % 2], usize::MAX);
            }
            Step::Heartbeat { client } => {
                let id = clients[client].subscription.current();
                clients[client].wrote.extend(id.map(Wrote::Id));
            }
            Step::Cut { client, most, pod } => {
                clients[client].poll(&pods[pod], most);
                clients[client].reconnect(&pods[pod]);
            }
        }
    }
    for pod in &mut pods {
        pod.consume_all(&log);
    }
    let mut whole = Pod::new();
    whole.consume_all(&log);
    for client in &mut clients {
        while client.poll(&pods[0], usize::MAX) {}
        let wanted = || published.iter().filter(|(_, what)| client.wants(what));
        let all: BTreeSet<Place> = wanted().map(|(place, _)| *place).collect();
        client.check(&all)?;
        let written: BTreeSet<Place> = client
            .wrote
            .iter()
            .filter_map(|block| match block {
                Wrote::Event(place, _) => Some(*place),
                _ => None,
            })
            .collect();
        match client.slow {
            Slow::Disconnect => prop_assert_eq!(&written, &all, "nothing is lost"),
            Slow::Drop => {}
            Slow::Latest => {
                // Of shards without a common order each pod has its own newest.
                let is_loose = |of| {
                    wanted().any(|(_, what)| {
                        matches!(what, Publish::Loose { .. }) && audience(what) == of
                    })
                };
                let audiences = wanted().map(|(_, what)| audience(what));
                for of in audiences.filter(|of| !is_loose(*of)) {
                    let newest = wanted().rfind(|(_, what)| audience(what) == of);
                    let newest = newest.expect("at least itself").0;
                    prop_assert!(written.contains(&newest), "the newest of {of:?}");
                }
            }
        }
        // Whoever resumes from any id gets exactly what comes after it.
        for block in client.wrote.iter().step_by(3) {
            let start = Start::Resume(block.id().clone());
            let mut again = Client::connect(&whole, client.patterns.clone(), client.slow, start);
            while again.poll(&whole, usize::MAX) {}
            let got: BTreeSet<Place> = again
                .wrote
                .iter()
                .filter_map(|block| match block {
                    Wrote::Event(place, _) => Some(*place),
                    _ => None,
                })
                .collect();
            let rest = all
                .iter()
                .filter(|(shard, offset)| block.id().get(*shard).is_none_or(|p| *offset >= p.next));
            prop_assert_eq!(got, rest.copied().collect::<BTreeSet<_>>(), "after {:?}", block);
        }
    }
    Ok(())
}

/// What `latest` keeps one of.
fn audience(what: &Publish) -> (Option<usize>, usize) {
    match what {
        Publish::Room { id, kind, .. } | Publish::Loose { id, kind, .. } => (Some(*id), *kind),
        Publish::Broadcast => (None, 0),
    }
}

/// A pod, its log, and a client of `a/*` with this policy that reads nothing while events of two
/// types are published: one of `t`, then many of `s`.
fn flooded(slow: Slow) -> (Pod, TestLog, Client) {
    let mut pod = Pod::with(small());
    let mut log = TestLog::default();
    let client = Client::connect(&pod, vec![pattern("a", "*")], slow, Start::Live);
    log.publish(&Publish::Room { id: 0, kind: 1, to: None });
    for _ in 0..50 {
        log.publish(&Publish::Room { id: 0, kind: 0, to: None });
    }
    pod.consume_all(&log);
    (pod, log, client)
}

fn offsets(client: &Client) -> Vec<Option<u128>> {
    let blocks = client.wrote.iter().skip(1);
    blocks
        .map(|block| match block {
            Wrote::Event((_, offset), _) => Some(offset.0),
            Wrote::Gap(_) | Wrote::Id(_) => None,
        })
        .collect()
}

#[test]
fn drop_goes_on_at_the_oldest_event_that_the_ring_holds() {
    let (pod, _, mut client) = flooded(Slow::Drop);
    while client.poll(&pod, usize::MAX) {}
    let got = offsets(&client);
    assert_eq!(got[0], None, "the hole comes first");
    let rest: Vec<u128> = got[1..].iter().map(|offset| offset.expect("an event")).collect();
    assert_eq!(rest, (51 - rest.len() as u128..51).collect::<Vec<_>>(), "all that is left");
    assert!((2..20).contains(&rest.len()), "{rest:?}");
}

#[test]
fn latest_goes_on_with_the_newest_of_each_type_even_if_it_fell_off_long_ago() {
    let (mut pod, mut log, mut client) = flooded(Slow::Latest);
    while client.poll(&pod, usize::MAX) {}
    // Of `t` there is only 0; between it and the newest `s` there is another hole.
    assert_eq!(offsets(&client), [None, Some(0), None, Some(50)]);
    log.publish(&Publish::Room { id: 0, kind: 0, to: None });
    pod.consume_all(&log);
    while client.poll(&pod, usize::MAX) {}
    assert_eq!(offsets(&client)[4..], [Some(51)], "and then live");
}

#[test]
fn what_was_kept_for_latest_goes_with_the_window_and_with_its_readers() {
    let (pod, _, client) = flooded(Slow::Latest);
    drop(client);
    assert_eq!(pod.hub.rooms(), 0);
    let mut pod = Pod::with(Bounds { window_bytes: 10_000, ..small() });
    let mut log = TestLog::default();
    let _slow = Client::connect(&pod, vec![pattern("a", "*")], Slow::Latest, Start::Live);
    for n in 0..1_000 {
        log.publish(&Publish::Room { id: 0, kind: n / 990, to: None });
    }
    pod.consume_all(&log);
    pod.hub.sweep();
    assert!(pod.hub.window_bytes() <= 10_000, "{}", pod.hub.window_bytes());
}

#[test]
fn a_replaced_log_ends_the_stream_whatever_the_policy() {
    for slow in [Slow::Drop, Slow::Latest] {
        let (pod, _, mut client) = flooded(slow);
        let [events, ..] = sources();
        let from = Position { next: Offset(90), ..Position::default() };
        pod.hub.start(events.shard_of(b"a"), from, Offset(90));
        let mut cx = Context::from_waker(Waker::noop());
        let polled = client.subscription.poll_next(&mut cx, 400, &mut Vec::new());
        assert!(matches!(polled, Poll::Ready(Err(Lagged))), "{slow:?}");
    }
}
