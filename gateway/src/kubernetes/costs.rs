//! Keeps every ready pod's deletion cost at its number of streams, so that a scale-down takes the
//! emptiest. Kubernetes asks not to write it often: so only what has changed enough is, and a
//! bounded number in a round.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::attempts::{Attempts, jittered};
use super::cluster::{Cluster, Need, Refusal};
use super::peers::Peers;
use super::pods::{self, COST, Freshness, PodView};
use crate::telemetry::metrics::Task;

/// How often the pods are looked at, jittered.
const EVERY: Duration = Duration::from_secs(10);
/// The most pods that are changed in a round; the rest is the next one's.
const MOST_CHANGES: usize = 40;
/// The pause between two changes: at most five a second.
const BETWEEN: Duration = Duration::from_millis(200);
/// A cost is left as it is while its number of streams is off by no more than one in so many.
const TOLERANCE: u64 = 10;

/// A cost that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    pod: String,
    uid: String,
    cost: i32,
}

/// The costs to write for pods that have so many streams: those that are off the most come first.
fn changes(pods: &[PodView], streams: &HashMap<String, usize>) -> Vec<Change> {
    let mut changes: Vec<(u64, Change)> = pods
        .iter()
        .filter(|pod| pod.is_ready)
        .filter_map(|pod| {
            let cost = i32::try_from(*streams.get(&pod.name)?).unwrap_or(i32::MAX);
            let off = off_by(pod.cost.as_deref(), cost)?;
            let (name, uid) = (pod.name.clone(), pod.uid.clone());
            Some((off, Change { pod: name, uid, cost }))
        })
        .collect();
    changes.sort_by_key(|(off, _)| Reverse(*off));
    changes.truncate(MOST_CHANGES);
    changes.into_iter().map(|(_, change)| change).collect()
}

/// By how much a cost is off, if that is worth writing. A pod without one has the cost 0.
fn off_by(written: Option<&str>, wanted: i32) -> Option<u64> {
    let Ok(written) = written.map_or(Ok(0), str::parse::<i32>) else {
        // Not a number, which somebody else has written, or none that Kubernetes takes.
        return Some(u64::MAX);
    };
    let off = u64::from(written.abs_diff(wanted));
    let largest = u64::from(written.unsigned_abs().max(wanted.unsigned_abs()));
    (off * TOLERANCE > largest).then_some(off)
}

/// Keeps the costs of a release's pods.
pub(super) struct Costs {
    pub(super) cluster: Cluster,
    pub(super) peers: Peers,
    pub(super) selector: String,
}

impl Costs {
    /// Goes from round to round. Never returns; drop it to stop.
    pub(super) async fn run(&self) {
        let mut attempts = Attempts::new(Task::DeletionCost);
        loop {
            let pause = match self.round().await {
                Ok(()) => {
                    attempts.worked();
                    jittered(EVERY, &mut rand::rng())
                }
                Err(refusal) => attempts.failed(&refusal.to_string(), &mut rand::rng()),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks at all pods once, and writes what has changed.
    async fn round(&self) -> Result<(), Refusal> {
        let pods = pods::list(&self.cluster, Some(&self.selector), Freshness::Cached).await?;
        let answers = self.peers.ask(pods.iter().filter(|pod| pod.is_ready)).await;
        let streams = answers.into_iter().map(|(name, answer)| (name, answer.total)).collect();
        let changes = changes(&pods, &streams);
        if !changes.is_empty() {
            tracing::debug!(pods = pods.len(), changes = changes.len(), "deletion costs");
        }
        for change in changes {
            match self.write(&change).await {
                // It is gone, or another one has its name by now: a uid cannot be changed.
                Ok(()) | Err(Refusal::Missing(_) | Refusal::Conflict(_) | Refusal::Invalid(_)) => {}
                Err(refusal) => return Err(refusal),
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Ok(())
    }

    async fn write(&self, change: &Change) -> Result<(), Refusal> {
        let need = Need { verbs: "patch", resource: "pods", name: None };
        let patch = Patch::Merge(json!({
            "metadata": { "uid": change.uid, "annotations": { COST: change.cost.to_string() } }
        }));
        self.cluster
            .ask(&need, async |client| {
                let pods = Api::<Pod>::default_namespaced(client);
                pods.patch_metadata(&change.pod, &PatchParams::default(), &patch).await
            })
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests;
