//! Settings for tests.

use tidegate::config::{Config, LogKind, Secret};

/// Settings of a pod on a Kafka, with topics and groups of the test's own.
pub fn on_kafka(brokers: String, prefix: &str) -> Config {
    let mut config = Config::default();
    config.log.kind = LogKind::Kafka;
    config.kafka.brokers = brokers;
    config.kafka.group_prefix = format!("{prefix}/tidegate");
    config.kafka.partitions = 3;
    config.kafka.events_topic = format!("{prefix}.events");
    config.kafka.broadcast_topic = format!("{prefix}.broadcast");
    config.publish.timeout = std::time::Duration::from_secs(3);
    config
}

/// Settings of a pod on a Redis, with keys of the test's own.
pub fn on_redis(url: &str, prefix: &str) -> Config {
    let mut config = Config::default();
    config.log.kind = LogKind::Redis;
    config.redis.url = Some(Secret::new(url));
    config.redis.prefix = prefix.to_owned();
    config.publish.timeout = std::time::Duration::from_secs(3);
    config
}
