//! Consumer groups in Kafka.

use std::collections::BTreeSet;

use tidegate_rig::kafka::Kafka;

use crate::release::Release;

/// The groups of a release.
pub(crate) async fn of(kafka: &Kafka, release: &Release) -> BTreeSet<String> {
    beginning(kafka, &release.group_prefix()).await
}

/// The groups of one of its pods.
pub(crate) async fn of_pod(kafka: &Kafka, release: &Release, pod: &str) -> BTreeSet<String> {
    beginning(kafka, &format!("{}{pod}/", release.group_prefix())).await
}

async fn beginning(kafka: &Kafka, prefix: &str) -> BTreeSet<String> {
    kafka.groups().await.into_iter().filter(|name| name.starts_with(prefix)).collect()
}
