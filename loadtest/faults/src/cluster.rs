//! All that runs: the log's server, the gateways, and the links before and behind each of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tidegate_rig::kafka::Listener;
use tokio::sync::watch;

use crate::clocks::Clocks;
use crate::disk::Disk;
use crate::fault::Fault;
use crate::gateway::{Command, Gateway};
use crate::link::Link;
use crate::memory::Memory;
use crate::network::Namespaces;
use crate::store::{self, LogKind, Store};

/// How long a gateway may take to be ready. Debug builds on a busy machine are slow.
pub const READY: Duration = Duration::from_secs(60);
/// How often a quiet stream is written to, and with it how soon silence is noticed.
const HEARTBEAT: &str = "2s";

/// What is started.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The gateway's binary.
    pub binary: PathBuf,
    /// Which log.
    pub log: LogKind,
    /// How many gateways.
    pub gateways: usize,
    /// What is asked of the machine beyond processes and loopback.
    pub wants: Wants,
    /// Further flags of the gateways, instead of the usual ones.
    pub flags: Vec<String>,
}

/// What only some machines have. Where one is missing, its faults are not tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wants {
    /// Each gateway in a network namespace of its own.
    pub namespaces: bool,
    /// The log's data on a disk that is soon full.
    pub small_disk: bool,
    /// Clocks that can be set for each process.
    pub clocks: bool,
    /// A memory limit for each gateway.
    pub memory: bool,
}

impl Wants {
    /// What these faults need.
    #[must_use]
    pub fn of(faults: &[Fault]) -> Self {
        Self {
            namespaces: faults.contains(&Fault::GatewayCable),
            small_disk: faults.contains(&Fault::DiskFull),
            clocks: faults.contains(&Fault::ClocksApart) || faults.contains(&Fault::ClocksBack),
            memory: faults.contains(&Fault::NoMemory),
        }
    }
}

/// What there is of it, or why not.
#[derive(Debug)]
pub struct Extras {
    /// One for each gateway.
    pub namespaces: Result<Namespaces, String>,
    /// The log's.
    pub disk: Result<Disk, String>,
    /// One for each gateway, and the log's.
    pub clocks: Result<Clocks, String>,
    /// One for each gateway.
    pub memory: Result<Memory, String>,
}

/// Everything that runs. It ends with this value, and with this process.
#[derive(Debug)]
pub struct Cluster {
    /// The log's server.
    pub store: Store,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// Between clients and each gateway.
    pub fronts: Vec<Link>,
    /// Between each gateway and the log's server.
    pub backs: Vec<Link>,
    /// What the machine gave.
    pub extras: Extras,
    /// Half of the readers read nothing while it holds.
    pub frozen_readers: watch::Sender<bool>,
    /// Of the events' topic.
    partitions: AtomicUsize,
    home: TempDir,
}

impl Cluster {
    /// Starts everything and waits until every gateway is ready.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(setup: &Setup) -> Result<Self> {
        ensure!(setup.binary.exists(), "{} is not there: build it", setup.binary.display());
        let home = tempfile::Builder::new().prefix("tidegate-faults-").tempdir()?;
        let extras = Extras::find(setup, home.path()).await;
        let host = extras.namespaces.as_ref().map_or(Ipv4Addr::LOCALHOST, Namespaces::host);

        let mut backs = Vec::new();
        let mut listeners = Vec::new();
        let store = match setup.log {
            LogKind::Kafka => {
                for _ in 0..setup.gateways {
                    let [port] = tidegate_rig::free_ports();
                    let listens = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    let back = Link::start(host.into(), listens).await?;
                    listeners.push(Listener { listens, told: back.addr() });
                    backs.push(back);
                }
                Store::set_up(setup.log, store_setup(setup.log, &extras, listeners)).await
            }
            LogKind::Redis => {
                let store =
                    Store::set_up(setup.log, store_setup(setup.log, &extras, listeners)).await;
                for _ in 0..setup.gateways {
                    backs.push(Link::start(host.into(), store.addr()?).await?);
                }
                store
            }
        };
        store.restart().await;

        let (mut gateways, mut fronts) = (Vec::new(), Vec::new());
        for (n, back) in backs.iter().enumerate() {
            let command = command(setup, &extras, n, store.flags(back.addr()));
            let at = extras.namespaces.as_ref().map_or(Ipv4Addr::LOCALHOST, |all| all.addr(n));
            let gateway = Gateway::new(command, &format!("gateway-{n}"), at.into(), home.path());
            fronts.push(Link::start(IpAddr::V4(Ipv4Addr::LOCALHOST), gateway.public()).await?);
            gateway.start().await;
            gateways.push(gateway);
        }
        let frozen_readers = watch::Sender::new(false);
        let partitions = AtomicUsize::new(store::SHARDS);
        let cluster =
            Self { store, gateways, fronts, backs, extras, frozen_readers, partitions, home };
        cluster.until_ready().await.with_context(|| {
            let out = cluster.home().join("gateway-0.log");
            std::fs::read_to_string(out).unwrap_or_default()
        })?;
        Ok(cluster)
    }

    /// Waits until every gateway is ready.
    ///
    /// # Errors
    /// Names those that were not in time.
    pub async fn until_ready(&self) -> Result<()> {
        for gateway in &self.gateways {
            ensure!(gateway.until_ready(READY).await, "{} is not ready", gateway.name());
        }
        Ok(())
    }

    /// Where clients find the gateways.
    #[must_use]
    pub fn fronts(&self) -> Arc<[SocketAddr]> {
        self.fronts.iter().map(Link::addr).collect()
    }

    /// How many partitions the events' topic has.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.load(Ordering::Relaxed)
    }

    /// Counts more of them, and says how many there are then.
    pub fn add_partitions(&self, more: usize) -> usize {
        self.partitions.fetch_add(more, Ordering::Relaxed) + more
    }

    /// Where the gateways' output is.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Ends the gateways, at once. What is left ends when this is dropped.
    pub async fn end(self, keep_home: bool) {
        for gateway in &self.gateways {
            gateway.end("KILL").await;
        }
        self.store.kill().await;
        if keep_home {
            let _ = self.home.keep();
        }
    }
}

impl Extras {
    async fn find(setup: &Setup, home: &Path) -> Self {
        let not_asked = || "not asked for".to_owned();
        let Wants { namespaces, small_disk, clocks, memory } = setup.wants;
        Self {
            namespaces: match namespaces {
                true => Namespaces::make(setup.gateways).await,
                false => Err(not_asked()),
            },
            disk: if small_disk { Disk::mount(home).await } else { Err(not_asked()) },
            clocks: if clocks { Clocks::find(home, setup.gateways) } else { Err(not_asked()) },
            memory: if memory { Memory::make(setup.gateways).await } else { Err(not_asked()) },
        }
    }
}

fn store_setup(log: LogKind, extras: &Extras, listeners: Vec<Listener>) -> store::Setup {
    store::Setup {
        data: extras.disk.as_ref().ok().map(Disk::data),
        // Redis has an allocator that cannot start below libfaketime.
        variables: match (log, &extras.clocks) {
            (LogKind::Kafka, Ok(clocks)) => clocks.store(),
            _ => Vec::new(),
        },
        listeners,
    }
}

fn command(setup: &Setup, extras: &Extras, n: usize, log: Vec<String>) -> Command {
    let mut words = Vec::new();
    if let Ok(memory) = &extras.memory {
        words.extend(memory.enter(n));
    }
    if let Ok(namespaces) = &extras.namespaces {
        words.extend(namespaces.enter(n));
    }
    words.push(setup.binary.clone().into());
    let short = [
        ("--stream-heartbeat", HEARTBEAT),
        ("--stream-retry", "1s"),
        ("--stream-write-timeout", "5s"),
        ("--stream-queue-bytes", "256KiB"),
        ("--publish-timeout", "5s"),
        ("--drain-grace", "1s"),
        ("--drain-window", "5s"),
        ("--drain-deadline", "15s"),
        ("--telemetry-log-format", "json"),
    ];
    let is_given = |flag: &str| setup.flags.iter().any(|f| f.split('=').next() == Some(flag));
    let short = short.iter().filter(|(flag, _)| !is_given(flag));
    let mut flags: Vec<String> =
        short.flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect();
    flags.extend(log);
    flags.extend(setup.flags.iter().cloned());
    let variables = extras.clocks.as_ref().map(|clocks| clocks.gateway(n)).unwrap_or_default();
    Command { words, flags, variables }
}
