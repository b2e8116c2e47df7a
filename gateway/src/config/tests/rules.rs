//! What values may be, alone and together.

use super::*;

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (variables, expected) in [
        (
            &[("TIDEGATE_DRAIN_DEADLINE", "34s")][..],
            "drain.deadline = \"34s\" (TIDEGATE_DRAIN_DEADLINE): drain.deadline (34s) must be at least drain.grace + drain.window (35s)",
        ),
        (
            &[("TIDEGATE_LOG_KIND", "kafka")],
            "log.kind = \"kafka\" (TIDEGATE_LOG_KIND): log.kind kafka needs kafka.brokers",
        ),
        (
            &[("TIDEGATE_LOG_KIND", "redis")],
            "log.kind = \"redis\" (TIDEGATE_LOG_KIND): log.kind redis needs redis.url",
        ),
        (
            &[
                ("TIDEGATE_LOG_KIND", "redis"),
                ("TIDEGATE_REDIS_URL", "redis://r"),
                ("TIDEGATE_REDIS_MAX_AGE", "none"),
            ],
            "redis.max_age = \"none\" (TIDEGATE_REDIS_MAX_AGE): redis.max_age and redis.max_len are both none, and the streams would grow for ever",
        ),
        (
            &[("TIDEGATE_AUTH_MODE", "hmac")],
            "auth.mode = \"hmac\" (TIDEGATE_AUTH_MODE): auth.mode hmac needs auth.keys or auth.keys_file",
        ),
        (
            &[("TIDEGATE_ADMIN_ADDR", "127.0.0.1:30000")],
            "admin.addr = \"127.0.0.1:30000\" (TIDEGATE_ADMIN_ADDR): public.addr (0.0.0.0:30000) and admin.addr (127.0.0.1:30000) are the same port",
        ),
        (
            &[("TIDEGATE_TLS_KEY_FILE", "/tls.key")],
            "tls.key_file = \"/tls.key\" (TIDEGATE_TLS_KEY_FILE): tls.cert_file and tls.key_file are set together or not at all",
        ),
        (
            &[("TIDEGATE_LIMITS_BODY_BYTES", "17MiB"), ("TIDEGATE_LIMITS_REPLAY_BYTES", "16MiB")],
            "limits.replay_bytes = \"16MiB\" (TIDEGATE_LIMITS_REPLAY_BYTES): limits.replay_bytes (16MiB) must be at least limits.body_bytes (17MiB), or the largest events have no place in it",
        ),
        (
            &[
                ("TIDEGATE_LOG_KIND", "kafka"),
                ("TIDEGATE_KAFKA_BROKERS", "a"),
                ("TIDEGATE_KAFKA_EVENTS_TOPIC", "tidegate.broadcast"),
            ],
            "kafka.events_topic = \"tidegate.broadcast\" (TIDEGATE_KAFKA_EVENTS_TOPIC): kafka.events_topic and kafka.broadcast_topic are the same topic, tidegate.broadcast",
        ),
        (
            &[("TIDEGATE_KUBERNETES_JANITOR", "true")],
            "kubernetes.janitor = \"true\" (TIDEGATE_KUBERNETES_JANITOR): kubernetes.janitor needs kubernetes.lease, or every pod would do it",
        ),
        (
            &[("TIDEGATE_KUBERNETES_DELETION_COST", "true"), ("TIDEGATE_KUBERNETES_LEASE", "l")],
            "kubernetes.deletion_cost = \"true\" (TIDEGATE_KUBERNETES_DELETION_COST): kubernetes.deletion_cost needs kubernetes.selector, or pods of others would be changed",
        ),
    ] {
        assert_eq!(problem(from_variables(variables)), expected);
    }
    for fine in [
        &[("TIDEGATE_AUTH_MODE", "hmac"), ("TIDEGATE_AUTH_KEYS_FILE", "/keys")][..],
        &[("TIDEGATE_PUBLIC_ADDR", "127.0.0.1:0"), ("TIDEGATE_ADMIN_ADDR", "127.0.0.1:0")],
        &[("TIDEGATE_PUBLIC_ADDR", "127.0.0.1:80"), ("TIDEGATE_ADMIN_ADDR", "127.0.0.2:80")],
        &[("TIDEGATE_DRAIN_DEADLINE", "35s")],
        &[("TIDEGATE_KUBERNETES_JANITOR", "true"), ("TIDEGATE_KUBERNETES_LEASE", "tidegate")],
        &[
            ("TIDEGATE_KUBERNETES_DELETION_COST", "true"),
            ("TIDEGATE_KUBERNETES_LEASE", "tidegate"),
            ("TIDEGATE_KUBERNETES_SELECTOR", "app.kubernetes.io/name=tidegate,tier in (a, b)"),
        ],
        &[("TIDEGATE_LOG_KIND", "kafka"), ("TIDEGATE_KAFKA_BROKERS", "a:9092, SSL://[::1]:9093")],
    ] {
        from_variables(fine).unwrap();
    }
}

#[test]
fn options_that_librdkafka_cannot_take_are_refused() {
    let loaded = from_variables(&[
        ("TIDEGATE_LOG_KIND", "kafka"),
        ("TIDEGATE_KAFKA_BROKERS", "a"),
        ("TIDEGATE_KAFKA_OPTIONS_ACKS", "0"),
        ("TIDEGATE_KAFKA_OPTIONS_SASL_PASSWORDS", "swordfish"),
        ("TIDEGATE_KAFKA_OPTIONS_SOCKET_TIMEOUT_MS", "soon"),
        ("TIDEGATE_KAFKA_OPTIONS_SASL_PASSWORD", "swordfish"),
    ]);
    assert_eq!(
        loaded.unwrap_err().to_string(),
        "kafka.options.acks = \"0\" (TIDEGATE_KAFKA_OPTIONS_ACKS): a receipt means that every in-sync replica has the event\n\
         kafka.options.sasl.passwords = \"***\" (TIDEGATE_KAFKA_OPTIONS_SASL_PASSWORDS): librdkafka has no option of this name\n\
         kafka.options.socket.timeout.ms = \"soon\" (TIDEGATE_KAFKA_OPTIONS_SOCKET_TIMEOUT_MS): librdkafka does not take this value"
    );
}

#[test]
fn what_depends_on_a_wrong_value_is_not_complained_of_as_well() {
    let drain = from_variables(&[("TIDEGATE_DRAIN_DEADLINE", "1"), ("TIDEGATE_DRAIN_GRACE", "1h")]);
    assert_eq!(keys(drain), ["drain.deadline"]);
    assert_eq!(
        keys(from_file("a.toml", "[drain]\ndeadline = []\ngrace = '1h'")),
        ["drain.deadline"]
    );
}

#[test]
fn each_kind_of_value_refuses_what_it_is_not() {
    for (key, values) in [
        ("public.addr", &["localhost", "1.2.3.4", "1.2.3.4:99999", "host:80"][..]),
        ("public.trusted_proxies", &["10.0.0.0/33", "proxy", "10.0.0.0/8;::1"]),
        ("pod.name", &["", "a/b", "a b", "ä"]),
        ("telemetry.log_level", &["", "inof", "tidegate=loud"]),
        ("kafka.brokers", &["a:0", "a:port", ":9092", "a b", "a:9092,b c"]),
        ("kafka.group_prefix", &["", "/a", "a/", "a b"]),
        ("kafka.events_topic", &["", "..", "a/b"]),
        ("kafka.replication", &["0", "32768", "-1"]),
        ("kafka.create_topics", &["", "maybe"]),
        ("memory.shards", &["0", "1025"]),
        ("stream.max_age", &["0", "1"]),
        ("limits.connections", &["0", "none", "1k"]),
        ("limits.connections_per_ip", &["0"]),
        ("limits.json_depth", &["0", "129"]),
        ("cors.origins", &["app.example.com", "https://a/", "https://*.a", "https://", "null"]),
        ("redis.url", &["redis", "http://redis", "redis://"]),
        ("kubernetes.secret", &["Keys", "a/b", "-a", "a.", "a..b", "a_b", "../x"]),
        ("kubernetes.selector", &["a=b&limit=1", "a=b\nc", "ä=b"]),
    ] {
        for value in values {
            assert_eq!(keys(from_flags(&[(key, value)])), [key], "{key} {value:?}");
        }
    }
}

#[test]
fn optional_settings_can_be_switched_off() {
    for word in ["none", "off", ""] {
        let loaded = from_flags(&[
            ("stream.max_age", word),
            ("kafka.replication", word),
            ("auth.keys", word),
            ("redis.max_age", word),
        ]);
        let config = loaded.unwrap().config;
        assert_eq!((config.stream.max_age, config.kafka.replication), (None, None));
        assert_eq!((config.auth.keys, config.redis.max_age), (None, None));
    }
    let (_dir, path) = file("a.toml", "cors.origins = ['https://a']");
    let sources = Sources::environment(&[("TIDEGATE_CORS_ORIGINS", "none")]).with_file(Some(path));
    assert!(Config::load(&sources).unwrap().config.cors.origins.is_empty());
}
