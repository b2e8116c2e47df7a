//! Settings: every number, name and address that an operator can choose.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// All settings. `section.some_key` is `TIDEGATE_SECTION_SOME_KEY` and `--section-some-key`.
#[derive(Debug, Clone)]
pub struct Config {
    pub public: Public,
    pub admin: Admin,
    pub pod: Pod,
    pub telemetry: Telemetry,
    pub log: LogConfig,
    pub memory: Memory,
    pub kafka: Kafka,
    pub auth: Auth,
    pub publish: Publish,
    pub stream: Stream,
    pub dedupe: Dedupe,
    pub drain: Drain,
    pub limits: Limits,
    pub cors: Cors,
    pub console: Console,
}

#[derive(Debug, Clone)]
pub struct Public {
    pub addr: SocketAddr,
    pub trusted_proxies: Vec<IpNet>,
}
#[derive(Debug, Clone)]
pub struct Admin {
    pub addr: SocketAddr,
}
#[derive(Debug, Clone)]
pub struct Pod {
    pub name: String,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
#[derive(Debug, Clone)]
pub struct Telemetry {
    pub log_level: String,
    pub log_format: LogFormat,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    Memory,
    Kafka,
}
#[derive(Debug, Clone)]
pub struct LogConfig {
    pub kind: LogKind,
    pub window_bytes: usize,
    pub window_age: Duration,
}
#[derive(Debug, Clone)]
pub struct Memory {
    pub shards: u32,
    pub max_bytes: usize,
    pub max_age: Duration,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    Group,
    Manual,
}
#[derive(Debug, Clone)]
pub struct Kafka {
    pub brokers: String,
    pub group_prefix: String,
    pub assignment: Assignment,
    pub create_topics: bool,
    pub partitions: u32,
    pub replication: Option<u16>,
    pub events_topic: String,
    pub broadcast_topic: String,
    pub dead_letters_topic: String,
    pub options: BTreeMap<String, String>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    Off,
    Hmac,
}
#[derive(Debug, Clone)]
pub struct Auth {
    pub mode: AuthMode,
    pub keys: Option<Secret>,
    pub keys_file: Option<PathBuf>,
    pub max_lifetime: Option<Duration>,
    pub require_body_hash: bool,
    pub legacy_signature: bool,
}
/// Text that is never shown: its `Debug` and `Display` are a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);
#[derive(Debug, Clone)]
pub struct Publish {
    pub timeout: Duration,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowPolicy {
    Disconnect,
    Drop,
    Latest,
}
#[derive(Debug, Clone)]
pub struct Stream {
    pub heartbeat: Duration,
    pub retry: Duration,
    pub max_age: Option<Duration>,
    pub queue_bytes: usize,
    pub slow: SlowPolicy,
    pub write_timeout: Duration,
}
#[derive(Debug, Clone)]
pub struct Dedupe {
    pub window: Duration,
}
#[derive(Debug, Clone)]
pub struct Drain {
    pub grace: Duration,
    pub window: Duration,
    pub deadline: Duration,
}
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    pub rooms_per_stream: usize,
    pub body_bytes: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub held_refusals: usize,
    pub json_depth: usize,
    pub replay_bytes: usize,
    pub replay_events: usize,
}
#[derive(Debug, Clone)]
pub struct Cors {
    pub origins: Vec<String>,
}
#[derive(Debug, Clone)]
pub struct Console {
    pub enabled: bool,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
impl Secret {
    /// tmp
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl Config {
    /// tmp
    pub fn to_json_masked(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
