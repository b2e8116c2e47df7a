//! `kubectl rollout restart`.

use anyhow::Result;

use crate::disturb::{Disturbance, under_load};
use crate::notes::{Notes, seconds};
use crate::site::Site;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "rollout restart", is_without_notice: false };
    under_load(site, notes, what, async |_, notes| {
        let before = site.main.settled(3).await?;
        let deployment = site.main.deployment().await?;
        let began = tokio::time::Instant::now();
        site.main.kube.run(&["rollout", "restart", &deployment]).await?;
        site.main.rolled_out().await?;
        let after = site.main.settled(3).await?;
        let kept = after.iter().filter(|pod| before.iter().any(|old| old.name == pod.name)).count();
        let took = seconds(began.elapsed());
        notes.check(kept == 0, format!("all three pods were replaced within {took}"));
        Ok(())
    })
    .await
}
