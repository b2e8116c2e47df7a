//! Consumer groups in Kafka.

use std::collections::BTreeSet;

use tidegate_rig::kafka::Kafka;

use crate::release::Release;

/// The groups of a release.
pub(crate) async fn of(kafka: &Kafka, release: &Release) -> BTreeSet<String> {
    let prefix = release.group_prefix();
    kafka.groups().await.into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

/// The groups of one of its pods.
pub(crate) async fn of_pod(kafka: &Kafka, release: &Release, pod: &str) -> BTreeSet<String> {
    let prefix = format!("{}{pod}/", release.group_prefix());
    kafka.groups().await.into_iter().filter(|name| name.starts_with(&prefix)).collect()
}
