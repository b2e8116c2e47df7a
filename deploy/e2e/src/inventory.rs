//! What there is in a namespace, and what carries a release's label anywhere.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::kube::{self, Kube};

/// Kinds that are no objects of anybody: they come and go by themselves.
const PASSING: [&str; 3] = ["events", "events.events.k8s.io", "pods.metrics.k8s.io"];

/// All objects of a namespace, as `kind/name`.
pub(crate) async fn of_namespace(kube: &Kube) -> Result<BTreeSet<String>> {
    let kinds = kinds(true).await?;
    let said = kube.run(&["get", &kinds, "--output", "name", "--ignore-not-found"]).await?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// All objects with a label, in the cluster and in all of its namespaces.
pub(crate) async fn with_label(kube: &Kube, label: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for namespaced in [true, false] {
        let kinds = kinds(namespaced).await?;
        let mut args = vec!["get", &kinds, "--selector", label, "--output", "name"];
        args.push("--ignore-not-found");
        if namespaced {
            args.push("--all-namespaces");
        }
        found.extend(kube.run(&args).await?.lines().map(str::to_owned));
    }
    Ok(found)
}

/// All kinds that can be listed, with commas.
async fn kinds(namespaced: bool) -> Result<String> {
    let namespaced = format!("--namespaced={namespaced}");
    let args = ["api-resources", "--verbs=list", &namespaced, "--output", "name"];
    let said = kube::run("kubectl", &args, None).await?;
    let kinds: Vec<&str> = said.lines().filter(|kind| !PASSING.contains(kind)).collect();
    Ok(kinds.join(","))
}
