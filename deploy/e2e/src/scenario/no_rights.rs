//! All that needs the API server is on, and the API server refuses all of it: pods become ready and
//! serve, and keys are picked up from the mounted file.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_faults::door::{Doors, Key};
use tokio::time::Instant;

use crate::kube::until;
use crate::notes::{Notes, seconds};
use crate::site::{Site, put_keys};
use crate::stream::round_trip;

/// The kubelet looks after mounted Secrets about once a minute.
const MOUNTED: Duration = Duration::from_secs(180);

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let values = json!({
        "replicaCount": 2,
        "kubernetes": {"watchSecret": true, "deletionCost": true, "janitor": true},
        "rbac": {"create": false},
    });
    let began = Instant::now();
    site.with_another("norights", &values, async |release| {
        let pods = release.settled(2).await?;
        notes.say(format!("both pods were ready after {}", seconds(began.elapsed())));
        let own = Doors::direct(pods.iter().map(|pod| pod.public())).signed(site.key());
        round_trip(&own, (0, 1), &site.prefix()).await?;
        notes.say("an event went from one to the other");

        let (old, new) = (site.key(), Key::random("filed", &mut rand::rng()));
        put_keys(&release.kube, &[&old, &new]).await?;
        let began = Instant::now();
        for pod in &pods {
            until("the new key is taken from the mounted file", MOUNTED, async || {
                ensure!(pod.takes(&new).await?, "{} refuses it", pod.name);
                Ok(Some(()))
            })
            .await?;
        }
        let took = seconds(began.elapsed());
        notes.say(format!("a key added to the Secret was good after {took}, by the mounted file"));
        put_keys(&release.kube, &[&old]).await?;
        let restarts: u64 = release.pods().await?.iter().map(|pod| pod.restarts).sum();
        notes.check(restarts == 0, format!("{restarts} restarts"));
        let logs = release.kube.run(&["logs", &format!("pod/{}", pods[0].name)]).await?;
        let said = logs.lines().any(|line| line.contains("forbids it (403)"));
        notes.check(said, "the log says that it was refused, and what is missing");
        Ok(())
    })
    .await
}
