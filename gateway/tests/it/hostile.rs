//! Cursors that no gateway has ever given out: a stream all the same, a hole that says so, nobody
//! else's events, and a pod that stays well.

use serde_json::json;
use tidegate::cursor::{Cursor, Offset, Position, Shard, SourceId, Tag};

use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/a/types/t";

async fn on_kafka(name: &str) -> Gateway {
    let brokers = format!("--kafka-brokers={}", Kafka::shared().await.brokers());
    let events = format!("--kafka-events-topic={name}.events");
    let broadcast = format!("--kafka-broadcast-topic={name}.broadcast");
    let flags = ["--log-kind=kafka", &brokers, &events, &broadcast, "--kafka-partitions=4"];
    Gateway::ready(&flags).await
}

/// Publishes to the room and to others, some of which share its shard.
async fn publish(to: &Gateway, data: &str) {
    for room in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let body = json!({ "data": format!("{data} of {room}") }).to_string();
        assert_eq!(to.publish(room, "t", &body).await.status, 200);
    }
}

/// What a stream that begins with this cursor says first, and that it then goes on live.
async fn reason(gateway: &Gateway, cursor: &str) -> Option<String> {
    let (mut stream, _) =
        Stream::connect(gateway.public(), ROOM, &[("last-event-id", cursor)]).await;
    publish(gateway, "live").await;
    let mut reason = None;
    loop {
        let block = stream.block().await.expect("the stream goes on");
        match block.event.as_deref() {
            Some("tidegate.gap") => {
                reason = Some(block.json()["reason"].as_str().expect("a reason").to_owned());
            }
            Some("t") => {
                let data = block.json()["data"].as_str().expect("a text").to_owned();
                assert!(data.ends_with(" of a"), "somebody else's event: {data}");
                if data == "live of a" {
                    return reason;
                }
            }
            other => panic!("{other:?}: {}", block.data),
        }
    }
}

/// Cursors whose every shard is `position`, of the sources of this name.
fn everywhere(sources: [&str; 2], position: Position) -> String {
    let shards = sources.iter().flat_map(|name| {
        (0..4).map(move |index| (Shard { source: SourceId::of(name), index }, position))
    });
    Cursor::new(shards).to_string()
}

#[tokio::test]
async fn a_cursor_that_is_none_is_a_hole_and_the_stream_goes_on() {
    let gateway = Gateway::ready(&[]).await;
    publish(&gateway, "before").await;
    let long = "A".repeat(60_000);
    for cursor in ["!", "null", "0", "AAAA", "%00", "-1", "EA==", &long] {
        assert_eq!(reason(&gateway, cursor).await.as_deref(), Some("invalid"), "{cursor:.20}");
    }
    // A head of this size is not read to its end.
    let megabyte = "A".repeat(1 << 20);
    let answer =
        http::get(gateway.public(), &format!("{ROOM}?last_event_id={megabyte}"), &[]).await;
    assert_eq!(answer.status, 431);
    assert_eq!(gateway.admin_get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_cursor_of_other_shards_and_other_logs_gives_nobody_elses_events() {
    let own = ["tidegate.events", "tidegate.broadcast"];
    let memory = Gateway::ready(&[]).await;
    let kafka = on_kafka("hostile").await;
    for (gateway, sources) in [(&memory, own), (&kafka, ["hostile.events", "hostile.broadcast"])] {
        publish(gateway, "before").await;
        for next in [0, 1, 1 << 40, u128::from(u64::MAX), u128::MAX >> 1] {
            for tag in [Tag::UNKNOWN, Tag(7), Tag::of_epoch(7)] {
                let cursor = everywhere(sources, Position { next: Offset(next), tag });
                let said = reason(gateway, &cursor).await;
                // From the log's start it may be a cursor of this log.
                assert!(said.is_some() || next <= 1, "{next} {tag:?}: silence");
            }
        }
        assert_eq!(gateway.admin_get("/readyz").await.status, 200);
    }
}
