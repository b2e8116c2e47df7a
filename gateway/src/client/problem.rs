//! What a gateway, or a proxy before it, answers when it does not do what it was asked.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;

/// How much of an answer is read. A problem is a few hundred bytes; a proxy's page may be anything.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How much of a page that is no problem is shown, in characters.
const SHOWN_CHARS: usize = 200;
/// What the types of Tidegate's problems begin with.
const TYPE_PREFIX: &str = "urn:tidegate:problem:";

/// An answer that refuses: RFC 9457's members where the gateway gave it, else what there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// The problem's name, such as `not-accepted`. `None`: not the gateway said this.
    pub name: Option<String>,
    /// The title, or the status's own phrase.
    pub title: String,
    /// What is the matter this time.
    pub detail: Option<String>,
    /// The places in a body that are wrong: JSON pointers and what is wrong there.
    pub errors: Vec<(String, String)>,
    /// How long the answer asks to wait before a retry, from `Retry-After` in seconds.
    pub retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    #[serde(default)]
    pointer: String,
    #[serde(default)]
    detail: String,
}

impl Problem {
    /// Reads an answer's problem; a body that is none is kept as the detail, shortened.
    #[must_use]
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let phrase = || status.canonical_reason().unwrap_or("an unknown status").to_owned();
        let retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let is_json = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/problem+json"));
        let parsed = if is_json { serde_json::from_slice::<Body>(body).ok() } else { None };
        let Some(parsed) = parsed else {
            let text = String::from_utf8_lossy(body);
            let text = text.trim();
            let detail = (!text.is_empty()).then(|| text.chars().take(SHOWN_CHARS).collect());
            return Self {
                status,
                name: None,
                title: phrase(),
                detail,
                errors: Vec::new(),
                retry_after,
            };
        };
        Self {
            status,
            name: parsed.kind.strip_prefix(TYPE_PREFIX).map(str::to_owned),
            title: if parsed.title.is_empty() { phrase() } else { parsed.title },
            detail: parsed.detail,
            errors: parsed.errors.into_iter().map(|place| (place.pointer, place.detail)).collect(),
            retry_after,
        }
    }

    /// Takes a refused answer's body, at most [`MAX_ANSWER_BYTES`] of it, and reads it. A body that
    /// breaks off leaves what had come.
    pub async fn of_response(mut response: reqwest::Response) -> Self {
        let mut body = Vec::new();
        while body.len() < MAX_ANSWER_BYTES {
            let Ok(Some(chunk)) = response.chunk().await else { break };
            let room = MAX_ANSWER_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Self::read(response.status(), response.headers(), &body)
    }

    /// Whether it is the gateway's problem of this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.status.as_u16())?;
        match &self.name {
            Some(name) => f.write_str(name)?,
            None => f.write_str(&self.title)?,
        }
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        for (pointer, detail) in &self.errors {
            write!(f, "; {pointer}: {detail}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(kind: &'static str) -> HeaderMap {
        [
            (CONTENT_TYPE, HeaderValue::from_static(kind)),
            (RETRY_AFTER, HeaderValue::from_static("7")),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_problem_is_read_with_all_that_a_person_needs() {
        let problem = Problem::read(
            StatusCode::UNPROCESSABLE_ENTITY,
            &headers("application/problem+json; charset=utf-8"),
            br#"{"type":"urn:tidegate:problem:invalid-event","title":"T","status":422,
                "detail":"the body is no event","errors":[{"pointer":"/dat","detail":"unknown"}]}"#,
        );
        assert!(problem.is("invalid-event"));
        assert_eq!(problem.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(problem.to_string(), "422 invalid-event: the body is no event; /dat: unknown");
    }

    #[test]
    fn a_proxys_page_is_no_problem_of_the_gateways() {
        for kind in ["text/html", "application/problem+json"] {
            let problem = Problem::read(StatusCode::BAD_GATEWAY, &headers(kind), b"<h1>no</h1>\n");
            assert_eq!(problem.name, None);
            assert_eq!(problem.to_string(), "502 Bad Gateway: <h1>no</h1>");
        }
        let empty = Problem::read(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"");
        assert_eq!(empty.to_string(), "502 Bad Gateway");
        assert_eq!(empty.retry_after, None);
    }
}
