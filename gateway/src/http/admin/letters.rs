//! The admin port's view of dead letters: `tidegate dlq` is its client.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/dead-letters?reason=&after=&limit=` | `{"letters":[letter],"next":"…" or null,"unreadable":0}`; `next` is the next page's `after` |
//! | `GET /v1/dead-letters/{key}` | the letter with its record's fields and value |
//! | `POST /v1/dead-letters/replay` `{"keys":["…"],"again":false}` or `{"all":true,"reason":"…","after":"…","limit":100}` | `{"letters":[{"key","outcome","message_id","detail"}],"next":"…" or null}`; outcomes are `replayed`, `unmarked`, `already`, `no_event`, `failed`, `not_found` |
//! | `POST /v1/dead-letters/purge` `{"all":true}` or `{"before":"24h"}` | `{"removed":3}` |
//!
//! What is no UTF-8 is `{"base64":"…"}` instead of a text.

mod shown;

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::clock::{millis, now_ms};
use crate::config::parse_duration;
use crate::http::publish::expect_type;
use crate::http::target::Query;
use crate::http::{json_response, method_not_allowed};
use crate::log::letter::{
    Desk, DeskError, Filter, NoPlace, NoSpot, Outcome, Place, Purge, Reason, Spot, Which,
};
use crate::problem::{Problem, ProblemKind};

/// How many letters a page has if it is not told.
const DEFAULT_LIMIT: usize = 100;
/// The most letters of a page, and the most keys of a request.
const MOST_LIMIT: usize = 1_000;
/// The longest body, in bytes.
const MAX_BODY_BYTES: usize = 2 << 20;

/// The routes of dead letters.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/dead-letters", get(list))
        .route("/v1/dead-letters/replay", post(replay))
        .route("/v1/dead-letters/purge", post(purge))
        .route("/v1/dead-letters/{*key}", get(show))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(desk)
}

fn answer(result: Result<serde_json::Value, Problem>) -> Response {
    match result {
        Ok(body) => json_response(&body),
        Err(problem) => problem.to_response().map(Body::from),
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail.into())
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        let kind = match error {
            DeskError::TooMany => ProblemKind::BadRequest,
            DeskError::Busy | DeskError::Log(_) => ProblemKind::Overloaded,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<NoPlace> for Problem {
    fn from(error: NoPlace) -> Self {
        bad(error.to_string())
    }
}

async fn list(State(desk): State<Arc<Desk>>, uri: Uri) -> Response {
    let page = async {
        let query = Query::parse(&uri)?;
        let limit = query.get("limit").map(|limit| limit.parse().map_err(|_| limit.to_owned()));
        let limit = limit.transpose().map_err(|text| bad_limit(&text))?;
        let filter = filter(query.get("reason"), query.get("after"), limit)?;
        let page = desk.page(&filter).await?;
        Ok(json!({
            "letters": page.letters.iter().map(shown::summary).collect::<Vec<_>>(),
            "next": page.next.map(|next| next.to_string()),
            "unreadable": page.unreadable,
        }))
    };
    answer(page.await)
}

fn bad_limit(text: &str) -> Problem {
    bad(format!("limit takes a whole number from 1 to {MOST_LIMIT}, not {text:?}"))
}

/// All letters that a request asks for.
fn filter(
    reason: Option<&str>,
    after: Option<&str>,
    limit: Option<usize>,
) -> Result<Filter, Problem> {
    let of_text = |text| Reason::parse(text).ok_or_else(|| bad("that is no reason"));
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST_LIMIT).contains(&limit) {
        return Err(bad_limit(&limit.to_string()));
    }
    let after: Option<Spot> = after
        .map(str::parse)
        .transpose()
        .map_err(|error: NoSpot| bad(format!("after: {error}")))?;
    Ok(Filter { which: Which::All(reason.map(of_text).transpose()?), after, limit })
}

async fn show(State(desk): State<Arc<Desk>>, Path(key): Path<String>) -> Response {
    let letter = async {
        let place: Place = key.parse()?;
        let which = Which::Places(HashSet::from([place]));
        let page = desk.page(&Filter { which, after: None, limit: 1 }).await?;
        let letter = page.letters.first().ok_or_else(|| not_found(&key))?;
        Ok(shown::whole(letter))
    };
    answer(letter.await)
}

fn not_found(key: &str) -> Problem {
    Problem::new(ProblemKind::NotFound, format!("there is no dead letter {key}"))
}

/// Reads a request's JSON.
fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    // Not a form's, which a page of any origin can send.
    expect_type(headers, "application/json", "the request")?;
    let body = body.map_err(|_| {
        let detail = format!("the request has at most {MAX_BODY_BYTES} bytes");
        Problem::new(ProblemKind::TooLarge, detail)
    })?;
    serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    all: bool,
    reason: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    again: bool,
}

impl Replay {
    fn filter(&self) -> Result<Filter, Problem> {
        if self.all != self.keys.is_empty() {
            return Err(bad("say keys, or \"all\": true"));
        }
        if self.all {
            return filter(self.reason.as_deref(), self.after.as_deref(), self.limit);
        }
        if self.reason.is_some() || self.after.is_some() || self.limit.is_some() {
            return Err(bad("reason, after and limit go with \"all\": true"));
        }
        if self.keys.len() > MOST_LIMIT {
            return Err(bad(format!("a request has at most {MOST_LIMIT} keys")));
        }
        let places: Result<HashSet<Place>, _> = self.keys.iter().map(|key| key.parse()).collect();
        Ok(Filter { which: Which::Places(places?), after: None, limit: MOST_LIMIT })
    }
}

async fn replay(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let replayed = async {
        let asked: Replay = read(&headers, body)?;
        let filter = asked.filter()?;
        // In a task of its own: a client that leaves must not part an event from its marker.
        let own = Arc::clone(&desk);
        let work = tokio::spawn(async move {
            let done = own.replay(&filter, asked.again).await;
            (done, filter)
        });
        let (done, filter) =
            work.await.map_err(|error| Problem::new(ProblemKind::Overloaded, error.to_string()))?;
        let (done, next) = done?;
        let mut letters: Vec<_> = done.iter().map(shown::outcome).collect();
        let stopped = done.iter().any(|one| matches!(one.outcome, Outcome::Failed(_)));
        if let Which::Places(places) = &filter.which
            && next.is_none()
            && !stopped
        {
            let found: HashSet<_> = done.iter().map(|one| &one.place).collect();
            let missing = places.iter().filter(|place| !found.contains(place));
            letters.extend(missing.map(shown::missing));
        }
        Ok(json!({ "letters": letters, "next": next.map(|next| next.to_string()) }))
    };
    answer(replayed.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeAsked {
    #[serde(default)]
    all: bool,
    before: Option<String>,
}

async fn purge(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let purged = async {
        let asked: PurgeAsked = read(&headers, body)?;
        let purge = match (asked.all, asked.before) {
            (true, None) => Purge::All,
            (false, Some(age)) => {
                let age = parse_duration(&age).map_err(|why| bad(format!("before: {why}")))?;
                Purge::Before(now_ms().saturating_sub(millis(age)))
            }
            _ => return Err(bad("say \"before\": \"24h\", or \"all\": true")),
        };
        Ok(json!({ "removed": desk.purge(purge).await? }))
    };
    answer(purged.await)
}

#[cfg(test)]
mod tests;
