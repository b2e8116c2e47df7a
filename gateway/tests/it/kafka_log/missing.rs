//! Reading back what is not there.

use tidegate::log::{Span, Unread};

use super::*;

/// How long anything may take that must not wait for an answer that never comes.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_topic_is_missing_is_known_to_be_missing_at_once() {
    let kafka = Kafka::shared().await;
    both(true, false, async |create_topics| {
        let mut config = settings(kafka);
        kafka.create_topic(&config.kafka.events_topic, 1).await;
        kafka.create_topic(&config.kafka.broadcast_topic, 1).await;
        config.kafka.create_topics = create_topics;
        config.kafka.deliveries_topic = format!("{}.deliveries", config.kafka.events_topic);
        let pod = Pod::ready(&config).await;
        let shard = pod.log.notes().expect("Kafka keeps notes");
        let all = Span { shard, from: Offset(0), until: Offset(u128::MAX), most_bytes: 1 };
        let is_missing = async || {
            let began = Instant::now();
            let sought = pod.log.seek(shard, 0, began + SOON).await;
            let read = pod.log.read(all, began + SOON).await.map(|stretch| stretch.end);
            assert!(began.elapsed() < AT_ONCE, "{:?}: {sought:?}, {read:?}", began.elapsed());
            (sought, read) == (Err(Unread::NoSuchShard), Err(Unread::NoSuchShard))
        };
        assert!(is_missing().await);
        assert!(is_missing().await, "nor is it made by asking");
        kafka.create_topic(&config.kafka.deliveries_topic, 1).await;
        assert_eq!(pod.log.seek(shard, 0, Instant::now() + SOON).await, Ok(Offset(0)));
        kafka.delete_topic(&config.kafka.deliveries_topic).await;
        eventually("it is missing again", SOON, is_missing).await;
        pod.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_leader_is_unreachable_and_not_missing() {
    let kafka = Kafka::start().await;
    let second = kafka.second().await;
    eventually("two brokers", SOON, async || kafka.brokers_up().await == 2).await;
    let mut config = settings(&kafka);
    config.kafka.partitions = 4;
    let pod = Pod::ready(&config).await;
    let shards: Vec<_> = events(&config).all_shards().collect();
    second.stop().await;
    let seek_all = async || {
        let found = shards.iter().map(|shard| pod.log.seek(*shard, 0, Instant::now() + SOON));
        futures_util::future::join_all(found).await
    };
    eventually("the partitions of the second broker have no leader", SOON, async || {
        let found = seek_all().await;
        assert!(!found.contains(&Err(Unread::NoSuchShard)), "{found:?}");
        found.iter().any(Result::is_err)
    })
    .await;
    second.restart().await;
    eventually("they have one again", SOON, async || {
        let found = seek_all().await;
        assert!(!found.contains(&Err(Unread::NoSuchShard)), "{found:?}");
        found.iter().all(Result::is_ok)
    })
    .await;
    pod.close().await;
}
