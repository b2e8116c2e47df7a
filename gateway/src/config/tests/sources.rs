//! `kafka.sources`.

use super::*;
use crate::log::mapping::{Format, Part, ValueKind};

fn part(text: &str) -> Part {
    text.parse().expect("a part")
}

#[test]
fn a_file_and_a_variable_say_the_same_of_sources() {
    let toml = r#"
        [[kafka.sources]]
        topic = "orders"
        event_id = "/order/id"
        event_type = "constant:OrderChanged"
        to_user = "header:user"
        partitioner = "any"
        [[kafka.sources]]
        topics = "audit\\..+"
        format = "cloudevents"
        value = "base64"
        state = true
        [kafka.options]
        client.rack = "a"
    "#;
    let yaml = r"
kafka:
  sources:
    - topic: orders
      event_id: /order/id
      event_type: constant:OrderChanged
      to_user: header:user
      partitioner: any
    - topics: audit\..+
      format: cloudevents
      value: base64
      state: true
";
    let json = r#"[{"topic":"orders","event_id":"/order/id","event_type":"constant:OrderChanged",
        "to_user":"header:user","partitioner":"any"},
        {"topics":"audit\\..+","format":"cloudevents","value":"base64","state":true}]"#;
    for config in [
        from_file("a.toml", toml),
        from_file("a.yaml", yaml),
        from_variables(&[("TIDEGATE_KAFKA_SOURCES", json)]),
        from_flags(&[("kafka.sources", json)]),
    ] {
        let config = config.unwrap().config;
        let [orders, audit] = config.kafka.sources.as_slice() else { panic!("two") };
        assert!(matches!(&orders.topics, Topics::Named(name) if name == "orders"));
        assert_eq!(orders.partitioner, Partitioner::Any);
        assert_eq!(orders.mapping.event_id, part("/order/id"));
        assert_eq!(orders.mapping.event_type, part("constant:OrderChanged"));
        assert_eq!(orders.mapping.to_user, Some(part("header:user")));
        assert_eq!((orders.mapping.value, orders.state), (ValueKind::Json, false));
        let Topics::Matching(pattern) = &audit.topics else { panic!("a pattern") };
        assert!(
            pattern.takes("audit.a") && !pattern.takes("audit.") && !pattern.takes("my.audit.a")
        );
        assert_eq!((audit.mapping.format, audit.state), (Format::CloudEvents, true));
        assert_eq!((audit.partitioner, audit.mapping.is_keyed()), (Partitioner::Murmur2, true));
        let again = from_file("b.toml", &config.to_toml_masked()).unwrap().config;
        assert_eq!(config.values(), again.values());
        assert_eq!(config.to_json_masked()["kafka.sources"]["value"][1]["topics"], "audit\\..+");
    }
}

#[test]
fn a_source_of_only_a_topic_is_read_as_the_gateways_own_records_are() {
    for text in ["[{\"topic\":\"orders\"}]", "[{\"topic\":\"orders\",\"to_user\":null}]"] {
        let config = from_variables(&[("TIDEGATE_KAFKA_SOURCES", text)]).unwrap().config;
        let source = &config.kafka.sources[0];
        assert_eq!(source.mapping.event_id, Part::Key);
        assert_eq!(source.mapping.event_type, part("header:event_type"));
        assert_eq!(source.mapping.to_user, None);
        // As the list of members says.
        let shown = &config.to_json_masked()["kafka.sources"]["value"][0];
        for (member, default) in SOURCE_MEMBERS.iter().skip(2) {
            let shown = shown[member].as_str().map_or(shown[member].to_string(), str::to_owned);
            assert_eq!(shown, *default, "{member}");
        }
    }
    for none in ["none", "", "[]"] {
        let config = from_variables(&[("TIDEGATE_KAFKA_SOURCES", none)]).unwrap().config;
        assert!(config.kafka.sources.is_empty());
    }
}

#[test]
fn everything_that_is_wrong_with_sources_is_said_with_its_place() {
    let text = r#"[
        {"topic": "a b", "topic_type": 1, "state": "yes", "partitioner": "crc32"},
        {"topics": "(", "event_id": "id"},
        {"topic": "orders", "event_id": "/id"},
        {"topic": "__consumer_offsets", "format": "avro", "value": "xml"},
        {"topic": "a", "topics": "b"},
        {}, 7,
        {"topic": "c", "event_id": "attribute:id", "partitioner": "any"},
        {"topic": "d", "event_type": "/t", "value": "text"},
        {"topic": "e"}, {"topic": "e"}, {"topics": 5}
    ]"#;
    let problems = from_variables(&[("TIDEGATE_KAFKA_SOURCES", text)]).unwrap_err();
    let found: Vec<(&str, &str)> =
        problems.0.iter().map(|p| (p.key.as_str(), p.reason.as_str())).collect();
    let expected = [
        ("[0].topic_type", "there is no such member"),
        ("[0].topic", "it holds ' '"),
        ("[0].partitioner", "neither murmur2 nor any"),
        ("[0].state", "neither true nor false"),
        ("[1].topics", "it is no regular expression: unclosed group"),
        ("[1].event_id", "constant:TEXT"),
        ("[2].partitioner", "event_id is /id: set partitioner any"),
        ("[3].topic", "internal"),
        ("[3].format", "mapped or cloudevents"),
        ("[3].value", "json, text or base64"),
        ("[4].topics", "either"),
        ("[5]", "neither topic"),
        ("[6]", "no table"),
        ("[7].event_id", "only CloudEvents"),
        ("[8].event_type", "value kind json"),
        ("[10].topic", "an earlier source"),
        ("[11].topics", "it is no text"),
    ];
    assert_eq!(found.len(), expected.len(), "{problems}");
    for ((key, reason), (place, part)) in found.into_iter().zip(expected) {
        assert_eq!(key, format!("kafka.sources{place}"));
        assert!(reason.contains(part), "{key}: {reason}");
    }
    assert!(problems.to_string().contains("kafka.sources[5] (TIDEGATE_KAFKA_SOURCES): "));
}

#[test]
fn what_is_no_list_of_tables_is_one_error() {
    for (text, reason) in [
        ("orders", "it is no JSON"),
        ("{\"topic\":\"a\"}", "it is no list"),
        ("\"a\"", "it is no list"),
    ] {
        let text = problem(from_variables(&[("TIDEGATE_KAFKA_SOURCES", text)]));
        assert!(text.contains(reason) && text.contains("accepted: a list of tables"), "{text}");
    }
    let table = problem(from_file("a.toml", "[kafka.sources]\ntopic = 'a'"));
    assert!(table.contains("it is a table; accepted: a list of tables"), "{table}");
    let own = from_variables(&[
        ("TIDEGATE_LOG_KIND", "kafka"),
        ("TIDEGATE_KAFKA_BROKERS", "a:1"),
        ("TIDEGATE_KAFKA_SOURCES", "[{\"topic\":\"tidegate.events\"}]"),
    ]);
    assert_eq!(keys(own), ["kafka.sources[0].topic"]);
}

#[test]
fn a_pattern_matches_whole_names_and_no_internal_ones() {
    let pattern: TopicPattern = "a|b.*|_.*".parse().unwrap();
    for (name, takes) in
        [("a", true), ("ab", false), ("xa", false), ("bc", true), ("_x", true), ("__x", false)]
    {
        assert_eq!(pattern.takes(name), takes, "{name}");
    }
    assert!("a)|(b".parse::<TopicPattern>().is_err());
    assert!("(((a{99}){99}){99})".parse::<TopicPattern>().is_err(), "too large");
}

#[test]
fn the_readme_has_a_row_for_every_member_of_a_source() {
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for (member, _) in SOURCE_MEMBERS {
        assert!(readme.contains(&format!("\n| `{member}` |")), "{member}");
    }
}
