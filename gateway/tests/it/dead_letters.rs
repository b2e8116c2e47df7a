//! Dead letters from end to end: strangers' records on Kafka, several pods, and the command.

use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;
use crate::support::stream::Stream;
use crate::support::{eventually, http};

const ROOM: &str = "/v1/subscribe/events/a/types/t";

/// Gateways on topics of their own, and a stranger who writes there.
struct Deployment<'k> {
    kafka: &'k Kafka,
    name: &'static str,
    stranger: FutureProducer,
}

impl<'k> Deployment<'k> {
    async fn new(name: &'static str) -> Self {
        Self::on(Kafka::shared().await, name)
    }

    fn on(kafka: &'k Kafka, name: &'static str) -> Self {
        let mut stranger = kafka.client();
        stranger.set("message.max.bytes", "2000000");
        let stranger = stranger.create().expect("a producer");
        Self { kafka, name, stranger }
    }

    async fn gateway(&self, flags: &[&str]) -> Gateway {
        let Self { kafka, name, .. } = self;
        let mut all = vec![
            "--log-kind=kafka".to_owned(),
            format!("--kafka-brokers={}", kafka.brokers()),
            format!("--kafka-events-topic={name}.events"),
            format!("--kafka-broadcast-topic={name}.broadcast"),
            format!("--kafka-dead-letters-topic={name}.dead"),
            format!("--kafka-group-prefix={name}"),
            "--kafka-partitions=1".to_owned(),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Gateway::ready(&all.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Writes a record; with a key it is one of the room `a`/`t`.
    async fn produce(&self, key: Option<&str>, value: Option<&str>) {
        let topic = format!("{}.events", self.name);
        let header = Header { key: "event_type", value: Some("t") };
        let mut record: FutureRecord<'_, str, str> =
            FutureRecord::to(&topic).headers(OwnedHeaders::new().insert(header));
        record.key = key;
        record.payload = value;
        let sent = self.stranger.send(record, Duration::from_secs(10)).await;
        sent.map_err(|(error, _)| error).expect("sent");
    }

    fn key(&self, offset: u32) -> String {
        format!("{}.events/0/{offset}", self.name)
    }
}

async fn letters(of: &Gateway) -> Vec<Value> {
    let answer = of.admin_get("/v1/dead-letters").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["letters"].as_array().expect("letters").clone()
}

async fn keys(of: &Gateway) -> Vec<String> {
    let mut keys: Vec<_> = letters(of)
        .await
        .iter()
        .map(|letter| letter["key"].as_str().expect("a key").to_owned())
        .collect();
    keys.sort();
    keys
}

async fn until_there_are(of: &Gateway, expected: &[String]) {
    let mut found = Vec::new();
    eventually("the letters are there", http::PATIENCE, async || {
        found = keys(of).await;
        found == expected
    })
    .await;
}

/// Runs `tidegate dlq` against a gateway: its exit code and what it said.
async fn dlq(gateway: &Gateway, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().arg("dlq").args(args);
    command.arg(format!("--admin=http://{}", gateway.admin()));
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let Output { status, stdout, stderr } = ran.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("a code"), text(stdout), text(stderr))
}

#[tokio::test]
async fn each_record_that_is_no_event_gets_a_letter_whoever_reads_it() {
    let deployment = Deployment::new("dlq-each").await;
    let limit = ["--limits-body-bytes=1KiB"];
    let pods = [deployment.gateway(&limit).await, deployment.gateway(&limit).await];
    let mut streams = Vec::new();
    for pod in &pods {
        streams.push(Stream::connect(pod.public(), ROOM, &[]).await.0);
    }
    deployment.produce(None, Some("0")).await;
    deployment.produce(Some("a"), None).await;
    deployment.produce(Some("a"), Some("{\"forged\":\n\n")).await;
    deployment.produce(Some("a"), Some(&"9".repeat(1025))).await;
    deployment.produce(Some("a"), Some("\"good\"")).await;
    for stream in &mut streams {
        stream.expect_data(json!("good")).await;
    }
    // The null is none, and the good one neither.
    let expected = [0, 2, 3].map(|offset| deployment.key(offset));
    until_there_are(&pods[0], &expected).await;
    let found = letters(&pods[1]).await;
    let letter = |offset: u32| {
        let key = deployment.key(offset);
        found.iter().find(|letter| letter["key"] == key).expect("a letter")
    };
    assert_eq!(letter(0)["reason"], "malformed");
    assert!(letter(0)["detail"].as_str().expect("text").contains("has no key"));
    assert_eq!(letter(0)["record"]["key"], Value::Null);
    assert_eq!(letter(2)["record"]["event_type"], "t");
    assert_eq!(letter(3)["reason"], "too_large");
    assert_eq!(letter(3)["record"]["left_out"], 1025);
    let whole = pods[0].admin_get(&format!("/v1/dead-letters/{}", deployment.key(2))).await;
    assert_eq!(whole.json()["record"]["value"], "{\"forged\":\n\n");
    assert_eq!(whole.json()["record"]["fields"], json!([["event_type", "t"]]));

    // Whoever starts reads the window back and finds the letters there.
    let late = deployment.gateway(&limit).await;
    deployment.produce(None, Some("1")).await;
    let expected = [0, 2, 3, 5].map(|offset| deployment.key(offset));
    until_there_are(&late, &expected).await;
    assert!(late.metric("tidegate_dead_letters_total", "").await <= 1.0);
    let mut written = 0.0;
    for pod in pods.iter().chain([&late]) {
        written += pod.metric("tidegate_dead_letters_total", "").await;
        assert_eq!(pod.metric("tidegate_dead_letters_lost_total", "").await, 0.0);
    }
    assert!((4.0..=12.0).contains(&written), "{written} written");
}

#[tokio::test]
async fn what_nobody_was_there_to_see_gets_its_letter_from_the_next_pod() {
    let deployment = Deployment::new("dlq-next").await;
    drop(deployment.gateway(&[]).await);
    // As large as the broker takes: with what is said about it, it is larger than that.
    deployment.produce(None, Some(&"9".repeat(1_048_500))).await;
    let pod = deployment.gateway(&[]).await;
    until_there_are(&pod, &[deployment.key(0)]).await;
    let letter = letters(&pod).await.remove(0);
    assert_eq!(letter["record"]["left_out"], 1_048_500);
    assert_eq!(letter["record"]["event_type"], "t", "the rest of it is there");
}

#[tokio::test]
async fn what_became_an_event_is_replayed_once_by_the_command_and_again_when_asked() {
    let deployment = Deployment::new("dlq-replay").await;
    let strict = deployment.gateway(&["--limits-json-depth=2"]).await;
    let (mut refused, _) = Stream::connect(strict.public(), ROOM, &[]).await;
    deployment.produce(Some("a"), Some("[[[1]]]")).await;
    deployment.produce(Some("a"), Some("never JSON")).await;
    deployment.produce(Some("a"), Some("\"good\"")).await;
    refused.expect_data(json!("good")).await;
    let (deep, never) = (deployment.key(0), deployment.key(1));
    until_there_are(&strict, &[deep.clone(), never.clone()]).await;

    let (code, out, err) = dlq(&strict, &["list", "--reason=malformed"]).await;
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.contains(&format!(" {deep} malformed: ")), "{out}");
    let (code, out, _) = dlq(&strict, &["list", "--json", "--limit=1"]).await;
    let line: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((code, &line["reason"]), (0, &json!("malformed")));
    let (code, out, _) = dlq(&strict, &["show", &deep]).await;
    assert_eq!(code, 0);
    assert!(out.contains("  field   event_type: t\n  value   [[[1]]]\n"), "{out}");
    let (code, out, err) = dlq(&strict, &["show", "no.source/0/1"]).await;
    assert_eq!((code, &*out), (1, ""));
    assert!(err.contains("there is no dead letter no.source/0/1"), "{err}");

    let (code, _, err) = dlq(&strict, &["replay", &deep]).await;
    assert_eq!(code, 1, "nested as deep as before: {err}");
    assert!(err.contains("is no event even now") && err.contains("0 replayed"), "{err}");
    // What is replayed is no event for it either: it would write letters anew, perhaps after the purge.
    assert_eq!(strict.terminate().await.code(), Some(0));

    let fixed = deployment.gateway(&[]).await;
    let (mut stream, _) = Stream::connect(fixed.public(), ROOM, &[]).await;
    let (code, out, err) = dlq(&fixed, &["replay", "--all"]).await;
    assert_eq!(code, 1, "one is left: {err}");
    assert!(out.starts_with(&format!("{deep} replayed as ")), "{out}");
    assert!(err.contains("1 replayed, 0 had been before, 1 left"), "{err}");
    stream.expect_data(json!([[[1]]])).await;
    let (code, out, err) = dlq(&fixed, &["replay", &deep]).await;
    assert_eq!((code, &*out), (0, ""), "{err}");
    assert!(err.contains("was replayed before"), "{err}");
    let (code, out, _) = dlq(&fixed, &["replay", "--again", &deep]).await;
    assert_eq!(code, 0);
    assert!(out.contains("replayed as"), "{out}");
    stream.expect_data(json!([[[1]]])).await;
    let (_, out, _) = dlq(&fixed, &["show", &deep]).await;
    assert_eq!(out.matches("replayed  ").count(), 2, "{out}");

    let (code, _, err) = dlq(&fixed, &["purge", "--before=1h"]).await;
    assert_eq!((code, &*err), (0, "0 records are removed\n"));
    let (code, ..) = dlq(&fixed, &["purge", "--all"]).await;
    assert_eq!(code, 0);
    assert_eq!(letters(&fixed).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_pod_that_has_written_letters_leaves_in_time_when_its_broker_is_dead() {
    let kafka = Kafka::start().await;
    let deployment = Deployment::on(&kafka, "dlq-dead");
    let flags = ["--drain-grace=0s", "--drain-window=0s", "--drain-deadline=10s"];
    let pod = deployment.gateway(&flags).await;
    deployment.produce(None, Some("0")).await;
    until_there_are(&pod, &[deployment.key(0)]).await;
    kafka.kill().await;
    let status = pod.terminate().await;
    assert_eq!(status.code(), Some(0));
}
