//! `helm install`, until the first event has come through the ingress controller.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::time::Instant;

use crate::groups;
use crate::inventory;
use crate::kube::until;
use crate::notes::{Notes, seconds};
use crate::site::{BY_INGRESS, BY_ROUTE, Site};
use crate::stream::round_trip;

/// How long the first event may take.
const FIRST_EVENT: Duration = Duration::from_secs(180);

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    site.remember(inventory::of_namespace(&site.main.kube).await?);
    let began = Instant::now();
    let first = async {
        until("the first event through the Ingress", FIRST_EVENT, async || {
            round_trip(&site.doors, (BY_INGRESS, BY_INGRESS), "first").await.map(Some)
        })
        .await?;
        Ok(began.elapsed())
    };
    // At the first error: without a release no event comes.
    let ((), first) = tokio::try_join!(site.main.install(), first)?;
    notes.first_event = Some(first);
    notes.say(format!("the first event came {} after helm install began", seconds(first)));
    until("an event through the HTTPRoute", FIRST_EVENT, async || {
        round_trip(&site.doors, (BY_ROUTE, BY_ROUTE), "first").await.map(Some)
    })
    .await?;
    let pods = site.main.settled(3).await?;
    notes.say(format!("all three pods were ready after {}", seconds(began.elapsed())));
    let restarts: u64 = pods.iter().map(|pod| pod.restarts).sum();
    notes.check(restarts == 0, format!("{restarts} containers were restarted"));
    for pod in &pods {
        let of_pod = groups::of_pod(&site.kafka, &site.main, &pod.name).await;
        notes.check(of_pod.len() == 1, format!("{} has one consumer group: {of_pod:?}", pod.name));
    }
    sticky(site, notes).await
}

/// Nothing may send a client back to the pod that it came from.
async fn sticky(site: &Site, notes: &mut Notes) -> Result<()> {
    let label = site.main.label();
    for kind in ["services", "ingresses", "httproutes"] {
        let list = site.main.kube.get(&[kind, "--selector", &label]).await?;
        for object in list["items"].as_array().into_iter().flatten() {
            let affinity = object["spec"]["sessionAffinity"].as_str().unwrap_or("None");
            let route = &object["spec"]["rules"][0]["sessionPersistence"];
            let annotations = object["metadata"]["annotations"].to_string().to_lowercase();
            let is_sticky = ["sticky", "affinity"].iter().any(|word| annotations.contains(word));
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            notes.check(
                affinity == "None" && *route == Value::Null && !is_sticky,
                format!("{kind}/{name} binds no client to a pod"),
            );
        }
    }
    Ok(())
}
