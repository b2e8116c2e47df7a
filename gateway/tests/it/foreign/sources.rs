//! Topics that others write, from their producers to the readers of rooms.

use std::path::Path;

use serde_json::Value;
use tidegate::cursor::{Cursor, SourceId};

use super::*;
use crate::support::eventually;
use crate::support::kafka::Lines;

/// How long anything may take that takes milliseconds on an idle machine.
const SOON: Duration = Duration::from_secs(30);

/// A record as others write it.
#[derive(Default)]
struct Foreign<'a> {
    partition: Option<i32>,
    key: Option<&'a str>,
    value: Option<&'a [u8]>,
    headers: &'a [(&'a str, &'a str)],
}

/// Names of this test's own, and the gateways and producers of it.
struct Setting {
    kafka: &'static Kafka,
    prefix: String,
    producer: FutureProducer,
}

impl Setting {
    async fn new() -> Self {
        let kafka = Kafka::shared().await;
        let mut client = kafka.client();
        // As a producer has to be set that is to agree with Java's.
        client.set("partitioner", "murmur2_random");
        let producer = client.create().expect("a producer");
        Self { kafka, prefix: format!("f{:016x}", rand::random::<u64>()), producer }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A gateway that reads `sources`, JSON in which `PREFIX` begins the names.
    async fn gateway(&self, sources: &str) -> Gateway {
        self.gateway_with(sources, &[]).await
    }

    /// The same with further flags.
    async fn gateway_with(&self, sources: &str, more: &[&str]) -> Gateway {
        let brokers = self.kafka.brokers();
        let sources = sources.replace("PREFIX", &self.prefix);
        let own = ["events", "broadcast"].map(|name| self.topic(&format!("own-{name}")));
        let flags = [
            "--log-kind=kafka",
            "--kafka-brokers",
            &brokers,
            "--kafka-group-prefix",
            &self.prefix,
            "--kafka-events-topic",
            &own[0],
            "--kafka-broadcast-topic",
            &own[1],
            "--kafka-partitions=3",
            "--kafka-sources",
            &sources,
        ];
        Gateway::ready(&[&flags[..], more].concat()).await
    }

    /// Writes a record; returns its partition.
    async fn write(&self, topic: &str, record: Foreign<'_>) -> i32 {
        let mut headers = OwnedHeaders::new();
        for &(key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut to: FutureRecord<'_, str, [u8]> = FutureRecord::to(topic).headers(headers);
        to.partition = record.partition;
        to.key = record.key;
        to.payload = record.value;
        let sent = self.producer.send(to, Duration::from_secs(10)).await;
        sent.map_err(|(error, _)| error).expect("sent").partition
    }
}

async fn open(gateway: &Gateway, room: &str) -> Stream {
    let (id, kind) = room.split_once('/').expect("a room");
    let path = format!("/v1/subscribe/events/{id}/types/{kind}");
    Stream::connect(gateway.public(), &path, &[]).await.0
}

#[tokio::test]
async fn java_and_librdkafka_write_one_room_and_its_readers_get_all_in_order() {
    let setting = Setting::new().await;
    let topic = setting.topic("orders");
    setting.kafka.create_topic(&topic, 5).await;
    let source = r#"[{"topic":"PREFIX.orders","event_type":"header:kind"}]"#;
    let gateway = setting.gateway(source).await;
    let java = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/ProduceLines.java");
    let mut java = Lines::java(setting.kafka, &java, &[&topic]).await;
    for room in ["cart-42", "Grüße"] {
        let path = room.replace("Grüße", "Gr%C3%BC%C3%9Fe");
        let mut stream = open(&gateway, &format!("{path}/Changed")).await;
        for n in (0..20).step_by(2) {
            let of_java = java.ask(&format!("{room}\t{{\"n\": {n}}}\tkind=Changed\tu=x")).await;
            let value = json!({"n": n + 1}).to_string();
            let record = Foreign {
                key: Some(room),
                value: Some(value.as_bytes()),
                headers: &[("kind", "Changed")],
                ..Foreign::default()
            };
            let of_librdkafka = setting.write(&topic, record).await;
            assert_eq!(of_java, of_librdkafka.to_string(), "the same partition");
        }
        for n in 0..20 {
            let block = stream.expect_data(json!({ "n": n })).await;
            assert_eq!(block.event.as_deref(), Some("Changed"));
            assert_eq!(block.json()["event_id"], room);
        }
    }
    assert!(!gateway.log().contains("another partition than its key's"), "none is a stray");
}

#[tokio::test]
async fn cloud_events_of_both_modes_reach_their_room() {
    let setting = Setting::new().await;
    let topic = setting.topic("shipments");
    setting.kafka.create_topic(&topic, 3).await;
    let source = r#"[{"topic":"PREFIX.shipments","format":"cloudevents","partitioner":"any"}]"#;
    let gateway = setting.gateway(source).await;
    let mut stream = open(&gateway, "parcel-1/com.example.sent").await;
    let binary = [
        ("ce_specversion", "1.0"),
        ("ce_id", "1"),
        ("ce_source", "/warehouse"),
        ("ce_type", "com.example.sent"),
        ("content-type", "application/json"),
    ];
    let value = Some(&br#"{"by": "truck"}"#[..]);
    let record = Foreign { key: Some("parcel-1"), value, headers: &binary, ..Foreign::default() };
    setting.write(&topic, record).await;
    let first = stream.expect_data(json!({"by": "truck"})).await;
    let structured = json!({
        "specversion": "1.0", "id": "2", "source": "/warehouse", "type": "com.example.sent",
        "subject": "parcel-1", "data": {"by": "ship"},
    });
    let structured = structured.to_string();
    let record = Foreign {
        value: Some(structured.as_bytes()),
        headers: &[("content-type", "application/cloudevents+json; charset=utf-8")],
        ..Foreign::default()
    };
    setting.write(&topic, record).await;
    let second = stream.expect_data(json!({"by": "ship"})).await;
    assert_ne!(first.json()["message_id"], second.json()["message_id"]);
    assert_eq!(second.json()["headers"]["ce_id"], "2");
}

#[tokio::test]
async fn a_topic_of_a_pattern_is_picked_up_while_running() {
    let setting = Setting::new().await;
    let source = r#"[{"topics":"PREFIX\\.audit\\..+","event_id":"key","event_type":"topic"}]"#;
    let gateway = setting.gateway(source).await;
    let topic = setting.topic("audit.logins");
    let mut stream = open(&gateway, &format!("ann/{topic}")).await;
    setting.kafka.create_topic(&topic, 2).await;
    for n in 0..3 {
        let value = n.to_string();
        let value = Some(value.as_bytes());
        let record = Foreign { key: Some("ann"), value, ..Foreign::default() };
        setting.write(&topic, record).await;
    }
    for n in 0..3 {
        stream.expect_data(json!(n)).await;
    }
}

#[tokio::test]
async fn a_reader_of_a_topic_without_keys_resumes_on_another_pod_across_all_partitions() {
    let setting = Setting::new().await;
    let topic = setting.topic("loose");
    setting.kafka.create_topic(&topic, 4).await;
    let source = r#"[{"topic":"PREFIX.loose","event_id":"/order/id","event_type":"constant:Changed",
        "to_user":"/order/user","partitioner":"any"}]"#;
    let (one, other) = tokio::join!(setting.gateway(source), setting.gateway(source));
    let write = async |n: i32, id: &str, user: Value| {
        let value = json!({"order": {"id": id, "user": user}, "n": n}).to_string();
        let partition = Some(n % 4);
        let value = Some(value.as_bytes());
        setting.write(&topic, Foreign { partition, value, ..Foreign::default() }).await;
    };
    let numbers = |taken: Vec<Value>| -> Vec<i64> {
        let mut numbers: Vec<i64> =
            taken.iter().map(|data| data["n"].as_i64().expect("a number")).collect();
        numbers.sort_unstable();
        numbers
    };
    let mut stream = open(&one, "o-1/Changed").await;
    for n in 0..12 {
        write(n, "o-1", Value::Null).await;
        write(n, "o-2", Value::Null).await;
        write(n, "o-1", json!("somebody")).await;
    }
    // From the middle of it, wherever the partitions are by then.
    let before = numbers(stream.take(7).await);
    let last_id = stream.last_id.clone().expect("an id");
    drop(stream);
    for n in 12..24 {
        write(n, "o-1", Value::Null).await;
    }
    let path = "/v1/subscribe/events/o-1/types/Changed";
    let (mut stream, connected) =
        Stream::connect(other.public(), path, &[("last-event-id", &last_id)]).await;
    assert_eq!(connected.json()["start"], "resume");
    let after = numbers(stream.take(24 - 7).await);
    let mut all = [before, after].concat();
    all.sort_unstable();
    assert_eq!(all, (0..24).collect::<Vec<i64>>(), "each once");
    // Nothing else is pending: the next one is the last.
    write(24, "o-1", Value::Null).await;
    assert_eq!(numbers(stream.take(1).await), [24]);
    for gateway in [&one, &other] {
        assert!(!gateway.log().contains("another partition than its key's"));
    }
}

#[tokio::test]
async fn a_topic_without_keys_is_read_back_from_all_its_partitions_each_event_once() {
    const PARTITIONS: i32 = 5;
    let setting = Setting::new().await;
    let topic = setting.topic("deep");
    setting.kafka.create_topic(&topic, PARTITIONS).await;
    let source = r#"[{"topic":"PREFIX.deep","event_id":"/id","event_type":"constant:t",
        "partitioner":"any"}]"#;
    // Next to nothing stays in the window.
    let no_window = ["--log-window-age=1ms"];
    let gateway = setting.gateway_with(source, &no_window).await;
    let number = |data: &Value| data.as_i64().or(data["n"].as_i64()).expect("a number");
    let mut stream = open(&gateway, "a/t").await;
    let mut ids = vec![stream.last_id.clone().expect("an id")];
    let mut order = Vec::new();
    for n in 0..60 {
        if n % 10 == 9 {
            // Beside it, the room has events of the gateway's own.
            let body = json!({ "data": n }).to_string();
            assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
        } else {
            for id in ["a", "b"] {
                let value = json!({ "id": id, "n": n }).to_string();
                // The last partition has nothing in the first half.
                let partition = Some(n % if n < 30 { PARTITIONS - 1 } else { PARTITIONS });
                let value = Some(value.as_bytes());
                setting.write(&topic, Foreign { partition, value, ..Foreign::default() }).await;
            }
        }
        order.push(number(&stream.take(1).await[0]));
        ids.push(stream.last_id.clone().expect("an id"));
    }
    assert_eq!(order, (0..60).collect::<Vec<_>>(), "one at a time");
    eventually("the window has let go of all", SOON, async || {
        gateway.metric("tidegate_window_bytes", "").await == 0.0
    })
    .await;
    let path = "/v1/subscribe/events/a/types/t";
    let (mut later, mut read_back) = (Vec::new(), 0);
    for (after, id) in ids.iter().enumerate().step_by(7) {
        let cursor = Cursor::parse(id).expect("a cursor");
        let of_topic = cursor.components().iter().filter(|c| c.0.source == SourceId::of(&topic));
        assert_eq!(of_topic.count(), PARTITIONS as usize, "all partitions");
        let headers = [("last-event-id", id.as_str())];
        let (mut stream, first) = Stream::connect(gateway.public(), path, &headers).await;
        assert_eq!(first.json()["start"], "resume");
        let expected: Vec<_> = (after as i64..60).chain(later.iter().copied()).collect();
        let mut got: Vec<i64> = stream.take(expected.len()).await.iter().map(number).collect();
        got.sort_unstable();
        assert_eq!(got, expected, "each once");
        read_back += 60 - after;
        // Nothing else is pending, and then it is live.
        later.push(100 + after as i64);
        let body = json!({ "data": later.last() }).to_string();
        assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
        stream.expect_data(json!(later.last())).await;
    }
    let of_log = gateway.metric("tidegate_replayed_events_total", "from=\"log\"").await;
    assert!(of_log >= read_back as f64, "{of_log} of {read_back}");
}

#[tokio::test]
async fn texts_and_bytes_are_data_and_nothing_is_skipped_but_null() {
    let setting = Setting::new().await;
    for name in ["text", "bytes"] {
        setting.kafka.create_topic(&setting.topic(name), 1).await;
    }
    let sources = r#"[{"topic":"PREFIX.text","event_type":"constant:t","value":"text"},
        {"topic":"PREFIX.bytes","event_type":"constant:b","value":"base64"}]"#;
    let gateway = setting.gateway(sources).await;
    let mut stream = open(&gateway, "a/*").await;
    let write = async |name: &str, value: Option<&[u8]>| {
        let record = Foreign { key: Some("a"), value, ..Foreign::default() };
        setting.write(&setting.topic(name), record).await;
    };
    write("text", Some("Grüße,\n\"Welt\"".as_bytes())).await;
    stream.expect_data(json!("Grüße,\n\"Welt\"")).await;
    write("text", None).await;
    write("text", Some(b"")).await;
    stream.expect_data(json!("")).await;
    write("bytes", Some(b"\0\xff\n")).await;
    let block = stream.expect_data(json!("AP8K")).await;
    assert_eq!(block.json()["encoding"], "base64");
    assert_eq!(gateway.metric("tidegate_malformed_records_total", "null_value").await, 1.0);
}

#[tokio::test]
async fn a_compacted_topic_is_refused_in_readyz_and_one_of_state_is_read() {
    let setting = Setting::new().await;
    let compacted = [("cleanup.policy", "compact")];
    let (refused, state) = (setting.topic("refused"), setting.topic("state"));
    for topic in [&refused, &state] {
        setting.kafka.create_topic_with(topic, 1, &compacted).await;
    }
    let sources = r#"[{"topic":"PREFIX.refused","event_type":"constant:t"},
        {"topic":"PREFIX.state","event_type":"constant:t","state":true}]"#;
    let gateway = setting.gateway(sources).await;
    let mut stream = open(&gateway, "a/*").await;
    for (topic, value) in [(&refused, "0"), (&state, "1")] {
        let value = Some(value.as_bytes());
        setting.write(topic, Foreign { key: Some("a"), value, ..Foreign::default() }).await;
    }
    stream.expect_data(json!(1)).await;
    // The deleted state of a key, and then its next one.
    setting.write(&state, Foreign { key: Some("a"), ..Foreign::default() }).await;
    assert_eq!(gateway.publish("a", "own", "{\"data\":2}").await.status, 200);
    stream.expect_data(json!(2)).await;
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(ready.status, 200, "the rest is served");
    let latch = &ready.json()["latches"]["sources_read"];
    assert_eq!(latch["ok"], false);
    assert!(latch["why"].as_str().expect("why").contains(&refused), "{latch}");
    let said = gateway.log().matches("a topic of kafka.sources is not read").count();
    assert_eq!(said, 1, "{}", gateway.log());
    eventually("the null is counted", SOON, async || {
        gateway.metric("tidegate_malformed_records_total", "null_value").await == 1.0
    })
    .await;
}

#[tokio::test]
async fn more_partitions_than_a_cursor_holds_are_an_error_in_readyz() {
    let setting = Setting::new().await;
    let topic = setting.topic("wide");
    setting.kafka.create_topic(&topic, 65).await;
    let brokers = setting.kafka.brokers();
    let source = format!(r#"[{{"topic":"{topic}","partitioner":"any"}}]"#);
    let own = setting.topic("own");
    let gateway = Gateway::spawn(&[
        "--log-kind=kafka",
        "--kafka-brokers",
        &brokers,
        "--kafka-events-topic",
        &own,
        "--kafka-sources",
        &source,
    ])
    .await;
    eventually("the topic is named", SOON, async || {
        let ready = gateway.admin_get("/readyz").await;
        ready.status == 503 && ready.text().contains(&topic)
    })
    .await;
}
