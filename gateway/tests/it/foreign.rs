//! Records that others wrote, into the gateway's own topic and into theirs: good ones are events,
//! bad ones are counted and passed over.

mod sources;

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::stream::Stream;

/// A part of a record, which may be missing.
type Part = Option<&'static [u8]>;

async fn produce(
    producer: &FutureProducer,
    key: Option<&[u8]>,
    kind: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to("foreign.events");
    record.key = key;
    record.payload = value;
    if let Some(kind) = kind {
        let header = Header { key: "event_type", value: Some(kind) };
        record = record.headers(OwnedHeaders::new().insert(header));
    }
    producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error).expect("sent");
}

#[tokio::test]
async fn a_record_that_cannot_be_understood_never_stops_the_consumer() {
    let kafka = Kafka::shared().await;
    let brokers = kafka.brokers();
    let flags = [
        "--log-kind=kafka",
        "--kafka-brokers",
        &brokers,
        "--kafka-events-topic=foreign.events",
        "--kafka-broadcast-topic=foreign.broadcast",
        "--kafka-partitions=1",
    ];
    let gateway = Gateway::ready(&flags).await;
    let (mut stream, _) =
        Stream::connect(gateway.public(), "/v1/subscribe/events/a/types/*", &[]).await;
    let producer: FutureProducer = kafka.client().create().expect("a producer");
    let (a, t) = (Some(&b"a"[..]), Some(&b"t"[..]));
    let bad: [(Part, Part, Part); 8] = [
        (None, t, Some(b"0")),
        (a, None, Some(b"0")),
        (Some(b"\xff\xfe"), t, Some(b"0")),
        (Some(b"a\nb"), t, Some(b"0")),
        (a, Some(b"tidegate.gap"), Some(b"0")),
        (a, t, None),
        (a, t, Some(b"{\"forged\":\n\nevent: x")),
        (a, t, Some(b"\xff")),
    ];
    for (n, (key, kind, value)) in bad.into_iter().enumerate() {
        produce(&producer, key, kind, value).await;
        let good = format!(" {{\"n\" : {n}}} ");
        produce(&producer, a, t, Some(good.as_bytes())).await;
    }
    for n in 0..bad.len() {
        stream.expect_data(json!({ "n": n })).await;
    }
    assert_eq!(gateway.metric("tidegate_malformed_records_total", "").await, 8.0);
    let said = gateway.log().matches("is no event and is skipped").count();
    assert_eq!(said, 6, "once a kind:\n{}", gateway.log());
    // Whoever comes back gets the good ones, and the same ids every time.
    let opened = "/v1/subscribe/events/a/types/*?from=earliest";
    let (mut again, _) = Stream::connect(gateway.public(), opened, &[]).await;
    let first = again.next().await;
    assert_eq!(first.json()["data"], json!({"n": 0}));
    let (mut once_more, _) = Stream::connect(gateway.public(), opened, &[]).await;
    assert_eq!(once_more.next().await.json()["message_id"], first.json()["message_id"]);
}
