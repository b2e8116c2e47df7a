//! What is tried, in this order. A closed set: each writes what it has seen into its notes.

mod affinity;
mod at_once;
mod autoscale;
mod emptiest;
mod evict;
mod force;
mod install;
mod janitor;
mod leader;
mod no_rights;
mod printed;
mod restart;
mod rotate;
mod scale;
mod second;
mod test;
mod uninstall;
mod upgrade;

use std::time::Duration;

use anyhow::Result;

use crate::notes::Notes;
use crate::site::Site;

/// One scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// helm install with three pods; the time to the first event
    Install,
    /// Every event comes at once, by Ingress and by HTTPRoute, and buffering is caught
    AtOnce,
    /// Readers come back to any pod
    Affinity,
    /// The signing Secret gets a new key, and loses the old one
    Rotate,
    /// kubectl rollout restart
    Restart,
    /// From three pods to five, to two
    Scale,
    /// Two pods are evicted by the Eviction API
    Evict,
    /// A pod is deleted with force
    Force,
    /// The elected pod is deleted with force, and another takes over
    Leader,
    /// Consumer groups of dead pods go, and no others
    Janitor,
    /// A scale-down takes the emptiest pod
    Emptiest,
    /// KEDA follows the connections
    Autoscale,
    /// A second release on the same Kafka comes and goes
    Second,
    /// A release without RBAC serves
    NoRights,
    /// helm upgrade with changed values
    Upgrade,
    /// The commands that helm install prints
    Printed,
    /// helm test
    Test,
    /// helm uninstall leaves nothing
    Uninstall,
}

impl Scenario {
    /// Those of a run, in their order, when only `chosen` are wanted; all if there are none.
    pub(crate) fn of_run(chosen: &[Self]) -> Vec<Self> {
        let all = <Self as clap::ValueEnum>::value_variants().iter().copied();
        all.filter(|one| chosen.is_empty() || one.is_frame() || chosen.contains(one)).collect()
    }

    /// Whether it is part of every run.
    pub(crate) fn is_frame(self) -> bool {
        matches!(self, Self::Install | Self::Uninstall)
    }

    /// Its name, as on the command line.
    pub(crate) fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// How long it may take.
    pub(crate) fn limit(self) -> Duration {
        Duration::from_secs(600)
    }

    /// Runs it.
    ///
    /// # Errors
    /// It could not go on. What was seen until then is in the notes.
    pub(crate) async fn run(self, site: &Site, notes: &mut Notes) -> Result<()> {
        match self {
            Self::Install => install::run(site, notes).await,
            Self::AtOnce => at_once::run(site, notes).await,
            Self::Affinity => affinity::run(site, notes).await,
            Self::Rotate => rotate::run(site, notes).await,
            Self::Restart => restart::run(site, notes).await,
            Self::Scale => scale::run(site, notes).await,
            Self::Evict => evict::run(site, notes).await,
            Self::Force => force::run(site, notes).await,
            Self::Leader => leader::run(site, notes).await,
            Self::Janitor => janitor::run(site, notes).await,
            Self::Emptiest => emptiest::run(site, notes).await,
            Self::Autoscale => autoscale::run(site, notes).await,
            Self::Second => second::run(site, notes).await,
            Self::NoRights => no_rights::run(site, notes).await,
            Self::Upgrade => upgrade::run(site, notes).await,
            Self::Printed => printed::run(site, notes).await,
            Self::Test => test::run(site, notes).await,
            Self::Uninstall => uninstall::run(site, notes).await,
        }
    }
}
