//! Topics: which there are, how they are set up, and where in them a time lies.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::client::LogLines;
use super::options::Options;
use crate::config::Kafka;
use crate::log::mapping::Mapping;
use crate::log::{Role, Source};

/// A client that reads no records.
pub(super) type Lookup = BaseConsumer<LogLines>;

/// How long one look-up at the brokers may take.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
/// How long making a topic may take.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a group that was just left may still count as not empty, between two attempts.
const DELETE_AGAIN: Duration = Duration::from_millis(50);

/// A topic that the gateway reads.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    /// Its name.
    pub(super) name: String,
    /// What its records are.
    pub(super) role: Role,
    /// How many partitions it gets if the gateway makes it.
    pub(super) partitions: u32,
    /// Where others write it.
    pub(super) foreign: Option<Foreign>,
}

impl Topic {
    /// The topic as a source without partitions yet.
    pub(super) fn source(&self) -> Source {
        let source = Source::new(&self.name, self.role, 0);
        match &self.foreign {
            None => source,
            Some(foreign) => {
                let source = source.with_mapping(Arc::clone(&foreign.mapping));
                if foreign.keyed { source } else { source.unkeyed() }
            }
        }
    }
}

/// What is to be known of a topic that others write.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    /// What its records mean.
    pub(super) mapping: Arc<Mapping>,
    /// A room's records lie on the partition of its key.
    pub(super) keyed: bool,
    /// It may be compacted.
    pub(super) state: bool,
}

/// The gateway's own topics.
pub(super) fn own(kafka: &Kafka) -> Vec<Topic> {
    let own = |name: &str, role, partitions| Topic {
        name: name.to_owned(),
        role,
        partitions,
        foreign: None,
    };
    vec![
        own(&kafka.events_topic, Role::Events, kafka.partitions),
        own(&kafka.broadcast_topic, Role::Broadcast, 1),
    ]
}

/// Where in a partition the first record lies that is not older than a time.
#[derive(Debug, Clone)]
pub(super) struct Since<'t> {
    /// The topic's name.
    pub(super) topic: &'t str,
    /// The partition.
    pub(super) partition: i32,
    /// Milliseconds since the Unix epoch.
    pub(super) time: i64,
}

/// The first offset since each time; `None` if nothing follows it.
///
/// # Errors
/// Says that the brokers did not answer.
pub(super) fn since(client: &Lookup, wanted: &[Since<'_>]) -> Result<Vec<Option<i64>>, String> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = TopicPartitionList::new();
    for Since { topic, partition, time } in wanted {
        list.add_partition_offset(topic, *partition, Offset::Offset((*time).max(0)))
            .map_err(|error| error.to_string())?;
    }
    let found = client
        .offsets_for_times(list, LOOKUP_TIMEOUT)
        .map_err(|error| format!("looking up offsets by time: {}", text(&error)))?;
    wanted
        .iter()
        .map(|Since { topic, partition, .. }| {
            let element = found
                .find_partition(topic, *partition)
                .ok_or_else(|| format!("no offset by time for {topic}/{partition}"))?;
            element
                .error()
                .map_err(|error| format!("offset by time for {topic}/{partition}: {error}"))?;
            Ok(match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            })
        })
        .collect()
}

/// An error without the name of the call that it came out of.
pub(super) fn text(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

/// What the brokers say of a topic.
pub(super) enum Described {
    /// They do not have it.
    Missing,
    /// They have it and do not show it, for this reason.
    Refused(String),
    /// Whether each partition has a leader.
    Partitions(Vec<bool>),
}

/// Looks at one topic.
///
/// # Errors
/// Says that the brokers did not answer.
pub(super) fn describe(client: &Lookup, name: &str) -> Result<Described, String> {
    let metadata = client.fetch_metadata(Some(name), LOOKUP_TIMEOUT).map_err(|error| {
        let why = client.context().last_error().unwrap_or_else(|| text(&error));
        format!("the brokers do not answer: {why}")
    })?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        return Err(format!("the brokers' answer does not have topic {name}"));
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Ok(Described::Partitions(leaders(topic))),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(Described::Missing)
        }
        // Just made: its partitions get their leaders in a moment.
        Some(RDKafkaErrorCode::LeaderNotAvailable) if !topic.partitions().is_empty() => {
            Ok(Described::Partitions(leaders(topic)))
        }
        Some(code) => Ok(Described::Refused(format!("topic {name}: {code}"))),
    }
}

/// The names of all topics.
///
/// # Errors
/// Says that the brokers did not answer.
pub(super) fn list(client: &Lookup) -> Result<Vec<String>, String> {
    let metadata = client
        .fetch_metadata(None, LOOKUP_TIMEOUT)
        .map_err(|error| format!("listing the topics: {}", text(&error)))?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

fn leaders(topic: &MetadataTopic) -> Vec<bool> {
    let mut leaders = vec![false; topic.partitions().len()];
    for partition in topic.partitions() {
        let index = usize::try_from(partition.id()).ok();
        if let Some(leader) = index.and_then(|index| leaders.get_mut(index)) {
            *leader = partition.leader() >= 0;
        }
    }
    leaders
}

/// Sees to it that all topics are there and fit to be read, makes them if that is allowed, and
/// warns of settings that weaken what the gateway promises.
///
/// # Errors
/// Names the topic and what to do.
pub(super) fn ensure(
    client: &Lookup,
    kafka: &Kafka,
    topics: &[Topic],
    options: &Options,
    lines: &LogLines,
) -> Result<(), String> {
    let mut missing = Vec::new();
    for topic in topics {
        match describe(client, &topic.name)? {
            Described::Missing => missing.push(topic),
            Described::Refused(why) => return Err(why),
            Described::Partitions(_) => {}
        }
    }
    if let Some(topic) = missing.first()
        && !kafka.create_topics
    {
        return Err(format!(
            "topic {} does not exist and kafka.create_topics is off: create it with \
             message.timestamp.type=LogAppendTime{}, or set kafka.create_topics=true",
            topic.name,
            if topic.role == Role::Broadcast { " and one partition" } else { "" },
        ));
    }
    let (admin, runtime) = admin(options, lines)?;
    let done = runtime.block_on(async {
        for topic in missing {
            create(&admin, kafka, &topic.name, topic.partitions).await?;
        }
        check(&admin, topics).await
    });
    retire(admin);
    done
}

/// Drops a client elsewhere: an admin client takes a tenth of a second to do so, a consumer as long
/// as its brokers do.
pub(super) fn retire(client: impl Send + 'static) {
    let thread = std::thread::Builder::new().name("kafka-retire".to_owned());
    // Without a thread it is dropped here.
    if let Err(error) = thread.spawn(move || drop(client)) {
        tracing::debug!(%error, "no thread to drop a client on");
    }
}

/// Sees to it that a topic is there that pods only write beside the events: one partition, so that
/// it is read in the order in which it was written.
///
/// # Errors
/// Says what to do.
pub(super) fn ensure_one(
    client: &Lookup,
    kafka: &Kafka,
    name: &str,
    options: &Options,
    lines: &LogLines,
) -> Result<(), String> {
    match describe(client, name)? {
        Described::Partitions(_) => Ok(()),
        Described::Refused(why) => Err(why),
        Described::Missing if kafka.create_topics => {
            let (admin, runtime) = admin(options, lines)?;
            let made = runtime.block_on(create(&admin, kafka, name, 1));
            retire(admin);
            made
        }
        Described::Missing => Err(format!(
            "topic {name} does not exist and kafka.create_topics is off: create it with \
             message.timestamp.type=LogAppendTime and cleanup.policy=delete"
        )),
    }
}

/// Makes a topic, unless another pod was faster.
pub(super) async fn create(
    admin: &AdminClient<LogLines>,
    kafka: &Kafka,
    name: &str,
    partitions: u32,
) -> Result<(), String> {
    let partitions = i32::try_from(partitions.max(1)).unwrap_or(i32::MAX);
    // -1 is the broker's own default.
    let replication = kafka.replication.map_or(-1, i32::from);
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(replication))
        .set("message.timestamp.type", "LogAppendTime")
        .set("cleanup.policy", "delete");
    let options = AdminOptions::new()
        .request_timeout(Some(CREATE_TIMEOUT))
        .operation_timeout(Some(CREATE_TIMEOUT));
    let made = admin.create_topics([&new], &options).await;
    match made.map(|results| results.into_iter().next()) {
        Ok(Some(Ok(name))) => {
            tracing::info!(topic = name, partitions, "made the topic");
            Ok(())
        }
        // Another pod was faster.
        Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => Ok(()),
        Ok(Some(Err((name, code)))) => Err(format!(
            "topic {name} does not exist and could not be made with {partitions} partitions \
             (kafka.partitions) and replication {replication} (kafka.replication): {code}"
        )),
        Ok(None) => Err(format!("no answer to making topic {name}")),
        Err(error) => Err(format!("making topic {name}: {error}")),
    }
}

/// Looks at how the topics are set up.
async fn check(admin: &AdminClient<LogLines>, topics: &[Topic]) -> Result<(), String> {
    let names: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(&t.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(LOOKUP_TIMEOUT));
    let described = match admin.describe_configs(&names, &options).await {
        Ok(described) => described,
        Err(error) => {
            tracing::warn!(%error, "the topics' settings cannot be read and were not checked");
            return Ok(());
        }
    };
    for (topic, resource) in topics.iter().zip(described) {
        let resource = match resource {
            Ok(resource) => resource,
            Err(error) => {
                tracing::warn!(topic = topic.name, %error, "the topic's settings were not checked");
                continue;
            }
        };
        let value = |name| resource.get(name).and_then(|entry| entry.value.as_deref());
        if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
            return Err(format!(
                "topic {} is compacted, which would lose all but the last event of each key: set \
                 its cleanup.policy to delete",
                topic.name
            ));
        }
        if value("message.timestamp.type") == Some("CreateTime") {
            tracing::warn!(
                topic = topic.name,
                "the topic has message.timestamp.type=CreateTime: the skew of the publishers' \
                 clocks adds to dedupe.window; LogAppendTime is what the gateway expects"
            );
        }
        if value("min.insync.replicas") == Some("1") && replicated(admin, &topic.name) {
            tracing::warn!(
                topic = topic.name,
                "the topic has min.insync.replicas=1: an event with a receipt can be lost with \
                 one broker; set it to 2"
            );
        }
    }
    Ok(())
}

/// The `cleanup.policy` of each topic; `None` where the brokers do not show it.
///
/// # Errors
/// Says that the brokers did not answer.
pub(super) fn cleanup_policies(
    options: &Options,
    lines: &LogLines,
    topics: &[&str],
) -> Result<Vec<Option<String>>, String> {
    let (admin, runtime) = admin(options, lines)?;
    let names: Vec<_> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let wait = AdminOptions::new().request_timeout(Some(LOOKUP_TIMEOUT));
    let described = runtime.block_on(admin.describe_configs(&names, &wait));
    retire(admin);
    let described =
        described.map_err(|error| format!("looking at the topics' settings: {}", text(&error)))?;
    let policy = |(topic, resource): (&&str, Result<ConfigResource, RDKafkaErrorCode>)| {
        resource
            .inspect_err(|error| {
                tracing::warn!(topic, %error, "the topic's settings were not checked");
            })
            .ok()
            .and_then(|resource| resource.get("cleanup.policy")?.value.clone())
    };
    Ok(topics.iter().zip(described).map(policy).collect())
}

/// A client that looks after topics, and what it is waited for with.
pub(super) fn admin(
    options: &Options,
    lines: &LogLines,
) -> Result<(AdminClient<LogLines>, tokio::runtime::Runtime), String> {
    let admin = options
        .admin()
        .create_with_context(lines.clone())
        .map_err(|error| format!("the admin client: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| format!("the admin client's runtime: {error}"))?;
    Ok((admin, runtime))
}

fn replicated(admin: &AdminClient<LogLines>, name: &str) -> bool {
    let Ok(metadata) = admin.inner().fetch_metadata(Some(name), LOOKUP_TIMEOUT) else {
        return false;
    };
    metadata.topics().iter().flat_map(|t| t.partitions()).any(|p| p.replicas().len() > 1)
}

/// Deletes a group that was left, by `deadline`.
pub(super) fn delete_group(group: &str, options: &Options, lines: &LogLines, deadline: Instant) {
    let deleted = delete_group_by(group, options, lines, deadline);
    match deleted {
        Ok(()) => tracing::debug!(group, "deleted the consumer group"),
        Err(reason) => tracing::warn!(group, reason, "the consumer group stays behind"),
    }
}

fn delete_group_by(
    group: &str,
    options: &Options,
    lines: &LogLines,
    deadline: Instant,
) -> Result<(), String> {
    let (admin, runtime) = admin(options, lines)?;
    let done = runtime.block_on(async {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("the time for leaving is over".to_owned());
            }
            let options = AdminOptions::new().request_timeout(Some(left.min(LOOKUP_TIMEOUT)));
            let deleted = admin.delete_groups(&[group], &options);
            match tokio::time::timeout_at(deadline, deleted).await {
                Err(_) => return Err("the time for leaving is over".to_owned()),
                Ok(Err(error)) => return Err(error.to_string()),
                Ok(Ok(results)) => match results.into_iter().next() {
                    None | Some(Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound))) => {
                        return Ok(());
                    }
                    // The coordinator has not heard of the leaving yet.
                    Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) => {
                        tokio::time::sleep(DELETE_AGAIN).await;
                    }
                    Some(Err((_, code))) => return Err(code.to_string()),
                },
            }
        }
    });
    retire(admin);
    done
}
