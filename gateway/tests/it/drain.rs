//! Going down: when streams end, what does not hold it, and what publishers are told.

use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::{self, PATIENCE, Wire};
use crate::support::kafka::Kafka;
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/a/types/t";
const AT_ONCE: [&str; 2] = ["--drain-grace=0", "--drain-window=0"];

/// Asks a gateway to drain, and says how it ended and how long that took.
fn terminate(gateway: Gateway) -> JoinHandle<(ExitStatus, Duration)> {
    let began = Instant::now();
    tokio::spawn(async move { (gateway.terminate().await, began.elapsed()) })
}

fn on(kafka: &Kafka, name: &str) -> Vec<String> {
    vec![
        "--log-kind=kafka".to_owned(),
        format!("--kafka-brokers={}", kafka.brokers()),
        format!("--kafka-events-topic={name}.events"),
        format!("--kafka-broadcast-topic={name}.broadcast"),
        format!("--kafka-group-prefix={name}"),
        "--kafka-partitions=2".to_owned(),
    ]
}

async fn gateway_on(kafka: &Kafka, name: &str, more: &[&str]) -> Gateway {
    let flags = on(kafka, name);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Gateway::ready(&flags).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_closed_at_a_rate_over_the_window() {
    const STREAMS: usize = 100;
    let flags = ["--drain-grace=0", "--drain-window=3s", "--drain-deadline=30s"];
    let gateway = Gateway::ready(&flags).await;
    let mut reading = Vec::new();
    for _ in 0..STREAMS {
        let (mut stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
        reading.push(tokio::spawn(async move {
            let goodbye = stream.next().await;
            (Instant::now(), goodbye.json()["reason"].clone())
        }));
    }
    let ended = terminate(gateway);
    let mut at = Vec::new();
    for stream in reading {
        let (when, reason) = stream.await.expect("a goodbye");
        assert_eq!(reason, "drain");
        at.push(when);
    }
    at.sort_unstable();
    let spread = at[STREAMS - 1] - at[0];
    assert!(spread > Duration::from_millis(1_500), "not all at once: {spread:?}");
    let largest_gap = at.windows(2).map(|pair| pair[1] - pair[0]).max().expect("some");
    assert!(largest_gap < spread / 3, "and not in two heaps: {largest_gap:?} of {spread:?}");
    assert!(ended.await.expect("ended").0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_began_together_reach_their_age_apart() {
    let gateway = Gateway::ready(&["--stream-max-age=3s"]).await;
    let mut reading = Vec::new();
    for _ in 0..30 {
        let (mut stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
        reading.push(tokio::spawn(async move {
            let began = Instant::now();
            let goodbye = stream.next().await;
            assert_eq!(goodbye.json()["reason"], "max_age");
            assert!(goodbye.retry.is_some() && goodbye.id.is_none());
            assert_eq!(stream.block().await, None, "a clean end");
            began.elapsed()
        }));
    }
    let mut ages = Vec::new();
    for stream in reading {
        ages.push(stream.await.expect("a goodbye"));
    }
    let (youngest, oldest) = (ages.iter().min().expect("one"), ages.iter().max().expect("one"));
    assert!(*youngest > Duration::from_secs(2), "80 % at the least: {youngest:?}");
    assert!(*oldest - *youngest > Duration::from_millis(150), "{youngest:?} to {oldest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_does_not_hold_a_drain() {
    let mut flags = AT_ONCE.to_vec();
    flags.extend(["--drain-deadline=29s", "--stream-write-timeout=1h"]);
    let gateway = Gateway::ready(&flags).await;
    let wire = Wire::connect_small(gateway.public()).await;
    let _stalled = Stream::open_over(wire, ROOM, &[]).await;
    let (mut reader, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    let body = json!({"data": "x".repeat(900_000)}).to_string();
    for _ in 0..10 {
        assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
        reader.next().await;
    }
    let ended = terminate(gateway);
    assert_eq!(reader.next().await.json()["reason"], "drain");
    let (status, took) = ended.await.expect("ended");
    assert!(status.success());
    assert!(took < Duration::from_secs(20), "well before the deadline: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_cut_at_the_deadline_and_the_others_are_told_goodbye() {
    // Without the deadline it would be waited for: for five seconds after the window.
    let flags = ["--drain-grace=0", "--drain-window=1s", "--drain-deadline=2s"];
    let patient = ["--stream-write-timeout=1h", "--stream-queue-bytes=32MiB"];
    let gateway = Gateway::ready(&[&flags[..], &patient].concat()).await;
    let mut reading = Vec::new();
    for _ in 0..20 {
        let other = "/v1/subscribe/events/b/types/t";
        reading.push(Stream::connect(gateway.public(), other, &[]).await.0);
    }
    let wire = Wire::connect_small(gateway.public()).await;
    let mut stalled = Stream::open_over(wire, ROOM, &[]).await;
    let body = json!({"data": "x".repeat(900_000)}).to_string();
    for _ in 0..10 {
        assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
    }
    let ended = terminate(gateway);
    for mut stream in reading {
        let goodbye = stream.next().await;
        assert_eq!(goodbye.json()["reason"], "drain");
        assert!(goodbye.retry.is_some());
        assert_eq!(stream.block().await, None, "a clean end");
    }
    let (status, took) = ended.await.expect("ended");
    assert!(status.success(), "{status}");
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    // There was no room to tell it.
    while let Some(block) = stalled.block().await {
        assert_ne!(block.event.as_deref(), Some("tidegate.goodbye"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_dead_or_silent_does_not_hold_a_drain() {
    let kafka = Kafka::start().await;
    let mut flags = AT_ONCE.to_vec();
    flags.push("--drain-deadline=2m");
    let noticed = gateway_on(&kafka, "one", &flags).await;
    let unnoticed = gateway_on(&kafka, "two", &flags).await;
    let silent = gateway_on(&kafka, "three", &flags).await;
    kafka.freeze().await;
    let (status, took) = terminate(silent).await.expect("ended");
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(20), "a silent one: {took:?}");
    kafka.thaw().await;
    kafka.kill().await;
    let (status, took) = terminate(unnoticed).await.expect("ended");
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(20), "one that just died: {took:?}");
    eventually("the outage is noticed", PATIENCE, async || {
        noticed.metric("tidegate_log_up", "").await == 0.0
    })
    .await;
    let (status, took) = terminate(noticed).await.expect("ended");
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(20), "one that is known to be dead: {took:?}");
}

/// What a publisher was told: the number of its event, and the answer's status and problem.
type Told = (u64, Option<(u16, Value)>);

/// Publishes one event; `None` if there was no answer.
async fn publish(to: std::net::SocketAddr, n: u64) -> Told {
    let body = json!({ "data": n }).to_string();
    let Ok(socket) = tokio::net::TcpStream::connect(to).await else { return (n, None) };
    let mut wire = Wire { socket, buffer: Vec::new() };
    let request = format!(
        "POST /v1/sse/events/a/types/t HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    if tokio::io::AsyncWriteExt::write_all(&mut wire.socket, request.as_bytes()).await.is_err() {
        return (n, None);
    }
    let Some((status, head)) = wire.head().await else { return (n, None) };
    let length = http::header(&head, "content-length").and_then(|l| l.parse().ok());
    let Some(body) = wire.take(length.expect("a length")).await else { return (n, None) };
    if status == 503 {
        assert!(http::header(&head, "retry-after").is_some(), "{head}");
    }
    (n, Some((status, serde_json::from_slice(&body).expect("JSON"))))
}

/// Asserts that what was told is what a new pod finds in the log.
async fn assert_true(kafka: &Kafka, name: &str, told: &[Told]) {
    let pod = gateway_on(kafka, name, &["--kafka-assignment=manual"]).await;
    let (mut there, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/events/a/types/t/history?limit=1000{after}");
        let page = http::get(pod.public(), &path, &[]).await.json();
        let events = page["events"].as_array().expect("events");
        if events.is_empty() {
            break;
        }
        there.extend(events.iter().map(|event| event["data"].as_u64().expect("a number")));
        after = format!("&after={}", page["next"].as_str().expect("a cursor"));
    }
    for (n, answer) in told {
        let times = there.iter().filter(|found| *found == n).count();
        match answer {
            Some((200, _)) => assert_eq!(times, 1, "{n} was accepted"),
            Some((503, problem)) if problem["type"] == "urn:tidegate:problem:not-accepted" => {
                assert_eq!(times, 0, "{n} was not accepted: {problem}");
            }
            Some((503, problem)) => {
                assert_eq!(problem["type"], "urn:tidegate:problem:outcome-unknown");
                assert!(times <= 1, "{n}");
            }
            Some(other) => panic!("{n}: {other:?}"),
            None => assert!(times <= 1, "{n}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_are_told_the_truth_while_a_pod_goes_and_its_group_goes_with_it() {
    let kafka = Kafka::start().await;
    let mut flags = AT_ONCE.to_vec();
    flags.extend(["--drain-deadline=8s", "--publish-timeout=1m"]);

    let pod = gateway_on(&kafka, "busy", &flags).await;
    let to = pod.public();
    let publishers: Vec<JoinHandle<Vec<Told>>> = (0..8_u64)
        .map(|publisher| {
            tokio::spawn(async move {
                let mut told = Vec::new();
                for n in 0.. {
                    told.push(publish(to, publisher * 1_000_000 + n).await);
                    if matches!(told.last(), Some((_, None))) {
                        break;
                    }
                }
                told
            })
        })
        .collect();
    eventually("events are published", PATIENCE, async || {
        pod.metric("tidegate_publish_requests_total", "outcome=\"ok\"").await > 100.0
    })
    .await;
    assert!(terminate(pod).await.expect("ended").0.success());
    let groups = kafka.groups().await;
    assert!(!groups.iter().any(|group| group.starts_with("busy/")), "{groups:?}");
    let mut told = Vec::new();
    for publisher in publishers {
        told.extend(publisher.await.expect("published"));
    }
    assert_true(&kafka, "busy", &told).await;

    // A broker that does not answer: they hear that nobody knows, before the pod is gone.
    let pod = gateway_on(&kafka, "silent", &flags).await;
    let to = pod.public();
    let mut told = vec![publish(to, 0).await];
    kafka.freeze().await;
    let waiting: Vec<_> = (1..20).map(|n| tokio::spawn(publish(to, n))).collect();
    eventually("they are on their way", PATIENCE, async || {
        pod.metric("tidegate_publish_bytes_total", "").await >= 20.0 * 10.0
    })
    .await;
    let (status, took) = terminate(pod).await.expect("ended");
    assert!(status.success() && took < Duration::from_secs(20), "{status}, {took:?}");
    for publisher in waiting {
        let answer = publisher.await.expect("published");
        assert!(answer.1.is_some(), "an answer: {answer:?}");
        told.push(answer);
    }
    kafka.thaw().await;
    assert_true(&kafka, "silent", &told).await;

    // A second signal does not wait for anything.
    let pod = gateway_on(&kafka, "twice", &["--drain-grace=1m", "--drain-deadline=5m"]).await;
    kafka.freeze().await;
    let waiting = tokio::spawn(publish(pod.public(), 0));
    pod.signal("TERM");
    eventually("the drain begins", PATIENCE, async || pod.log().contains("draining")).await;
    let (status, took) = terminate(pod).await.expect("ended");
    assert!(status.success() && took < Duration::from_secs(15), "{status}, {took:?}");
    kafka.thaw().await;
    let told = waiting.await.expect("published");
    assert_true(&kafka, "twice", &[told]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_are_a_certain_refusal() {
    let kafka = Kafka::start_with(&[("min.insync.replicas", "2")]).await;
    let second = kafka.second().await;
    eventually("two brokers", PATIENCE, async || kafka.brokers_up().await == 2).await;
    let flags = ["--kafka-assignment=manual", "--kafka-replication=2", "--publish-timeout=4s"];
    let pod = gateway_on(&kafka, "few", &flags).await;
    let mut told = vec![publish(pod.public(), 0).await];
    assert_eq!(told[0].1.as_ref().map(|answer| answer.0), Some(200), "{told:?}");

    second.kill().await;
    // While the partitions change their leader nobody can be certain; then everybody is.
    let mut n = 1;
    eventually("certain refusals", Duration::from_secs(60), async || {
        let publishing = (n..n + 10).map(|n| publish(pod.public(), n));
        let answers = futures_util::future::join_all(publishing).await;
        n += 10;
        let certain = answers.iter().all(|(_, answer)| {
            answer.as_ref().is_some_and(|(status, problem)| {
                *status == 503 && problem["type"] == "urn:tidegate:problem:not-accepted"
            })
        });
        told.extend(answers);
        certain
    })
    .await;
    drop(pod);
    second.restart().await;
    assert_true(&kafka, "few", &told).await;
}
