//! The release's pods, as the API server has them.

use std::fmt::Debug;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::cluster::{Cluster, Need, Refusal};

/// By what a ReplicaSet that scales down chooses: pods with less go first.
pub(super) const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What is to be known of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodView {
    pub(super) name: String,
    /// Tells it from another one of the same name.
    pub(super) uid: String,
    /// Where it can be reached, once it has an address.
    pub(super) ip: Option<IpAddr>,
    /// It is ready, and not about to be gone.
    pub(super) is_ready: bool,
    /// Its containers have ended for good. An evicted pod stays in the list like that.
    pub(super) is_over: bool,
    /// Its annotation, as it is written.
    pub(super) cost: Option<String>,
}

impl From<Pod> for PodView {
    fn from(pod: Pod) -> Self {
        let status = pod.status.unwrap_or_default();
        let is_over = status.phase.is_some_and(|phase| phase == "Failed" || phase == "Succeeded");
        let conditions = status.conditions.unwrap_or_default();
        let says_ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let annotations = pod.metadata.annotations.unwrap_or_default();
        Self {
            name: pod.metadata.name.unwrap_or_default(),
            uid: pod.metadata.uid.unwrap_or_default(),
            ip: status.pod_ip.and_then(|ip| ip.parse().ok()),
            is_ready: says_ready && pod.metadata.deletion_timestamp.is_none(),
            is_over,
            cost: annotations.get(COST).cloned(),
        }
    }
}

/// How new a list has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// What the API server has at hand, which costs it nothing.
    Cached,
    /// No older than the question.
    Now,
}

/// The pods of the namespace that `selector` means.
pub(super) async fn list(
    cluster: &Cluster,
    selector: Option<&str>,
    freshness: Freshness,
) -> Result<Vec<PodView>, Refusal> {
    let need = Need { verbs: "list", resource: "pods", name: None };
    let mut params =
        ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
    if freshness == Freshness::Cached {
        params = params.at("0");
    }
    let list = cluster
        .ask(&need, async |client| Api::<Pod>::default_namespaced(client).list(&params).await)
        .await?;
    Ok(list.items.into_iter().map(PodView::from).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(status: &Value) -> PodView {
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "status": status});
        PodView::from(serde_json::from_value::<Pod>(pod).expect("a pod"))
    }

    #[test]
    fn a_pod_is_what_its_status_says() {
        let ready = |status: &str| json!([{"type": "Other", "status": "True"}, {"type": "Ready", "status": status}]);
        for (status, ip, is_ready, is_over) in [
            (json!({}), None, false, false),
            (json!({"phase": "Pending", "podIP": "no address"}), None, false, false),
            (
                json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": ready("True")}),
                Some([10, 0, 0, 1]),
                true,
                false,
            ),
            (json!({"phase": "Running", "conditions": ready("False")}), None, false, false),
            (json!({"phase": "Failed", "reason": "Evicted"}), None, false, true),
            (json!({"phase": "Succeeded"}), None, false, true),
        ] {
            let (name, uid, cost) = ("p".to_owned(), "u".to_owned(), None);
            let expected = PodView { name, uid, ip: ip.map(IpAddr::from), is_ready, is_over, cost };
            assert_eq!(view(&status), expected, "{status}");
        }
    }
}
