//! What is shown of the settings, and what never is.

use super::*;

#[test]
fn no_secret_is_ever_shown() {
    let sources = Sources::environment(&[
        ("TIDEGATE_AUTH_KEYS", "k:swordfish"),
        ("TIDEGATE_KAFKA_OPTIONS_SASL_PASSWORD", "swordfish"),
        ("TIDEGATE_KAFKA_OPTIONS_SSL_KEY_PEM", "swordfish"),
        ("TIDEGATE_REDIS_URL", "redis://me:swordfish@redis:6379"),
    ]);
    let config = Config::load(&sources).unwrap().config;
    assert_eq!(config.auth.keys.as_ref().unwrap().expose(), "k:swordfish");
    let toml = config.to_toml_masked();
    let json = config.to_json_masked();
    for shown in [&toml, &json.to_string(), &format!("{config:#?} {sources:?}")] {
        assert!(!shown.contains("swordfish"), "{shown}");
    }
    assert!(toml.contains("keys = \"***\"  # TIDEGATE_AUTH_KEYS\n"), "{toml}");
    assert!(toml.contains("url = \"redis://me:***@redis:6379\"  # TIDEGATE_REDIS_URL\n"), "{toml}");
    assert_eq!(json["kafka.options.sasl.password"]["value"], "***");
    assert_eq!(json["auth.keys"]["origin"], "TIDEGATE_AUTH_KEYS");

    for wrong in [
        from_variables(&[("TIDEGATE_AUTH_KEYS", "swordfish")]),
        from_variables(&[("TIDEGATE_REDIS_URL", "http://me:swordfish@redis")]),
        from_variables(&[("TIDEGATE_REDIS_URL", "redis://me:sword fish swordfish")]),
        from_file("a.toml", "redis.url = ['swordfish']"),
        from_file("a.toml", "redis.urls = 'swordfish'"),
        from_file("a.toml", "kafka.options.sasl.password = ['swordfish']"),
    ] {
        let text = problem(wrong);
        assert!(!text.contains("swordfish"), "{text}");
    }
}

#[test]
fn every_setting_says_what_it_does_and_what_it_accepts() {
    for setting in SETTINGS {
        let key = setting.key;
        assert!(setting.doc.ends_with('.') && setting.doc.len() > 10, "{key}: {:?}", setting.doc);
        assert!(!setting.doc.contains("  ") && !setting.doc.contains('\n'), "{key}");
        assert!(!setting.traits.accepts.is_empty(), "{key}");
        assert!(!setting.traits.placeholder.is_empty(), "{key}");
    }
}

#[test]
fn no_two_settings_share_a_variable_or_a_flag() {
    let variables: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
    let flags: BTreeSet<_> = SETTINGS.iter().map(Setting::flag).collect();
    assert_eq!((variables.len(), flags.len()), (SETTINGS.len(), SETTINGS.len()));
    assert!(variables.contains("TIDEGATE_LIMITS_CONNECTIONS_PER_IP"));
    assert!(flags.contains("limits-connections-per-ip"));
    for map in SETTINGS.iter().filter(|setting| setting.traits.shape == Shape::Map) {
        let below = format!("{}_", map.variable());
        assert!(!variables.iter().any(|variable| variable.starts_with(&below)), "{below}");
    }
}

#[test]
fn what_is_shown_can_be_read_back() {
    let sources = Sources::environment(&[
        ("TIDEGATE_KAFKA_OPTIONS_CLIENT_RACK", "a \"b\"\\\u{7f}\n"),
        ("TIDEGATE_CORS_ORIGINS", "https://a.example,https://b.example:8443"),
        ("TIDEGATE_PUBLIC_TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("TIDEGATE_AUTH_LEGACY_SIGNATURE", "on"),
        ("TIDEGATE_STREAM_MAX_AGE", "90m"),
        ("TIDEGATE_LIMITS_CONNECTIONS_PER_USER", "7"),
    ]);
    let config = Config::load(&sources).unwrap().config;
    let again = from_file("a.toml", &config.to_toml_masked()).unwrap().config;
    assert_eq!(config.values(), again.values());
    assert_eq!(again.kafka.options["client.rack"], "a \"b\"\\\u{7f}\n");
    assert_eq!(again.stream.max_age, Some(Duration::from_secs(5400)));
}

#[test]
fn the_table_has_a_row_for_every_setting() {
    let table = markdown_table();
    assert_eq!(table.lines().count(), SETTINGS.len() + 2);
    assert!(table.contains("\n| `stream.heartbeat` | `15s` | Silence after which"), "{table}");
    assert!(table.contains("\n| `pod.name` | the host's name | "), "{table}");
    assert!(table.contains("\n| `kafka.options.<name>` | – | "), "{table}");
    for line in table.lines() {
        assert_eq!(line.matches(" | ").count(), 2, "{line}");
    }
}
