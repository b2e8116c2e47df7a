//! Groups: one a pod, and nothing depends on it.

use super::*;

/// The consumer group of a pod.
fn group(pod: &Pod) -> &str {
    let Log::Kafka(log) = &pod.log else { panic!("no Kafka log") };
    log.group()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pod_sees_everything_and_leaves_no_group_behind() {
    let kafka = Kafka::shared().await;
    let config = settings(kafka);
    // Both make the topics.
    let (one, other) = tokio::join!(Pod::ready(&config), Pod::ready(&config));
    assert_ne!(group(&one), group(&other));
    for n in 0..20 {
        let pod = if n % 2 == 0 { &one } else { &other };
        pod.publish("room", &n.to_string()).await;
    }
    one.sees("room", &numbers(0..20)).await;
    other.sees("room", &numbers(0..20)).await;
    let groups = kafka.groups().await;
    assert!(groups.iter().any(|name| name == group(&one)), "{groups:?}");
    one.close().await;
    // The other one goes on.
    other.publish("room", "20").await;
    other.sees("room", &numbers(0..21)).await;
    other.close().await;
    let groups = kafka.groups().await;
    assert!(!groups.iter().any(|name| name.starts_with(&config.kafka.group_prefix)), "{groups:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_assignment_makes_no_group() {
    let kafka = Kafka::shared().await;
    let mut config = settings(kafka);
    config.kafka.assignment = Assignment::Manual;
    let pod = Pod::ready(&config).await;
    for n in 0..5 {
        pod.publish("room", &n.to_string()).await;
    }
    pod.sees("room", &numbers(0..5)).await;
    let groups = kafka.groups().await;
    assert!(!groups.iter().any(|name| name.starts_with(&config.kafka.group_prefix)), "{groups:?}");
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_pod_whose_group_was_deleted_loses_and_repeats_nothing() {
    both("consumer", "classic", async |protocol| {
        let kafka = Kafka::shared().await;
        let mut config = settings(kafka);
        let options = &mut config.kafka.options;
        options.insert("group.protocol".to_owned(), protocol.to_owned());
        // A member that does not poll for so long is out of the group.
        options.insert("max.poll.interval.ms".to_owned(), "6000".to_owned());
        options.insert("session.timeout.ms".to_owned(), "6000".to_owned());
        let pod = Pod::ready(&config).await;
        for n in 0..10 {
            pod.publish("room", &n.to_string()).await;
        }
        pod.sees("room", &numbers(0..10)).await;
        {
            let frozen = pod.seen.stand_still();
            for n in 10..20 {
                pod.publish("room", &n.to_string()).await;
            }
            let deadline = Instant::now() + SOON;
            while let Err(code) = kafka.delete_group(group(&pod)).await {
                assert!(Instant::now() < deadline, "the group was never empty: {code}");
            }
            drop(frozen);
        }
        for n in 20..30 {
            pod.publish("room", &n.to_string()).await;
        }
        pod.sees("room", &numbers(0..30)).await;
        pod.seen.told(|told| {
            told.assert_in_order();
            assert_eq!(told.starts.len(), 3 + 1, "no shard began anew");
        });
        let groups = kafka.groups().await;
        assert!(groups.iter().any(|name| name == group(&pod)), "joined again: {groups:?}");
        pod.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_without_the_new_group_protocol_get_a_classic_group() {
    let kafka = Kafka::start_with(&[("group.coordinator.rebalance.protocols", "classic")]).await;
    let config = settings(&kafka);
    let pod = Pod::ready(&config).await;
    for n in 0..5 {
        pod.publish("room", &n.to_string()).await;
    }
    pod.sees("room", &numbers(0..5)).await;
    pod.seen.told(|told| assert_eq!(told.starts.len(), 3 + 1, "no shard began anew"));
    pod.close().await;
    assert!(!kafka.groups().await.iter().any(|name| name == group(&pod)));
}
