//! The API server: how it is reached, and what its refusals mean.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::{Client, Config};
use tokio::sync::OnceCell;
use tower::{BoxError, ServiceBuilder};

use crate::client::{chain, provide_crypto};

/// How long a request to the API server may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What a request needs from the pod's service account.
#[derive(Debug, Clone)]
pub(super) struct Need {
    /// As RBAC calls them.
    pub(super) verbs: &'static str,
    /// As RBAC calls it, with its API group unless that is the core's.
    pub(super) resource: &'static str,
    /// The only object that is meant, if it is one.
    pub(super) name: Option<String>,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.verbs, self.resource)?;
        self.name.iter().try_for_each(|name| write!(f, " named {name}"))
    }
}

/// Why the API server did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// There is neither a service account nor a kubeconfig.
    #[error(
        "no API server is known: run in a pod with a service account's token, or set KUBECONFIG \
         ({0})"
    )]
    Unknown(String),
    /// It did not answer.
    #[error("the API server does not answer: {0}")]
    Away(String),
    /// It does not know who asks.
    #[error("the API server does not accept the token (401): is the service account still there?")]
    Stranger,
    /// It does not allow it.
    #[error(
        "the API server forbids it (403): the Role of the pod's service account needs {0} in the \
         namespace {1}"
    )]
    Forbidden(String, String),
    /// There is no such object.
    #[error("the API server has no such object (404): {0}")]
    Missing(String),
    /// Somebody else has changed it meanwhile.
    #[error("somebody else was faster (409): {0}")]
    Conflict(String),
    /// What was written is not allowed, such as another uid than the object has.
    #[error("the API server takes it for invalid (422): {0}")]
    Invalid(String),
    /// The place to go on from is no longer known.
    #[error("the API server has forgotten the place to watch on from (410)")]
    Expired,
    /// Anything else.
    #[error("the API server refuses it: {0}")]
    Other(String),
}

impl Refusal {
    pub(super) fn new(error: &kube::Error, need: &Need, namespace: &str) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                401 => Self::Stranger,
                403 => Self::Forbidden(need.to_string(), namespace.to_owned()),
                404 => Self::Missing(need.to_string()),
                409 => Self::Conflict(need.to_string()),
                410 => Self::Expired,
                422 => Self::Invalid(status.message.clone()),
                // Overloaded, or behind something that is: it comes back by itself.
                429 | 500.. => Self::Away(format!("{} {}", status.code, status.reason)),
                code => Self::Other(format!("{code} {}: {}", status.reason, status.message)),
            },
            kube::Error::SerdeError(_) => Self::Other("its answer is not understood".to_owned()),
            error => Self::Away(chain(error)),
        }
    }
}

/// The cluster that this process runs in.
#[derive(Clone)]
pub(super) struct Cluster(Arc<OnceCell<Client>>);

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.0.get().map(Client::default_namespace)).finish()
    }
}

impl Cluster {
    /// The one that the pod's service account is of, or else the kubeconfig names. It is looked for
    /// at the first request.
    pub(super) fn inferred() -> Self {
        Self(Arc::new(OnceCell::new()))
    }

    /// The one behind this client.
    #[cfg(test)]
    pub(super) fn of(client: Client) -> Self {
        Self(Arc::new(OnceCell::new_with(Some(client))))
    }

    /// The client, made when it is asked for first. It follows changes of the token and the
    /// certificates by itself.
    pub(super) async fn client(&self) -> Result<&Client, Refusal> {
        self.0.get_or_try_init(connect).await
    }

    /// Asks for something, for at most [`REQUEST_TIMEOUT`].
    pub(super) async fn ask<T>(
        &self,
        need: &Need,
        request: impl AsyncFnOnce(Client) -> Result<T, kube::Error>,
    ) -> Result<T, Refusal> {
        let client = self.client().await?.clone();
        let namespace = client.default_namespace().to_owned();
        match tokio::time::timeout(REQUEST_TIMEOUT, request(client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Refusal::new(&error, need, &namespace)),
            Err(_) => Err(Refusal::Away(format!("not within {REQUEST_TIMEOUT:?}"))),
        }
    }
}

/// A client without kube's own layer of tracing, which writes an `error` for every attempt while the
/// API server is away, and without its retries: who asks here has a pause of its own.
async fn connect() -> Result<Client, Refusal> {
    let unknown = |error: &(dyn std::error::Error + 'static)| Refusal::Unknown(chain(error));
    let mut config = Config::infer().await.map_err(|error| unknown(&error))?;
    config.default_retry = false;
    provide_crypto();
    let https = config.rustls_https_connector().map_err(|error| unknown(&error))?;
    let auth = config.auth_layer().map_err(|error| unknown(&error))?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(auth)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(https));
    tracing::info!(
        api_server = %config.cluster_url,
        namespace = config.default_namespace,
        "found the cluster"
    );
    Ok(Client::new(service, config.default_namespace))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use kube::core::Status;

    use super::*;

    fn refusal(code: u16) -> Refusal {
        let reason = StatusCode::from_u16(code).expect("a status").canonical_reason();
        let status = Status::failure("as it says", reason.unwrap_or_default()).with_code(code);
        let name = Some("keys".to_owned());
        let need = Need { verbs: "list and watch", resource: "secrets", name };
        Refusal::new(&kube::Error::Api(Box::new(status)), &need, "ns")
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (code, says) in [
            (401, "is the service account still there?"),
            (
                403,
                "the Role of the pod's service account needs list and watch of secrets named keys \
                 in the namespace ns",
            ),
            (404, "no such object (404): list and watch of secrets named keys"),
            (409, "somebody else was faster"),
            (410, "forgotten the place"),
            (422, "invalid (422): as it says"),
            (429, "does not answer: 429 Too Many Requests"),
            (500, "does not answer: 500"),
            (418, "refuses it: 418 I'm a teapot: as it says"),
        ] {
            let text = refusal(code).to_string();
            assert!(text.contains(says), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_given_up() {
        let cluster = Cluster::of(Client::new(tower::service_fn(never), "ns"));
        let need = Need { verbs: "get", resource: "pods", name: None };
        let refused = cluster
            .ask(&need, async |client| client.request_text(http::Request::default()).await)
            .await;
        assert_eq!(refused, Err(Refusal::Away("not within 5s".to_owned())));
    }

    async fn never(
        _: http::Request<kube::client::Body>,
    ) -> Result<http::Response<kube::client::Body>, BoxError> {
        std::future::pending().await
    }
}
