//! Which letters are in the topic, as far as that was looked at.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use rdkafka::message::Message as _;
use tokio::time::Instant;

use super::reading::{self, Reading};
use crate::clock::now_ms;
use crate::log::kafka::topics::{self, Lookup};

/// How much older than its record a letter may seem to be: clocks differ.
const SLACK_MS: i64 = 5 * 60 * 1000;
/// How many letters are remembered. Beyond it the oldest may be written again.
const MOST: usize = 200_000;
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(5);

/// The places of letters that are in the topic.
#[derive(Default)]
pub(super) struct Known {
    client: Option<Lookup>,
    /// All letters since this time are known, up to `next`.
    since: Option<i64>,
    /// The next offset in each partition.
    next: Vec<i64>,
    /// The hashes of their keys.
    places: HashSet<u64>,
    order: VecDeque<u64>,
    hasher: foldhash::fast::RandomState,
}

impl Drop for Known {
    fn drop(&mut self) {
        topics::retire(self.client.take());
    }
}

impl Known {
    /// Reads what is new since the last look, and what is needed to know all letters about records
    /// that are not older than `oldest`, in milliseconds since the Unix epoch.
    pub(super) fn look(
        &mut self,
        topic: &str,
        oldest: i64,
        connect: impl FnOnce() -> Result<Lookup, String>,
    ) -> Result<(), String> {
        let client = match self.client.take() {
            Some(client) => client,
            None => connect()?,
        };
        // A record's time may be anything, where producers write it.
        let time = oldest.min(now_ms()).saturating_sub(SLACK_MS).max(0);
        let goes_back = self.since.is_none_or(|since| time < since);
        let parts = reading::reach(&client, topic, goes_back.then_some(time))?;
        if goes_back {
            self.since = Some(time);
            self.next = parts.iter().map(|part| part.since).collect();
        }
        // New partitions from their start, and all of a topic that was made anew.
        self.next.resize(parts.len(), 0);
        for (next, part) in self.next.iter_mut().zip(&parts) {
            *next = if *next > part.high { part.low } else { (*next).max(part.low) };
        }
        let ends = parts.iter().zip(&self.next).map(|(part, next)| (part.number, *next, part.high));
        let mut reading = Reading::begin(&client, topic, ends)?;
        let deadline = Instant::now() + LOOK;
        while !reading.is_over() {
            let mut found = Vec::new();
            reading.read(&client, deadline, |message| {
                let key = message.key().unwrap_or_default().to_vec();
                found.push((message.partition(), message.offset(), key));
            })?;
            for (partition, offset, key) in found {
                self.remember(&key);
                if let Some(next) =
                    usize::try_from(partition).ok().and_then(|at| self.next.get_mut(at))
                {
                    *next = offset + 1;
                }
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// Whether there is a letter with this key.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.places.contains(&self.hash(key))
    }

    fn hash(&self, key: &[u8]) -> u64 {
        use std::hash::BuildHasher as _;
        self.hasher.hash_one(key)
    }

    /// There is a letter with this key.
    pub(super) fn remember(&mut self, key: &[u8]) {
        let hash = self.hash(key);
        if self.places.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }
}
