//! `helm uninstall`, and what is left of the release anywhere.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::groups;
use crate::inventory;
use crate::kube::until;
use crate::notes::{Notes, seconds};
use crate::site::Site;

/// What the cluster removes by itself follows the pods, which drain first.
const GONE: Duration = Duration::from_secs(60);
/// How long the janitor may need for pods that scenarios before this one have killed.
const SWEPT: Duration = Duration::from_secs(180);

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    // A dead member keeps its group for 45 s. If the last pod leaves before that, nobody is there to
    // remove it.
    let pods = site.main.pods().await?.len();
    let swept = until("a consumer group for each pod and no other", SWEPT, async || {
        Ok((groups::of(&site.kafka, &site.main).await.len() == pods).then_some(()))
    });
    notes.wrongs.extend(swept.await.err().map(|error| format!("{error:#}")));
    let began = Instant::now();
    site.main.uninstall().await?;
    site.main.settled(0).await?;
    notes.say(format!("the last pod was gone {} after helm uninstall", seconds(began.elapsed())));
    let before = site.remembered();
    let mut left = Vec::new();
    let _ = until("nothing is left", GONE, async || {
        left = leftovers(site).await?;
        left.retain(|object| !before.contains(object));
        Ok(left.is_empty().then_some(()))
    })
    .await;
    notes.check(left.is_empty(), format!("nothing was left: {left:?}"));
    notes.left = Some(left);
    Ok(())
}

async fn leftovers(site: &Site) -> Result<Vec<String>> {
    let kube = &site.main.kube;
    let mut left: Vec<String> = inventory::of_namespace(kube).await?.into_iter().collect();
    left.extend(inventory::with_label(kube, &site.main.label()).await?);
    left.extend(
        groups::of(&site.kafka, &site.main).await.into_iter().map(|g| format!("group {g}")),
    );
    Ok(left)
}
