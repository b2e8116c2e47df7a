//! Pods are evicted by the Eviction API, as a node that is drained does it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::disturb::{Disturbance, under_load};
use crate::kube::until;
use crate::notes::Notes;
use crate::pod::Pod;
use crate::site::Site;

/// How long the budget may keep a pod: until the one before is replaced.
const BUDGET: Duration = Duration::from_secs(120);

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "two pods evicted", is_without_notice: false };
    under_load(site, notes, what, async |_, notes| {
        let pods = site.main.settled(3).await?;
        let [first, second, ..] = &pods[..] else { bail!("three") };
        evict(site, first).await.context("the first eviction")?;
        let at_once = evict(site, second).await;
        let why = at_once.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
        notes.check(
            why.contains("disruption budget"),
            "the PodDisruptionBudget keeps a second pod while the first is replaced",
        );
        until("the budget lets the second go", BUDGET, async || {
            evict(site, second).await.map(Some)
        })
        .await?;
        site.main.settled(3).await?;
        Ok(())
    })
    .await
}

async fn evict(site: &Site, pod: &Pod) -> Result<()> {
    let (name, namespace) = (&pod.name, &site.main.kube.namespace);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    });
    site.main.kube.give(&["create", "--raw", &path, "--filename", "-"], &eviction).await?;
    Ok(())
}
