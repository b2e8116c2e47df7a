//! A second release of the same name, in another namespace, on the same Kafka: it comes, works, loses a
//! pod, and goes, and the first does not notice.

use anyhow::{Context as _, Result};
use serde_json::json;
use tidegate_faults::door::Doors;

use crate::disturb::{Disturbance, under_load};
use crate::groups;
use crate::kube::until;
use crate::notes::Notes;
use crate::release::{Release, SETTLED};
use crate::site::Site;
use crate::stream::round_trip;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "a second release comes and goes", is_without_notice: false };
    under_load(site, notes, what, async |_, notes| {
        let before = site.main.settled(3).await?;
        let first_groups = groups::of(&site.kafka, &site.main).await;
        let values = json!({
            "replicaCount": 2,
            "kubernetes": {"watchSecret": true, "deletionCost": true, "janitor": true},
        });
        let act = async |second: &Release| {
            let pods = second.settled(2).await?;
            let own = Doors::direct(pods.iter().map(|pod| pod.public())).signed(site.key());
            round_trip(&own, (0, 1), &site.prefix()).await.context("the second release")?;
            notes.say("an event went from one of its pods to the other");

            // Its janitor gets something to do, with the first release's groups beside it.
            let doomed = &pods[0].name;
            second.kube.run(&["delete", "pod", doomed, "--force", "--grace-period=0"]).await?;
            until("its own dead pod's group is removed", SETTLED, async || {
                let left = groups::of_pod(&site.kafka, second, doomed).await;
                Ok(left.is_empty().then_some(()))
            })
            .await?;
            second.settled(2).await?;
            Ok(second.clone())
        };
        let second = site.with_another(site.main.name, &values, act).await?;
        let left = groups::of(&site.kafka, &second).await;
        notes.check(left.is_empty(), format!("its groups are gone with it: {left:?}"));
        let now = groups::of(&site.kafka, &site.main).await;
        notes.check(now == first_groups, format!("the first release has the same groups: {now:?}"));
        let after = site.main.settled(3).await?;
        let same =
            before.iter().zip(&after).all(|(b, a)| b.name == a.name && b.restarts == a.restarts);
        notes.check(same, "and the same pods, none of them restarted");
        Ok(())
    })
    .await
}
