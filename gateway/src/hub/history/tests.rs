//! Where history begins, what its pages hold, and what is said of what they cannot.

use super::super::facts::{Question, Reach};
use super::super::resume::Since;
use super::super::tests::{Pod, Publish, TestLog, bounds, sources};
use super::super::{Bounds, Fate, Opened};
use super::*;
use crate::cursor::{Offset, Position, Shard};
use crate::wire::GapReason;

const TO_A: Publish = Publish::Room { id: 0, kind: 0, to: None };

fn room() -> Pattern {
    Pattern::new("a", "s").expect("pattern")
}

fn page(pod: &Pod, start: Start, limit: usize) -> Page {
    pod.page(&room(), None, start, limit)
}

fn data(page: &Page) -> Vec<usize> {
    let text = |event: &Event| std::str::from_utf8(&event.data).expect("UTF-8").parse();
    page.events.iter().map(|(event, _)| text(event).expect("a number")).collect()
}

fn opened(pod: &Pod, start: Start) -> Opened {
    pod.open(&[room()], None, &start)
}

#[test]
fn history_from_a_time_begins_with_the_first_event_that_is_not_older() {
    let (mut log, mut pod) = (TestLog::default(), Pod::new());
    // A producer's clock that steps back, as a log with CreateTime has it: 10, 20, 15, 30.
    for time in [10, 20, 15, 30] {
        log.clock = time;
        log.publish(&TO_A);
    }
    pod.consume_all(&log);
    for (since, first) in [(0, 0), (10, 0), (11, 1), (15, 1), (20, 1), (21, 3), (30, 3), (31, 4)] {
        let start = Start::From(Since::Time(since));
        let page = page(&pod, start.clone(), 10);
        assert_eq!((data(&page), page.gap), ((first..4).collect(), None), "since {since}");
        let opened = opened(&pod, start);
        assert_eq!((opened.replayed, opened.gap), (4 - first, None));
        // The position before the first event: a resume with it is the same replay.
        let at = opened.connected_at.expect("an id");
        assert_eq!(self::opened(&pod, Start::Resume(at)).replayed, 4 - first);
    }
}

/// What has to be asked of the log for this.
fn questions(pod: &Pod, since: Since) -> Vec<Question> {
    match pod.hub.plan(&[room()], &Start::From(since), &Facts::default()).expect("ready") {
        Planned::Ask(questions) => questions,
        Planned::Plan(_) => Vec::new(),
    }
}

#[test]
fn what_has_left_the_window_is_looked_up_in_the_log() {
    let (mut log, mut pod) =
        (TestLog::default(), Pod::with(Bounds { window_bytes: 20_000, ..bounds() }));
    for time in 0..500 {
        log.clock = time;
        log.publish(&TO_A);
        pod.consume_all(&log);
    }
    let [question @ Question::Reach { shard, .. }] = questions(&pod, Since::Earliest)[..] else {
        panic!("one shard has lost something")
    };
    let mut facts = Facts::default();
    let reach = Reach { log_start: Offset(7), end: Offset(500), before: Default::default() };
    facts.learn_reach(shard, Offset(0), reach);
    let plan = pod.hub.plan(&[room()], &Start::From(Since::Earliest), &facts);
    let Ok(Planned::Plan(plan)) = plan else { panic!("{question:?} was answered: {plan:?}") };
    let [behind] = plan.behind[..] else { panic!("{plan:?}") };
    assert_eq!((behind.from.next, plan.gap), (Offset(7), None));
    let first = usize::try_from(behind.until.0).expect("small");
    assert!(first > 7, "the window is smaller than the log");
    let page_of = |start: Start| pod.hub.history(&room(), None, start, 1_000, &facts);
    let page_of = page_of(Start::From(Since::Earliest)).expect("ready");
    assert!(page_of.is_none(), "not a page with a hole");

    // Times that the window surely covers are none: the log's do not step back.
    let from = |time: usize| Since::Time(i64::try_from(time).expect("small"));
    assert_eq!(questions(&pod, from(first)), []);
    assert_eq!(
        data(&page(&pod, Start::From(from(first)), 1_000)),
        (first..500).collect::<Vec<_>>()
    );
    let time = i64::try_from(first).expect("small") - 1;
    assert_eq!(questions(&pod, Since::Time(time)), [Question::Time { shard, time }]);
}

#[test]
fn a_pod_that_began_within_the_log_knows_from_when_on_it_has_everything() {
    let (mut log, mut pod) = (TestLog::default(), Pod::new());
    log.clock = 1_000;
    log.publish(&TO_A);
    let shard = *log.shards.keys().next().expect("a shard");
    let from = Position { next: Offset(1), ..Position::default() };
    pod.hub.start(shard, from, Offset(0));
    let asks = |pod: &Pod, time| !questions(pod, Since::Time(time)).is_empty();
    assert!(asks(&pod, 900), "what lies before may be from then");
    pod.hub.older(shard, 900);
    assert!(!asks(&pod, 900));
    assert!(asks(&pod, 899));
    log.publish(&TO_A);
    pod.consume_all(&log);
    assert_eq!(data(&page(&pod, Start::From(Since::Time(900)), 10)), [1]);
}

#[test]
fn a_page_looks_past_any_number_of_events_that_are_not_the_readers() {
    let (mut log, mut pod) = (TestLog::default(), Pod::new());
    log.publish(&TO_A);
    for n in 0..3 * STEP {
        let to = (n % 2 == 0).then_some(false);
        log.publish(&Publish::Room { id: 0, kind: usize::from(to.is_none()), to });
    }
    log.publish(&TO_A);
    pod.consume_all(&log);
    let first = page(&pod, Start::From(Since::Earliest), 1);
    assert_eq!(data(&first), [0]);
    let second = page(&pod, Start::Resume(first.next), 1);
    assert_eq!(data(&second), [3 * STEP + 1]);
    assert!(page(&pod, Start::Resume(second.next), 1).events.is_empty());
}

#[test]
fn a_page_ends_early_when_its_events_are_large() {
    let (mut log, mut pod) = (TestLog::default(), Pod::new());
    for _ in 0..6 {
        log.publish_sized(&TO_A, 1 << 20);
    }
    pod.consume_all(&log);
    let first = page(&pod, Start::From(Since::Earliest), 100);
    assert_eq!(first.events.len(), 3);
    assert_eq!(page(&pod, Start::Resume(first.next), 100).events.len(), 3);
}

#[test]
fn a_replaced_logs_records_are_not_in_the_new_logs_history() {
    let (mut log, mut pod) = (TestLog::default(), Pod::with(bounds()));
    for _ in 0..5 {
        log.publish(&TO_A);
    }
    pod.consume_all(&log);
    let [events, ..] = sources();
    let shard: Shard = events.shard_of(b"a");
    pod.hub.start(shard, Position::default(), Offset(0));
    assert!(page(&pod, Start::From(Since::Earliest), 10).events.is_empty());
    let again: Vec<_> = log.shards[&shard][..2].to_vec();
    pod.hub.route(again.into_iter().map(|record| (record, Fate::Route)));
    assert_eq!(data(&page(&pod, Start::From(Since::Earliest), 10)), [0, 1]);
    assert_eq!(opened(&pod, Start::From(Since::Earliest)).replayed, 2);
}

#[test]
fn something_that_is_no_cursor_is_told_so_and_the_next_page_begins_at_the_head() {
    let (mut log, mut pod) = (TestLog::default(), Pod::new());
    log.publish(&TO_A);
    pod.consume_all(&log);
    let none = page(&pod, Start::Unusable, 10);
    assert!(none.events.is_empty());
    assert_eq!(none.gap.map(|gap| gap.reason), Some(GapReason::Invalid));
    log.publish(&TO_A);
    pod.consume_all(&log);
    assert_eq!(data(&page(&pod, Start::Resume(none.next), 10)), [1]);
}
