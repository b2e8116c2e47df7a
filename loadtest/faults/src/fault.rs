//! What can go wrong. A closed set: each has a name, says how it is brought about, on which logs,
//! what it may destroy, and undoes itself.

mod strike;

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::cluster::Cluster;
use crate::store::LogKind;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Half of a gateway's clients are disconnected in order
    ClientFin,
    /// Half of a gateway's clients are reset
    ClientRst,
    /// Nothing goes between a gateway and its clients; connections stand
    ClientCable,
    /// Half of all readers stop reading
    ClientFrozen,
    /// The cable of a gateway's network namespace is pulled
    GatewayCable,
    /// A gateway's connections to the log are reset
    LogRst,
    /// Nothing goes between a gateway and the log; connections stand
    LogCable,
    /// SIGSTOP of the log's server
    LogFrozen,
    /// SIGKILL of the log's server
    LogKilled,
    /// The log's server is restarted in order
    LogRestarted,
    /// The log's disk is full
    DiskFull,
    /// Redis comes back without its data
    LogForgets,
    /// The topic of the events is deleted and made again
    TopicRecreated,
    /// The topic of the events gets two more partitions
    PartitionsAdded,
    /// SIGSTOP of a gateway beyond its session with the broker
    GatewayFrozen,
    /// SIGKILL of a gateway
    GatewayKilled,
    /// SIGTERM of a gateway, which drains
    GatewayDrained,
    /// The gateways' clocks are hours apart, Kafka's is a minute off; then all are right again
    ClocksApart,
    /// All clocks step back, and later forward
    ClocksBack,
    /// A gateway can open no more descriptors
    NoDescriptors,
    /// A gateway is at its memory limit
    NoMemory,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::ClientFin,
        Self::ClientRst,
        Self::ClientCable,
        Self::ClientFrozen,
        Self::GatewayCable,
        Self::LogRst,
        Self::LogCable,
        Self::LogFrozen,
        Self::LogKilled,
        Self::LogRestarted,
        Self::DiskFull,
        Self::LogForgets,
        Self::TopicRecreated,
        Self::PartitionsAdded,
        Self::GatewayFrozen,
        Self::GatewayKilled,
        Self::GatewayDrained,
        Self::ClocksApart,
        Self::ClocksBack,
        Self::NoDescriptors,
        Self::NoMemory,
    ];

    /// Its name, on the command line too.
    #[must_use]
    pub fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How it is brought about, for a report.
    #[must_use]
    pub fn how(self) -> &'static str {
        match self {
            Self::ClientFin => {
                "FIN on both sides of every second connection in the proxy before it"
            }
            Self::ClientRst => {
                "RST (SO_LINGER 0) on every second connection in the proxy before it"
            }
            Self::ClientCable => "the proxy before it stands still",
            Self::ClientFrozen => "every second reader reads nothing",
            Self::GatewayCable => "its veth's port of the bridge is set down",
            Self::LogRst => "RST on every connection in the proxy behind it",
            Self::LogCable => "the proxy behind it stands still",
            Self::LogFrozen => "SIGSTOP, later SIGCONT",
            Self::LogKilled => "SIGKILL, later started on its data",
            Self::LogRestarted => "SIGTERM, then started on its data",
            Self::DiskFull => {
                "a tmpfs of 256 MiB is filled, later emptied; restarted if it gave up"
            }
            Self::LogForgets => "SIGKILL, its files removed, started",
            Self::TopicRecreated => "delete_topics, create_topics",
            Self::PartitionsAdded => "create_partitions",
            Self::GatewayFrozen => "SIGSTOP for more than 45 s, then SIGCONT",
            Self::GatewayKilled => "SIGKILL, later started",
            Self::GatewayDrained => "SIGTERM, waited for, started",
            Self::ClocksApart => "libfaketime: +1 h, -1 h, 0; Kafka +60 s; then back",
            Self::ClocksBack => "libfaketime: gateways -1 h, Kafka -60 s; then back",
            Self::NoDescriptors => {
                "prlimit --nofile to half of what is open, then RST to clients and log"
            }
            Self::NoMemory => "a cgroup's limit 1 MiB above what it uses; started again if killed",
        }
    }

    /// The reasons of gaps that it brings about because it destroys events, or the places of events
    /// to come.
    #[must_use]
    pub fn destroys(self) -> &'static [&'static str] {
        match self {
            Self::LogForgets | Self::TopicRecreated => &["recreated"],
            Self::PartitionsAdded => &["repartitioned"],
            _ => &[],
        }
    }

    /// How long it lasts, at least and at most, in seconds.
    #[must_use]
    pub fn seconds(self) -> (f64, f64) {
        match self {
            Self::ClientFin | Self::ClientRst | Self::LogRst => (0.5, 2.0),
            Self::ClientCable | Self::ClientFrozen | Self::GatewayCable => (5.0, 25.0),
            Self::LogCable | Self::LogFrozen => (3.0, 20.0),
            Self::LogKilled | Self::DiskFull => (1.0, 10.0),
            Self::GatewayFrozen => (50.0, 60.0),
            Self::GatewayKilled => (0.5, 6.0),
            Self::ClocksApart | Self::ClocksBack | Self::NoDescriptors | Self::NoMemory => {
                (5.0, 15.0)
            }
            Self::LogRestarted
            | Self::LogForgets
            | Self::TopicRecreated
            | Self::PartitionsAdded
            | Self::GatewayDrained => (0.5, 3.0),
        }
    }

    /// A time between the least and the most.
    pub fn hold(self, rng: &mut StdRng) -> Duration {
        let (least, most) = self.seconds();
        Duration::from_secs_f64(rng.random_range(least..=most))
    }

    /// Whether it can happen on this log at all.
    #[must_use]
    pub fn is_of(self, log: LogKind) -> bool {
        match self {
            Self::TopicRecreated | Self::PartitionsAdded => log == LogKind::Kafka,
            Self::LogForgets => log == LogKind::Redis,
            _ => true,
        }
    }

    /// What this machine lacks for it.
    #[must_use]
    pub fn missing(self, cluster: &Cluster) -> Option<String> {
        let extras = &cluster.extras;
        match self {
            Self::GatewayCable => extras.namespaces.as_ref().err().cloned(),
            Self::DiskFull => extras.disk.as_ref().err().cloned(),
            Self::ClocksApart | Self::ClocksBack => extras.clocks.as_ref().err().cloned(),
            Self::NoMemory => extras.memory.as_ref().err().cloned(),
            _ => None,
        }
    }
}
