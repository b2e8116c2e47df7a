//! The pod that holds the Lease is deleted with force, and another takes it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::force::delete;
use crate::disturb::{Disturbance, under_load};
use crate::kube::until;
use crate::notes::{Notes, seconds};
use crate::pod::Pod;
use crate::site::Site;

/// How long a Lease may be without a leader.
const ELECTION: Duration = Duration::from_secs(90);

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "the leader deleted with force", is_without_notice: true };
    under_load(site, notes, what, async |_, notes| {
        site.main.settled(3).await?;
        let first = leader(site).await?;
        let began = Instant::now();
        delete(site, &first).await?;
        let next = until("another pod holds the Lease", ELECTION, async || {
            Ok(Some(leader(site).await?).filter(|next| next.name != first.name))
        })
        .await?;
        let (took, first, next) = (seconds(began.elapsed()), first.name, next.name);
        notes.say(format!("the Lease went from {first} to {next} in {took}"));
        site.main.settled(3).await?;
        Ok(())
    })
    .await
}

/// The pod that holds the Lease, if it lives.
async fn leader(site: &Site) -> Result<Pod> {
    until("a living pod holds the Lease", ELECTION, async || {
        let lease = site.main.one("lease").await?;
        let lease = site.main.kube.get(&[&lease]).await?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let pods = site.main.pods().await?;
        let found = pods.into_iter().find(|pod| holder.starts_with(&pod.name) && !pod.is_leaving);
        Ok(Some(found.with_context(|| format!("the holder is {holder:?}"))?))
    })
    .await
}
