//! Watches the Secret with the keys, so that they come and go in seconds. The mounted copy of it
//! does without an API server and is a minute late.

use std::fmt;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ObjectList, Request, Resource as _};
use kube::{Api, Client};

use super::attempts::{Attempts, jittered, pause};
use super::cluster::{Cluster, Need, Refusal};
use crate::auth::Keyring;
use crate::auth::reload::{self, Unusable};
use crate::telemetry::metrics::{self, Task};

/// The key in the Secret's data.
const DATA: &str = "keys";
/// How long one watch is asked for. It is then asked for again from where it was: a connection that
/// is dead without a word is found out by that.
const WATCH_FOR: Duration = Duration::from_secs(60);
/// How much longer a watch may be silent before it is given up.
const SLACK: Duration = Duration::from_secs(5);
/// The pause between two watches, jittered. Nothing is missed in it: the next one goes on where the
/// last one was.
const BETWEEN: Duration = Duration::from_millis(500);

/// Why what is in the Secret cannot be used. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("there is no Secret of this name; it may have been deleted")]
    Gone,
    #[error("the Secret has no data under the key {DATA:?}")]
    NoData,
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// Why a watch is over.
enum End {
    /// The place to go on from is forgotten, which is in the nature of watches.
    Forgotten,
    Failed(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Expired => Self::Forgotten,
            refusal => Self::Failed(refusal),
        }
    }
}

/// Follows one Secret.
pub(super) struct Follower<'a> {
    cluster: Cluster,
    name: &'a str,
    ring: &'a Keyring,
    attempts: Attempts,
    /// What was wrong with the content when it was looked at last.
    complaint: Option<String>,
    /// How many watches in a row were forgotten before they told anything.
    forgotten: u32,
}

impl fmt::Debug for Follower<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Follower<'a> {
    pub(super) fn new(cluster: Cluster, name: &'a str, ring: &'a Keyring) -> Self {
        let attempts = Attempts::new(Task::Secret);
        Self { cluster, name, ring, attempts, complaint: None, forgotten: 0 }
    }

    /// Tells the ring what the Secret has, whenever it changes. Never returns; drop it to stop.
    pub(super) async fn run(mut self) {
        loop {
            let pause = match self.watch().await {
                End::Forgotten => {
                    self.forgotten = self.forgotten.saturating_add(1);
                    pause(self.forgotten, &mut rand::rng())
                }
                End::Failed(why) => {
                    self.ring.secret_is_lost();
                    self.attempts.failed(&why.to_string(), &mut rand::rng())
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks at the Secret, then watches it for as long as that can be had.
    async fn watch(&mut self) -> End {
        let version = match self.look().await {
            Ok(version) => version,
            Err(refusal) => return refusal.into(),
        };
        self.follow(version).await
    }

    /// Looks at the Secret; returns the place to watch on from.
    async fn look(&mut self) -> Result<String, Refusal> {
        let name = self.name.to_owned();
        let text = self
            .cluster
            .ask(&self.need(), async |client| {
                // A list of one, as RBAC by name allows it, for its version: that of the object may
                // be too old to watch from. Its text and not the object: what kube cannot read it
                // writes to the log, and this is secret.
                let params = ListParams::default().fields(&selects(&name));
                let url = Secret::url_path(&(), Some(client.default_namespace()));
                let request = Request::new(url).list(&params).map_err(kube::Error::BuildRequest)?;
                client.request_text(request).await
            })
            .await?;
        let list: ObjectList<Secret> = serde_json::from_str(&text)
            .map_err(|_| Refusal::Other("its list of Secrets is not understood".to_owned()))?;
        let version = list.metadata.resource_version.clone().unwrap_or_default();
        self.take(list.items.first());
        Ok(version)
    }

    /// Watches the Secret from `version` on.
    async fn follow(&mut self, mut version: String) -> End {
        let need = self.need();
        let params = WatchParams::default()
            .fields(&selects(self.name))
            .timeout(u32::try_from(WATCH_FOR.as_secs()).unwrap_or(u32::MAX));
        loop {
            let asked = self
                .cluster
                .ask(&need, async |client| {
                    let namespace = client.default_namespace().to_owned();
                    let events = api(client).watch(&params, &version).await?;
                    Ok((events, namespace))
                })
                .await;
            let (events, namespace) = match asked {
                Ok(asked) => asked,
                Err(refusal) => return refusal.into(),
            };
            // Not before: who may list and not watch would be said to be well at every attempt.
            self.attempts.worked();
            if let Err(refusal) = self.take_all(events, &mut version, &need, &namespace).await {
                return refusal.into();
            }
            let pause = jittered(BETWEEN, &mut rand::rng());
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes what a watch tells until its time is over.
    async fn take_all(
        &mut self,
        events: impl Stream<Item = Result<WatchEvent<Secret>, kube::Error>>,
        version: &mut String,
        need: &Need,
        namespace: &str,
    ) -> Result<(), Refusal> {
        let mut events = std::pin::pin!(events);
        loop {
            let event = match tokio::time::timeout(WATCH_FOR + SLACK, events.next()).await {
                Ok(None) => {
                    self.forgotten = 0;
                    return Ok(());
                }
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Err(Refusal::new(&error, need, namespace)),
                Err(_) => return Err(Refusal::Away("a watch is silent".to_owned())),
            };
            match event {
                WatchEvent::Added(secret) | WatchEvent::Modified(secret) => {
                    self.take(Some(&secret));
                    advance(version, secret.metadata.resource_version);
                }
                WatchEvent::Deleted(secret) => {
                    self.take(None);
                    advance(version, secret.metadata.resource_version);
                }
                WatchEvent::Bookmark(bookmark) => {
                    advance(version, Some(bookmark.metadata.resource_version));
                }
                WatchEvent::Error(status) => {
                    return Err(Refusal::new(&kube::Error::Api(status), need, namespace));
                }
            }
            self.forgotten = 0;
        }
    }

    /// Tells the ring. What cannot be used is said once, and leaves the last good keys: half of a
    /// Secret must not end every stream.
    fn take(&mut self, secret: Option<&Secret>) {
        match keys_of(secret).and_then(|bytes| Ok(reload::parse(self.ring.fixed(), bytes)?)) {
            Ok(keys) => {
                if self.complaint.take().is_some() {
                    tracing::info!(
                        secret = self.name,
                        "the Secret with the keys can be used again"
                    );
                }
                self.ring.secret_has(keys);
            }
            Err(trouble) => {
                self.ring.secret_is_unusable();
                let why = trouble.to_string();
                if self.complaint.as_ref() != Some(&why) {
                    metrics::kubernetes_failure(Task::Secret);
                    tracing::warn!(
                        secret = self.name,
                        why,
                        "the Secret with the keys cannot be used; the last good keys stay"
                    );
                    self.complaint = Some(why);
                }
            }
        }
    }

    fn need(&self) -> Need {
        let name = Some(self.name.to_owned());
        Need { verbs: "list and watch", resource: "secrets", name }
    }
}

fn api(client: Client) -> Api<Secret> {
    Api::default_namespaced(client)
}

/// The field selector of one object. Only with it does RBAC by name allow lists and watches.
fn selects(name: &str) -> String {
    format!("metadata.name={name}")
}

fn advance(version: &mut String, to: Option<String>) {
    if let Some(to) = to {
        *version = to;
    }
}

fn keys_of(secret: Option<&Secret>) -> Result<&[u8], Trouble> {
    let data = secret.ok_or(Trouble::Gone)?.data.as_ref();
    data.and_then(|data| data.get(DATA)).map(|bytes| bytes.0.as_slice()).ok_or(Trouble::NoData)
}

#[cfg(test)]
mod tests;
