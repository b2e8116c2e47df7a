//! Elects one pod of the release, by a Lease, to do what one has to do for all of them.
//!
//! Nothing breaks if for a moment two pods think that they are it, or none does; what is done by it
//! only should not be done by every pod all the time. No two clocks are compared: a holder is taken
//! for gone when its Lease has not changed for as long as it said, by the clock of who looks.

mod step;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempts::{Attempts, jittered};
use super::cluster::{Cluster, Need, Refusal};
use crate::telemetry::metrics::{self, Task};
use step::{Memory, Step};

/// How long a holder that says nothing is waited for.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(30);
/// After how long without a renewal a holder takes itself for none: early enough that what it has
/// begun is over before another one begins.
const RENEW_DEADLINE: Duration = Duration::from_secs(20);
/// How often the holder renews and the others look, jittered.
const EVERY: Duration = Duration::from_secs(5);
/// The longest pause after a failed renewal: several must fail before leadership is given up.
const RENEW_AGAIN: Duration = Duration::from_secs(3);
/// How often in a row somebody else may be faster before that waits for the next look.
const RACES: usize = 3;

/// One pod's part in the election.
pub(super) struct Election {
    cluster: Cluster,
    name: String,
    /// Who this process is: the pod and something of its own, so that a pod which restarts does not
    /// take itself for its predecessor.
    identity: String,
    memory: Memory,
    /// When the last renewal that worked was begun.
    renewed: Option<Instant>,
    leading: watch::Sender<bool>,
    attempts: Attempts,
}

impl Election {
    /// A candidate for the Lease called `name`; whether it leads is told to `leading`.
    pub(super) fn new(
        cluster: Cluster,
        name: &str,
        identity: String,
        leading: watch::Sender<bool>,
    ) -> Self {
        let attempts = Attempts::new(Task::Lease);
        let memory = Memory::default();
        Self { cluster, name: name.into(), identity, memory, renewed: None, leading, attempts }
    }

    /// Stands for election until `leaving`, and then gives up the Lease if it has it.
    pub(super) async fn run(mut self, leaving: CancellationToken) {
        loop {
            let pause = tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                pause = self.turn() => pause,
            };
            tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.resign().await;
    }

    /// Looks and renews once; returns how long to wait before the next time.
    async fn turn(&mut self) -> Duration {
        // Where the API server says nothing, leadership ends while it is waited for.
        let until = self.renewed.map(|renewed| renewed + RENEW_DEADLINE);
        let outcome = match until {
            None => self.look().await,
            Some(until) => match tokio::time::timeout_at(until, self.look()).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    // Why is known from the attempt before, or will be from the next.
                    self.follow("it could not be renewed");
                    return Duration::ZERO;
                }
            },
        };
        let refusal = match outcome {
            Ok(()) => {
                self.attempts.worked();
                return jittered(EVERY, &mut rand::rng());
            }
            Err(refusal) => refusal,
        };
        let pause = self.attempts.failed(&refusal.to_string(), &mut rand::rng());
        // The next attempt of a holder begins before its time is over, and ends with it.
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(pause, |left| pause.min(RENEW_AGAIN).min(left))
    }

    /// Looks at the Lease and does what is to be done about it.
    async fn look(&mut self) -> Result<(), Refusal> {
        for _ in 0..RACES {
            let began = Instant::now();
            let lease = match self.get().await {
                Ok(lease) => Some(lease),
                Err(Refusal::Missing(_)) => None,
                Err(refusal) => return Err(refusal),
            };
            let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
            let step = self.memory.step(spec.as_ref(), &self.identity, began);
            let written = match step {
                Step::Wait => {
                    self.follow(if spec.is_some() { "another pod has it" } else { "it is gone" });
                    return Ok(());
                }
                Step::Create => self.create().await,
                Step::Take | Step::Renew => {
                    self.replace(lease.unwrap_or_default(), step == Step::Take).await
                }
            };
            match written {
                Ok(spec) => {
                    self.memory.wrote(spec, began);
                    self.lead(began);
                    return Ok(());
                }
                // Somebody else was faster, or has changed something else of it: looked at again.
                Err(Refusal::Conflict(_) | Refusal::Missing(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Conflict(self.need("update").to_string()))
    }

    fn lead(&mut self, renewed: Instant) {
        self.renewed = Some(renewed);
        if !self.leading.send_replace(true) {
            metrics::leader(true);
            tracing::info!(lease = self.name, identity = self.identity, "this pod leads");
        }
    }

    fn follow(&mut self, why: &str) {
        self.renewed = None;
        if self.leading.send_replace(false) {
            metrics::leader(false);
            tracing::info!(lease = self.name, why, "this pod leads no longer");
        }
    }

    /// Gives the Lease back, so that the others need not wait for its end.
    async fn resign(mut self) {
        let is_held = self.renewed.is_some();
        // First: what is done by the leader only is over when somebody else can be it.
        self.follow("it is shutting down");
        if !is_held {
            return;
        }
        let Ok(lease) = self.get().await else { return };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        let spec = LeaseSpec { holder_identity: None, renew_time: Some(now()), ..spec };
        match self.write(Lease { spec: Some(spec), ..lease }).await {
            Ok(_) => tracing::debug!(lease = self.name, "gave the Lease back"),
            Err(refusal) => {
                tracing::debug!(lease = self.name, %refusal, "the Lease ends by itself");
            }
        }
    }

    async fn get(&self) -> Result<Lease, Refusal> {
        let need = self.need("get");
        self.cluster.ask(&need, async |client| api(client).get(&self.name).await).await
    }

    async fn create(&self) -> Result<LeaseSpec, Refusal> {
        let need = Need { verbs: "create", resource: RESOURCE, name: None };
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(self.spec(&LeaseSpec::default(), true)),
        };
        let made = self
            .cluster
            .ask(&need, async |client| api(client).create(&PostParams::default(), &lease).await)
            .await?;
        Ok(made.spec.unwrap_or_default())
    }

    async fn replace(&self, lease: Lease, is_taken: bool) -> Result<LeaseSpec, Refusal> {
        let spec = self.spec(lease.spec.as_ref().unwrap_or(&LeaseSpec::default()), is_taken);
        self.write(Lease { spec: Some(spec), ..lease }).await
    }

    /// Writes a Lease that was read. Its version is that of what was read: whoever has changed it
    /// since makes this a conflict.
    async fn write(&self, lease: Lease) -> Result<LeaseSpec, Refusal> {
        let need = self.need("update");
        let written = self
            .cluster
            .ask(&need, async |client| {
                api(client).replace(&self.name, &PostParams::default(), &lease).await
            })
            .await?;
        Ok(written.spec.unwrap_or_default())
    }

    /// What this process writes over `before`.
    fn spec(&self, before: &LeaseSpec, is_taken: bool) -> LeaseSpec {
        let now = now();
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: if is_taken { Some(now.clone()) } else { before.acquire_time.clone() },
            lease_transitions: Some(transitions.saturating_add(i32::from(is_taken))),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    fn need(&self, verbs: &'static str) -> Need {
        Need { verbs, resource: RESOURCE, name: Some(self.name.clone()) }
    }
}

const RESOURCE: &str = "leases.coordination.k8s.io";

fn api(client: Client) -> Api<Lease> {
    Api::default_namespaced(client)
}

/// For people who look at the Lease; nothing here reads it.
fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

#[cfg(test)]
mod tests;
