//! The groups that pods leave behind, on a real Kafka.

use std::collections::{HashMap, HashSet};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tidegate::kubernetes::janitor::sweep;
use tidegate::log::kafka::{Group, Groups, KafkaLog};
use tidegate_rig::kafka::Kafka;
use tokio::time::Instant;

use super::*;
use crate::support::config::on_kafka;
use crate::support::recording::Recording;
use crate::support::stream::Stream;

/// Makes a group that has had a member and has none.
async fn leave_behind(kafka: &Kafka, protocol: &str, topic: &str, name: &str) {
    let mut config = kafka.client();
    config.set("group.id", name).set("group.protocol", protocol).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    let joined = tokio::task::spawn_blocking(move || {
        let deadline = std::time::SystemTime::now() + SOON;
        while consumer.assignment().expect("an assignment").count() == 0 {
            assert!(std::time::SystemTime::now() < deadline, "no partition was assigned");
            let _ = consumer.poll(Duration::from_millis(20));
        }
        // It leaves when it is dropped.
    });
    joined.await.expect("it joined");
}

async fn open(kafka: &Kafka, prefix: &str, pod: &str) -> KafkaLog {
    let mut config = on_kafka(kafka.brokers(), prefix);
    config.pod.name = pod.to_owned();
    let seen = Recording::default();
    let log = KafkaLog::open(&config, seen.clone()).expect("good settings");
    eventually("caught up", SOON, async || seen.told(|told| told.caught_up.is_some())).await;
    log
}

fn groups(log: &KafkaLog) -> &Groups {
    log.groups().expect("it has a group")
}

async fn list(log: &KafkaLog) -> Vec<Group> {
    groups(log).list(Instant::now() + SOON).await.expect("listed")
}

fn random_prefix() -> String {
    format!("j{:016x}", rand::random::<u64>())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_nobody_comes_back_to_is_removed() {
    let kafka = Kafka::shared().await;
    let prefix = random_prefix();
    let (one, two) = tokio::join!(open(kafka, &prefix, "one"), open(kafka, &prefix, "two"));
    let ours = format!("{prefix}/tidegate");
    let topic = on_kafka(kafka.brokers(), &prefix).kafka.events_topic;
    // Of pods that are gone, of one that has started anew, and of one that says nothing.
    let gone = [format!("{ours}/gone/00000001"), format!("{ours}/gone/00000002")];
    let older = format!("{ours}/one/00000003");
    let mute = format!("{ours}/mute/00000004");
    let others = [
        format!("{ours}2/gone/00000005"),
        format!("{ours}/x/gone/00000006"),
        format!("{ours}/gone/00000007/x"),
        format!("{ours}/gone"),
        format!("{prefix}/gone/00000008"),
    ];
    let empty: Vec<_> = gone.iter().chain([&older, &mute]).chain(&others).collect();
    let made = empty.iter().enumerate().map(|(n, name)| {
        let protocol = if n % 2 == 0 { "consumer" } else { "classic" };
        leave_behind(kafka, protocol, &topic, name)
    });
    futures_util::future::join_all(made).await;
    let listed = list(&one).await;
    let names: Vec<_> = listed.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names.len(), 6, "exactly this release's: {names:?}");

    // The API server does not have the second pod any more, which runs on all the same.
    let pods: HashSet<String> = ["one", "mute"].map(str::to_owned).into();
    let current = HashMap::from([("one".to_owned(), one.group().to_owned())]);
    eventually("all that is empty is removed", SOON, async || {
        let listed = list(&one).await;
        sweep(groups(&one), &listed, &pods, &current).await.expect("swept");
        list(&one).await.len() == 3
    })
    .await;
    let left: HashSet<String> = kafka.groups().await.into_iter().collect();
    for name in [one.group(), two.group(), &mute].into_iter().chain(others.iter().map(|s| &**s)) {
        assert!(left.contains(name), "{name} is not among {left:?}");
    }
    for name in gone.iter().chain([&older]) {
        assert!(!left.contains(name), "{name} stays");
    }
    let listed = list(&one).await;
    assert_eq!(sweep(groups(&one), &listed, &pods, &current).await, Ok(0), "and nothing else");

    // Even if everything were taken for abandoned, what is in use stays.
    let listed = list(&one).await;
    let swept = sweep(groups(&one), &listed, &HashSet::new(), &HashMap::new()).await;
    assert_eq!(swept, Ok(1), "the empty one");
    let left = kafka.groups().await;
    assert!(left.iter().any(|name| name == one.group()) && left.iter().any(|n| n == two.group()));
    one.close(Instant::now() + SOON).await;
    two.close(Instant::now() + SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_away_are_no_harm() {
    let log = {
        let config = on_kafka("127.0.0.1:1".to_owned(), "away");
        KafkaLog::open(&config, Recording::default()).expect("good settings")
    };
    let listed = groups(&log).list(Instant::now() + Duration::from_secs(5)).await;
    assert!(listed.is_err(), "{listed:?}");
    let group = Group::parse("away/tidegate", "away/tidegate/gone/00000001").expect("a name");
    let swept = sweep(groups(&log), &[group], &HashSet::new(), &HashMap::new()).await;
    assert!(swept.is_err(), "{swept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_that_leads_looks_after_the_others() {
    let kafka = Kafka::shared().await;
    let prefix = random_prefix();
    let cluster = Cluster::start().await;
    let ours = format!("{prefix}/tidegate");
    let brokers = kafka.brokers();
    let (events, broadcast) = (format!("{prefix}.events"), format!("{prefix}.broadcast"));
    // It does not lead before there is something to see.
    cluster.server.is(Mood::Refuses(403, "leases"));
    let gateway = cluster
        .gateway(&[
            LEASE,
            AT_ONCE,
            &["--kubernetes-deletion-cost", "--kubernetes-janitor"],
            &["--kubernetes-selector", "app.kubernetes.io/name=tidegate", "--pod-name", "one"],
            &["--log-kind", "kafka", "--kafka-brokers", &brokers, "--kafka-group-prefix", &ours],
            &["--kafka-events-topic", &events, "--kafka-broadcast-topic", &broadcast],
        ])
        .await;
    let own = gateway.admin_get("/v1/connections").await.json()["group"].clone();
    let own = own.as_str().expect("its group").to_owned();
    let older = [format!("{ours}/gone/00000001"), format!("{ours}/one/00000002")];
    for name in &older {
        leave_behind(kafka, "consumer", &events, name).await;
    }
    let room = "/v1/subscribe/events/a/types/t";
    let streams = [
        Stream::open(gateway.public(), room, &[]).await,
        Stream::open(gateway.public(), room, &[]).await,
    ];
    // All ready, and the leader's own name is that of another pod: nothing is removed.
    let status = json!({"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
    let pod = json!({"metadata": {"uid": "u"}, "status": status});
    cluster.server.put("pods", "another", pod.clone());
    cluster.server.is(Mood::Fine);
    eventually("it is said", SOON, async || said(&gateway, "is not among the pods of") == 1).await;
    let names = kafka.groups().await;
    assert!(older.iter().all(|name| names.contains(name)), "{names:?}");

    cluster.server.put("pods", "one", pod);
    let cost = || {
        let pod = cluster.server.get("pods", "one").expect("a pod");
        let cost = &pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
        cost.as_str().map(str::to_owned)
    };
    eventually("the cost is written", SOON, async || cost().as_deref() == Some("2")).await;
    eventually("the groups are removed", SOON * 2, async || {
        let names = kafka.groups().await;
        older.iter().all(|name| !names.contains(name))
    })
    .await;
    assert!(kafka.groups().await.contains(&own));
    assert_eq!(gateway.metric("tidegate_groups_removed_total", "").await, 2.0);
    let another = cluster.server.get("pods", "another").expect("a pod");
    assert_eq!(another["metadata"].get("annotations"), None, "who answers there is not it");
    drop(streams);
    assert!(gateway.terminate().await.success());
    assert!(!kafka.groups().await.contains(&own));
}
