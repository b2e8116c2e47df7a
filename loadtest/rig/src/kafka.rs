//! A real Apache Kafka: the jars from Maven Central, one combined broker and controller on
//! loopback, up in a few seconds, gone with whoever started it.

mod groups;
mod java;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use self::java::{Lines, is_fetched};
use self::java::{java, java_args};
use crate::free_ports;
use crate::process::{Slot, Start};

/// How long a broker may take to be up. It is 3 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

static SHARED: OnceCell<Kafka> = OnceCell::const_new();

/// A further listener of a broker.
#[derive(Debug, Clone, Copy)]
pub struct Listener {
    /// Where the broker listens.
    pub listens: SocketAddr,
    /// Where those who asked there are told to come: what stands before the broker.
    pub told: SocketAddr,
}

/// How a broker is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Lines of `server.properties` beyond, or instead of, the usual ones.
    pub properties: Vec<(String, String)>,
    /// Listeners besides the one that [`Kafka::brokers`] names.
    pub listeners: Vec<Listener>,
    /// Variables of the broker's environment.
    pub variables: Vec<(String, String)>,
    /// The port of the controller whose cluster it joins, as its second broker.
    pub joins: Option<u16>,
}

/// One broker.
#[derive(Debug)]
pub struct Kafka {
    /// Before its data, which is removed when the process was told to go.
    running: Slot,
    port: u16,
    /// Of the controller that its cluster has.
    controller: u16,
    /// Its settings and data. The shared broker's is never dropped: its supervisor removes it.
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Kafka {
    /// The broker that all tests of this process share. Topics' names must be one's own.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(|| async { Self::start().await }).await
    }

    /// A broker of one's own, up.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A broker of one's own with further properties, up.
    pub async fn start_with(properties: &[(&str, &str)]) -> Self {
        let kafka = Self::stopped(properties).await;
        kafka.restart().await;
        kafka
    }

    /// A broker of one's own that was never started: its address refuses connections.
    pub async fn stopped(properties: &[(&str, &str)]) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let properties = properties.iter().map(owned).collect();
        Self::set_up(Options { properties, ..Options::default() }).await
    }

    /// A broker of one's own that was never started.
    ///
    /// # Panics
    /// When its storage cannot be formatted.
    pub async fn set_up(options: Options) -> Self {
        let home =
            tempfile::Builder::new().prefix("tidegate-kafka-").tempdir().expect("a directory");
        let [port, controller] = free_ports();
        let controller = options.joins.unwrap_or(controller);
        let settings = properties(&home.path().join("data"), port, controller, &options);
        fs::write(home.path().join("server.properties"), settings).expect("server.properties");
        let formatted = java(home.path())
            .await
            .args(["kafka.tools.StorageTool", "format", "-t", "dGlkZWdhdGUtdGVzdHMhIQ", "-c"])
            .arg(home.path().join("server.properties"))
            .output()
            .await
            .expect("java runs");
        assert!(
            formatted.status.success(),
            "Kafka's storage could not be formatted: {}",
            String::from_utf8_lossy(&formatted.stderr)
        );
        Self { port, controller, home, variables: options.variables, running: Slot::default() }
    }

    /// A second broker of the same cluster, up.
    pub async fn second(&self) -> Self {
        let joins = Some(self.controller);
        let second = Self::set_up(Options { joins, ..Options::default() }).await;
        second.restart().await;
        second
    }

    /// How many brokers its cluster has.
    pub async fn brokers_up(&self) -> usize {
        let client = self.lookup();
        let all = move || client.fetch_metadata(None, Duration::from_secs(5));
        blocking(all).await.map_or(0, |metadata| metadata.brokers().len())
    }

    /// What clients connect to.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again on its port with its data, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub async fn restart(&self) {
        self.running.end("TERM", PATIENCE).await;
        let mut words: Vec<OsString> = java_args().await.into_iter().map(Into::into).collect();
        words.push("kafka.Kafka".into());
        words.push(self.path().join("server.properties").into());
        let out = self.path().join("out");
        let start =
            Start { words, variables: &self.variables, out: &out, remove: Some(self.path()) };
        self.running.start(start).await;
        let deadline = Instant::now() + PATIENCE;
        while !self.serves().await {
            assert!(self.is_alive().await, "Kafka has ended by itself: {}", self.said());
            assert!(
                Instant::now() < deadline,
                "Kafka is not up after {PATIENCE:?}: {}",
                self.said()
            );
        }
    }

    /// What it has written to its output.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.path().join("out")).unwrap_or_default()
    }

    /// Whether its process runs; it ends by itself when its disk fails.
    pub async fn is_alive(&self) -> bool {
        self.running.is_alive().await
    }

    /// Ends it in order. What it has written it keeps.
    pub async fn stop(&self) {
        self.running.end("TERM", PATIENCE).await;
    }

    /// Ends it as a power cut does.
    pub async fn kill(&self) {
        self.running.end("KILL", PATIENCE).await;
    }

    /// Stands still: connections stay open and nothing answers.
    pub async fn freeze(&self) {
        self.running.freeze().await;
    }

    /// Goes on after [`Self::freeze`].
    pub async fn thaw(&self) {
        self.running.thaw().await;
    }

    async fn serves(&self) -> bool {
        let client = self.lookup();
        blocking(move || {
            client
                .fetch_metadata(None, Duration::from_millis(500))
                .is_ok_and(|metadata| !metadata.brokers().is_empty())
        })
        .await
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    /// A plain client's settings.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers())
            .set("reconnect.backoff.max.ms", "200")
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
        config
    }

    fn lookup(&self) -> BaseConsumer {
        self.client().create().expect("a client")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Makes a topic.
    pub async fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]).await;
    }

    /// Makes a topic with these settings.
    pub async fn create_topic_with(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        self.try_create_topic(name, partitions, config).await.expect("made");
    }

    /// Makes a topic with these settings, unless somebody else was faster.
    ///
    /// # Errors
    /// The broker's.
    pub async fn try_create_topic(
        &self,
        name: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> Result<(), RDKafkaErrorCode> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "LogAppendTime");
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let made = self.admin().create_topics([&topic], &timeouts()).await.expect("an answer");
        made.into_iter().next().expect("one").map(|_| ()).map_err(|(_, code)| code)
    }

    /// Deletes a topic and waits until it is gone.
    pub async fn delete_topic(&self, name: &str) {
        let gone = self.admin().delete_topics(&[name], &timeouts()).await.expect("an answer");
        gone[0].as_ref().expect("deleted");
    }

    /// Gives a topic more partitions.
    pub async fn grow_topic(&self, name: &str, partitions: usize) {
        let new = NewPartitions::new(name, partitions);
        let grown = self.admin().create_partitions([&new], &timeouts()).await.expect("an answer");
        grown[0].as_ref().expect("grown");
    }

    /// The names of all topics.
    pub async fn topics(&self) -> Vec<String> {
        let client = self.lookup();
        blocking(move || {
            let metadata = client.fetch_metadata(None, Duration::from_secs(5));
            let metadata = metadata.expect("the topics");
            metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
        })
        .await
    }

    /// Runs a Java source file against the broker, with Kafka's own client library.
    pub async fn run_java(&self, source: &Path, args: &[&str]) {
        let done = java(self.path())
            .await
            .arg(source)
            .arg(self.brokers())
            .args(args)
            .output()
            .await
            .expect("java runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

fn timeouts() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(Duration::from_secs(20)))
        .operation_timeout(Some(Duration::from_secs(20)))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// `server.properties`. What comes later in it wins.
fn properties(data: &Path, port: u16, controller: u16, options: &Options) -> String {
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{port}");
    let (roles, node) = match options.joins {
        Some(_) => ("broker", 2),
        None => {
            listeners.push_str(&format!(",CONTROLLER://127.0.0.1:{controller}"));
            ("broker,controller", 1)
        }
    };
    let mut told = format!("PLAINTEXT://127.0.0.1:{port}");
    let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    for (n, listener) in options.listeners.iter().enumerate() {
        listeners.push_str(&format!(",FURTHER{n}://{}", listener.listens));
        told.push_str(&format!(",FURTHER{n}://{}", listener.told));
        protocols.push_str(&format!(",FURTHER{n}:PLAINTEXT"));
    }
    let mut settings = format!(
        "process.roles={roles}\n\
         node.id={node}\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners={listeners}\n\
         advertised.listeners={told}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map={protocols}\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         broker.session.timeout.ms=2000\n\
         broker.heartbeat.interval.ms=500\n\
         auto.create.topics.enable=false\n\
         delete.topic.enable=true\n\
         num.network.threads=2\n\
         num.io.threads=4\n\
         log.cleaner.dedupe.buffer.size=2097152\n",
        data.display()
    );
    for (name, value) in &options.properties {
        settings.push_str(&format!("{name}={value}\n"));
    }
    settings
}
