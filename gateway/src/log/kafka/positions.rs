//! Where the pod is in every partition: the only account of it, since nothing is committed.
//!
//! The consumer's thread moves it on; librdkafka's rebalance callback, which runs on the same
//! thread inside a poll, reads it to begin every assignment where the pod is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use super::survey::{Reach, Survey};
use super::topics::Topic;
use crate::cursor::{Shard, Tag};
use crate::log::Source;

/// A partition: the index of its topic's source, and its number.
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
    /// How far it reached at the last survey; `None` if it had no leader.
    pub(super) reach: Option<Reach>,
    /// The last record.
    last: Option<Last>,
    /// It was assigned from the last record on, and nothing has come yet: the log may be another
    /// one that has grown past this place meanwhile, which only that record can tell.
    unproven: bool,
    /// The log has another record in the last one's place.
    replaced: bool,
}

impl Place {
    /// Begins at `next`, whatever was there before.
    pub(super) fn begin(&mut self, next: i64) {
        self.next = Some(next);
        self.last = None;
        self.unproven = false;
        self.replaced = false;
    }
}

/// What is known of a partition's last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    offset: i64,
    /// In milliseconds since the Unix epoch.
    time: i64,
    tag: Tag,
}

/// What a record is to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The partition's next one.
    Next,
    /// One that was handed on, or that is not read from here.
    Passed,
    /// Not the one that was handed on from its place: the log is another one.
    Replaced,
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
    /// One a topic. One that was let go of has no shards, and its place is the next one's.
    sources: Vec<Source>,
    by_name: HashMap<Arc<str>, usize, foldhash::fast::RandomState>,
    places: BTreeMap<Part, Place>,
    /// A topic was made anew: what is read may be of another log.
    doubted: bool,
}

impl Positions {
    pub(super) fn new(topics: &[Topic]) -> Self {
        let mut positions = Self {
            sources: Vec::new(),
            by_name: HashMap::default(),
            places: BTreeMap::new(),
            doubted: false,
        };
        for topic in topics {
            positions.index_of(topic);
        }
        positions
    }

    /// Takes no record any more.
    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Takes records again: they come from a consumer that begins.
    pub(super) fn trust(&mut self) {
        self.doubted = false;
    }

    /// Whether a topic was made anew since the consumer began.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// The index of the topic's source, made if there is none.
    fn index_of(&mut self, topic: &Topic) -> usize {
        if let Some(&index) = self.by_name.get(topic.name.as_str()) {
            return index;
        }
        let source = topic.source();
        let name = Arc::clone(&source.name);
        let free = (0..self.sources.len()).find(|&n| !self.by_name.values().any(|&of| of == n));
        let index = free.unwrap_or(self.sources.len());
        match self.sources.get_mut(index) {
            Some(place) => *place = source,
            None => self.sources.push(source),
        }
        self.by_name.insert(name, index);
        index
    }

    /// Lets go of the topics that are not in `survey`; true if there are any.
    fn let_go(&mut self, survey: &Survey) -> bool {
        let before = self.by_name.len();
        self.by_name.retain(|name, index| {
            let stays = survey.topics.iter().any(|s| *s.topic.name == **name);
            if !stays {
                tracing::info!(topic = &**name, "the topic is gone and is not read any more");
                self.sources[*index].shards = 0;
                self.places.retain(|part, _| part.0 != *index);
            }
            stays
        });
        self.by_name.len() < before
    }

    /// The sources that have shards.
    pub(super) fn sources(&self) -> Vec<Source> {
        self.sources.iter().filter(|source| source.shards > 0).cloned().collect()
    }

    /// The names of the topics that are read, in order.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.sources().into_iter().map(|source| source.name).collect();
        names.sort();
        names
    }

    /// The name of the partition's topic.
    pub(super) fn name(&self, part: Part) -> &Arc<str> {
        &self.sources[part.0].name
    }

    /// The partition of this name, if the topic is one that is read.
    pub(super) fn part(&self, topic: &str, partition: i32) -> Option<Part> {
        Some((*self.by_name.get(topic)?, partition))
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

    /// Takes over which topics and how many partitions there are; true if that has changed.
    /// `first` is the survey at the opening of the log. Only if it is `still`, so that nothing is
    /// being read, can a topic have fewer: one that was made anew.
    pub(super) fn count(&mut self, survey: &Survey, first: bool, still: bool) -> bool {
        let mut changed = self.let_go(survey);
        for place in self.places.values_mut() {
            place.reach = None;
        }
        for surveyed in &survey.topics {
            let index = self.index_of(&surveyed.topic);
            let partitions = &surveyed.partitions;
            let shards = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
            let known = &mut self.sources[index].shards;
            if shards > *known || (shards < *known && still) {
                changed = true;
                *known = shards;
                for (part, place) in &mut self.places {
                    place.present &= part.0 != index || (part.1 as u32) < shards;
                }
                for (partition, reach) in (0..).zip(partitions) {
                    let place = self.places.entry((index, partition)).or_insert_with(|| Place {
                        from_window: first || surveyed.late,
                        until: reach.filter(|_| first).map(|reach| reach.high),
                        ..Place::default()
                    });
                    place.present = true;
                }
            }
            for (partition, reach) in (0..).zip(partitions) {
                if let Some(place) = self.places.get_mut(&(index, partition)) {
                    place.reach = *reach;
                }
            }
        }
        changed
    }

    /// What has to be looked up or set before the partitions can be read. `still` says that nothing
    /// was read since the survey was made, so that a place outside of the log is really outside.
    pub(super) fn moves(&self, still: bool, window_start: i64) -> Vec<(Part, Reach, Move)> {
        self.iter()
            .filter_map(|(part, place)| {
                let reach = place.reach?;
                let to = match place.next {
                    None if place.from_window => Move::Since(window_start),
                    None => Move::To(reach.low),
                    Some(next) if still && next < reach.low => Move::To(reach.low),
                    // Cut off, or made anew: what follows the last record that was handed on is
                    // new. By time, since offsets of another log say nothing.
                    Some(next) if still && (place.replaced || next > reach.high) => {
                        place.last.map_or(Move::To(reach.low), |last| Move::Since(last.time))
                    }
                    Some(_) => return None,
                };
                Some((part, reach, to))
            })
            .collect()
    }

    /// What the record at `offset` is; moves on past it if it is the partition's next one.
    pub(super) fn advance(&mut self, part: Part, offset: i64, time: i64, tag: Tag) -> Taken {
        let Some(place) = self.places.get_mut(&part) else { return Taken::Passed };
        let Some(next) = place.next else { return Taken::Passed };
        let this = Last { offset, time, tag };
        if place.unproven
            && let Some(last) = place.last.filter(|last| last.offset <= offset)
        {
            place.unproven = false;
            // A record that is gone, as compaction and age have it, tells nothing.
            place.replaced = last.offset == offset && last != this;
            if place.replaced {
                return Taken::Replaced;
            }
        }
        if offset < next {
            return Taken::Passed;
        }
        place.next = Some(offset + 1);
        place.last = Some(this);
        Taken::Next
    }

    /// Writes the pod's places into an assignment. Those that are not known yet are returned: they
    /// have to be paused, and are set to the log's start meanwhile. The others begin with the last
    /// record that was handed on, if there is one, so that it can be seen whether it still is.
    pub(super) fn assign(&mut self, assignment: &mut TopicPartitionList) -> TopicPartitionList {
        let mut held = TopicPartitionList::new();
        for mut element in assignment.elements() {
            let Some(part) = self.part(element.topic(), element.partition()) else {
                // Let go of, and not known to the group yet.
                if let Err(error) = element.set_offset(KafkaOffset::End) {
                    tracing::error!(%error, "an offset could not be set");
                }
                held.add_partition(element.topic(), element.partition());
                continue;
            };
            let place = self.places.entry(part).or_default();
            place.assigned = true;
            place.held = place.next.is_none();
            place.unproven = place.last.is_some();
            let from = place.last.map(|last| last.offset).or(place.next);
            let offset = from.map_or(KafkaOffset::Beginning, KafkaOffset::Offset);
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
                list.add_partition(&self.sources[topic].name, partition);
            }
        }
        list
    }
}

#[cfg(test)]
mod tests;
