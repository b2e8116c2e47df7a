//! Publishing one event, and saying truthfully what became of it.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::address::{self, AddressError};
use super::identity::Identity;
use super::problem::{MAX_ANSWER_BYTES, Problem};
use super::{backoff, chain};
use crate::event::{Audience, IdempotencyKey};

/// How long one attempt may take. A gateway gives up on its log after 10 s, unless set otherwise.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The delay before the second attempt.
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// The body of a publish; absent members are left out.
#[derive(Debug, Clone, Serialize)]
pub struct Body {
    /// A name for humans and handlers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
    /// From whom and for whom.
    #[serde(skip_serializing_if = "Users::is_empty")]
    pub user: Users,
    /// The payload, in its own spelling.
    pub data: Box<RawValue>,
    /// The publisher's own headers, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub headers: Vec<(String, String)>,
    /// The last event of its room.
    #[serde(rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

impl Body {
    /// A body with nothing but its payload.
    #[must_use]
    pub fn new(data: Box<RawValue>) -> Self {
        Self {
            event_name: None,
            user: Users::default(),
            data,
            headers: Vec::new(),
            is_final: false,
        }
    }
}

/// The body's `user`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Users {
    /// Who sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_user: Option<String>,
    /// The only user who gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_user: Option<String>,
}

impl Users {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn as_map<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// An event and how it is to be published.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Whom it reaches.
    pub audience: Audience,
    /// What it says.
    pub body: Body,
    /// With a key an attempt whose outcome is unknown can be repeated.
    pub idempotency_key: Option<IdempotencyKey>,
    /// `X-Deliver-Within`, a duration as the gateway reads it.
    pub deliver_within: Option<String>,
}

/// What the log's having the event durably is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The event's identity.
    pub message_id: String,
    /// Resumes just after the event.
    pub cursor: String,
    /// The log's time of it, in milliseconds since the Unix epoch.
    pub published_at: i64,
    /// The key was used before: these are the first event's, and it is not delivered again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The event is certainly not in the log: to try again is safe.
    #[error("not accepted: {0}")]
    NotAccepted(Cause),
    /// The event may be in the log: only a key makes it safe to try again.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(Cause),
    /// The event is refused for what it is, or for who sends it.
    #[error("refused: {0}")]
    Refused(Problem),
    /// The request cannot be made.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The request cannot be made.
    #[error("no request: {0}")]
    Request(String),
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// An answer said so.
    Answer(Problem),
    /// There was none, or none that a gateway gives; the text says what there was.
    Transport(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(problem) => problem.fmt(f),
            Self::Transport(why) => f.write_str(why),
        }
    }
}

impl PublishError {
    /// Whether the same publication may be sent again without the risk of a second event.
    #[must_use]
    pub fn can_be_retried(&self, keyed: bool) -> bool {
        match self {
            Self::NotAccepted(_) => true,
            Self::OutcomeUnknown(_) => keyed,
            Self::Refused(_) | Self::Address(_) | Self::Request(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotAccepted(Cause::Answer(problem))
            | Self::OutcomeUnknown(Cause::Answer(problem)) => problem.retry_after,
            _ => None,
        }
    }
}

/// Publishes to one gateway.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The connections.
    pub client: reqwest::Client,
    /// The gateway: see [`address::parse_base`].
    pub base: Url,
    /// The user who publishes, and what lets them do so.
    pub identity: Identity,
}

impl Publisher {
    /// Tries until there is a receipt, a failure that must not be repeated, or no attempt left that
    /// would begin within `patience`. Before each wait `on_retry` is told why and how long.
    ///
    /// # Errors
    /// [`PublishError`] of the last attempt; but when any attempt's outcome is unknown, no later
    /// one makes it certain that the event is not in the log.
    pub async fn publish(
        &self,
        publication: &Publication,
        patience: Duration,
        mut on_retry: impl FnMut(&PublishError, Duration),
    ) -> Result<Receipt, PublishError> {
        let keyed = publication.idempotency_key.is_some();
        let begun = Instant::now();
        let mut failures = 0;
        let mut unknown = false;
        loop {
            let error = match self.attempt(publication).await {
                Ok(receipt) => return Ok(receipt),
                Err(error) => error,
            };
            failures += 1;
            unknown |= matches!(error, PublishError::OutcomeUnknown(_));
            let delay =
                backoff::delay(FIRST_DELAY, failures, error.retry_after(), &mut rand::rng());
            if error.can_be_retried(keyed) && begun.elapsed() + delay <= patience {
                on_retry(&error, delay);
                sleep(delay).await;
                continue;
            }
            return Err(match error {
                PublishError::NotAccepted(cause) if unknown => PublishError::OutcomeUnknown(cause),
                error => error,
            });
        }
    }

    /// Tries once.
    ///
    /// # Errors
    /// [`PublishError`] says whether the event can be in the log.
    pub async fn attempt(&self, publication: &Publication) -> Result<Receipt, PublishError> {
        let body = serde_json::to_vec(&publication.body)
            .map_err(|error| PublishError::Request(error.to_string()))?;
        let request = self
            .client
            .post(address::publish_url(&self.base, &publication.audience))
            .headers(self.headers(publication, &body)?)
            .timeout(ATTEMPT_TIMEOUT)
            .body(body);
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) if error.is_builder() => Err(PublishError::Request(chain(&error))),
            // Nothing was sent.
            Err(error) if error.is_connect() => {
                Err(PublishError::NotAccepted(Cause::Transport(chain(&error.without_url()))))
            }
            Err(error) => Err(lost(error)),
        }
    }

    fn headers(&self, publication: &Publication, body: &[u8]) -> Result<HeaderMap, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let signature = self.identity.sign_publish(&publication.audience, body, SystemTime::now());
        address::identify(&mut headers, signature.as_deref(), self.identity.user.as_deref())?;
        if let Some(key) = &publication.idempotency_key {
            headers
                .insert("idempotency-key", address::header("the idempotency key", key.as_str())?);
        }
        if let Some(within) = &publication.deliver_within {
            headers.insert("x-deliver-within", address::header("the time to deliver in", within)?);
        }
        Ok(headers)
    }
}

fn lost(error: reqwest::Error) -> PublishError {
    PublishError::OutcomeUnknown(Cause::Transport(chain(&error.without_url())))
}

/// What an answer says about the event.
async fn read(mut response: Response) -> Result<Receipt, PublishError> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(judge(Problem::of_response(response).await));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| {
        // Something answers 200 that is no gateway, or no longer speaks this contract.
        PublishError::OutcomeUnknown(Cause::Transport(format!("the answer is no receipt: {error}")))
    })
}

/// What a refusal says about the event. Only the gateway knows what is in its log; a proxy that
/// has lost it does not.
fn judge(problem: Problem) -> PublishError {
    let not_in_log = problem.is("not-accepted")
        || problem.is("overloaded")
        || problem.is("draining")
        || problem.status == StatusCode::TOO_MANY_REQUESTS;
    if not_in_log {
        PublishError::NotAccepted(Cause::Answer(problem))
    } else if problem.status.is_server_error() {
        PublishError::OutcomeUnknown(Cause::Answer(problem))
    } else {
        PublishError::Refused(problem)
    }
}

#[cfg(test)]
mod tests;
