//! Dead letters through the admin port of a gateway.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::address::encode;
use super::chain;
use super::problem::Problem;

/// How long a request may take: a replay goes on for some twenty seconds after reading.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much of an answer is read, in bytes. A letter's record can be as long as an event, and
/// escaped as JSON several times that.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// The gateway refuses.
    #[error("{0}")]
    Refused(Problem),
    /// The gateway was not reached, or what answered is none.
    #[error("{0}")]
    Transport(String),
}

/// A page of dead letters.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// The letters as the gateway wrote them.
    pub letters: Vec<Value>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
    /// How many records among the letters are none.
    #[serde(default)]
    pub unreadable: u64,
}

/// What became of letters that were to be published again.
#[derive(Debug, Deserialize)]
pub struct Replays {
    /// Each of them.
    pub letters: Vec<Replayed>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// One of them.
#[derive(Debug, Clone, Deserialize)]
pub struct Replayed {
    /// Its key.
    pub key: String,
    /// `replayed`, `unmarked`, `already`, `no_event`, `failed` or `not_found`.
    pub outcome: String,
    /// The event's identity.
    #[serde(default)]
    pub message_id: Option<String>,
    /// Why not.
    #[serde(default)]
    pub detail: Option<String>,
}

/// The dead letters of one gateway.
#[derive(Debug, Clone)]
pub struct Letters {
    /// The connections.
    pub client: reqwest::Client,
    /// The gateway's admin port: see [`super::address::parse_base`].
    pub base: Url,
}

impl Letters {
    /// A page, with these parameters.
    ///
    /// # Errors
    /// [`LettersError`].
    pub async fn page(&self, params: &[(&str, &str)]) -> Result<Page, LettersError> {
        let mut url = self.url("");
        let params: Vec<_> =
            params.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        url.set_query(Some(&params.join("&")));
        self.ask(self.client.get(url)).await
    }

    /// A letter with its record.
    ///
    /// # Errors
    /// [`LettersError`].
    pub async fn letter(&self, key: &str) -> Result<Value, LettersError> {
        let parts: Vec<_> = key.split('/').map(encode).collect();
        self.ask(self.client.get(self.url(&format!("/{}", parts.join("/"))))).await
    }

    /// Publishes the letters with these keys again.
    ///
    /// # Errors
    /// [`LettersError`].
    pub async fn replay(&self, keys: &[String], again: bool) -> Result<Replays, LettersError> {
        self.post("/replay", &json!({ "keys": keys, "again": again })).await
    }

    /// Publishes all letters, or all with a reason, after a place among them again.
    ///
    /// # Errors
    /// [`LettersError`].
    pub async fn replay_all(
        &self,
        reason: Option<&str>,
        after: Option<&str>,
        again: bool,
    ) -> Result<Replays, LettersError> {
        let body = json!({ "all": true, "reason": reason, "after": after, "again": again });
        self.post("/replay", &body).await
    }

    /// Removes all letters, or those older than `before`, a duration as the gateway reads it.
    /// Returns how many records that were.
    ///
    /// # Errors
    /// [`LettersError`].
    pub async fn purge(&self, before: Option<&str>) -> Result<u64, LettersError> {
        #[derive(Deserialize)]
        struct Purged {
            removed: u64,
        }
        let body = before.map_or(json!({ "all": true }), |age| json!({ "before": age }));
        self.post("/purge", &body).await.map(|Purged { removed }| removed)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}v1/dead-letters{path}", self.base.path()));
        url
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, LettersError> {
        let request = self.client.post(self.url(path)).header(CONTENT_TYPE, "application/json");
        self.ask(request.body(body.to_string())).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, LettersError> {
        let lost = |error: reqwest::Error| LettersError::Transport(chain(&error.without_url()));
        let mut response = request.timeout(PATIENCE).send().await.map_err(lost)?;
        if response.status() != StatusCode::OK {
            return Err(LettersError::Refused(Problem::of_response(response).await));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(LettersError::Transport("the answer does not end".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| {
            LettersError::Transport(format!("the answer is none of a gateway's: {error}"))
        })
    }
}
