mod rules;
mod shown;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::setting::Shape;
use super::*;

/// A settings file of this name and content, and the directory that holds it while it is needed.
fn file(name: &str, content: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn from_file(name: &str, content: &str) -> Result<Loaded, Problems> {
    let (_dir, path) = file(name, content);
    Config::load(&Sources::default().with_file(Some(path)))
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    Config::load(&Sources::environment(variables))
}

fn from_flags(flags: &[(&str, &str)]) -> Result<Loaded, Problems> {
    Config::load(&Sources::default().with_flags(flags.iter().copied()))
}

/// The problems' keys, in order.
fn keys(problems: Result<Loaded, Problems>) -> Vec<String> {
    problems.unwrap_err().0.into_iter().map(|problem| problem.key).collect()
}

/// The one problem, as people read it.
fn problem(problems: Result<Loaded, Problems>) -> String {
    let problems = problems.unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    problems.to_string()
}

#[test]
fn with_no_settings_at_all_everything_has_its_default() {
    let loaded = Config::load(&Sources::default()).unwrap();
    let config = loaded.config;
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(config.public.addr, "0.0.0.0:30000".parse().unwrap());
    assert_eq!(config.admin.addr, "0.0.0.0:30001".parse().unwrap());
    assert_eq!(config.pod.name, "tidegate");
    assert_eq!(config.log.kind, LogKind::Memory);
    assert_eq!((config.log.window_bytes, config.log.window_age.as_secs()), (256 << 20, 600));
    assert_eq!(config.kafka.replication, None);
    assert_eq!(config.auth.mode, AuthMode::Off);
    assert_eq!(config.stream.heartbeat, Duration::from_secs(15));
    assert_eq!(config.stream.max_age, None);
    assert_eq!(config.limits.body_bytes, 1 << 20);
    assert_eq!(config.drain.deadline, Duration::from_secs(60));
    assert!(SETTINGS.iter().all(|setting| *config.origin(setting.key) == Origin::Default));
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let (_dir, path) = file(
        "tidegate.toml",
        "[stream]\nheartbeat = '1s'\nretry = '1s'\nwrite_timeout = '1s'\nmax_age = '1s'",
    );
    let sources = Sources::environment(&[
        ("TIDEGATE_STREAM_RETRY", "2s"),
        ("TIDEGATE_STREAM_WRITE_TIMEOUT", "2s"),
    ])
    .with_file(Some(path.clone()))
    .with_flags([("stream.write_timeout", "3s")]);
    let config = Config::load(&sources).unwrap().config;

    let stream = &config.stream;
    assert_eq!(stream.heartbeat.as_secs(), 1);
    assert_eq!(stream.retry.as_secs(), 2);
    assert_eq!(stream.write_timeout.as_secs(), 3);
    assert_eq!(*config.origin("stream.heartbeat"), Origin::File(path));
    assert_eq!(
        *config.origin("stream.retry"),
        Origin::Variable("TIDEGATE_STREAM_RETRY".to_owned())
    );
    let flag = Origin::Flag("--stream-write-timeout".to_owned());
    assert_eq!(*config.origin("stream.write_timeout"), flag);
    assert_eq!(*config.origin("stream.queue_bytes"), Origin::Default);
}

#[test]
fn a_value_that_is_overruled_is_not_looked_at() {
    let (_dir, path) = file("tidegate.toml", "stream.heartbeat = 'soon'");
    let sources =
        Sources::environment(&[("TIDEGATE_STREAM_HEARTBEAT", "5s")]).with_file(Some(path));
    assert_eq!(Config::load(&sources).unwrap().config.stream.heartbeat.as_secs(), 5);
}

#[test]
fn a_toml_and_a_yaml_file_say_the_same() {
    let toml = r#"
        [public]
        addr = "127.0.0.1:1"
        trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]
        [auth]
        mode = "off"
        [log]
        kind = "kafka"
        window_bytes = 67108864
        [kafka]
        brokers = ["a:9092", "b:9092"]
        replication = 3
        create_topics = false
        [kafka.options]
        security.protocol = "SASL_SSL"
        "sasl.password" = "swordfish"
        "socket.timeout.ms" = 5000
        "enable.ssl.certificate.verification" = false
    "#;
    let yaml = r"
public:
  addr: 127.0.0.1:1
  trusted_proxies: [10.0.0.0/8, 192.0.2.7]
auth: {mode: off}
log:
  kind: kafka
  window_bytes: 64MiB
stream:
kafka:
  brokers:
    - a:9092
    - b:9092
  replication: 3
  create_topics: false
  events_topic: null
  options:
    security:
      protocol: SASL_SSL
    sasl.password: swordfish
    socket.timeout.ms: 5000
    enable.ssl.certificate.verification: false
";
    for config in [from_file("a.toml", toml), from_file("a.yaml", yaml), from_file("a.yml", yaml)] {
        let config = config.unwrap().config;
        assert_eq!(config.public.addr, "127.0.0.1:1".parse().unwrap());
        let proxies: Vec<_> =
            config.public.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.7/32"]);
        assert_eq!(config.auth.mode, AuthMode::Off);
        assert_eq!(config.log.kind, LogKind::Kafka);
        assert_eq!(config.log.window_bytes, 64 << 20);
        assert_eq!(config.kafka.brokers, "a:9092,b:9092");
        assert_eq!(config.kafka.replication, Some(3));
        assert!(!config.kafka.create_topics);
        assert_eq!(config.kafka.events_topic, "tidegate.events");
        let options = [
            ("enable.ssl.certificate.verification", "false"),
            ("sasl.password", "swordfish"),
            ("security.protocol", "SASL_SSL"),
            ("socket.timeout.ms", "5000"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(config.kafka.options, BTreeMap::from(options));
    }
    assert!(from_file("empty.toml", "").is_ok());
    assert!(from_file("empty.yaml", "").is_ok());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let (_dir, path) = file(
        "tidegate.toml",
        "[stream]\nheartbeat = '15'\nheart = '1s'\n[limits]\nconnections = ['a']\n[auth]\nkeys = 'k'",
    );
    let sources = Sources::environment(&[
        ("TIDEGATE_LOG_KIND", "rabbit"),
        ("TIDEGATE_PUBLIC_ADDR", ""),
        ("TIDEGATE_DRAIN_GRACE", "1h"),
    ])
    .with_file(Some(path.clone()))
    .with_flags([("limits.body_bytes", "0"), ("kafka.partitions", "0")]);
    let problems = Config::load(&sources).unwrap_err();

    let path = path.display();
    assert_eq!(
        problems.to_string().lines().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            &*format!(
                "stream.heart ({path}): there is no such setting; did you mean stream.heartbeat?"
            ),
            &*format!(
                "stream.heartbeat = \"15\" ({path}): a number needs a unit: ms, s, m, h or d; accepted: a duration such as 500ms, 15s, 10m, 1h or 2d, longer than 0"
            ),
            &*format!(
                "limits.connections ({path}): it is an array; accepted: a whole number of at least 1"
            ),
            "log.kind = \"rabbit\" (TIDEGATE_LOG_KIND): there is no such choice; accepted: memory, kafka or redis",
            "public.addr = \"\" (TIDEGATE_PUBLIC_ADDR): it is no address with a port; accepted: an IP address and a port, such as 0.0.0.0:30000 or [::]:30000",
            "limits.body_bytes = \"0\" (--limits-body-bytes): it is 0; accepted: a size such as 64KiB, 1MB or 1048576, larger than 0",
            "kafka.partitions = \"0\" (--kafka-partitions): it is less than 1; accepted: a whole number from 1 to 10000",
            &*format!(
                "auth.keys = \"***\" ({path}): line 1, entry 1: a key is written kid:secret or kid:secret:end"
            ),
            "drain.grace = \"1h\" (TIDEGATE_DRAIN_GRACE): drain.deadline (1m) must be at least drain.grace + drain.window (1h30s)",
        ])
    );
}

#[test]
fn unknown_keys_of_the_file_are_errors_with_a_suggestion() {
    for (content, key, meant) in [
        ("[stream]\nheartbeats = '1s'", "stream.heartbeats", Some("stream.heartbeat")),
        ("[stream]\nmax-age = '1s'", "stream.max-age", Some("stream.max_age")),
        ("[steam]\nheartbeat = '1s'", "steam.heartbeat", Some("stream.heartbeat")),
        ("[kafka]\nbroker = 'a:1'", "kafka.broker", Some("kafka.brokers")),
        ("heartbeat = '1s'", "heartbeat", None),
        ("[quite]\nother.things = 1", "quite.other.things", None),
        ("[quite]", "quite", None),
    ] {
        let problems = from_file("a.toml", content).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{problems}");
        assert_eq!(problems.0[0].key, key);
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
        assert_eq!(problems.0[0].reason, format!("there is no such setting{meant}"));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_one_error() {
    for (name, content, reason) in [
        ("a.toml", "a = ", "line 1: "),
        ("a.toml", "\n\n[auth]\nkeys = 'k:swordfish", "line 4: "),
        ("a.toml", "[pod]\n[pod]", "line 2: "),
        ("a.yaml", "- a", "it is no table of settings"),
        ("a.yaml", "auth:\n  keys: 'k:swordfish", ""),
        ("a.yaml", "pod: {name: a}\npod: {name: b}", "duplicate"),
        ("a.json", "{}", "a settings file is called *.toml, *.yaml or *.yml"),
    ] {
        let text = problem(from_file(name, content));
        assert!(text.contains(&format!("{name}: ")) && text.contains(reason), "{text}");
        assert!(!text.contains("swordfish"), "{text}");
    }
    let missing = Sources::default().with_file(Some("/nowhere/tidegate.toml".into()));
    let text = problem(Config::load(&missing));
    assert!(text.starts_with("/nowhere/tidegate.toml: cannot be read: "), "{text}");
}

#[test]
fn a_share_is_a_number_however_it_is_spelled() {
    for (name, content) in [
        ("a.toml", "otel.sample_ratio = 0.25"),
        ("a.toml", "otel.sample_ratio = '0.25'"),
        ("a.yaml", "otel: {sample_ratio: 0.25}"),
    ] {
        let config = from_file(name, content).unwrap().config;
        assert_eq!(config.otel.sample_ratio.to_string(), "0.25", "{content}");
    }
    assert_eq!(from_file("a.toml", "otel.sample_ratio = 1").unwrap().config.otel.sample_ratio, 1.0);
    for wrong in ["2", "-0.5", "much", "NaN", "inf"] {
        let sources = Sources::environment(&[("TIDEGATE_OTEL_SAMPLE_RATIO", wrong)]);
        let text = problem(Config::load(&sources));
        assert!(text.contains("accepted: a number from 0 to 1"), "{wrong}: {text}");
    }
}

#[test]
fn values_of_the_wrong_shape_are_refused() {
    for (content, reason) in [
        ("public = 1", "public (F): it is a section; its settings go below it"),
        ("[public.addr]\nport = 1", "public.addr (F): it is a table; "),
        ("stream.retry = 1.5", "stream.retry (F): it is a fraction; if it is text, quote it; "),
        ("stream.retry = nan", "stream.retry = \"NaN\" (F): it does not begin with a whole number"),
        ("cors.origins = ['https://a,https://b']", "cors.origins (F): an item holds a comma; "),
        ("cors.origins = [['https://a']]", "cors.origins (F): it is an array; "),
        ("kafka.options = 'a=b'", "kafka.options (F): it is no table of names and values"),
        ("kafka.options.a = ['b']", "kafka.options.a (F): it is an array"),
    ] {
        let (_dir, path) = file("a.toml", content);
        let sources = Sources::default().with_file(Some(path.clone()));
        let text = problem(Config::load(&sources)).replace(&path.display().to_string(), "F");
        assert!(text.starts_with(reason), "{text}");
    }
    let twice = from_file("a.yaml", "pod: {name: a}\npod.name: b");
    assert!(problem(twice).contains("it is given twice"));
}

#[test]
fn unknown_variables_only_warn() {
    let loaded = from_variables(&[
        ("TIDEGATE_PORT", "tcp://10.0.0.1:30000"),
        ("TIDEGATE_STREAM_HEARTBEATS", "1s"),
        ("TIDEGATE_KAFKA_OPTIONS_", "x"),
        ("TIDEGATEWAY", "x"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(
        loaded.unwrap().warnings,
        [
            "no setting has the environment variable TIDEGATE_PORT",
            "no setting has the environment variable TIDEGATE_STREAM_HEARTBEATS; did you mean TIDEGATE_STREAM_HEARTBEAT?",
            "no setting has the environment variable TIDEGATE_KAFKA_OPTIONS_; did you mean TIDEGATE_KAFKA_OPTIONS?",
        ]
    );
}

#[test]
fn a_variable_that_is_not_utf_8_is_an_error() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut sources = Sources::default();
    sources.environment.push(("TIDEGATE_POD_NAME".to_owned(), OsString::from_vec(vec![0xFF])));
    assert_eq!(problem(Config::load(&sources)), "pod.name (TIDEGATE_POD_NAME): it is not UTF-8");
}

#[test]
fn options_of_librdkafka_come_from_everywhere() {
    let (_dir, path) = file("a.toml", "[kafka.options]\na.b = 'file'\na.c = 'file'\na.d = 'file'");
    let sources = Sources::environment(&[
        ("TIDEGATE_KAFKA_OPTIONS_A_C", "variable"),
        ("TIDEGATE_KAFKA_OPTIONS_A_D", "variable"),
        ("TIDEGATE_KAFKA_OPTIONS_SASL_PASSWORD", "swordfish"),
    ])
    .with_file(Some(path))
    .with_flags([("kafka.options", "a.d=flag=x")]);
    let config = Config::load(&sources).unwrap().config;
    let options: Vec<_> =
        config.kafka.options.iter().map(|(name, value)| (&**name, &**value)).collect();
    let all =
        [("a.b", "file"), ("a.c", "variable"), ("a.d", "flag=x"), ("sasl.password", "swordfish")];
    assert_eq!(options, all);
    assert_eq!(*config.origin("kafka.options.a.d"), Origin::Flag("--kafka-options".to_owned()));
    assert_eq!(
        problem(from_flags(&[("kafka.options", "swordfish")])),
        "kafka.options (--kafka-options): no name and value; accepted: name=value, by librdkafka's names"
    );
}

#[test]
fn the_pod_is_called_as_the_host_is() {
    for (host, name) in
        [("tidegate-7d9f-x2x\n", "tidegate-7d9f-x2x"), ("my host/ä", "my-host--"), ("", "tidegate")]
    {
        let sources = Sources { host_name: Some(host.to_owned()), ..Sources::default() };
        assert_eq!(Config::load(&sources).unwrap().config.pod.name, name);
    }
    assert!(!Config::load(&Sources::of_process()).unwrap().config.pod.name.is_empty());
}
