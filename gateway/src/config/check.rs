//! What settings must be to each other.

use std::net::SocketAddr;

use crate::auth::Keys;
use crate::log::kafka::check_option;

use super::given::Given;
use super::sources::Topics;
use super::table::{AuthMode, Config, LogKind};
use super::units::{show_duration, show_size};

/// Complains of settings that do not go together.
pub(super) fn together(config: &Config, given: &mut Given) {
    listeners(config, given);
    kafka(config, given);
    redis(config, given);
    auth(config, given);
    kubernetes(config, given);
    sizes(config, given);

    let shortest = config.drain.grace + config.drain.window;
    if config.drain.deadline < shortest {
        given.refuse_together(
            &["drain.deadline", "drain.window", "drain.grace"],
            format!(
                "drain.deadline ({}) must be at least drain.grace + drain.window ({})",
                show_duration(config.drain.deadline),
                show_duration(shortest)
            ),
        );
    }
    if config.tls.cert_file.is_some() != config.tls.key_file.is_some() {
        given.refuse_together(
            &["tls.cert_file", "tls.key_file"],
            "tls.cert_file and tls.key_file are set together or not at all",
        );
    }
}

fn listeners(config: &Config, given: &mut Given) {
    if overlap(config.public.addr, config.admin.addr) {
        given.refuse_together(
            &["admin.addr", "public.addr"],
            format!(
                "public.addr ({}) and admin.addr ({}) are the same port",
                config.public.addr, config.admin.addr
            ),
        );
    }
}

/// Whether two listeners cannot both be had. Port 0 is whichever is free.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_ip
}

fn kafka(config: &Config, given: &mut Given) {
    if config.log.kind != LogKind::Kafka {
        return;
    }
    if config.kafka.brokers.is_empty() {
        given.refuse_together(&["kafka.brokers", "log.kind"], "log.kind kafka needs kafka.brokers");
    }
    for (name, value) in &config.kafka.options {
        if let Err(reason) = check_option(name, value) {
            given.refuse_entry("kafka.options", name, &reason);
        }
    }
    let topics = [
        ("kafka.events_topic", &config.kafka.events_topic),
        ("kafka.broadcast_topic", &config.kafka.broadcast_topic),
        ("kafka.dead_letters_topic", &config.kafka.dead_letters_topic),
        ("kafka.deliveries_topic", &config.kafka.deliveries_topic),
    ];
    for (index, source) in config.kafka.sources.iter().enumerate() {
        if let Topics::Named(name) = &source.topics
            && let Some((key, _)) = topics.iter().find(|(_, topic)| *topic == name)
        {
            let place = format!("[{index}].topic");
            given.refuse_place("kafka.sources", &place, &format!("it is the topic of {key}"));
        }
    }
    for (nth, (key, topic)) in topics.iter().enumerate() {
        for (other, same) in &topics[nth + 1..] {
            if topic == same {
                given.refuse_together(
                    &[other, key],
                    format!("{key} and {other} are the same topic, {topic}"),
                );
            }
        }
    }
}

fn redis(config: &Config, given: &mut Given) {
    if config.log.kind != LogKind::Redis {
        return;
    }
    if config.redis.url.is_none() {
        given.refuse_together(&["redis.url", "log.kind"], "log.kind redis needs redis.url");
    }
    if config.redis.max_age.is_none() && config.redis.max_len.is_none() {
        given.refuse_together(
            &["redis.max_age", "redis.max_len"],
            "redis.max_age and redis.max_len are both none, and the streams would grow for ever",
        );
    }
}

fn auth(config: &Config, given: &mut Given) {
    if let Some(keys) = &config.auth.keys
        && let Err(error) = Keys::parse(keys.expose())
    {
        for (place, fault) in error.0 {
            given.refuse_together(&["auth.keys"], format!("{place}: {fault}"));
        }
    }
    if config.auth.mode == AuthMode::Hmac
        && config.auth.keys.is_none()
        && config.auth.keys_file.is_none()
    {
        given.refuse_together(
            &["auth.mode", "auth.keys", "auth.keys_file"],
            "auth.mode hmac needs auth.keys or auth.keys_file",
        );
    }
}

fn kubernetes(config: &Config, given: &mut Given) {
    let kubernetes = &config.kubernetes;
    for (key, is_on) in [
        ("kubernetes.deletion_cost", kubernetes.deletion_cost),
        ("kubernetes.janitor", kubernetes.janitor),
    ] {
        if is_on && kubernetes.lease.is_none() {
            let reason = format!("{key} needs kubernetes.lease, or every pod would do it");
            given.refuse_together(&[key, "kubernetes.lease"], reason);
        }
    }
    if kubernetes.deletion_cost && kubernetes.selector.is_none() {
        given.refuse_together(
            &["kubernetes.deletion_cost", "kubernetes.selector"],
            "kubernetes.deletion_cost needs kubernetes.selector, or pods of others would be changed",
        );
    }
}

/// What has to hold one event of the largest size.
fn sizes(config: &Config, given: &mut Given) {
    let body = config.limits.body_bytes;
    for (key, size) in [
        ("log.window_bytes", config.log.window_bytes),
        ("memory.max_bytes", config.memory.max_bytes),
        ("limits.replay_bytes", config.limits.replay_bytes),
    ] {
        if size < body {
            given.refuse_together(
                &[key, "limits.body_bytes"],
                format!(
                    "{key} ({}) must be at least limits.body_bytes ({}), or the largest events have no place in it",
                    show_size(size),
                    show_size(body)
                ),
            );
        }
    }
}
