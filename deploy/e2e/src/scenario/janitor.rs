//! Consumer groups of pods that are gone are removed, and nobody else's.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use super::force::delete;
use crate::groups;
use crate::kube::until;
use crate::notes::{Notes, seconds};
use crate::site::Site;

/// A dead member is one for 45 s; then the janitor comes by.
const SWEPT: Duration = Duration::from_secs(180);
const TOPIC: &str = "tidegate.events";

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let pods = site.main.settled(3).await?;
    let doomed = pods.first().context("three")?;
    let prefix = site.main.group_prefix();
    let of_nobody = format!("{prefix}{}-gone/0123abcd", site.main.name);
    let (namespace, release) = (&site.main.kube.namespace, site.main.name);
    let of_others = [
        // Another release whose name begins with this one's; one of that name elsewhere; and what no
        // gateway has made.
        format!("tidegate/{namespace}/{release}-b/{release}-b-1/0123abcd"),
        format!("tidegate/{namespace}-b/{release}/{}/0123abcd", doomed.name),
        format!("{prefix}somebody/else/0123abcd"),
        "somebody".to_owned(),
    ];
    for group in of_others.iter().chain([&of_nobody]) {
        site.kafka.leave_group(group, TOPIC).await;
    }
    let its_group = groups::of_pod(&site.kafka, &site.main, &doomed.name).await;
    ensure!(its_group.len() == 1, "{} has the groups {its_group:?}", doomed.name);

    let began = Instant::now();
    delete(site, doomed).await?;
    let alive = site.main.settled(3).await?;
    until("the dead pod's group is removed", SWEPT, async || {
        let left = groups::of_pod(&site.kafka, &site.main, &doomed.name).await;
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await?;
    let took = seconds(began.elapsed());
    notes.say(format!("the group of a pod that was deleted with force was gone after {took}"));
    until("a group of no pod is removed", SWEPT, async || {
        let left = groups::of(&site.kafka, &site.main).await;
        ensure!(!left.contains(&of_nobody), "{left:?}");
        Ok(Some(()))
    })
    .await?;
    notes.say("so was one of a pod that never was");

    let all = site.kafka.groups().await;
    for group in &of_others {
        notes.check(all.contains(group), format!("{group} was left alone"));
    }
    for pod in &alive {
        let its = groups::of_pod(&site.kafka, &site.main, &pod.name).await;
        notes.check(its.len() == 1, format!("{} has its group: {its:?}", pod.name));
    }
    for group in &of_others {
        let _ = site.kafka.delete_group(group).await;
    }
    Ok(())
}
