//! KEDA follows the streams: it asks Prometheus, which asks the pods.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_faults::door::Doors;
use tidegate_faults::wire;
use tokio::time::Instant;

use crate::kube::{Kube, until};
use crate::notes::{Notes, seconds};
use crate::release::Release;
use crate::site::Site;
use crate::stream::Stream;

/// How long the autoscaler may take: a scrape, KEDA's look, the HPA's, pods that come or drain.
const FOLLOWED: Duration = Duration::from_secs(180);
const STREAMS: usize = 50;
const PER_POD: usize = 20;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let prometheus = site.cli.prometheus.clone();
    let prometheus = prometheus.unwrap_or_else(|| format!("http://{}:9090", site.cli.node_address));
    present(&site.main.kube, &prometheus).await.context("`--without autoscale` leaves this out")?;
    let values = json!({
        "prometheusAnnotations": true,
        "keda": {
            "enabled": true,
            "serverAddress": prometheus,
            "minReplicas": 1,
            "maxReplicas": 3,
            "connectionsPerPod": PER_POD,
            "pollingInterval": 5,
        },
        // CPU out of the way; and the default waits ten minutes before it removes a pod.
        "autoscaling": {"cpu": null, "behavior": {"scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        }}},
    });
    site.with_another("scaled", &values, async |release| {
        let pods = release.settled(1).await?;
        let doors = Doors::direct([pods[0].public()]).signed(site.key());
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(Stream::open(&doors, 0, "crowd", "Held").await?);
        }
        notes.say(format!(
            "three pods were ready {} after {STREAMS} streams were open, at {PER_POD} a pod",
            seconds(reached(release, 3).await?)
        ));
        drop(streams);
        notes.say(format!(
            "one was left {} after they were closed",
            seconds(reached(release, 1).await?)
        ));
        Ok(())
    })
    .await
}

/// That all is there which the release does not bring along.
async fn present(kube: &Kube, prometheus: &str) -> Result<()> {
    let crd = ["customresourcedefinition", "scaledobjects.keda.sh"];
    ensure!(kube.has(&crd).await?, "the cluster does not know ScaledObjects");
    let operator = ["pods", "--all-namespaces", "--selector", "app=keda-operator"];
    ensure!(kube.has(&operator).await?, "KEDA's operator does not run");
    let at: SocketAddr = prometheus
        .trim_start_matches("http://")
        .parse()
        .with_context(|| format!("{prometheus} is not http://ADDRESS:PORT"))?;
    let answer = wire::get(at, "/-/ready", Duration::from_secs(5)).await;
    let is_ready = answer.is_ok_and(|answer| answer.status == 200);
    ensure!(is_ready, "no Prometheus at {prometheus}");
    Ok(())
}

async fn reached(release: &Release, count: usize) -> Result<Duration> {
    let began = Instant::now();
    until(&format!("KEDA makes it {count} pods"), FOLLOWED, async || {
        let pods = release.pods().await?;
        let ready = pods.iter().filter(|pod| pod.is_ready && !pod.is_leaving).count();
        Ok((ready == count && pods.len() == count).then_some(()))
    })
    .await?;
    Ok(began.elapsed())
}
