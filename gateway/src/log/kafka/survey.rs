//! How far the partitions of topics reach, looked up in two requests for all of them.

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::topics::{LOOKUP_TIMEOUT, Lookup, Topic, text};

/// From where to where a partition reaches: its first offset and the one after its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// The first offset that the log still has.
    pub(super) low: i64,
    /// The offset that the next record gets.
    pub(super) high: i64,
}

/// A topic that is read, as the brokers have it.
#[derive(Debug, Clone)]
pub(super) struct Surveyed {
    /// Which it is.
    pub(super) topic: Topic,
    /// Its partitions that are read; `None` is one that has no leader now.
    pub(super) partitions: Vec<Option<Reach>>,
    /// It was there before it could be read: what it held by then is history.
    pub(super) late: bool,
}

/// What the brokers have of what is to be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    /// The topics that are read, the gateway's own first.
    pub(super) topics: Vec<Surveyed>,
    /// What is not read, and why.
    pub(super) unread: Vec<String>,
}

/// Looks up how far partitions reach of which `leaders` says whether they have a leader.
///
/// # Errors
/// Says that the brokers did not answer.
pub(super) fn reaches(
    client: &Lookup,
    topics: &[(&str, Vec<bool>)],
) -> Result<Vec<Vec<Option<Reach>>>, String> {
    let mut led = TopicPartitionList::new();
    for (name, leaders) in topics {
        for (partition, _) in (0..).zip(leaders).filter(|(_, has_leader)| **has_leader) {
            led.add_partition(name, partition);
        }
    }
    if led.count() == 0 {
        return Ok(topics.iter().map(|(_, leaders)| vec![None; leaders.len()]).collect());
    }
    // What a timestamp look-up means by -2 and -1: one request a broker, not one a partition.
    let lows = offsets(client, &led, Offset::Beginning)?;
    let highs = offsets(client, &led, Offset::End)?;
    let reach = |name: &str, partition| {
        let number = |list: &TopicPartitionList| {
            let found = list.find_partition(name, partition)?;
            found.error().ok()?;
            found.offset().to_raw().filter(|&offset| offset >= 0)
        };
        let (low, high) = number(&lows).zip(number(&highs))?;
        Some(Reach { low, high: high.max(low) })
    };
    let of_topic = |(name, leaders): &(&str, Vec<bool>)| {
        (0..).zip(leaders).map(|(partition, _)| reach(name, partition)).collect()
    };
    Ok(topics.iter().map(of_topic).collect())
}

fn offsets(
    client: &Lookup,
    partitions: &TopicPartitionList,
    of: Offset,
) -> Result<TopicPartitionList, String> {
    let mut list = partitions.clone();
    list.set_all_offsets(of).map_err(|error| error.to_string())?;
    client
        .offsets_for_times(list, LOOKUP_TIMEOUT)
        .map_err(|error| format!("looking up offsets: {}", text(&error)))
}
