use super::*;
use crate::config::{Config, Sources};

fn state(sources: &str) -> State {
    let sources = Sources::environment(&[("TIDEGATE_KAFKA_SOURCES", sources)]);
    let kafka = Config::load(&sources).expect("good settings").config.kafka;
    let named = kafka.sources.iter().map(|source| match &source.topics {
        Topics::Named(name) => Other::new(name, source, false),
        Topics::Matching(_) => Other::new("found", source, true),
    });
    State { others: named.collect(), ..State::default() }
}

fn partitions(count: usize) -> Described {
    Described::Partitions(vec![true; count])
}

/// What a look finds and grants: the partitions of each topic that is there, and what is unread.
fn look(state: &mut State, described: Vec<Described>, now: Instant) -> (Vec<usize>, Vec<String>) {
    let mut unread = Vec::new();
    let there = state.take(described, now, &mut unread);
    for (nth, leaders) in there {
        if let Err(Denied::TooMany(why) | Denied::Unfit(why)) = state.grant(nth, leaders.len()) {
            unread.push(why);
        }
    }
    (state.others.iter().map(|other| other.granted).collect(), unread)
}

#[test]
fn sixty_four_partitions_without_a_key_are_read_and_no_more() {
    let mut state = state(
        r#"[{"topic":"a","partitioner":"any"},{"topic":"b","partitioner":"any"},
            {"topic":"c","partitioner":"any"},{"topic":"keyed"}]"#,
    );
    let now = Instant::now();
    let mut look = |a, b, c| {
        let described = [a, b, c, 100].map(partitions).into();
        let (granted, unread) = look(&mut state, described, now);
        assert_eq!(granted[3], 100, "keyed ones do not count");
        (granted[..3].to_vec(), unread)
    };
    assert_eq!(look(30, 30, 4), (vec![30, 30, 4], vec![]));
    let (granted, unread) = look(32, 30, 4);
    assert_eq!(granted, [30, 30, 4], "what came later stays unread");
    assert!(unread[0].contains("topic a has 32 partitions"), "{unread:?}");
}

#[test]
fn a_topic_that_grows_beyond_the_limit_is_read_on_up_to_it() {
    let any = r#"[{"topic":"a","partitioner":"any"},{"topic":"b","partitioner":"any"}]"#;
    let mut state = state(any);
    let now = Instant::now();
    let mut granted = |a, b| look(&mut state, vec![partitions(a), partitions(b)], now).0;
    assert_eq!(granted(60, 8), [60, 0], "a new one is read whole or not at all");
    assert_eq!(granted(80, 8), [64, 0]);
}

#[test]
fn a_topic_that_is_missing_for_long_is_another_one_when_it_comes_back() {
    let mut state = state(r#"[{"topic":"named"},{"topics":"f.*"}]"#);
    let start = Instant::now();
    let mut look = |named: Described, found: Option<Described>, seconds| {
        let described = [Some(named), found].into_iter().flatten().collect();
        let now = start + Duration::from_secs(seconds);
        let (granted, unread) = look(&mut state, described, now);
        (granted, unread.len())
    };
    let missing = || Described::Missing;
    assert_eq!(look(partitions(3), Some(partitions(2)), 0), (vec![3, 2], 0));
    assert_eq!(look(missing(), Some(missing()), 1), (vec![3, 2], 1), "it may come back");
    assert_eq!(look(partitions(4), Some(partitions(2)), 2), (vec![4, 2], 0));
    assert_eq!(look(missing(), Some(missing()), 10), (vec![4, 2], 1));
    assert_eq!(
        look(missing(), Some(missing()), 70),
        (vec![0], 1),
        "nobody asked for what was found"
    );
    assert_eq!(look(partitions(1), None, 71), (vec![1], 0));
    // Made anew and smaller between two looks.
    assert_eq!(look(partitions(5), None, 72), (vec![5], 0));
    assert_eq!(look(missing(), None, 73), (vec![5], 1));
    assert_eq!(look(partitions(2), None, 74), (vec![0], 0));
    assert_eq!(look(partitions(2), None, 75), (vec![2], 0));
}

#[test]
fn what_was_there_before_it_could_be_read_is_late() {
    let mut state = state(r#"[{"topic":"a"},{"topic":"b"},{"topic":"c"}]"#);
    let compacted = |unfit: Option<&str>| Some((Instant::now(), unfit.map(str::to_owned)));
    state.others[0].judged = compacted(Some("topic a is compacted"));
    let refused = || Described::Refused("topic b: not allowed".to_owned());
    let now = Instant::now();
    let first = look(&mut state, vec![partitions(1), refused(), Described::Missing], now);
    assert_eq!((first.0, first.1.len()), (vec![0, 0, 0], 3));
    state.others[0].judged = compacted(None);
    let then = look(&mut state, vec![partitions(1), partitions(1), partitions(1)], now);
    assert_eq!(then, (vec![1, 1, 1], vec![]));
    let late: Vec<bool> = state.others.iter().map(|other| other.late).collect();
    assert_eq!(late, [true, true, false]);
}

#[test]
fn of_keyed_topics_only_so_many_are_read_as_a_cursor_holds() {
    let all: Vec<String> = (0..40).map(|n| format!(r#"{{"topic":"t{n}"}}"#)).collect();
    let mut state = state(&format!("[{}]", all.join(",")));
    let described = (0..40).map(|_| partitions(3)).collect();
    let (granted, unread) = look(&mut state, described, Instant::now());
    assert_eq!(granted.iter().filter(|granted| **granted == 3).count(), MOST_KEYED_TOPICS);
    assert_eq!(unread.len(), 40 - MOST_KEYED_TOPICS);
}
