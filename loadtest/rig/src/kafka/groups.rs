//! Consumer groups.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use super::{Kafka, PATIENCE, blocking, timeouts};

impl Kafka {
    /// Deletes a group that has no member; says whether there was one.
    pub async fn delete_group(&self, name: &str) -> Result<(), RDKafkaErrorCode> {
        let gone = self.admin().delete_groups(&[name], &timeouts()).await.expect("an answer");
        gone.into_iter().next().expect("one").map(|_| ()).map_err(|(_, code)| code)
    }

    /// The names of all groups.
    pub async fn groups(&self) -> Vec<String> {
        let client = self.lookup();
        blocking(move || {
            let list = client.client().fetch_group_list(None, Duration::from_secs(5));
            let list = list.expect("the groups");
            list.groups().iter().map(|group| group.name().to_owned()).collect()
        })
        .await
    }

    /// Makes a group as somebody leaves it behind who has read this topic: without a member.
    ///
    /// # Panics
    /// When it cannot be joined.
    pub async fn leave_group(&self, name: &str, topic: &str) {
        let member: BaseConsumer = self.client().set("group.id", name).create().expect("a client");
        let topic = topic.to_owned();
        let joined = blocking(move || {
            member.subscribe(&[&topic]).expect("subscribed");
            let ticks = PATIENCE.as_millis() / TICK.as_millis();
            (0..ticks).any(|_| {
                let _ = member.poll(TICK);
                member.assignment().is_ok_and(|parts| parts.count() > 0)
            })
        });
        assert!(joined.await, "{name} was not joined");
    }
}

/// Between two looks at what a member was given.
const TICK: Duration = Duration::from_millis(100);
