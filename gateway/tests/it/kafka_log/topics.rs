//! Topics that are missing, grow, are made anew or have marks in them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_are_read_from_their_start_while_running() {
    both(Assignment::Group, Assignment::Manual, async |assignment| {
        let kafka = Kafka::shared().await;
        let mut config = settings(kafka);
        config.kafka.assignment = assignment;
        config.kafka.partitions = 1;
        let pod = Pod::ready(&config).await;
        pod.publish("room", "0").await;
        kafka.grow_topic(&config.kafka.events_topic, 4).await;
        // Straight into a new partition, before anybody has read it.
        let producer: BaseProducer = kafka.client().create().expect("a producer");
        let record =
            BaseRecord::to(&config.kafka.events_topic).partition(3).key("new").payload("first");
        producer.send(record).expect("queued");
        producer.flush(SOON).expect("written");
        pod.sees("new", &["first".to_owned()]).await;
        pod.sees("room", &["0".to_owned()]).await;
        pod.seen.told(|told| {
            told.assert_in_order();
            let last = told.sources.last().expect("told");
            assert_eq!(last.iter().map(|s| s.shards).collect::<Vec<_>>(), [4, 1]);
            let of_new = told.starts.iter().find(|(shard, ..)| shard.index == 3).expect("started");
            assert_eq!((of_new.1.next, of_new.2), (Offset(0), Offset(0)));
        });
        pod.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_begins_anew() {
    let kafka = Kafka::shared().await;
    let mut config = settings(kafka);
    config.kafka.partitions = 1;
    let pod = Pod::ready(&config).await;
    for n in 0..10 {
        pod.publish("room", &n.to_string()).await;
    }
    pod.sees("room", &numbers(0..10)).await;
    kafka.delete_topic(&config.kafka.events_topic).await;
    eventually("the missing topic is told", SOON, async || {
        pod.seen.told(|told| {
            told.unreachable().is_some_and(|why| why.contains(&config.kafka.events_topic))
        })
    })
    .await;
    kafka.create_topic(&config.kafka.events_topic, 1).await;
    let again = async {
        loop {
            if let Ok(receipt) = pod.try_publish(&event("room", "10")).await {
                break receipt;
            }
        }
    };
    assert_eq!(again.await.offset, Offset(0));
    pod.sees("room", &numbers(0..11)).await;
    pod.seen.told(|told| {
        let source = events(&config).id;
        let starts: Vec<_> =
            told.starts.iter().filter(|s| s.0.source == source).map(|s| s.1.next).collect();
        assert_eq!(starts, [Offset(0), Offset(0)]);
        assert!(told.is_reachable());
    });
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_and_has_outgrown_the_old_one_begins_anew() {
    both(Assignment::Group, Assignment::Manual, async |assignment| {
        let kafka = Kafka::shared().await;
        let mut config = settings(kafka);
        config.kafka.assignment = assignment;
        config.kafka.partitions = 1;
        let pod = Pod::ready(&config).await;
        for n in 0..3 {
            pod.publish("room", &n.to_string()).await;
        }
        pod.sees("room", &numbers(0..3)).await;
        let topic = &config.kafka.events_topic;
        kafka.delete_topic(topic).await;
        kafka.create_topic(topic, 1).await;
        // All at once: the log is past the pod's place before the pod looks at it again.
        let producer: BaseProducer = kafka.client().create().expect("a producer");
        for value in numbers(3..40) {
            producer.send(BaseRecord::to(topic).key("room").payload(&value)).expect("queued");
        }
        producer.flush(SOON).expect("written");
        pod.sees("room", &numbers(0..40)).await;
        pod.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_that_must_not_be_made_is_named_until_it_is_there() {
    let kafka = Kafka::shared().await;
    let mut config = settings(kafka);
    config.kafka.create_topics = false;
    let pod = Pod::open(&config);
    eventually("the topic is named", SOON, async || {
        pod.seen.told(|told| {
            told.unreachable().is_some_and(|why| {
                why.contains(&config.kafka.events_topic) && why.contains("kafka.create_topics")
            })
        })
    })
    .await;
    kafka.create_topic(&config.kafka.events_topic, 2).await;
    kafka.create_topic(&config.kafka.broadcast_topic, 1).await;
    pod.publish("room", "0").await;
    pod.sees("room", &numbers(0..1)).await;
    assert!(pod.seen.told(|told| told.is_reachable()));
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marks_of_transactions_do_not_keep_a_pod_from_catching_up() {
    let kafka = Kafka::shared().await;
    let config = settings(kafka);
    kafka.create_topic(&config.kafka.events_topic, 1).await;
    let topic = config.kafka.events_topic.clone();
    let mut client = kafka.client();
    client.set("transactional.id", &topic);
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = client.create().expect("a producer");
        producer.init_transactions(SOON).expect("ready");
        for (value, commit) in [("kept", true), ("dropped", false)] {
            producer.begin_transaction().expect("begun");
            producer.send(BaseRecord::to(&topic).key("room").payload(value)).expect("queued");
            producer.flush(SOON).expect("written");
            if commit {
                producer.commit_transaction(SOON).expect("committed");
            } else {
                producer.abort_transaction(SOON).expect("aborted");
            }
        }
    })
    .await
    .expect("no panic");
    let pod = Pod::ready(&config).await;
    pod.publish("room", "next").await;
    pod.sees("room", &["kept".to_owned(), "next".to_owned()]).await;
    eventually("no lag", SOON, async || {
        pod.seen.told(|told| told.lag.get(&(config.kafka.events_topic.clone(), 0)) == Some(&0))
    })
    .await;
    pod.close().await;
}
