//! Deletion costs follow the streams, and a scale-down takes the pod with the fewest.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tidegate_faults::door::Doors;
use tokio::time::Instant;

use crate::kube::until;
use crate::notes::{Notes, seconds};
use crate::site::Site;
use crate::stream::Stream;

/// How long costs may lag. What is off by no more than a tenth is not written.
const LAG: Duration = Duration::from_secs(120);
/// Streams of each pod, the oldest first: without costs the newest would go.
const STREAMS: [i64; 3] = [2, 25, 12];

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let pods = site.main.settled(3).await?;
    let mut streams = Vec::new();
    for (pod, count) in pods.iter().zip(STREAMS) {
        let doors = Doors::direct([pod.public()]).signed(site.key());
        for _ in 0..count {
            streams.push(Stream::open(&doors, 0, "crowd", "Held").await?);
        }
        let total = pod.connections().await?;
        notes
            .check(total == count as u64, format!("{} says that it has {total} streams", pod.name));
    }
    let began = Instant::now();
    let costs = until("deletion costs are the numbers of streams", LAG, async || {
        let costs: Vec<_> = site.main.pods().await?.iter().filter_map(|pod| pod.cost).collect();
        let follow =
            costs.iter().zip(STREAMS).all(|(cost, count)| (cost - count).abs() * 10 <= count);
        ensure!(costs.len() == STREAMS.len() && follow, "they are {costs:?}");
        Ok(Some(costs))
    })
    .await?;
    let took = seconds(began.elapsed());
    notes.say(format!("deletion costs were {costs:?} after {took}, for {STREAMS:?} streams"));

    site.main.scale(2).await?;
    let left = site.main.settled(2).await?;
    let Some(gone) = pods.iter().position(|pod| left.iter().all(|l| l.name != pod.name)) else {
        bail!("nobody is gone: {left:?}");
    };
    let held = STREAMS[gone];
    notes.check(
        gone == 0,
        format!("the scale-down took the pod with {held} streams of {STREAMS:?}"),
    );
    drop(streams);
    site.main.scale(3).await?;
    site.main.settled(3).await?;
    Ok(())
}
