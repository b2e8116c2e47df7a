use super::*;
use crate::log::Role;
use crate::log::kafka::survey::Surveyed;

fn topic(name: &str) -> Topic {
    Topic { name: name.to_owned(), role: Role::Events, partitions: 1, foreign: None }
}

fn survey(topics: &[(&str, &[Option<Reach>])]) -> Survey {
    let surveyed = |(name, partitions): &(&str, &[Option<Reach>])| Surveyed {
        topic: topic(name),
        partitions: partitions.to_vec(),
        late: false,
    };
    Survey { topics: topics.iter().map(surveyed).collect(), unread: Vec::new() }
}

fn positions(partitions: usize) -> Positions {
    let mut positions = Positions::new(&[topic("t")]);
    let survey = survey(&[("t", &vec![reach(5, 10); partitions])]);
    assert!(positions.count(&survey, true, true));
    positions
}

fn reach(low: i64, high: i64) -> Option<Reach> {
    Some(Reach { low, high })
}

#[test]
fn each_offset_of_a_partition_is_taken_once_and_holes_are_fine() {
    let mut positions = positions(1);
    let mut take = |partition, offset| positions.advance((0, partition), offset, 1, Tag(1));
    assert_eq!(take(0, 7), Taken::Passed, "its place is not known");
    positions.get_mut((0, 0)).expect("there").next = Some(7);
    let mut take = |partition, offset| positions.advance((0, partition), offset, 1, Tag(1));
    assert_eq!(take(0, 7), Taken::Next);
    assert_eq!(take(0, 7), Taken::Passed, "a repeat");
    assert_eq!(take(0, 9), Taken::Next, "8 is a hole");
    assert_eq!(take(0, 8), Taken::Passed);
    assert_eq!(take(1, 8), Taken::Passed, "no such partition");
}

#[test]
fn an_assignment_begins_where_the_pod_is() {
    let mut positions = positions(2);
    positions.get_mut((0, 1)).expect("there").next = Some(8);
    let mut list = TopicPartitionList::new();
    list.add_partition("t", 0);
    list.add_partition("t", 1);
    let held = positions.assign(&mut list);
    assert_eq!(held.count(), 1);
    assert!(held.find_partition("t", 0).is_some());
    let of = |p| list.find_partition("t", p).expect("there").offset();
    assert_eq!(of(1), KafkaOffset::Offset(8));
    assert_eq!(of(0), KafkaOffset::Beginning);
    positions.revoke(&list);
    assert!(positions.iter().all(|(_, place)| !place.assigned && !place.held));
}

#[test]
fn a_log_that_was_replaced_and_has_grown_is_known_by_the_last_record() {
    let again = |time, tag| {
        let mut positions = positions(1);
        positions.get_mut((0, 0)).expect("there").begin(7);
        assert_eq!(positions.advance((0, 0), 7, 5, Tag(1)), Taken::Next);
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        assert_eq!(positions.assign(&mut list).count(), 0);
        assert_eq!(list.elements()[0].offset(), KafkaOffset::Offset(7), "once more");
        let taken = positions.advance((0, 0), 7, time, tag);
        (positions, taken)
    };
    let (mut same, taken) = again(5, Tag(1));
    assert_eq!(taken, Taken::Passed);
    assert_eq!(same.advance((0, 0), 8, 6, Tag(2)), Taken::Next);
    for (time, tag) in [(6, Tag(1)), (5, Tag(2))] {
        let (mut other, taken) = again(time, tag);
        assert_eq!(taken, Taken::Replaced);
        assert!(other.moves(false, 0).is_empty(), "it is being read");
        assert_eq!(other.moves(true, 0)[0].2, Move::Since(5));
        other.get_mut((0, 0)).expect("there").begin(8);
        assert!(other.moves(true, 0).is_empty());
    }
}

#[test]
fn a_last_record_that_is_gone_proves_nothing() {
    let mut positions = positions(1);
    positions.get_mut((0, 0)).expect("there").begin(7);
    assert_eq!(positions.advance((0, 0), 7, 5, Tag(1)), Taken::Next);
    let mut list = TopicPartitionList::new();
    list.add_partition("t", 0);
    positions.assign(&mut list);
    assert_eq!(positions.advance((0, 0), 9, 6, Tag(2)), Taken::Next);
    assert_eq!(positions.advance((0, 0), 7, 6, Tag(3)), Taken::Passed);
}

#[test]
fn a_place_outside_of_the_log_moves_only_when_nothing_was_read_meanwhile() {
    let mut positions = positions(3);
    for (partition, next) in [(0, 3), (1, 12), (2, 7)] {
        positions.get_mut((0, partition)).expect("there").next = Some(next);
    }
    assert!(positions.moves(false, 0).is_empty());
    let of = |positions: &Positions| -> Vec<_> {
        positions.moves(true, 0).into_iter().map(|(p, _, to)| (p.1, to)).collect()
    };
    assert_eq!(of(&positions), [(0, Move::To(5)), (1, Move::To(5))]);
    let last = Last { offset: 11, time: 77, tag: Tag(1) };
    positions.get_mut((0, 1)).expect("there").last = Some(last);
    assert_eq!(of(&positions), [(0, Move::To(5)), (1, Move::Since(77))]);
}

#[test]
fn a_partition_that_came_later_is_read_from_its_start() {
    let mut positions = positions(1);
    let survey = survey(&[("t", &[reach(5, 10), None, reach(0, 4)])]);
    assert!(positions.count(&survey, false, false));
    assert_eq!(
        positions.moves(false, 99),
        [
            ((0, 0), Reach { low: 5, high: 10 }, Move::Since(99)),
            ((0, 2), Reach { low: 0, high: 4 }, Move::To(0)),
        ]
    );
}

#[test]
fn a_partition_that_vanishes_keeps_its_place() {
    let mut positions = positions(3);
    positions.get_mut((0, 2)).expect("there").next = Some(8);
    let fewer = survey(&[("t", &[reach(5, 10)])]);
    assert!(!positions.count(&fewer, false, false), "a broker that is behind");
    assert_eq!(positions.iter().count(), 3);
    assert!(positions.count(&fewer, false, true), "made anew with fewer");
    assert_eq!(positions.iter().count(), 1);
    assert!(positions.count(&survey(&[("t", &[reach(5, 10); 3])]), false, false));
    assert_eq!(positions.iter().last().expect("there").1.next, Some(8));
}

#[test]
fn a_topic_that_comes_later_is_read_from_its_start_and_goes_without_a_trace() {
    let mut positions = positions(1);
    positions.get_mut((0, 0)).expect("there").next = Some(5);
    let (t, one) = (("t", [reach(5, 10)]), [reach(2, 9)]);
    let both = survey(&[(t.0, &t.1), ("new", &one)]);
    assert!(positions.count(&both, false, false));
    assert_eq!(positions.names().iter().map(|n| &**n).collect::<Vec<_>>(), ["new", "t"]);
    let begun = ((1, 0), Reach { low: 2, high: 9 }, Move::To(2));
    assert_eq!(positions.moves(false, 99), [begun]);
    assert!(positions.count(&survey(&[(t.0, &t.1)]), false, false));
    assert_eq!((positions.sources().len(), positions.part("new", 0)), (1, None));
    // One that takes its place has nothing of it; what was there before is history.
    let mut late = survey(&[(t.0, &t.1), ("other", &one)]);
    late.topics[1].late = true;
    assert!(positions.count(&late, false, false));
    assert_eq!(positions.part("other", 0), Some((1, 0)));
    assert_eq!(positions.moves(false, 99)[0].2, Move::Since(99));
}
