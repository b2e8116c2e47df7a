//! Topics that others write: found, refused, and read while the pod runs.

use std::collections::BTreeSet;

use tidegate::config::Sources;

use super::*;

/// Settings whose sources are these, in JSON, with `PREFIX` for the names' own beginning.
fn with_sources(kafka: &Kafka, sources: &str) -> (Config, String) {
    let mut config = settings(kafka);
    let prefix = config.kafka.events_topic.trim_end_matches(".events").to_owned();
    let sources = sources.replace("PREFIX", &prefix);
    let sources = Sources::environment(&[("TIDEGATE_KAFKA_SOURCES", &sources)]);
    config.kafka.sources = Config::load(&sources).expect("good settings").config.kafka.sources;
    (config, prefix)
}

fn write(kafka: &Kafka, topic: &str, partition: i32, key: &str, values: &[&str]) {
    let producer: BaseProducer = kafka.client().create().expect("a producer");
    for value in values {
        let record = BaseRecord::to(topic).partition(partition).key(key).payload(*value);
        producer.send(record).expect("queued");
    }
    producer.flush(SOON).expect("written");
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

impl Pod {
    /// Waits until this is what the pod says of topics that it does not read.
    async fn says_unread(&self, parts: &[&str]) {
        eventually(&format!("it says {parts:?}"), SOON, async || {
            self.seen.told(|told| match told.sources_read.last() {
                None => parts.is_empty(),
                Some(Ok(())) => parts.is_empty(),
                Some(Err(why)) => !parts.is_empty() && parts.iter().all(|part| why.contains(part)),
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_a_pattern_are_read_from_their_start_when_they_appear() {
    let test = async |assignment, protocol: &str| {
        let kafka = Kafka::shared().await;
        let pattern = r#"[{"topics":"PREFIX\\..*","partitioner":"any"}]"#;
        let (mut config, prefix) = with_sources(kafka, pattern);
        config.kafka.assignment = assignment;
        config.kafka.options.insert("group.protocol".to_owned(), protocol.to_owned());
        let [early, late] = ["early", "late"].map(|name| format!("{prefix}.{name}"));
        kafka.create_topic(&early, 2).await;
        write(kafka, &early, 1, "e", &["1"]);
        let pod = Pod::ready(&config).await;
        pod.sees("e", &texts(&["1"])).await;
        kafka.create_topic(&late, 2).await;
        kafka.create_topic(&format!("x{late}"), 1).await;
        write(kafka, &late, 0, "l", &["1", "2"]);
        write(kafka, &format!("x{late}"), 0, "x", &["1"]);
        pod.sees("l", &texts(&["1", "2"])).await;
        // The gateway's own are not read twice, and all goes on.
        pod.publish("room", "0").await;
        write(kafka, &early, 1, "e", &["2"]);
        write(kafka, &late, 1, "l", &["3"]);
        pod.sees("room", &texts(&["0"])).await;
        pod.sees("e", &texts(&["1", "2"])).await;
        pod.sees("l", &texts(&["1", "2", "3"])).await;
        pod.seen.told(|told| {
            told.assert_in_order();
            assert!(told.values_of("x").is_empty());
            let names: BTreeSet<String> =
                told.sources.last().expect("told").iter().map(|s| s.name.to_string()).collect();
            let own = [&config.kafka.events_topic, &config.kafka.broadcast_topic, &early, &late];
            assert_eq!(names, own.into_iter().cloned().collect());
            let starts = told.starts.iter().map(|(shard, ..)| *shard).collect::<BTreeSet<_>>();
            assert_eq!(starts.len(), told.starts.len(), "no shard began anew");
        });
        pod.close().await;
    };
    tokio::join!(
        test(Assignment::Group, "consumer"),
        test(Assignment::Group, "classic"),
        test(Assignment::Manual, "classic"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_does_not_stop_the_others() {
    both(Assignment::Group, Assignment::Manual, async |assignment| {
        let kafka = Kafka::shared().await;
        let sources = r#"[{"topic":"PREFIX.one"},{"topic":"PREFIX.other"}]"#;
        let (mut config, prefix) = with_sources(kafka, sources);
        config.kafka.assignment = assignment;
        let [one, other] = ["one", "other"].map(|name| format!("{prefix}.{name}"));
        kafka.create_topic(&one, 2).await;
        kafka.create_topic(&other, 1).await;
        let pod = Pod::ready(&config).await;
        write(kafka, &one, 0, "one", &["1"]);
        pod.sees("one", &texts(&["1"])).await;
        kafka.delete_topic(&one).await;
        pod.says_unread(&[&one, "does not exist"]).await;
        write(kafka, &other, 0, "other", &["1"]);
        pod.publish("room", "0").await;
        pod.sees("other", &texts(&["1"])).await;
        pod.sees("room", &texts(&["0"])).await;
        assert!(pod.seen.told(|told| told.is_reachable()));
        // Made anew: what follows what was read is read.
        kafka.create_topic(&one, 2).await;
        pod.says_unread(&[]).await;
        write(kafka, &one, 1, "one", &["2"]);
        pod.sees("one", &texts(&["1", "2"])).await;
        pod.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_of_others_is_told_and_never_made() {
    let kafka = Kafka::start_with(&[("auto.create.topics.enable", "true")]).await;
    let (config, prefix) = with_sources(&kafka, r#"[{"topic":"PREFIX.a"},{"topics":"PREFIX.b"}]"#);
    let pod = Pod::ready(&config).await;
    let topic = format!("{prefix}.a");
    pod.says_unread(&[&topic, "does not exist"]).await;
    pod.publish("room", "0").await;
    pod.sees("room", &texts(&["0"])).await;
    assert!(!kafka.topics().await.contains(&topic));
    kafka.create_topic(&topic, 1).await;
    write(&kafka, &topic, 0, "a", &["1"]);
    pod.sees("a", &texts(&["1"])).await;
    pod.says_unread(&[]).await;
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_refused_unless_it_is_known_to_be_one() {
    let kafka = Kafka::shared().await;
    let sources = r#"[{"topic":"PREFIX.lossy"},{"topic":"PREFIX.state","state":true}]"#;
    let (config, prefix) = with_sources(kafka, sources);
    let [lossy, state] = ["lossy", "state"].map(|name| format!("{prefix}.{name}"));
    kafka.create_topic_with(&lossy, 1, &[("cleanup.policy", "compact,delete")]).await;
    kafka.create_topic_with(&state, 1, &[("cleanup.policy", "compact")]).await;
    write(kafka, &lossy, 0, "lossy", &["1"]);
    write(kafka, &state, 0, "state", &["1"]);
    let pod = Pod::ready(&config).await;
    pod.says_unread(&[&lossy, "compacted", "state=true"]).await;
    pod.sees("state", &texts(&["1"])).await;
    pod.publish("room", "0").await;
    pod.sees("room", &texts(&["0"])).await;
    assert!(pod.seen.told(|told| told.values_of("lossy").is_empty() && told.is_reachable()));
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_than_a_cursor_holds_keep_a_pod_from_starting_and_no_running_one() {
    let kafka = Kafka::shared().await;
    let sources =
        r#"[{"topic":"PREFIX.a","partitioner":"any"},{"topic":"PREFIX.b","partitioner":"any"}]"#;
    let (config, prefix) = with_sources(kafka, sources);
    let [a, b] = ["a", "b"].map(|name| format!("{prefix}.{name}"));
    kafka.create_topic(&a, 40).await;
    kafka.create_topic(&b, 24).await;
    let running = Pod::ready(&config).await;
    running.says_unread(&[]).await;
    kafka.grow_topic(&b, 26).await;
    running.says_unread(&[&b, "26 partitions", "64"]).await;
    write(kafka, &b, 25, "key", &["later"]);
    write(kafka, &b, 23, "key", &["early"]);
    running.sees("key", &texts(&["early"])).await;
    assert!(running.seen.told(|told| told.is_reachable()));

    let starting = Pod::open(&config);
    eventually("the topic is named", SOON, async || {
        starting.seen.told(|told| told.unreachable().is_some_and(|why| why.contains(&b)))
    })
    .await;
    assert!(starting.seen.told(|told| told.caught_up.is_none()));
    starting.close().await;
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_topics_that_cursors_cannot_tell_apart_one_is_read() {
    let kafka = Kafka::shared().await;
    // Two names of one CRC-32C.
    let [one, other] = ["orders.aiyifwg", "orders.dlpjrry"];
    let sources = format!(r#"[{{"topic":"{one}"}},{{"topic":"{other}"}}]"#);
    let (config, _) = with_sources(kafka, &sources);
    for topic in [one, other] {
        kafka.create_topic(topic, 1).await;
        write(kafka, topic, 0, topic, &["1"]);
    }
    let pod = Pod::ready(&config).await;
    pod.says_unread(&[other, "cursors"]).await;
    pod.sees(one, &texts(&["1"])).await;
    assert!(pod.seen.told(|told| told.values_of(other).is_empty()));
    pod.close().await;
}
