//! How each fault is brought about and undone.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tidegate_rig::redis::Redis;
use tokio::time::{Instant, sleep};

use super::Fault;
use crate::cluster::{Cluster, READY};
use crate::disk::Disk;
use crate::gateway::Gateway;
use crate::link::Cut;
use crate::shell;
use crate::store::{EVENTS_TOPIC, Store};

/// How far the gateways' clocks are set.
const HOUR: i64 = 3600;
/// How far the log's clock is set: less than the window in which repeated keys are known, which
/// goes by it.
const MINUTE: i64 = 60;
/// What a gateway may still take at its memory limit.
const SPARE_MEMORY: u64 = 1 << 20;

impl Fault {
    /// Brings it about, on gateway `n` if it is a gateway's, lets it last and undoes it; says whom it
    /// met.
    ///
    /// # Errors
    /// It could not be brought about or undone, or a gateway did not get over it.
    pub async fn strike(self, cluster: &Cluster, n: usize, hold: Duration) -> Result<String> {
        let gateway = &cluster.gateways[n];
        let (front, back) = (&cluster.fronts[n], &cluster.backs[n]);
        let one = gateway.name().to_owned();
        match self {
            Self::ClientFin | Self::ClientRst => {
                front.cut(if self == Self::ClientFin { Cut::Fin } else { Cut::Rst }, 2);
                sleep(hold).await;
            }
            Self::ClientCable => {
                front.set_still(true);
                sleep(hold).await;
                front.set_still(false);
            }
            Self::ClientFrozen => {
                cluster.frozen_readers.send_replace(true);
                sleep(hold).await;
                cluster.frozen_readers.send_replace(false);
                return Ok("readers".to_owned());
            }
            Self::GatewayCable => {
                let namespaces = cluster.extras.namespaces.as_ref().map_err(|e| anyhow!("{e}"))?;
                namespaces.set_cable(n, false).await.map_err(|e| anyhow!(e))?;
                sleep(hold).await;
                namespaces.set_cable(n, true).await.map_err(|e| anyhow!(e))?;
            }
            Self::LogRst => {
                back.cut(Cut::Rst, 1);
                sleep(hold).await;
            }
            Self::LogCable => {
                back.set_still(true);
                sleep(hold).await;
                back.set_still(false);
            }
            Self::GatewayFrozen => {
                gateway.signal("STOP").await;
                sleep(hold).await;
                gateway.signal("CONT").await;
            }
            Self::GatewayKilled => {
                gateway.end("KILL").await;
                sleep(hold).await;
                gateway.start().await;
            }
            Self::GatewayDrained => {
                let status = gateway.end("TERM").await;
                ensure!(status == Some(0), "{one} ended its drain with status {status:?}");
                sleep(hold).await;
                gateway.start().await;
            }
            Self::NoDescriptors => no_descriptors(cluster, n, hold).await?,
            Self::NoMemory => no_memory(cluster, n, hold).await?,
            Self::ClocksApart | Self::ClocksBack => {
                set_clocks(cluster, self == Self::ClocksApart)?;
                sleep(hold).await;
                set_clocks_right(cluster)?;
                return Ok("all clocks".to_owned());
            }
            _ => {
                self.strike_log(cluster, hold).await?;
                return Ok("the log".to_owned());
            }
        }
        recovered(gateway).await?;
        Ok(one)
    }

    async fn strike_log(self, cluster: &Cluster, hold: Duration) -> Result<()> {
        let store = &cluster.store;
        match self {
            Self::LogFrozen => {
                store.set_frozen(true).await;
                sleep(hold).await;
                store.set_frozen(false).await;
            }
            Self::LogKilled => {
                store.kill().await;
                sleep(hold).await;
                store.restart().await;
            }
            Self::LogRestarted => {
                store.stop().await;
                store.restart().await;
            }
            Self::DiskFull => {
                let disk = cluster.extras.disk.as_ref().map_err(|e| anyhow!("{e}"))?;
                disk.fill().await.map_err(|e| anyhow!(e))?;
                sleep(hold).await;
                disk.empty().await.map_err(|e| anyhow!(e))?;
                // As its operator's process manager would.
                if !store.is_alive().await {
                    store.restart().await;
                }
            }
            Self::LogForgets => {
                let Store::Redis(redis) = store else { bail!("only Redis can forget") };
                store.kill().await;
                let data = cluster.extras.disk.as_ref().map(Disk::data);
                forget(redis, data.ok())?;
                sleep(hold).await;
                store.restart().await;
            }
            Self::TopicRecreated | Self::PartitionsAdded => {
                let Store::Kafka(kafka) = store else { bail!("only Kafka has topics") };
                let partitions = cluster.partitions();
                if self == Self::PartitionsAdded {
                    kafka.grow_topic(EVENTS_TOPIC, cluster.add_partitions(2)).await;
                } else {
                    kafka.delete_topic(EVENTS_TOPIC).await;
                    sleep(hold).await;
                    let partitions = i32::try_from(partitions).context("partitions")?;
                    // A gateway may have been faster.
                    let _ = kafka.try_create_topic(EVENTS_TOPIC, partitions, &[]).await;
                }
                sleep(hold).await;
            }
            _ => bail!("{} does not meet the log", self.name()),
        }
        cluster.until_ready().await
    }
}

async fn recovered(gateway: &Gateway) -> Result<()> {
    ensure!(gateway.pid().await.is_some(), "{} is gone", gateway.name());
    ensure!(gateway.until_ready(READY).await, "{} is not ready again", gateway.name());
    Ok(())
}

fn forget(redis: &Redis, data: Option<PathBuf>) -> Result<()> {
    let data = data.map_or_else(|| redis.data(), |data| data.join("appendonlydir"));
    fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))
}

async fn no_descriptors(cluster: &Cluster, n: usize, hold: Duration) -> Result<()> {
    let pid = cluster.gateways[n].pid().await.context("it does not run")?;
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let before = limit.and_then(|rest| rest.split_whitespace().next()).context("no limit")?;
    let set = async |to: &str| shell::run(&format!("prlimit --pid {pid} --nofile={to}:")).await;
    set(&(open / 2).to_string()).await.map_err(|e| anyhow!(e))?;
    cluster.fronts[n].cut(Cut::Rst, 2);
    cluster.backs[n].cut(Cut::Rst, 1);
    sleep(hold).await;
    set(before).await.map_err(|e| anyhow!(e))
}

async fn no_memory(cluster: &Cluster, n: usize, hold: Duration) -> Result<()> {
    let gateway = &cluster.gateways[n];
    let memory = cluster.extras.memory.as_ref().map_err(|e| anyhow!("{e}"))?;
    let until = Instant::now() + hold;
    // The kernel refuses a limit below what is used, and what is used may grow meanwhile.
    while let Err(error) = memory.squeeze(n, SPARE_MEMORY) {
        ensure!(Instant::now() < until, "no limit: {error}");
        sleep(Duration::from_millis(100)).await;
    }
    sleep(hold).await;
    memory.release(n).map_err(|e| anyhow!(e))?;
    if gateway.pid().await.is_none() {
        gateway.end("KILL").await;
        gateway.start().await;
    }
    Ok(())
}

fn set_clocks(cluster: &Cluster, apart: bool) -> Result<()> {
    let clocks = cluster.extras.clocks.as_ref().map_err(|e| anyhow!("{e}"))?;
    let log = clocks.count() - 1;
    for n in 0..log {
        let ahead = match n % 3 {
            0 if apart => HOUR,
            2 if apart => 0,
            _ => -HOUR,
        };
        clocks.set(n, ahead)?;
    }
    clocks.set(log, if apart { MINUTE } else { -MINUTE })?;
    Ok(())
}

fn set_clocks_right(cluster: &Cluster) -> Result<()> {
    let clocks = cluster.extras.clocks.as_ref().map_err(|e| anyhow!("{e}"))?;
    (0..clocks.count()).try_for_each(|n| clocks.set(n, 0))?;
    Ok(())
}
