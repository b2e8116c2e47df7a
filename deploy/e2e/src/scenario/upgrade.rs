//! `helm upgrade` with changed values.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::disturb::{Disturbance, under_load};
use crate::kube::until;
use crate::notes::Notes;
use crate::release::SETTLED;
use crate::site::Site;
use crate::values;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "helm upgrade, changed values", is_without_notice: false };
    under_load(site, notes, what, async |_, notes| {
        let before = site.main.settled(3).await?;
        let mut changed = site.main.values.clone();
        let changes = json!({
            "stream": {"heartbeat": "4s"},
            "telemetry": {"logLevel": "debug"},
            "config": {"limits": {"rooms_per_stream": 7}},
        });
        values::merge(&mut changed, &changes);
        site.main.upgrade(&changed).await?;
        let after = until("all pods are new", SETTLED, async || {
            let pods = site.main.settled(3).await?;
            let is_old = |name: &String| before.iter().any(|old| old.name == *name);
            ensure!(!pods.iter().any(|pod| is_old(&pod.name)), "there are {pods:?}");
            Ok(Some(pods))
        })
        .await?;
        for pod in &after {
            let config = pod.admin("/v1/config").await?.to_string();
            let has_both = config.contains("4s") && config.contains("rooms_per_stream");
            notes.check(has_both, format!("{} has the changed settings", pod.name));
        }
        Ok(())
    })
    .await
}
