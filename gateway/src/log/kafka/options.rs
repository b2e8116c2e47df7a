//! The settings of librdkafka: what the gateway needs, then what the operator passes through.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::config::Config;

/// How long a fetch may wait at the broker for the first byte, in milliseconds. The first fetch
/// after an assignment names only the partitions that librdkafka has set up by then, and the others
/// wait for its end: with librdkafka's 500 one start in ten was half a second late. Ten idle
/// requests a second to each broker are the price.
const FETCH_WAIT_MS: u32 = 100;
/// How long fetching pauses when the local queue is full, in milliseconds. librdkafka's second
/// makes a reader that was behind for a moment stall for all of it.
const FETCH_QUEUE_BACKOFF_MS: u32 = 2;
/// What librdkafka may have read ahead of the gateway, in KiB: the cap on its memory.
const FETCHED_KIB: u32 = 32 * 1024;
/// What one reader of older records may have fetched ahead, in KiB.
const READ_BACK_KIB: u32 = 8 * 1024;
/// How long a reader of older records lets a fetch wait at the log's end, in milliseconds. It wants
/// nothing there, and what it is asked next, of another partition, waits behind that fetch. It
/// fetches so often only for the moment that it goes on after a reading.
const READ_BACK_WAIT_MS: u32 = 10;
/// What may wait for the broker in the producer, in KiB. Past it a publish is refused.
const PRODUCER_QUEUE_KIB: u32 = 64 * 1024;
/// The longest pause between two attempts to connect, in milliseconds. librdkafka's ten seconds
/// would be added to every broker restart.
const RECONNECT_MAX_MS: u32 = 1_000;
/// How often librdkafka looks for new partitions and leaders by itself, in milliseconds.
const METADATA_REFRESH_MS: u32 = 5_000;
/// When a classic group gives up on a member that is silent, in milliseconds.
const SESSION_TIMEOUT_MS: u32 = 45_000;
/// How often a classic member says that it is there, in milliseconds.
const HEARTBEAT_MS: u32 = 3_000;
/// How often the producer says what it has sent, in milliseconds: how much later the answer to a
/// failed publish can be, so that it is certain.
const STATISTICS_MS: u32 = 500;
/// How often the producer sends a message again that a broker refuses for now, too few replicas for
/// instance. Without a limit it would time out, and nobody could say that it was only refused.
const RETRIES: u32 = 10;
/// The first pause before that, in milliseconds. It doubles, up to a twentieth of the time that the
/// producer has, so that all of them take at most half of it.
const RETRY_MS: u64 = 100;
/// What a record carries beside its data: the fields and librdkafka's framing, in bytes.
const RECORD_OVERHEAD: usize = 64 * 1024;
/// The smallest limit on a message, librdkafka's own default, in bytes.
const LEAST_MESSAGE_BYTES: usize = 1_000_000;

/// What would break a promise of the gateway's if it were passed through, and why.
const REFUSED: [(&str, &str); 18] = [
    ("acks", "a receipt means that every in-sync replica has the event"),
    ("auto.offset.reset", "the gateway decides where it reads on, and says so to its readers"),
    ("bootstrap.servers", "set kafka.brokers"),
    ("enable.auto.commit", "the gateway commits nothing"),
    ("enable.auto.offset.store", "the gateway commits nothing"),
    ("enable.gapless.guarantee", "an event that timed out must not end the producer"),
    ("enable.idempotence", "a retry must not double an event"),
    ("enable.partition.eof", "the gateway keeps its own account of where a partition ends"),
    ("group.id", "every pod has its own group; set kafka.group_prefix"),
    ("group.instance.id", "every start is a new member"),
    ("metadata.broker.list", "set kafka.brokers"),
    ("partition.assignment.strategy", "a group of one has nothing to share out"),
    ("partitioner", "a room must lie where Java's producer puts it (murmur2_random)"),
    ("queuing.strategy", "a room's events keep their order"),
    ("request.required.acks", "a receipt means that every in-sync replica has the event"),
    ("statistics.interval.ms", "a failed publish is judged by them; see the tidegate_* metrics"),
    ("transactional.id", "an event is published by itself"),
    ("log_level", "set telemetry.log_level"),
];

/// Checks an option that the operator passes through: that it breaks no promise, and that librdkafka
/// knows it and takes its value.
///
/// # Errors
/// Why it cannot be set. The value is not repeated: it may be a secret.
pub fn check_option(name: &str, value: &str) -> Result<(), String> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err((*why).to_owned());
    }
    if name.contains('\0') || value.contains('\0') {
        return Err("it holds a NUL".to_owned());
    }
    let set = ClientConfig::new().set(name, value).create_native_config();
    set.map(drop).map_err(|error| match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
            "librdkafka has no option of this name".to_owned()
        }
        _ => "librdkafka does not take this value".to_owned(),
    })
}

/// How the group shares out partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupProtocol {
    /// The broker does, at once (KIP-848): brokers from 4.0.
    Consumer,
    /// The members do, after the broker's delay.
    Classic,
}

/// The settings that all clients of one log share.
#[derive(Debug, Clone)]
pub(super) struct Options {
    base: ClientConfig,
    passed: Vec<(String, String)>,
    group: String,
    message_timeout_ms: u64,
    message_bytes: usize,
}

impl Options {
    /// The settings for a member of the group called `group`.
    ///
    /// # Errors
    /// A passed-through option that would break the contract, by its name.
    pub(super) fn new(config: &Config, group: &str) -> anyhow::Result<Self> {
        for (name, value) in &config.kafka.options {
            check_option(name, value)
                .map_err(|why| anyhow::anyhow!("kafka.options.{name} cannot be set: {why}"))?;
        }
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", &config.kafka.brokers)
            .set("client.id", format!("tidegate/{}", config.pod.name))
            .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS.to_string())
            .set("topic.metadata.refresh.interval.ms", METADATA_REFRESH_MS.to_string())
            .set("socket.keepalive.enable", "true")
            .set_log_level(if config.kafka.options.contains_key("debug") {
                RDKafkaLogLevel::Debug
            } else {
                RDKafkaLogLevel::Info
            });
        Ok(Self {
            base,
            passed: config.kafka.options.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            group: group.to_owned(),
            message_timeout_ms: message_timeout_ms(config.publish.timeout.as_millis()),
            message_bytes: (config.limits.body_bytes.saturating_add(RECORD_OVERHEAD))
                .clamp(LEAST_MESSAGE_BYTES, 1_000_000_000),
        })
    }

    /// The group protocol that the operator insists on.
    pub(super) fn passed_protocol(&self) -> Option<GroupProtocol> {
        let (_, value) = self.passed.iter().find(|(name, _)| name == "group.protocol")?;
        Some(match value.as_str() {
            "classic" => GroupProtocol::Classic,
            _ => GroupProtocol::Consumer,
        })
    }

    /// For a consumer that finds its partitions by `protocol`.
    pub(super) fn consumer(&self, protocol: GroupProtocol) -> ClientConfig {
        let mut config = self.base.clone();
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // An error, so that no partition moves without its readers hearing of it.
            .set("auto.offset.reset", "error")
            .set("fetch.min.bytes", "1")
            .set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string())
            .set("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS.to_string())
            .set("queued.max.messages.kbytes", FETCHED_KIB.to_string());
        if protocol == GroupProtocol::Classic {
            config
                .set("session.timeout.ms", SESSION_TIMEOUT_MS.to_string())
                .set("heartbeat.interval.ms", HEARTBEAT_MS.to_string());
        }
        self.pass_through(&mut config);
        // Only these lines tell of a topic that was made anew: see `consumer::made_anew`.
        let debug = match config.get("debug") {
            Some(passed) => format!("{passed},topic"),
            None => "topic".to_owned(),
        };
        config.set("debug", debug).set_log_level(RDKafkaLogLevel::Debug);
        match protocol {
            GroupProtocol::Classic => {
                config.set("group.protocol", "classic");
            }
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
                // The broker decides on these, and librdkafka refuses them.
                for name in ["session.timeout.ms", "heartbeat.interval.ms", "group.protocol.type"] {
                    config.remove(name);
                }
            }
        }
        config
    }

    /// For the producer of events.
    pub(super) fn producer(&self) -> ClientConfig {
        let retry_most_ms = (self.message_timeout_ms / 20).max(1);
        let mut config = self.base.clone();
        config
            .set("retries", RETRIES.to_string())
            .set("retry.backoff.ms", RETRY_MS.min(retry_most_ms).to_string())
            .set("retry.backoff.max.ms", retry_most_ms.to_string())
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            .set("statistics.interval.ms", STATISTICS_MS.to_string())
            .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KIB.to_string())
            .set("message.max.bytes", self.message_bytes.to_string())
            .set("message.timeout.ms", self.message_timeout_ms.to_string());
        self.pass_through(&mut config);
        config
    }

    /// For looking up how far partitions reach, without a group. Not with the consumer, on whose
    /// connections each answer waits behind a fetch that waits for records.
    pub(super) fn lookup(&self) -> ClientConfig {
        let mut config = self.consumer(GroupProtocol::Classic);
        config.remove("group.id");
        config
    }

    /// For reading back parts of partitions. librdkafka assigns nothing to a consumer that names no
    /// group; this one never joins it.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.consumer(GroupProtocol::Classic);
        config.set("enable.partition.eof", "true");
        config.set("queued.max.messages.kbytes", READ_BACK_KIB.to_string());
        config.set("fetch.wait.max.ms", READ_BACK_WAIT_MS.to_string());
        config
    }

    /// For looking after topics and groups.
    pub(super) fn admin(&self) -> ClientConfig {
        let mut config = self.base.clone();
        self.pass_through(&mut config);
        config
    }

    /// Last, so that the operator's word wins.
    fn pass_through(&self, config: &mut ClientConfig) {
        for (name, value) in &self.passed {
            config.set(name, value);
        }
    }
}

/// How long the producer tries, in milliseconds. Less than the publisher's patience: librdkafka
/// looks for what is overdue once a second, and the statistics that make the answer certain come
/// after that.
fn message_timeout_ms(patience_ms: u128) -> u64 {
    let patience = u64::try_from(patience_ms).unwrap_or(u64::MAX).min(u64::from(u32::MAX) / 2);
    patience.saturating_sub(2_000).max(patience / 3).max(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producer_gives_up_before_the_publisher_does() {
        assert_eq!(message_timeout_ms(10_000), 8_000);
        assert_eq!(message_timeout_ms(3_000), 1_000);
        assert_eq!(message_timeout_ms(0), 10);
    }

    #[test]
    fn the_refused_options_are_real_ones() {
        for (name, _) in REFUSED {
            let mut config = ClientConfig::new();
            config.set(name, "");
            let error = config.create_native_config().err().map(|e| e.to_string());
            assert!(!error.unwrap_or_default().contains("No such configuration"), "{name}");
        }
    }
}
