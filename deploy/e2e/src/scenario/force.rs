//! A pod is deleted with force: its drain is cut off.

use anyhow::{Context as _, Result};

use crate::disturb::{Disturbance, under_load};
use crate::notes::Notes;
use crate::pod::Pod;
use crate::site::Site;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "a pod deleted with force", is_without_notice: true };
    under_load(site, notes, what, async |_, _| {
        let pods = site.main.settled(3).await?;
        delete(site, pods.first().context("three")?).await?;
        site.main.settled(3).await?;
        Ok(())
    })
    .await
}

/// `kubectl delete pod --force`.
pub(super) async fn delete(site: &Site, pod: &Pod) -> Result<()> {
    let args = ["delete", "pod", &pod.name, "--force", "--grace-period=0"];
    site.main.kube.run(&args).await?;
    Ok(())
}
