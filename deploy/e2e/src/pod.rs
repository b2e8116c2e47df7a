//! Pods of a release, by way of the API server and by their own ports.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidegate_faults::door::{Ask, Doors, Key};
use tidegate_faults::wire;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// A pod that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    pub(crate) is_ready: bool,
    /// It was told to end.
    pub(crate) is_leaving: bool,
    /// Restarts of its containers.
    pub(crate) restarts: u64,
    /// The annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub(crate) cost: Option<i64>,
    /// When it was made.
    pub(crate) created: String,
}

impl Pod {
    /// Reads the API server's; `None` while it has no address.
    pub(crate) fn read(object: &Value) -> Option<Self> {
        let (meta, status) = (&object["metadata"], &object["status"]);
        let is_ready =
            |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let restarts = status["containerStatuses"].as_array().into_iter().flatten();
        let cost = &meta["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
        Some(Self {
            name: meta["name"].as_str()?.to_owned(),
            ip: status["podIP"].as_str()?.parse().ok()?,
            is_ready: status["conditions"].as_array().is_some_and(|all| all.iter().any(is_ready)),
            is_leaving: meta["deletionTimestamp"].is_string(),
            restarts: restarts.filter_map(|c| c["restartCount"].as_u64()).sum(),
            cost: cost.as_str().and_then(|cost| cost.parse().ok()),
            created: meta["creationTimestamp"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Its own port.
    pub(crate) fn public(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 30_000)
    }

    /// Its streams.
    pub(crate) async fn connections(&self) -> Result<u64> {
        let said = self.admin("/v1/connections?limit=1").await?;
        said["total"].as_u64().with_context(|| format!("no total in {said}"))
    }

    /// JSON of its admin port.
    pub(crate) async fn admin(&self, path: &str) -> Result<Value> {
        let answer = wire::get(SocketAddr::new(self.ip, 30_001), path, PATIENCE).await;
        let answer = answer.with_context(|| format!("{}'s admin port", self.name))?;
        ensure!(answer.status == 200, "{}: {} of {path}", self.name, answer.status);
        serde_json::from_slice(&answer.body).context("JSON of the admin port")
    }

    /// Whether it takes a signature of this key: the status of its answer is 200, or 401.
    pub(crate) async fn takes(&self, key: &Key) -> Result<bool> {
        let doors = Doors::direct([self.public()]).signed(key.clone());
        let ask = Ask { action: "subscribe", id: "keys", kind: "Asked", user: "" };
        let head = format!(
            "GET /v1/events/keys/types/Asked/history?from=1s&limit=1 HTTP/1.1\r\n{}\r\n",
            doors.lines(0, &ask)
        );
        let asking = async {
            let mut wire = doors.connect(0).await?;
            wire.send(head.as_bytes()).await?;
            wire.answer().await
        };
        let answer = timeout(PATIENCE, asking).await??;
        ensure!([200, 401].contains(&answer.status), "{}: status {}", self.name, answer.status);
        Ok(answer.status == 200)
    }
}
