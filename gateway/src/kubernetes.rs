//! The gateway as a citizen of a cluster: the only user of `kube`.
//!
//! * Watches the Secret with the keys (`kubernetes.secret`), so that a rotation takes seconds.
//! * Stands for election by a Lease (`kubernetes.lease`). The pod that holds it keeps all pods'
//!   deletion costs (`kubernetes.deletion_cost`) and removes the consumer groups that pods have left
//!   behind (`kubernetes.janitor`).
//!
//! None of it is needed to start, to become ready, to serve or to end. With no API server at hand, or
//! without the rights, it is tried again for ever, with pauses that grow; what fails is said once,
//! and again when it changes, with what to do.
//!
//! Where the API server is, kube finds out by itself: it is the one library that reads its variables
//! of the environment (`KUBECONFIG`, and in a pod `KUBERNETES_SERVICE_HOST`), which are the
//! cluster's convention and no settings of the gateway's.

#[cfg(test)]
#[path = "../tests/it/support/api_server.rs"]
#[expect(unreachable_pub, reason = "the integration tests share it")]
mod api_server;
mod attempts;
mod cluster;
mod costs;
pub mod janitor;
mod lease;
mod peers;
mod pods;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::auth::Keyring;
use crate::config::Config;
use crate::log::Log;
use cluster::Cluster;
use costs::Costs;
use janitor::Janitor;
use lease::Election;
use peers::Peers;
use secret::Follower;

/// How long giving the Lease back may take.
const RESIGN: Duration = Duration::from_secs(3);

/// What a pod does in its cluster, until it is dropped.
#[derive(Debug)]
pub struct Kubernetes {
    leaving: CancellationToken,
    election: TaskTracker,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Kubernetes {
    /// Begins with what the settings ask for, and returns at once. The pods of the release have
    /// their admin ports at `admin_port`.
    #[must_use]
    pub fn start(config: &Config, admin_port: u16, keyring: &Arc<Keyring>, log: &Arc<Log>) -> Self {
        let settings = &config.kubernetes;
        let cluster = Cluster::inferred();
        let (leaving, election) = (CancellationToken::new(), TaskTracker::new());
        let mut tasks = Vec::new();
        if let Some(name) = settings.secret.clone() {
            let (cluster, keyring) = (cluster.clone(), Arc::clone(keyring));
            tasks.push(tokio::spawn(async move {
                Follower::new(cluster, &name, &keyring).run().await;
            }));
        }
        if let Some(name) = &settings.lease {
            let (leading, led) = watch::channel(false);
            for duty in duties(&cluster, config, admin_port, log) {
                tasks.push(tokio::spawn(duty.while_leading(led.clone())));
            }
            let identity = format!("{}_{:08x}", config.pod.name, rand::random::<u32>());
            let candidate = Election::new(cluster, name, identity, leading);
            let task = election.spawn(candidate.run(leaving.clone()));
            tasks.push(task);
        }
        let tasks = tasks.into_iter().map(AbortOnDropHandle::new).collect();
        Self { leaving, election, _tasks: tasks }
    }

    /// Leads no longer, and gives the Lease back if this pod has it, as far as that can be had until
    /// `deadline`. The Secret is watched on.
    pub async fn leave(&self, deadline: Instant) {
        self.leaving.cancel();
        self.election.close();
        let deadline = deadline.min(Instant::now() + RESIGN);
        if tokio::time::timeout_at(deadline, self.election.wait()).await.is_err() {
            tracing::debug!("the Lease was not given back in time; it ends by itself");
        }
    }
}

/// What one pod does for all.
enum Duty {
    Costs(Costs),
    Janitor(Janitor),
}

impl Duty {
    /// Never returns; drop it to stop.
    async fn run(&self) {
        match self {
            Self::Costs(costs) => costs.run().await,
            Self::Janitor(janitor) => janitor.run().await,
        }
    }

    /// Does it whenever this pod leads, and drops it where it stands when it leads no longer.
    async fn while_leading(self, mut led: watch::Receiver<bool>) {
        // An error is the election's end, and there is nothing to be done after that.
        while led.wait_for(|leads| *leads).await.is_ok() {
            tokio::select! {
                biased;
                _ = led.wait_for(|leads| !*leads) => {}
                () = self.run() => {}
            }
        }
    }
}

/// What the settings ask for.
fn duties(cluster: &Cluster, config: &Config, admin_port: u16, log: &Arc<Log>) -> Vec<Duty> {
    let settings = &config.kubernetes;
    let peers = match Peers::new(admin_port) {
        Ok(peers) => peers,
        Err(error) => {
            tracing::error!(%error, "no client for the other pods; nothing is done for them");
            return Vec::new();
        }
    };
    let mut duties = Vec::new();
    if let (true, Some(selector)) = (settings.deletion_cost, settings.selector.clone()) {
        let (cluster, peers) = (cluster.clone(), peers.clone());
        duties.push(Duty::Costs(Costs { cluster, peers, selector }));
    }
    if settings.janitor {
        duties.push(Duty::Janitor(Janitor {
            cluster: cluster.clone(),
            peers,
            selector: settings.selector.clone(),
            log: Arc::clone(log),
            pod: config.pod.name.clone(),
        }));
    }
    duties
}

#[cfg(test)]
mod tests;
#[cfg(test)]
use tests::eventually;
