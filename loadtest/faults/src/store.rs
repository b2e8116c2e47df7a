//! The log's server: a real Kafka or a real Redis.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tidegate_rig::kafka::{self, Kafka, Listener};
use tidegate_rig::redis::Redis;

/// The topic of the rooms' events.
pub const EVENTS_TOPIC: &str = "faults.events";
/// The topic of the broadcasts.
pub const BROADCAST_TOPIC: &str = "faults.broadcast";
/// How many partitions, or streams, the rooms' events begin with.
pub const SHARDS: usize = 4;
const REDIS_PREFIX: &str = "faults";

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogKind {
    /// Apache Kafka.
    Kafka,
    /// Redis Streams.
    Redis,
}

/// A server.
#[derive(Debug)]
pub enum Store {
    /// A broker.
    Kafka(Kafka),
    /// A server that writes every event to its file before it answers.
    Redis(Redis),
}

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Where it has its data, if not in a directory of its own.
    pub data: Option<PathBuf>,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
    /// Addresses that Kafka listens on, and what it calls them.
    pub listeners: Vec<Listener>,
}

impl Store {
    /// A server that was not started.
    pub async fn set_up(kind: LogKind, setup: Setup) -> Self {
        let Setup { data, variables, listeners } = setup;
        match kind {
            LogKind::Kafka => {
                let mut properties = Vec::new();
                if let Some(data) = data {
                    properties.push(("log.dirs".to_owned(), data.display().to_string()));
                }
                let options = kafka::Options { properties, listeners, variables, joins: None };
                Self::Kafka(Kafka::set_up(options).await)
            }
            LogKind::Redis => {
                let data = data.map(|data| data.display().to_string());
                let options = data.as_deref().map(|data| vec!["--dir", data]).unwrap_or_default();
                Self::Redis(Redis::stopped(&options).with_variables(variables))
            }
        }
    }

    /// Which log it is for.
    #[must_use]
    pub fn kind(&self) -> LogKind {
        match self {
            Self::Kafka(_) => LogKind::Kafka,
            Self::Redis(_) => LogKind::Redis,
        }
    }

    /// A gateway's flags for it; `at` is where that gateway finds it.
    #[must_use]
    pub fn flags(&self, at: SocketAddr) -> Vec<String> {
        let flags = match self {
            Self::Kafka(_) => vec![
                ("--log-kind", "kafka".to_owned()),
                ("--kafka-brokers", at.to_string()),
                ("--kafka-group-prefix", "faults".to_owned()),
                ("--kafka-events-topic", EVENTS_TOPIC.to_owned()),
                ("--kafka-broadcast-topic", BROADCAST_TOPIC.to_owned()),
                ("--kafka-partitions", SHARDS.to_string()),
            ],
            Self::Redis(_) => vec![
                ("--log-kind", "redis".to_owned()),
                ("--redis-url", format!("redis://{at}")),
                ("--redis-prefix", REDIS_PREFIX.to_owned()),
                ("--redis-shards", SHARDS.to_string()),
            ],
        };
        flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// The address that clients which are no gateways use.
    ///
    /// # Errors
    /// Never, with the servers that are started here.
    pub fn addr(&self) -> Result<SocketAddr> {
        match self {
            Self::Kafka(kafka) => kafka.brokers().parse().context("Kafka's address"),
            Self::Redis(redis) => Ok(SocketAddr::from(([127, 0, 0, 1], redis.port()))),
        }
    }

    /// Starts it, after ending it in order if it runs, and waits until it serves.
    pub async fn restart(&self) {
        match self {
            Self::Kafka(kafka) => kafka.restart().await,
            Self::Redis(redis) => redis.restart().await,
        }
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        match self {
            Self::Kafka(kafka) => kafka.stop().await,
            Self::Redis(redis) => redis.stop().await,
        }
    }

    /// Ends it at once.
    pub async fn kill(&self) {
        match self {
            Self::Kafka(kafka) => kafka.kill().await,
            Self::Redis(redis) => redis.kill().await,
        }
    }

    /// Makes it stand still, or go on.
    pub async fn set_frozen(&self, frozen: bool) {
        match (self, frozen) {
            (Self::Kafka(kafka), true) => kafka.freeze().await,
            (Self::Kafka(kafka), false) => kafka.thaw().await,
            (Self::Redis(redis), true) => redis.freeze().await,
            (Self::Redis(redis), false) => redis.thaw().await,
        }
    }

    /// Whether its process runs.
    pub async fn is_alive(&self) -> bool {
        match self {
            Self::Kafka(kafka) => kafka.is_alive().await,
            Self::Redis(redis) => redis.is_alive().await,
        }
    }

    /// What it has written to its output.
    #[must_use]
    pub fn said(&self) -> String {
        match self {
            Self::Kafka(kafka) => kafka.said(),
            Self::Redis(redis) => redis.said(),
        }
    }
}
