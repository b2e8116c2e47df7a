//! Asks the pods at their admin ports how many streams they have and which group is theirs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use reqwest::redirect::Policy;
use serde::Deserialize;

use super::pods::PodView;
use crate::client::{chain, provide_crypto};

/// How long a pod has for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How many pods are asked at once.
const AT_ONCE: usize = 16;
/// The longest answer that is read, in bytes: the largest room's name is in it, too.
const MOST_BYTES: usize = 64 * 1024;

/// What a pod says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Answer {
    pub(super) pod: String,
    /// Its open streams.
    pub(super) total: usize,
    /// Its consumer group. Older pods do not say it.
    #[serde(default)]
    pub(super) group: Option<String>,
}

/// Reaches the other pods.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    http: reqwest::Client,
    /// The admin port, which is the same one in all pods of a release.
    port: u16,
}

impl Peers {
    /// Reaches pods at this port.
    pub(super) fn new(port: u16) -> Result<Self, reqwest::Error> {
        provide_crypto();
        let http = reqwest::Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            // Pods come and go, and are asked too seldom for a connection to be worth keeping.
            .pool_max_idle_per_host(0)
            .tls_certs_only([])
            .build()?;
        Ok(Self { http, port })
    }

    /// The answers of those that gave one, by the pods' names.
    pub(super) async fn ask(
        &self,
        pods: impl Iterator<Item = &PodView>,
    ) -> HashMap<String, Answer> {
        let reachable: Vec<(String, IpAddr)> =
            pods.filter_map(|pod| Some((pod.name.clone(), pod.ip?))).collect();
        let ask = |(name, ip): (String, IpAddr)| async move {
            match self.ask_one(&name, ip).await {
                Ok(answer) => Some((name, answer)),
                Err(why) => {
                    tracing::debug!(pod = name, why, "a pod did not answer");
                    None
                }
            }
        };
        let answers = stream::iter(reachable).map(ask).buffer_unordered(AT_ONCE);
        answers.filter_map(future::ready).collect().await
    }

    async fn ask_one(&self, name: &str, ip: IpAddr) -> Result<Answer, String> {
        let url = format!("http://{}/v1/connections?limit=1", SocketAddr::new(ip, self.port));
        let response = self.http.get(url).send().await.map_err(|error| chain(&error))?;
        let mut response = response.error_for_status().map_err(|error| chain(&error))?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| chain(&error))? {
            body.extend_from_slice(&part);
            if body.len() > MOST_BYTES {
                return Err(format!("its answer is longer than {MOST_BYTES} bytes"));
            }
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        // An address may have gone to another pod since the list was made.
        if answer.pod == name { Ok(answer) } else { Err(format!("it is {}", answer.pod)) }
    }
}

#[cfg(test)]
pub(super) mod tests;
