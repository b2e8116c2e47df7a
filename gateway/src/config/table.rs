//! All settings, each once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::given::Given;
use super::kind::{self, words};
use super::problem::Origin;
use super::secret::Secret;
use super::setting::{HOST_NAME, Setting, settings};
use super::sources::{self, KafkaSource};

words! {
    /// How log lines look.
    LogFormat, LOG_FORMAT, "text or json" {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
    /// Where events are kept and ordered.
    LogKind, LOG_KIND, "memory, kafka or redis" {
        /// In this process; gone with it.
        Memory = "memory",
        /// In Apache Kafka.
        Kafka = "kafka",
        /// In Redis Streams.
        Redis = "redis",
    }
    /// How a pod finds its partitions.
    Assignment, ASSIGNMENT, "group or manual" {
        /// As the only member of a group of its own.
        Group = "group",
        /// By taking all there are.
        Manual = "manual",
    }
    /// What becomes of a reader that lags too far behind.
    Slow, SLOW, "disconnect, drop or latest" {
        /// It is cut. It resumes by its cursor and has lost nothing.
        Disconnect = "disconnect",
        /// It is told of the hole and goes on with the oldest event that is at hand.
        Drop = "drop",
        /// It is told of the hole and goes on with the newest event of each id and type.
        Latest = "latest",
    }
    /// How a collector of traces is spoken to.
    OtelProtocol, OTEL_PROTOCOL, "http or grpc" {
        /// Protocol buffers in HTTP requests.
        Http = "http",
        /// gRPC.
        Grpc = "grpc",
    }
    /// Who may read and publish.
    AuthMode, AUTH_MODE, "off or hmac" {
        /// Everybody.
        Off = "off",
        /// Whoever has a signature.
        Hmac = "hmac",
    }
}

settings! {
    /// The port that clients and publishers use.
    public: Public {
        /// Address and port of the public listener.
        addr: SocketAddr = kind::ADDRESS, "0.0.0.0:30000";
        /// Networks of the proxies whose `X-Forwarded-For`, or else `Forwarded`, counts.
        trusted_proxies: Vec<IpNet> = kind::NETWORKS, "none";
    }

    /// The port for probes, metrics and operators.
    admin: Admin {
        /// Address and port of the admin listener.
        addr: SocketAddr = kind::ADDRESS, "0.0.0.0:30001";
    }

    /// This process.
    pod: Pod {
        /// What this process is called, in its consumer group's name and to its clients; of its own
        /// for each pod.
        name: String = kind::POD_NAME, HOST_NAME;
    }

    /// What the gateway says of itself.
    telemetry: Telemetry {
        /// Least level of the log lines that are written, also for parts of the program:
        /// `info,tidegate::hub=debug`.
        log_level: String = kind::LOG_LEVEL, "info";
        /// How log lines look: `text` or `json`.
        log_format: LogFormat = LOG_FORMAT, "text";
    }

    /// Where events are kept and ordered.
    log: LogConfig {
        /// Where events are kept and ordered: `memory` (gone with the process), `kafka` or
        /// `redis`.
        kind: LogKind = LOG_KIND, "memory";
        /// Most bytes of recent events that the pod keeps for resuming readers, with their frames.
        window_bytes: usize = kind::SIZE, "256MiB";
        /// How long recent events are kept for resuming readers, if the bytes do.
        window_age: Duration = kind::DURATION, "10m";
    }

    /// The embedded log (`log.kind = memory`).
    memory: Memory {
        /// How many shards the embedded log has.
        shards: u32 = kind::SHARDS, "4";
        /// Most bytes of events that the embedded log keeps; the oldest go first.
        max_bytes: usize = kind::SIZE, "256MiB";
        /// How long the embedded log keeps an event.
        max_age: Duration = kind::DURATION, "1h";
        /// Most bytes of dead letters that the embedded log keeps; the oldest go first.
        dead_letters_bytes: usize = kind::SIZE, "16MiB";
    }

    /// Apache Kafka (`log.kind = kafka`).
    kafka: Kafka {
        /// Brokers to ask first: `host:port`, comma-separated.
        brokers: String = kind::BROKERS, "";
        /// What the names of the pods' consumer groups begin with; unique for each release on a
        /// Kafka.
        group_prefix: String = kind::GROUP_PREFIX, "tidegate";
        /// How a pod finds its partitions: `group` (its own consumer group) or `manual`.
        assignment: Assignment = ASSIGNMENT, "group";
        /// Whether topics that are missing are created.
        create_topics: bool = kind::SWITCH, "true";
        /// How many partitions a created events topic gets.
        partitions: u32 = kind::PARTITIONS, "12";
        /// How many replicas a created topic gets; `none` is the broker's default.
        replication: Option<u16> = kind::REPLICATION, "none";
        /// Topic of the rooms' events.
        events_topic: String = kind::TOPIC, "tidegate.events";
        /// Topic of the events for every stream.
        broadcast_topic: String = kind::TOPIC, "tidegate.broadcast";
        /// Topic of the dead letters.
        dead_letters_topic: String = kind::TOPIC, "tidegate.dead-letters";
        /// Further topics, which others write, and what their records mean: `[[kafka.sources]]` in
        /// the file, JSON elsewhere.
        sources: Vec<KafkaSource> = sources::SOURCES, "none";
        /// Topic in which pods tell one another which events with `X-Deliver-Within` were written to
        /// a stream; made when the first one is published.
        deliveries_topic: String = kind::TOPIC, "tidegate.deliveries";
        /// Options for librdkafka by its own names: `[kafka.options]` in the file,
        /// `TIDEGATE_KAFKA_OPTIONS_A_B` or `--kafka-options-a-b` for `a.b`.
        options: BTreeMap<String, String> = kind::OPTIONS, "";
    }

    /// Redis Streams (`log.kind = redis`).
    redis: Redis {
        /// Where Redis is; the password is never shown.
        url: Option<Secret> = kind::REDIS_URL, "none";
        /// Certificates to trust for `rediss://` (PEM); `none` is the system's.
        ca_file: Option<PathBuf> = kind::FILE, "none";
        /// What the names of the keys begin with.
        prefix: String = kind::REDIS_PREFIX, "tidegate";
        /// How many streams the rooms' events are spread over; fixed once there are events.
        shards: u32 = kind::SHARDS, "8";
        /// How long an event is kept; `none` leaves it to the length.
        max_age: Option<Duration> = kind::OPTIONAL_DURATION, "1h";
        /// Most entries of a stream; `none` leaves it to the age.
        max_len: Option<usize> = kind::OPTIONAL_COUNT, "none";
        /// Most dead letters that are kept; the oldest go first.
        dead_letters_len: usize = kind::COUNT, "10000";
        /// How many replicas must have an event before its receipt.
        wait_replicas: u32 = kind::SMALL_COUNT_OR_ZERO, "0";
    }

    /// Who may read and publish.
    auth: Auth {
        /// Who may read and publish: `off` (everybody) or `hmac` (whoever has a signature).
        mode: AuthMode = AUTH_MODE, "off";
        /// Keys that signatures are made with: `kid:secret[:end]`, comma-separated.
        keys: Option<Secret> = kind::SECRETS, "none";
        /// File of further keys, comma-separated or one a line; read again when it changes.
        keys_file: Option<PathBuf> = kind::FILE, "none";
        /// How far ahead a signature's expiry may lie.
        max_lifetime: Option<Duration> = kind::OPTIONAL_DURATION, "none";
        /// Whether a publish's signature has to cover its body.
        require_body_hash: bool = kind::SWITCH, "false";
        /// Whether signatures of the old form count, which never expire.
        legacy_signature: bool = kind::SWITCH, "false";
    }

    /// Taking events in.
    publish: Publish {
        /// How long a publish waits for the log.
        timeout: Duration = kind::DURATION, "10s";
    }

    /// Open streams.
    stream: Stream {
        /// Silence after which a stream gets a heartbeat, jittered.
        heartbeat: Duration = kind::DURATION, "15s";
        /// How long clients wait before they reconnect, jittered for each.
        retry: Duration = kind::DURATION, "3s";
        /// How long a stream lives at most, jittered; then its client reconnects, to any pod.
        max_age: Option<Duration> = kind::OPTIONAL_DURATION, "none";
        /// How many bytes a reader may lag behind; not memory of its own.
        queue_bytes: usize = kind::SIZE, "1MiB";
        /// What becomes of a reader that lags further: `disconnect`, `drop` or `latest`. The first is
        /// for who asks for none; the others listed may be asked for by `slow=`.
        slow: Vec<Slow> = kind::SLOW, "disconnect";
        /// How long a write may wait for a client that does not read.
        write_timeout: Duration = kind::DURATION, "30s";
        /// Whether streams are gzip for clients that accept it; made once an event, for all of them.
        gzip: bool = kind::SWITCH, "false";
        /// Whether streams are zstd, a frame for each block, for clients that accept it. Browsers read
        /// that; some libraries stop after the first frame.
        zstd: bool = kind::SWITCH, "false";
        /// Least size of the data that `compress=lz4` compresses.
        lz4_min_bytes: usize = kind::SIZE_OR_ZERO, "1KiB";
    }

    /// Events that are published again.
    dedupe: Dedupe {
        /// How long an `Idempotency-Key` is remembered after its last use.
        window: Duration = kind::DURATION, "2m";
    }

    /// Going down without losing anybody.
    drain: Drain {
        /// How long a pod that is to stop goes on accepting, until it has left the endpoints.
        grace: Duration = kind::DURATION_OR_ZERO, "5s";
        /// Time over which the streams are then closed.
        window: Duration = kind::DURATION_OR_ZERO, "30s";
        /// When a pod ends whatever is left, counted from SIGTERM.
        deadline: Duration = kind::DURATION, "60s";
    }

    /// What is too much.
    limits: Limits {
        /// Most streams that are open at once.
        connections: usize = kind::COUNT, "50000";
        /// Most streams that are opened in a second, a second's worth at once.
        connection_rate: Option<usize> = kind::OPTIONAL_COUNT, "none";
        /// Most streams that one address may have open; see `public.trusted_proxies`.
        connections_per_ip: Option<usize> = kind::OPTIONAL_COUNT, "none";
        /// Most streams that one user may have open on this pod.
        connections_per_user: Option<usize> = kind::OPTIONAL_COUNT, "none";
        /// Most rooms that one stream may name.
        rooms_per_stream: usize = kind::COUNT, "32";
        /// Largest body of a publish, and largest line of a batch.
        body_bytes: usize = kind::SIZE, "1MiB";
        /// How long a batch may be silent.
        batch_idle: Duration = kind::DURATION, "60s";
        /// How long a client has for a request's head.
        header_timeout: Duration = kind::DURATION, "10s";
        /// How long a client has for a publish's body.
        body_timeout: Duration = kind::DURATION, "30s";
        /// Most refused streams that are held until their goodbye; beyond it they are just closed.
        held_refusals: usize = kind::COUNT_OR_ZERO, "1000";
        /// How deep the JSON of an event may nest.
        json_depth: usize = kind::DEPTH, "64";
        /// Most bytes of the log that one resume may read back.
        replay_bytes: usize = kind::SIZE, "256MiB";
        /// Most events that one resume may be written once it has to read the log back; the recent
        /// window alone is bounded by `log.window_bytes`.
        replay_events: usize = kind::COUNT, "100000";
        /// How long one resume may read back from the log; it is then resumed anew where it was.
        replay_time: Duration = kind::DURATION, "60s";
        /// Most resumes that read back from the log at once.
        replay_concurrent: usize = kind::COUNT, "256";
        /// How long a resume waits for its turn, or for a log that does not answer.
        replay_wait: Duration = kind::DURATION, "20s";
    }

    /// Browsers of other origins.
    cors: Cors {
        /// Origins whose pages may read and publish: `https://app.example.com`, comma-separated,
        /// or `*`.
        origins: Vec<String> = kind::ORIGINS, "none";
    }

    /// TLS in the gateway itself.
    tls: Tls {
        /// Certificate chain of the public listener (PEM); read again when it changes.
        cert_file: Option<PathBuf> = kind::FILE, "none";
        /// Private key of the public listener (PEM); read again when it changes.
        key_file: Option<PathBuf> = kind::FILE, "none";
    }

    /// Traces, as the OpenTelemetry Protocol (OTLP) carries them.
    otel: Otel {
        /// Collector that spans are sent to: `http://collector:4318`, or `http://collector:4317`
        /// with `otel.protocol = grpc`; `none`: no spans are made.
        endpoint: Option<String> = kind::COLLECTOR, "none";
        /// How the collector is spoken to: `http` (protocol buffers) or `grpc`.
        protocol: OtelProtocol = OTEL_PROTOCOL, "http";
        /// Which share of the publishes that come without a `traceparent` begin a trace, from 0 to
        /// 1. What a `traceparent` says of itself is obeyed.
        sample_ratio: f64 = kind::RATIO, "1";
    }

    /// The page for people.
    console: Console {
        /// Whether the public port has a console page at `/`.
        enabled: bool = kind::SWITCH, "true";
    }

    /// The cluster that the pod runs in. Nothing of it is needed to start, to serve or to end.
    kubernetes: Kubernetes {
        /// Secret in the pod's namespace whose data key `keys` has the lines of `auth.keys_file`;
        /// its changes are taken at once.
        secret: Option<String> = kind::OBJECT_NAME, "none";
        /// Lease by which the pods elect the one that does what one has to do for all of them;
        /// `none`: nobody does.
        lease: Option<String> = kind::OBJECT_NAME, "none";
        /// Whether that pod keeps every pod's `pod-deletion-cost` at its number of streams, so that
        /// a scale-down takes the emptiest.
        deletion_cost: bool = kind::SWITCH, "false";
        /// Whether that pod removes the consumer groups that pods which are gone have left behind.
        janitor: bool = kind::SWITCH, "false";
        /// Label selector of this release's pods; `none`: all of the namespace.
        selector: Option<String> = kind::SELECTOR, "none";
    }
}
