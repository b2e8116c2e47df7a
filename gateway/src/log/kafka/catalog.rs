//! What is to be read: the gateway's own topics, and those of `kafka.sources` as far as they are
//! there and fit to be read. What is not is told, and looked for again.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::client::LogLines;
use super::options::Options;
use super::survey::{self, Survey, Surveyed};
use super::topics::{self, Described, Foreign, Lookup, Topic};
use crate::config::{Kafka, KafkaSource, Partitioner, Topics};
use crate::cursor::SourceId;
use crate::log::Role;

/// How often all topics are listed where there are patterns: the answer names every partition of
/// the cluster.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// How often a topic that was refused for its settings is looked at again.
const JUDGE_EVERY: Duration = Duration::from_secs(30);
/// How long a topic that was read may be missing from the brokers' answers before it counts as
/// deleted. Then one of its name is another, and is read from its start.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// The most partitions of all sources with `partitioner: any`: each stands in every cursor.
const MOST_ANY_PARTITIONS: usize = 64;
/// The most topics with `partitioner: murmur2`: one partition of each stands in every cursor.
const MOST_KEYED_TOPICS: usize = 32;
/// The most topics that are looked at, each by itself.
const MOST_TOPICS: usize = 200;

/// What is to be read.
pub(super) struct Catalog {
    own: Vec<Topic>,
    kafka: Kafka,
    options: Options,
    lines: LogLines,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Others' topics, in the order in which they were found; those that are named first.
    others: Vec<Other>,
    listed: Option<Instant>,
    /// How many matching topics are not even looked at.
    too_many: usize,
    /// The first survey was made.
    opened: bool,
}

/// One topic of others.
struct Other {
    topic: Topic,
    foreign: Foreign,
    /// Found by a pattern.
    found: bool,
    /// How many of its partitions are read.
    granted: usize,
    /// Since when it is missing, if it is.
    missing: Option<Instant>,
    /// When its settings were looked at last, and what makes it unfit.
    judged: Option<(Instant, Option<String>)>,
    /// It was there and was not read.
    late: bool,
}

impl Catalog {
    /// What the settings name.
    pub(super) fn new(kafka: &Kafka, options: Options, lines: LogLines) -> Self {
        let named = kafka.sources.iter().filter_map(|source| match &source.topics {
            Topics::Named(name) => Some(Other::new(name, source, false)),
            Topics::Matching(_) => None,
        });
        let state = State { others: named.collect(), ..State::default() };
        Self {
            own: topics::own(kafka),
            kafka: kafka.clone(),
            options,
            lines,
            state: Mutex::new(state),
        }
    }

    /// The gateway's own topics.
    pub(super) fn own(&self) -> &[Topic] {
        &self.own
    }

    /// Sees to it that the gateway's own topics are there.
    ///
    /// # Errors
    /// Names the topic and what to do.
    pub(super) fn ensure(&self, client: &Lookup) -> Result<(), String> {
        topics::ensure(client, &self.kafka, &self.own, &self.options, &self.lines)
    }

    /// Looks at all topics that are to be read.
    ///
    /// # Errors
    /// Says which of the gateway's own cannot be read, or that the brokers did not answer; at first
    /// also which of the others is too many.
    pub(super) fn look(&self, client: &Lookup) -> Result<Survey, String> {
        let mut led = Vec::new();
        for topic in &self.own {
            match topics::describe(client, &topic.name)? {
                Described::Missing => return Err(format!("topic {} does not exist", topic.name)),
                Described::Refused(why) => return Err(why),
                Described::Partitions(leaders) => led.push((topic.clone(), leaders, false)),
            }
        }
        let mut state = self.state.lock();
        let mut unread = Vec::new();
        self.list(client, &mut state)?;
        if state.too_many > 0 {
            unread.push(format!("{} further topics match a pattern", state.too_many));
        }
        let described: Result<Vec<_>, _> =
            state.others.iter().map(|other| topics::describe(client, &other.topic.name)).collect();
        let described = state.take(described?, Instant::now(), &mut unread);
        self.judge(&mut state, &described)?;
        let at_first = !state.opened;
        for (nth, mut leaders) in described {
            let source = SourceId::of(&state.others[nth].topic.name);
            if let Some((other, ..)) = led.iter().find(|led| SourceId::of(&led.0.name) == source) {
                unread.push(format!(
                    "topic {} and {} have the same short name in cursors",
                    state.others[nth].topic.name, other.name
                ));
                continue;
            }
            match state.grant(nth, leaders.len()) {
                Ok(()) => {}
                Err(Denied::TooMany(why)) if at_first => return Err(why),
                Err(Denied::TooMany(why) | Denied::Unfit(why)) => unread.push(why),
            }
            let other = &state.others[nth];
            if other.granted > 0 {
                leaders.resize(other.granted, false);
                led.push((other.topic.clone(), leaders, other.late));
            }
        }
        let names: Vec<_> = led.iter().map(|(t, led, _)| (t.name.as_str(), led.clone())).collect();
        let reaches = survey::reaches(client, &names)?;
        state.opened = true;
        let topics = led.into_iter().zip(reaches);
        let topics =
            topics.map(|((topic, _, late), partitions)| Surveyed { topic, partitions, late });
        Ok(Survey { topics: topics.collect(), unread })
    }

    /// Finds the topics that the patterns mean.
    fn list(&self, client: &Lookup, state: &mut State) -> Result<(), String> {
        let due = state.listed.is_none_or(|listed| listed.elapsed() >= LIST_EVERY);
        let patterns: Vec<_> = self
            .kafka
            .sources
            .iter()
            .filter_map(|source| match &source.topics {
                Topics::Named(_) => None,
                Topics::Matching(pattern) => Some((pattern, source)),
            })
            .collect();
        if patterns.is_empty() || !due {
            return Ok(());
        }
        let known = |others: &[Other], name: &str| others.iter().any(|o| o.topic.name == name);
        state.too_many = 0;
        for name in topics::list(client)? {
            let Some((_, source)) = patterns.iter().find(|(pattern, _)| pattern.takes(&name))
            else {
                continue;
            };
            // A pod that read its dead letters would write letters about them without end.
            let is_own = name == self.kafka.dead_letters_topic
                || name == self.kafka.deliveries_topic
                || self.own.iter().any(|own| own.name == name);
            if is_own || known(&state.others, &name) {
                continue;
            }
            if state.others.len() >= MOST_TOPICS {
                state.too_many += 1;
                continue;
            }
            state.others.push(Other::new(&name, source, true));
        }
        state.listed = Some(Instant::now());
        Ok(())
    }

    /// Looks at the settings of topics that are not read yet.
    fn judge(&self, state: &mut State, there: &BTreeMap<usize, Vec<bool>>) -> Result<(), String> {
        let due = |other: &Other| match &other.judged {
            None => true,
            Some((_, None)) => false,
            Some((at, Some(_))) => at.elapsed() >= JUDGE_EVERY,
        };
        let wanted: Vec<usize> = there.keys().copied().filter(|&n| due(&state.others[n])).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> =
            wanted.iter().map(|&n| state.others[n].topic.name.as_str()).collect();
        let policies = topics::cleanup_policies(&self.options, &self.lines, &names)?;
        for (nth, policy) in wanted.into_iter().zip(policies) {
            let other = &mut state.others[nth];
            let is_compacted = policy.is_some_and(|policy| policy.contains("compact"));
            let unfit = (is_compacted && !other.foreign.state).then(|| {
                format!(
                    "topic {} is compacted, and loses all but the last record of each key: set its \
                     cleanup.policy to delete, or mark its source of kafka.sources with state=true",
                    other.topic.name
                )
            });
            other.judged = Some((Instant::now(), unfit));
        }
        Ok(())
    }
}

impl State {
    /// Takes over what the brokers say of each topic. Returns those that are there, by their
    /// numbers, with whether their partitions have leaders.
    fn take(
        &mut self,
        described: Vec<Described>,
        now: Instant,
        unread: &mut Vec<String>,
    ) -> BTreeMap<usize, Vec<bool>> {
        let mut there = BTreeMap::new();
        let mut kept = Vec::with_capacity(self.others.len());
        for (mut other, described) in std::mem::take(&mut self.others).into_iter().zip(described) {
            match described {
                Described::Partitions(leaders) => {
                    if other.missing.take().is_some() && leaders.len() < other.granted {
                        // Made anew, and smaller: let go of, and found with the next look.
                        other.forget();
                    } else {
                        there.insert(kept.len(), leaders);
                    }
                }
                // One that is read stays so: what is missing may be no more than an answer.
                Described::Refused(why) => {
                    unread.push(why);
                    other.late |= other.granted == 0;
                    there.extend((other.granted > 0).then(|| (kept.len(), Vec::new())));
                }
                Described::Missing => {
                    let since = *other.missing.get_or_insert(now);
                    if other.granted > 0 && now.duration_since(since) < GONE_AFTER {
                        there.insert(kept.len(), Vec::new());
                    } else if other.found {
                        continue;
                    } else {
                        other.forget();
                    }
                    if !other.found {
                        let name = &other.topic.name;
                        unread.push(format!("topic {name} of kafka.sources does not exist"));
                    }
                }
            }
            kept.push(other);
        }
        self.others = kept;
        there
    }

    /// Decides how many of the `partitions` of the `nth` topic are read. What is read stays so.
    fn grant(&mut self, nth: usize, partitions: usize) -> Result<(), Denied> {
        let others = self.others.iter().enumerate().filter(|(n, _)| *n != nth);
        let (mut keyed, mut any) = (0, 0);
        for (_, other) in others.filter(|(_, other)| other.granted > 0) {
            if other.foreign.keyed { keyed += 1 } else { any += other.granted }
        }
        let other = &mut self.others[nth];
        let name = &other.topic.name;
        let (granted, denied) = if let Some((_, Some(unfit))) = &other.judged {
            (0, Some(Denied::Unfit(unfit.clone())))
        } else if other.foreign.keyed && keyed >= MOST_KEYED_TOPICS {
            let why = format!(
                "topic {name} is one too many: {MOST_KEYED_TOPICS} topics of kafka.sources with \
                 partitioner murmur2 are read, or cursors would grow too long"
            );
            (0, Some(Denied::Unfit(why)))
        } else if !other.foreign.keyed && any + partitions > MOST_ANY_PARTITIONS {
            let why = format!(
                "topic {name} has {partitions} partitions, and all topics of kafka.sources with \
                 partitioner any together may have {MOST_ANY_PARTITIONS}; others have {any}"
            );
            // A topic that has grown is read on; one that is new is read whole or not at all.
            let rest = if other.granted > 0 { MOST_ANY_PARTITIONS - any } else { 0 };
            (rest, Some(Denied::TooMany(why)))
        } else {
            (partitions, None)
        };
        other.granted = other.granted.max(granted);
        other.late |= other.granted == 0;
        denied.map_or(Ok(()), Err)
    }
}

/// Why partitions are not read.
enum Denied {
    /// The settings name more than there may be.
    TooMany(String),
    /// The topic.
    Unfit(String),
}

impl Other {
    fn new(name: &str, source: &KafkaSource, found: bool) -> Self {
        let foreign = Foreign {
            mapping: std::sync::Arc::clone(&source.mapping),
            keyed: source.partitioner == Partitioner::Murmur2,
            state: source.state,
        };
        let topic = Topic {
            name: name.to_owned(),
            role: Role::Events,
            partitions: 0,
            foreign: Some(foreign.clone()),
        };
        Self { topic, foreign, found, granted: 0, missing: None, judged: None, late: false }
    }

    /// It was deleted: one of its name would be another.
    fn forget(&mut self) {
        self.granted = 0;
        self.judged = None;
        self.late = false;
    }
}

#[cfg(test)]
mod tests;
