//! Where the pod is in every partition: the only account of it, since nothing is committed.
//!
//! The consumer's thread moves it on; librdkafka's rebalance callback, which runs on the same
//! thread inside a poll, reads it to begin every assignment where the pod is.

use std::collections::BTreeMap;

use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use super::topics::{Reach, Survey, Topic};
use crate::cursor::Shard;
use crate::log::Source;

/// A partition: the index of its topic in the settings, and its number.
pub(super) type Part = (usize, i32);

/// Where the pod is in one partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The next offset to hand on; `None` until it was looked up.
    pub(super) next: Option<i64>,
    /// The topic has it. One that vanishes with its topic, or from the answer of a broker that is
    /// behind, keeps its place.
    pub(super) present: bool,
    /// The consumer reads it.
    pub(super) assigned: bool,
    /// It was assigned before its place was known, and is paused.
    pub(super) held: bool,
    /// It was there when the log was opened: its recent window is read back. A later one is read
    /// from its start.
    pub(super) from_window: bool,
    /// Where it ended when the log was opened.
    pub(super) until: Option<i64>,
    /// The time of the last record, in milliseconds since the Unix epoch.
    pub(super) last_time: Option<i64>,
}

/// Why a partition is read from another offset than the one that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// From the first record that is not older than this time, in milliseconds since the epoch.
    Since(i64),
    /// From this offset.
    To(i64),
}

/// Where the pod is in all partitions.
#[derive(Debug)]
pub(super) struct Positions {
    pub(super) topics: Vec<Topic>,
    pub(super) sources: Vec<Source>,
    places: BTreeMap<Part, Place>,
}

impl Positions {
    pub(super) fn new(topics: Vec<Topic>) -> Self {
        let sources = topics.iter().map(|t| Source::new(&t.name, t.role, 0)).collect();
        Self { topics, sources, places: BTreeMap::new() }
    }

    /// The partition of this name, if the topic is one of the gateway's.
    pub(super) fn part(&self, topic: &str, partition: i32) -> Option<Part> {
        Some((self.topics.iter().position(|t| t.name == topic)?, partition))
    }

    pub(super) fn shard(&self, part: Part) -> Shard {
        Shard { source: self.sources[part.0].id, index: u32::try_from(part.1).unwrap_or_default() }
    }

    pub(super) fn get_mut(&mut self, part: Part) -> Option<&mut Place> {
        self.places.get_mut(&part)
    }

    /// Those that the topics have.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Part, &Place)> {
        self.places.iter().filter(|(_, place)| place.present).map(|(&part, place)| (part, place))
    }

    /// Takes over how many partitions the topics have; true if that has changed. `first` is the
    /// survey at the opening of the log. Only if it is `still`, so that nothing is being read, can
    /// there be fewer: a topic that was made anew.
    pub(super) fn count(&mut self, survey: &Survey, first: bool, still: bool) -> bool {
        let mut changed = false;
        for (index, partitions) in survey.iter().enumerate() {
            let shards = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
            let known = &mut self.sources[index].shards;
            if shards == *known || (shards < *known && !still) {
                continue;
            }
            changed = true;
            *known = shards;
            for (part, place) in &mut self.places {
                place.present &= part.0 != index || (part.1 as u32) < shards;
            }
            for (partition, reach) in (0..).zip(partitions) {
                let place = self.places.entry((index, partition)).or_insert_with(|| Place {
                    from_window: first,
                    until: reach.filter(|_| first).map(|reach| reach.high),
                    ..Place::default()
                });
                place.present = true;
            }
        }
        changed
    }

    /// What has to be looked up or set before the partitions can be read. `still` says that nothing
    /// was read since the survey was made, so that a place outside of the log is really outside.
    pub(super) fn moves(
        &self,
        survey: &Survey,
        still: bool,
        window_start: i64,
    ) -> Vec<(Part, Reach, Move)> {
        self.iter()
            .filter_map(|(part, place)| {
                let reach = *survey.get(part.0)?.get(usize::try_from(part.1).ok()?)?;
                let reach = reach?;
                let to = match place.next {
                    None if place.from_window => Move::Since(window_start),
                    None => Move::To(reach.low),
                    Some(next) if still && next < reach.low => Move::To(reach.low),
                    // Cut off, or made anew: what follows the last record that was handed on is
                    // new. By time, since offsets of another log say nothing.
                    Some(next) if still && next > reach.high => {
                        place.last_time.map_or(Move::To(reach.low), Move::Since)
                    }
                    Some(_) => return None,
                };
                Some((part, reach, to))
            })
            .collect()
    }

    /// Whether the record at `offset` is the partition's next one; moves on past it.
    pub(super) fn advance(&mut self, part: Part, offset: i64, time: i64) -> bool {
        let Some(place) = self.places.get_mut(&part) else { return false };
        match place.next {
            Some(next) if offset >= next => {
                place.next = Some(offset + 1);
                place.last_time = Some(time);
                true
            }
            _ => false,
        }
    }

    /// Writes the pod's places into an assignment. Those that are not known yet are returned: they
    /// have to be paused, and are set to the log's start meanwhile.
    pub(super) fn assign(&mut self, assignment: &mut TopicPartitionList) -> TopicPartitionList {
        let mut held = TopicPartitionList::new();
        for mut element in assignment.elements() {
            let part = self.part(element.topic(), element.partition());
            let Some(part) = part else { continue };
            let place = self.places.entry(part).or_default();
            place.assigned = true;
            place.held = place.next.is_none();
            let offset = place.next.map_or(KafkaOffset::Beginning, KafkaOffset::Offset);
            // Cannot fail: neither value is one that librdkafka has no number for.
            if let Err(error) = element.set_offset(offset) {
                tracing::error!(%error, "an offset could not be set");
            }
            if place.held {
                held.add_partition(element.topic(), element.partition());
            }
        }
        held
    }

    /// Forgets that these are read.
    pub(super) fn revoke(&mut self, revoked: &TopicPartitionList) {
        for element in revoked.elements() {
            if let Some(part) = self.part(element.topic(), element.partition())
                && let Some(place) = self.places.get_mut(&part)
            {
                place.assigned = false;
                place.held = false;
            }
        }
    }

    /// Forgets that any are read.
    pub(super) fn revoke_all(&mut self) {
        for place in self.places.values_mut() {
            place.assigned = false;
            place.held = false;
        }
    }

    /// All partitions whose place is known, to be assigned without a group.
    pub(super) fn known(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), place) in self.iter() {
            if place.next.is_some() {
                list.add_partition(&self.topics[topic].name, partition);
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Role;

    fn positions(partitions: usize) -> Positions {
        let topic = Topic { name: "t".to_owned(), role: Role::Events, partitions: 1 };
        let mut positions = Positions::new(vec![topic]);
        assert!(positions.count(&vec![vec![reach(5, 10); partitions]], true, true));
        positions
    }

    fn reach(low: i64, high: i64) -> Option<Reach> {
        Some(Reach { low, high })
    }

    #[test]
    fn each_offset_of_a_partition_is_taken_once_and_holes_are_fine() {
        let mut positions = positions(1);
        assert!(!positions.advance((0, 0), 7, 1), "its place is not known");
        positions.get_mut((0, 0)).expect("there").next = Some(7);
        assert!(positions.advance((0, 0), 7, 1));
        assert!(!positions.advance((0, 0), 7, 1), "a repeat");
        assert!(positions.advance((0, 0), 9, 2), "8 is a hole");
        assert!(!positions.advance((0, 0), 8, 2));
        assert!(!positions.advance((0, 1), 8, 2), "no such partition");
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
    fn a_place_outside_of_the_log_moves_only_when_nothing_was_read_meanwhile() {
        let mut positions = positions(3);
        for (partition, next) in [(0, 3), (1, 12), (2, 7)] {
            positions.get_mut((0, partition)).expect("there").next = Some(next);
        }
        let survey = vec![vec![reach(5, 10); 3]];
        assert!(positions.moves(&survey, false, 0).is_empty());
        let of = |positions: &Positions| -> Vec<_> {
            positions.moves(&survey, true, 0).into_iter().map(|(p, _, to)| (p.1, to)).collect()
        };
        assert_eq!(of(&positions), [(0, Move::To(5)), (1, Move::To(5))]);
        positions.get_mut((0, 1)).expect("there").last_time = Some(77);
        assert_eq!(of(&positions), [(0, Move::To(5)), (1, Move::Since(77))]);
    }

    #[test]
    fn a_partition_that_came_later_is_read_from_its_start() {
        let mut positions = positions(1);
        let survey = vec![vec![reach(5, 10), None, reach(0, 4)]];
        assert!(positions.count(&survey, false, false));
        assert_eq!(
            positions.moves(&survey, false, 99),
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
        let fewer = vec![vec![reach(5, 10)]];
        assert!(!positions.count(&fewer, false, false), "a broker that is behind");
        assert_eq!(positions.iter().count(), 3);
        assert!(positions.count(&fewer, false, true), "made anew with fewer");
        assert_eq!(positions.iter().count(), 1);
        assert!(positions.count(&vec![vec![reach(5, 10); 3]], false, false));
        assert_eq!(positions.iter().last().expect("there").1.next, Some(8));
    }
}
