//! One suite over every log: what a client and a publisher may rely on, whatever keeps the events.
//! Each scenario runs on real gateway processes, but for dead letters, which the embedded log has
//! no other way to come by.

mod letters;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::clock::now_ms;

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::redis::Redis;
use crate::support::stream::Stream;

/// A log to run the suite on.
enum Backend {
    Memory,
    Kafka { brokers: String, assignment: &'static str },
    Redis { url: String },
}

impl Backend {
    async fn kafka(assignment: &'static str) -> Self {
        Self::Kafka { brokers: Kafka::shared().await.brokers(), assignment }
    }

    async fn redis() -> Self {
        Self::Redis { url: Redis::shared().await.url() }
    }

    /// A gateway on this log; those of one `deployment` share its topics.
    async fn gateway(&self, deployment: &str) -> Gateway {
        Gateway::ready(&self.flags(deployment).iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    fn flags(&self, deployment: &str) -> Vec<String> {
        match self {
            Self::Memory => vec!["--log-kind=memory".to_owned()],
            Self::Kafka { brokers, assignment } => vec![
                "--log-kind=kafka".to_owned(),
                format!("--kafka-brokers={brokers}"),
                format!("--kafka-assignment={assignment}"),
                format!("--kafka-events-topic={deployment}.events"),
                format!("--kafka-broadcast-topic={deployment}.broadcast"),
                format!("--kafka-group-prefix={deployment}"),
                "--kafka-partitions=4".to_owned(),
            ],
            Self::Redis { url } => vec![
                "--log-kind=redis".to_owned(),
                format!("--redis-url={url}"),
                format!("--redis-prefix={deployment}"),
            ],
        }
    }

    /// How many gateways can share it.
    fn pods(&self) -> usize {
        match self {
            Self::Memory => 1,
            Self::Kafka { .. } | Self::Redis { .. } => 2,
        }
    }

    async fn pods_of(&self, deployment: &str) -> Vec<Gateway> {
        self.pods_with(deployment, &[]).await
    }

    /// Pods with further flags.
    async fn pods_with(&self, deployment: &str, more: &[&str]) -> Vec<Gateway> {
        let flags = self.flags(deployment);
        let flags: Vec<_> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut pods = Vec::new();
        for _ in 0..self.pods() {
            pods.push(Gateway::ready(&flags).await);
        }
        pods
    }
}

/// Runs a scenario over every log as a test of its own.
macro_rules! over_every_log {
    ($($(#[$doc:meta])* $name:ident($backend:ident, $deployment:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn scenario($backend: Backend, $deployment: &str) $body

                #[tokio::test]
                async fn on_memory() {
                    scenario(Backend::Memory, "m").await;
                }

                #[tokio::test]
                async fn on_kafka_with_a_group() {
                    let name = concat!("g-", stringify!($name));
                    scenario(Backend::kafka("group").await, name).await;
                }

                #[tokio::test]
                async fn on_kafka_assigned_by_hand() {
                    let name = concat!("m-", stringify!($name));
                    scenario(Backend::kafka("manual").await, name).await;
                }

                #[tokio::test]
                async fn on_redis() {
                    let name = concat!("r-", stringify!($name));
                    scenario(Backend::redis().await, name).await;
                }
            }
        )*
    };
}

/// Reads so many events as a client does: one whose stream ends, since it was too slow for a small
/// ring, comes back with its last id.
async fn read_on(to: SocketAddr, path: &'static str, count: usize) -> Vec<Value> {
    let (mut stream, _) = Stream::connect(to, path, &[]).await;
    let mut got = Vec::new();
    while got.len() < count {
        match stream.block().await {
            Some(block) if block.event.as_deref() == Some("t") => {
                got.push(block.json()["data"].clone());
            }
            Some(block) => assert_eq!(block.event.as_deref(), Some("tidegate.heartbeat")),
            None => {
                let id = stream.last_id.clone().expect("an id");
                stream = Stream::connect(to, path, &[("last-event-id", &id)]).await.0;
            }
        }
    }
    got
}

async fn publish(to: &Gateway, id: &str, kind: &str, data: Value) -> Value {
    let answer = to.publish(id, kind, &json!({ "data": data }).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

over_every_log! {
    a_rooms_events_come_in_order_on_every_pod(backend, deployment) {
        let pods = backend.pods_of(deployment).await;
        let mut streams = Vec::new();
        for pod in &pods {
            for room in ["a", "b", "c"] {
                let path = format!("/v1/subscribe/events/{room}/types/t");
                streams.push(Stream::connect(pod.public(), &path, &[]).await.0);
            }
        }
        for n in 0..60 {
            let pod = &pods[n % pods.len()];
            publish(pod, ["a", "b", "c"][n % 3], "t", json!(n)).await;
        }
        for (which, stream) in streams.iter_mut().enumerate() {
            let expected: Vec<Value> = (0..60).filter(|n| n % 3 == which % 3).map(|n| json!(n)).collect();
            assert_eq!(stream.take(20).await, expected);
        }
    }

    broadcasts_and_users_reach_their_streams_on_every_pod(backend, deployment) {
        let pods = backend.pods_of(deployment).await;
        let mut streams = Vec::new();
        for pod in &pods {
            for user in ["ann", "bob"] {
                let path = format!("/v1/subscribe?room=a/t&room=b/*&user={user}");
                streams.push((user, Stream::connect(pod.public(), &path, &[]).await.0));
            }
        }
        let first = &pods[0];
        let body = json!({"data": "for ann", "user": {"to_user": "ann"}}).to_string();
        assert_eq!(first.publish("a", "t", &body).await.status, 200);
        let broadcast =
            http::post_json(first.public(), "/v1/sse/broadcast/types/n", r#"{"data":"all"}"#).await;
        assert_eq!(broadcast.status, 200, "{}", broadcast.text());
        for (user, stream) in &mut streams {
            let mut got = stream.take(if *user == "ann" { 2 } else { 1 }).await;
            // The room and the broadcast lie on two shards: no order is claimed between them.
            got.sort_by_key(Value::to_string);
            let expected: &[Value] =
                if *user == "ann" { &[json!("all"), json!("for ann")] } else { &[json!("all")] };
            assert_eq!(got, expected);
        }
    }

    any_pod_resumes_any_client_exactly(backend, deployment) {
        let pods = backend.pods_of(deployment).await;
        let path = "/v1/subscribe/events/a/types/*";
        let (mut stream, _) = Stream::connect(pods[0].public(), path, &[]).await;
        let mut got = Vec::new();
        for n in 0..30 {
            publish(&pods[n % pods.len()], "a", if n % 2 == 0 { "s" } else { "t" }, json!(n)).await;
            if n % 5 == 0 {
                // Read one, then come back on another pod with the id of that one.
                got.extend(stream.take(1).await);
                let id = stream.last_id.clone().expect("an id");
                let pod = &pods[(n / 5 + 1) % pods.len()];
                stream = Stream::connect(pod.public(), path, &[("last-event-id", &id)]).await.0;
            }
        }
        got.extend(stream.take(30 - got.len()).await);
        assert_eq!(got, (0..30).map(|n| json!(n)).collect::<Vec<_>>());
    }

    a_key_is_delivered_once_on_every_pod(backend, deployment) {
        let pods = backend.pods_of(deployment).await;
        let path = "/v1/subscribe/events/a/types/*";
        let mut streams = Vec::new();
        for pod in &pods {
            streams.push(Stream::connect(pod.public(), path, &[]).await.0);
        }
        let last = &pods[pods.len() - 1];
        let keyed = async |pod: &Gateway, path: &str, key: &str, data: &str| {
            let headers = [("content-type", "application/json"), ("idempotency-key", key)];
            let body = json!({ "data": data }).to_string();
            let answer = http::post(pod.public(), path, &headers, body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()
        };
        let room = "/v1/sse/events/a/types/t";
        let first = keyed(&pods[0], room, "k", "first").await;
        assert_eq!(first.get("duplicate"), None);
        for (pod, data) in [(&pods[0], "first"), (last, "first"), (last, "another body")] {
            let again = keyed(pod, room, "k", data).await;
            assert_eq!(again["duplicate"], true);
            for member in ["message_id", "published_at"] {
                assert_eq!(again[member], first[member], "{member}");
            }
            let cursor = again["cursor"].as_str().expect("a cursor");
            let path = format!("{path}?last_event_id={cursor}");
            drop(Stream::connect(last.public(), &path, &[]).await);
        }
        // The same key in another room is another event, and so is a broadcast's.
        keyed(last, "/v1/sse/events/a/types/s", "k", "other room").await;
        let broadcast = "/v1/sse/broadcast/types/t";
        let said = keyed(last, broadcast, "k", "to all").await;
        assert_ne!(said["message_id"], first["message_id"]);
        assert_eq!(keyed(&pods[0], broadcast, "k", "to all").await["duplicate"], true);
        keyed(last, room, "k2", "last").await;
        for stream in &mut streams {
            let mut got = stream.take(4).await;
            got.sort_by_key(Value::to_string);
            assert_eq!(got, [json!("first"), json!("last"), json!("other room"), json!("to all")]);
        }
    }

    history_is_the_same_on_every_pod_page_by_page_and_its_cursors_resume(backend, deployment) {
        let pods = backend.pods_of(deployment).await;
        let streams = "/v1/subscribe/events/a/types/t";
        let mut waiting = Vec::new();
        for pod in &pods {
            waiting.push(Stream::connect(pod.public(), streams, &[]).await.0);
        }
        for n in 0..25 {
            publish(&pods[n % pods.len()], if n % 5 == 4 { "b" } else { "a" }, "t", json!(n)).await;
        }
        let expected: Vec<Value> = (0..25).filter(|n| n % 5 != 4).map(|n| json!(n)).collect();
        for stream in &mut waiting {
            // The pod has read all of it.
            assert_eq!(stream.take(20).await, expected);
        }
        let mut next = "from=earliest".to_owned();
        let mut events = Vec::new();
        for page in 0.. {
            let path = format!("/v1/events/a/types/t/history?{next}&limit=3");
            let answer = http::get(pods[page % pods.len()].public(), &path, &[]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = answer.json();
            assert_eq!(page["gap"], Value::Null);
            next = format!("after={}", page["next"].as_str().expect("a cursor"));
            let found = page["events"].as_array().expect("events").clone();
            if found.is_empty() {
                break;
            }
            events.extend(found);
        }
        let data: Vec<Value> = events.iter().map(|e| e["data"].clone()).collect();
        assert_eq!(data, expected);
        for (n, event) in events.iter().enumerate().step_by(4) {
            let cursor = event["cursor"].as_str().expect("a cursor");
            let pod = &pods[n % pods.len()];
            let mut stream = Stream::connect(pod.public(), streams, &[("last-event-id", cursor)]).await.0;
            assert_eq!(stream.take(19 - n).await, expected[n + 1..]);
        }
        let last = &pods[pods.len() - 1];
        let (mut stream, first) =
            Stream::connect(last.public(), &format!("{streams}?from=earliest"), &[]).await;
        assert_eq!(first.json()["start"], "from");
        assert_eq!(stream.take(20).await, expected);
    }

    what_the_window_no_longer_has_is_read_back_from_the_log(backend, deployment) {
        // Next to nothing stays in the window.
        let pods = backend.pods_with(deployment, &["--log-window-age=50ms"]).await;
        let last = &pods[pods.len() - 1];
        let streams = "/v1/subscribe/events/a/types/t";
        let mut stream = Stream::connect(pods[0].public(), streams, &[]).await.0;
        let first_id = stream.last_id.clone().expect("an id");
        let keyed = async |n: usize, key: &str| {
            let headers = [("content-type", "application/json"), ("idempotency-key", key)];
            let body = json!({ "data": n }).to_string();
            let path = "/v1/sse/events/a/types/t";
            let answer = http::post(pods[n % pods.len()].public(), path, &headers, body.as_bytes());
            assert_eq!(answer.await.status, 200);
        };
        let mut ids = vec![(0, first_id)];
        for n in 0..120 {
            match n % 6 {
                1 => keyed(n, &format!("k{n}")).await,
                // The first one's again: in the log, and not to be delivered.
                2 => keyed(n, &format!("k{}", n - 1)).await,
                3 => drop(publish(&pods[n % pods.len()], "b", "t", json!(n)).await),
                4 => {
                    let body = json!({ "data": n }).to_string();
                    let path = "/v1/sse/broadcast/types/t";
                    assert_eq!(http::post_json(last.public(), path, &body).await.status, 200);
                }
                _ => drop(publish(&pods[n % pods.len()], "a", "t", json!(n)).await),
            }
            if n % 6 != 2 && n % 6 != 3 {
                stream.expect_data(json!(n)).await;
                ids.push((n + 1, stream.last_id.clone().expect("an id")));
            }
        }
        let from = |from: usize| -> Vec<Value> {
            (from..120).filter(|n| n % 6 != 2 && n % 6 != 3).map(|n| json!(n)).collect()
        };
        let sorted = |mut values: Vec<Value>| {
            // The room and the broadcasts lie on two shards: no order is claimed between them.
            values.sort_by_key(Value::as_u64);
            values
        };
        for pod in &pods {
            eventually("the window has let go of all", Duration::from_secs(10), async || {
                let page = pod.admin_get("/metrics").await.text();
                page.lines().any(|line| line == "tidegate_window_bytes 0")
            })
            .await;
        }
        for (after, id) in ids.iter().step_by(9) {
            let headers = [("last-event-id", id.as_str())];
            let (mut stream, first) = Stream::connect(last.public(), streams, &headers).await;
            assert_eq!(first.json()["start"], "resume");
            assert_eq!(stream.last_id.as_ref(), Some(id));
            let expected = from(*after);
            assert_eq!(sorted(stream.take(expected.len()).await), expected);
        }
        for path in ["from=earliest", "from=1h"] {
            let path = format!("{streams}?{path}");
            let (mut stream, _) = Stream::connect(last.public(), &path, &[]).await;
            assert_eq!(sorted(stream.take(from(0).len()).await), from(0));
            // And then live.
            publish(&pods[0], "b", "t", json!("not here")).await;
        }
        let mut next = "from=earliest".to_owned();
        let mut events = Vec::new();
        loop {
            let path = format!("/v1/events/a/types/t/history?{next}&limit=13");
            let page = http::get(last.public(), &path, &[]).await.json();
            assert_eq!(page["gap"], Value::Null);
            next = format!("after={}", page["next"].as_str().expect("a cursor"));
            let found = page["events"].as_array().expect("events");
            if found.is_empty() {
                break;
            }
            events.extend(found.iter().map(|event| event["data"].clone()));
        }
        assert_eq!(sorted(events), from(0));
    }

    a_replay_meets_what_is_published_meanwhile_without_a_hole_or_a_double(backend, deployment) {
        let pods = backend.pods_with(deployment, &["--limits-body-bytes=32KiB", "--log-window-bytes=64KiB", "--stream-queue-bytes=64KiB"]).await;
        let last = &pods[pods.len() - 1];
        let path = "/v1/subscribe/events/a/types/t?from=earliest";
        let mut readers = Vec::new();
        for n in 0..300 {
            let data = json!({ "n": n, "pad": "-".repeat(1_000) });
            publish(&pods[n % pods.len()], "a", "t", data).await;
            if n % 50 == 0 {
                let reader = read_on(last.public(), path, 300);
                readers.push(tokio::spawn(reader));
            }
        }
        for reader in readers {
            let got = reader.await.expect("a reader");
            let got: Vec<_> = got.iter().map(|value| value["n"].clone()).collect();
            assert_eq!(got, (0..300).map(|n| json!(n)).collect::<Vec<_>>());
        }
    }

    an_event_that_nobody_was_written_in_time_becomes_one_dead_letter(backend, deployment) {
        let topics = ["dead-letters", "deliveries"].map(|name| format!("{deployment}.{name}"));
        let [letters, deliveries] = &topics;
        let letters = format!("--kafka-dead-letters-topic={letters}");
        let deliveries = format!("--kafka-deliveries-topic={deliveries}");
        let pods = backend.pods_with(deployment, &[&letters, &deliveries]).await;
        let last = &pods[pods.len() - 1];
        let streams = "/v1/subscribe/events/a/types/*";
        let (mut stream, _) = Stream::connect(pods[0].public(), streams, &[]).await;
        let within = async |path: &str, key: Option<&str>, body: Value| {
            let mut headers = vec![("content-type", "application/json"), ("x-deliver-within", "1s")];
            headers.extend(key.map(|key| ("idempotency-key", key)));
            let body = body.to_string();
            let answer = http::post(last.public(), path, &headers, body.as_bytes()).await;
            assert_eq!(answer.status, 200);
        };
        let room = "/v1/sse/events/a/types/t";
        within(room, None, json!({"data": "read"})).await;
        within("/v1/sse/broadcast/types/t", None, json!({"data": "read by all"})).await;
        let user = json!({"to_user": "nobody-here"});
        within(room, None, json!({"data": "for another", "user": user})).await;
        let nobody = "/v1/sse/events/b/types/t";
        within(nobody, Some("k"), json!({"data": "unread"})).await;
        within(nobody, Some("k"), json!({"data": "unread"})).await;
        let mut got = stream.take(2).await;
        got.sort_by_key(Value::to_string);
        assert_eq!(got, ["read by all", "read"]);
        let listed = async || {
            let page = last.admin_get("/v1/dead-letters?reason=undelivered").await.json();
            page["letters"].as_array().expect("letters").clone()
        };
        eventually("two letters", Duration::from_secs(30), async || listed().await.len() == 2).await;
        // Published last, its letter comes after any that there could wrongly be of the others.
        within(nobody, None, json!({"data": "later"})).await;
        eventually("a third", Duration::from_secs(30), async || listed().await.len() >= 3).await;
        let mut values = Vec::new();
        for letter in listed().await {
            let path = format!("/v1/dead-letters/{}", letter["key"].as_str().expect("a key"));
            let whole = last.admin_get(&path).await.json();
            values.push(whole["record"]["value"].clone());
        }
        values.sort_by_key(Value::to_string);
        assert_eq!(values, [r#""for another""#, r#""later""#, r#""unread""#]);
    }

    a_receipt_says_where_its_event_is(backend, deployment) {
        let pods = backend.pods_of(deployment).await;
        let first = publish(&pods[0], "a", "t", json!(1)).await;
        let second = publish(&pods[0], "a", "t", json!(2)).await;
        let last = &pods[pods.len() - 1];
        let path = format!(
            "/v1/subscribe/events/a/types/t?last_event_id={}",
            first["cursor"].as_str().expect("a cursor")
        );
        let (mut stream, _) = Stream::connect(last.public(), &path, &[]).await;
        let block = stream.expect_data(json!(2)).await;
        assert_eq!(block.json()["message_id"], second["message_id"]);
        assert_eq!(block.json()["published_at"], second["published_at"]);
        let age = now_ms() - second["published_at"].as_i64().expect("a time");
        assert!((0..60_000).contains(&age), "{age} ms ago");
    }
}

#[tokio::test]
async fn a_pod_that_starts_again_serves_what_was_published_while_it_was_away() {
    let kafka = Backend::kafka("group").await;
    let stays = kafka.gateway("restart").await;
    let goes = kafka.gateway("restart").await;
    let path = "/v1/subscribe/events/a/types/t";
    let (mut stream, _) = Stream::connect(goes.public(), path, &[]).await;
    publish(&stays, "a", "t", json!(0)).await;
    stream.expect_data(json!(0)).await;
    let id = stream.last_id.clone().expect("an id");
    drop(goes);
    for n in 1..20 {
        publish(&stays, "a", "t", json!(n)).await;
    }
    let again = kafka.gateway("restart").await;
    let (mut stream, _) = Stream::connect(again.public(), path, &[("last-event-id", &id)]).await;
    assert_eq!(stream.take(19).await, (1..20).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_pod_that_starts_knows_the_keys_that_were_used_before_its_window() {
    let kafka = Backend::kafka("group").await;
    let key = [("content-type", "application/json"), ("idempotency-key", "k")];
    let path = "/v1/sse/events/a/types/t";
    let first = kafka.gateway("keys").await;
    let receipt = http::post(first.public(), path, &key, br#"{"data":1}"#).await.json();
    drop(first);
    // Its window is over at once: what it reads back is there for its keys only.
    let mut flags = kafka.flags("keys");
    flags.push("--log-window-age=1ms".to_owned());
    let second = Gateway::ready(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let again = http::post(second.public(), path, &key, br#"{"data":1}"#).await.json();
    assert_eq!(again["duplicate"], true, "{again}");
    assert_eq!(again["message_id"], receipt["message_id"]);
    assert_eq!(again["published_at"], receipt["published_at"]);
}

#[tokio::test]
async fn a_broker_that_restarts_loses_nothing_and_the_streams_stay_open() {
    let kafka = Kafka::start().await;
    let backend = Backend::Kafka { brokers: kafka.brokers(), assignment: "group" };
    let mut flags = backend.flags("outage");
    flags.push("--publish-timeout=2s".to_owned());
    let gateway = Gateway::ready(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let path = "/v1/subscribe/events/a/types/t";
    let (mut stream, _) = Stream::connect(gateway.public(), path, &[]).await;
    publish(&gateway, "a", "t", json!("before")).await;
    stream.expect_data(json!("before")).await;

    kafka.kill().await;
    let away = gateway.publish("a", "t", r#"{"data":"away"}"#).await;
    assert_eq!(away.status, 503, "{}", away.text());
    assert!(away.header("retry-after").is_some());
    let kind = away.json()["type"].as_str().expect("a type").to_owned();
    assert!(kind.ends_with("not-accepted") || kind.ends_with("outcome-unknown"), "{kind}");
    assert_eq!(gateway.admin_get("/livez").await.status, 200);
    assert_eq!(gateway.admin_get("/readyz").await.status, 200, "a lost broker unreadies no pod");

    kafka.restart().await;
    eventually("publishing works again", Duration::from_secs(60), async || {
        gateway.publish("a", "t", r#"{"data":"after"}"#).await.status == 200
    })
    .await;
    // What was said to be not accepted is not there; an unknown outcome may be, before the next.
    let mut got = stream.take(1).await;
    if got[0] == "away" {
        assert!(kind.ends_with("outcome-unknown"), "not-accepted was not true");
        got = stream.take(1).await;
    }
    assert_eq!(got[0], "after");
}

#[tokio::test]
async fn a_gateway_whose_kafka_is_away_says_so_and_goes_on_when_it_comes() {
    let kafka = Kafka::start().await;
    let backend = Backend::Kafka { brokers: kafka.brokers(), assignment: "group" };
    kafka.kill().await;
    let flags = backend.flags("late");
    let gateway = Gateway::spawn(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(gateway.admin_get("/livez").await.status, 200);
    eventually("readyz says why", Duration::from_secs(30), async || {
        gateway.admin_get("/readyz").await.json()["latches"]["log_reachable"]["why"]
            .as_str()
            .is_some_and(|why| !why.is_empty())
    })
    .await;
    let path = "/v1/subscribe/events/a/types/t";
    assert_eq!(http::get(gateway.public(), path, &[]).await.status, 503);
    kafka.restart().await;
    gateway.until_ready().await;
    let (mut stream, _) = Stream::connect(gateway.public(), path, &[]).await;
    publish(&gateway, "a", "t", json!(1)).await;
    stream.expect_data(json!(1)).await;
}

#[tokio::test]
async fn a_long_promise_is_kept_by_pods_that_start_when_its_event_has_left_the_window() {
    let kafka = Backend::kafka("group").await;
    let mut flags = kafka.flags("promise");
    flags.extend(
        ["--kafka-dead-letters-topic=promise.dead", "--kafka-deliveries-topic=promise.deliveries"]
            .map(str::to_owned),
    );
    // Nothing is in the window of a pod that starts.
    flags.push("--log-window-age=1ms".to_owned());
    flags.push("--dedupe-window=1ms".to_owned());
    flags.extend(["--drain-grace=100ms", "--drain-window=1s"].map(str::to_owned));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let first = Gateway::ready(&flags).await;
    let headers = [("content-type", "application/json"), ("x-deliver-within", "4s")];
    for (path, data) in
        [("/v1/sse/events/a/types/t", "unread"), ("/v1/sse/events/b/types/t", "read")]
    {
        let body = json!({ "data": data }).to_string();
        let answer = http::post(first.public(), path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200);
    }
    let (mut stream, _) =
        Stream::connect(first.public(), "/v1/subscribe/events/b/types/t?from=earliest", &[]).await;
    stream.expect_data(json!("read")).await;
    // The notes are with the log before the pod is gone.
    assert!(first.terminate().await.success());
    let second = Gateway::ready(&flags).await;
    eventually("one letter", Duration::from_secs(30), async || {
        let page = second.admin_get("/v1/dead-letters").await.json();
        let letters = page["letters"].as_array().expect("letters");
        letters.len() == 1 && letters[0]["reason"] == "undelivered"
    })
    .await;
}
