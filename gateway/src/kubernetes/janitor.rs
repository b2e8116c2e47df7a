//! Removes the consumer groups that pods have left behind: those of pods that are gone, and those
//! that a pod had before it started anew.
//!
//! A mistake costs little: Kafka removes no group that has a member, nothing is committed to any,
//! and a pod whose group is removed while it was cut off makes it again. All the same what is not
//! known for certain is left: a pod whose own group nobody can tell, and everything, when the list
//! of pods does not even have the pod that asks for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::attempts::{Attempts, jittered};
use super::cluster::{Cluster, Refusal};
use super::peers::Peers;
use super::pods::{self, Freshness};
use crate::log::Log;
use crate::log::kafka::{Group, Groups, GroupsError, Removal};
use crate::telemetry::metrics::{self, Task};

/// How often groups are looked for, jittered.
const EVERY: Duration = Duration::from_secs(60);
/// The most groups that are removed in a round; the rest is the next one's.
const MOST_REMOVED: usize = 100;
/// How long the brokers may take to list groups, and to remove them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a round was not finished.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Cluster(#[from] Refusal),
    #[error(transparent)]
    Groups(#[from] GroupsError),
    #[error(
        "this pod, {0}, is not among the pods of kubernetes.selector: set pod.name to the pod's \
         name and the selector to its labels"
    )]
    NotListed(String),
}

/// Which groups nobody will come back to: those of pods that are not among `pods`, and those of
/// pods that say in `current` that another one is theirs.
pub fn abandoned<'g>(
    groups: &'g [Group],
    pods: &HashSet<String>,
    current: &HashMap<String, String>,
) -> Vec<&'g Group> {
    let is_abandoned = |group: &&Group| match current.get(&group.pod) {
        Some(name) => *name != group.name,
        None => !pods.contains(&group.pod),
    };
    groups.iter().filter(is_abandoned).take(MOST_REMOVED).collect()
}

/// Removes those of `groups` that nobody will come back to and that have no member. Returns how many
/// that were.
///
/// # Errors
/// Says that the brokers did not answer, or of one group why they do not remove it.
pub async fn sweep(
    groups: &Groups,
    listed: &[Group],
    pods: &HashSet<String>,
    current: &HashMap<String, String>,
) -> Result<u64, GroupsError> {
    let abandoned = abandoned(listed, pods, current);
    let removals = groups.remove(&abandoned, Instant::now() + PATIENCE).await?;
    let mut removed = 0;
    let mut refused = None;
    for (group, removal) in abandoned.iter().zip(removals) {
        match removal {
            Removal::Removed => {
                removed += 1;
                tracing::info!(group = group.name, "removed a consumer group that was left behind");
            }
            // A killed member stays in its group for as long as its session: the next round's.
            Removal::InUse | Removal::WasGone => {
                tracing::debug!(group = group.name, ?removal, "a consumer group stays");
            }
            Removal::Refused(why) => refused = Some(GroupsError::Refused(why)),
        }
    }
    metrics::groups_removed(removed);
    refused.map_or(Ok(removed), Err)
}

/// Looks after the groups of a release.
pub(super) struct Janitor {
    pub(super) cluster: Cluster,
    pub(super) peers: Peers,
    pub(super) selector: Option<String>,
    pub(super) log: Arc<Log>,
    /// The pod that this process is.
    pub(super) pod: String,
}

impl Janitor {
    /// Goes from round to round. Never returns; drop it to stop.
    pub(super) async fn run(&self) {
        let mut attempts = Attempts::new(Task::Janitor);
        // There are none without Kafka, or with manual assignment.
        let Some(groups) = self.log.groups() else { return std::future::pending().await };
        loop {
            let pause = match self.round(groups).await {
                Ok(()) => {
                    attempts.worked();
                    jittered(EVERY, &mut rand::rng())
                }
                Err(trouble) => attempts.failed(&trouble.to_string(), &mut rand::rng()),
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn round(&self, groups: &Groups) -> Result<(), Trouble> {
        // The groups first: a pod that comes after that has none in the list.
        let mut listed = groups.list(Instant::now() + PATIENCE).await?;
        if !listed.is_empty() {
            // From another one on every time: what is still in use must not hold up the rest.
            let first = rand::rng().random_range(..listed.len());
            listed.rotate_left(first);
        }
        let mut views = pods::list(&self.cluster, self.selector.as_deref(), Freshness::Now).await?;
        views.retain(|pod| !pod.is_over);
        let pods: HashSet<String> = views.iter().map(|pod| pod.name.clone()).collect();
        if !pods.contains(&self.pod) {
            return Err(Trouble::NotListed(self.pod.clone()));
        }
        let with_groups: HashSet<&str> = listed.iter().map(|group| group.pod.as_str()).collect();
        let asked = views.iter().filter(|pod| with_groups.contains(pod.name.as_str()));
        let answers = self.peers.ask(asked).await;
        let mut current: HashMap<String, String> =
            answers.into_iter().filter_map(|(pod, answer)| Some((pod, answer.group?))).collect();
        current.insert(self.pod.clone(), groups.own().to_owned());
        sweep(groups, &listed, &pods, &current).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
