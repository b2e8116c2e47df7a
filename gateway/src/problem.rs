//! What a refused request is told: RFC 9457 problem details, the same for a response and for a line
//! of a batch.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::auth::{AuthError, CredentialsError};
use crate::event::NameError;
use crate::json::{JsonError, Reason};

/// The media type of a problem.
pub const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";
/// What a 401 asks for. RFC 9110 (11.6.1) wants a scheme there; this one is not registered, and a
/// browser opens no password box for a scheme that it does not know.
pub const CHALLENGE: &str = "Tidegate-HMAC-SHA256";
/// When to try again after a 503, unless somebody knows better.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// The kinds of problems; `type` is `urn:tidegate:problem:` and the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The request cannot be read.
    BadRequest,
    /// The event is JSON but not an event.
    InvalidEvent,
    /// The body or the event is too long.
    TooLarge,
    /// The body is not of a media type that is read here.
    UnsupportedMediaType,
    /// The request is not, or not well, signed.
    Unauthorized,
    /// The signature does not allow it.
    Forbidden,
    /// The cursors of so many rooms would be too long, or more than the limit.
    TooManyRooms,
    /// Nothing came for too long.
    IdleTimeout,
    /// A limit of this pod is reached.
    Overloaded,
    /// This pod is going away.
    Draining,
    /// The event is certainly not in the log.
    NotAccepted,
    /// The event may be in the log.
    OutcomeUnknown,
    /// There is nothing at this path.
    NotFound,
    /// The path takes other methods.
    MethodNotAllowed,
}

impl ProblemKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::InvalidEvent,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Unauthorized,
        Self::Forbidden,
        Self::TooManyRooms,
        Self::IdleTimeout,
        Self::Overloaded,
        Self::Draining,
        Self::NotAccepted,
        Self::OutcomeUnknown,
        Self::NotFound,
        Self::MethodNotAllowed,
    ];

    /// The name: the end of `type`, and a metric's outcome.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::InvalidEvent => "invalid-event",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooManyRooms => "too-many-rooms",
            Self::IdleTimeout => "idle-timeout",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::NotAccepted => "not-accepted",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
        }
    }

    /// The `type`, a URN.
    #[must_use]
    pub fn urn(self) -> String {
        format!("urn:tidegate:problem:{}", self.as_str())
    }

    /// The `title`: the same for every problem of the kind.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request cannot be read",
            Self::InvalidEvent => "The event is not valid",
            Self::TooLarge => "The event is too large",
            Self::UnsupportedMediaType => "The media type is not supported",
            Self::Unauthorized => "The request is not validly signed",
            Self::Forbidden => "The signature does not allow this",
            Self::TooManyRooms => "Too many rooms for one stream",
            Self::IdleTimeout => "Nothing was received for too long",
            Self::Overloaded => "The gateway is at its limit",
            Self::Draining => "The gateway is shutting down",
            Self::NotAccepted => "The event was not accepted",
            Self::OutcomeUnknown => "It is not known whether the event was accepted",
            Self::NotFound => "There is nothing here",
            Self::MethodNotAllowed => "The method is not allowed here",
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::TooManyRooms => StatusCode::BAD_REQUEST,
            Self::InvalidEvent => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::IdleTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded | Self::Draining | Self::NotAccepted | Self::OutcomeUnknown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

/// One thing that is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Invalid {
    /// Where, as a JSON pointer (RFC 6901): `/user/to_user`, or empty for the whole body.
    pub pointer: String,
    /// What, and what to do about it.
    pub detail: Cow<'static, str>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// What is wrong with this request, and what to do about it.
    pub detail: Cow<'static, str>,
    /// Each thing that is wrong with the body.
    pub errors: Vec<Invalid>,
    /// When to try again, at the earliest. Rounded up to seconds.
    pub retry_after: Option<Duration>,
}

/// The members as they are sent.
#[derive(Serialize)]
struct Members<'a> {
    #[serde(rename = "type")]
    urn: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Invalid],
}

/// A problem as a line of a batch's answer.
#[derive(Serialize)]
struct Line<'a> {
    line: Option<u64>,
    #[serde(flatten)]
    members: Members<'a>,
}

impl Problem {
    /// A problem of this kind. Those with status 503 say when to come back.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        let is_temporary = kind.status() == StatusCode::SERVICE_UNAVAILABLE;
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: is_temporary.then_some(RETRY_SOON),
        }
    }

    /// An event with all of these errors.
    #[must_use]
    pub fn invalid_event(errors: Vec<Invalid>) -> Self {
        let detail = match &errors[..] {
            [one] if one.pointer.is_empty() => one.detail.clone(),
            [one] => format!("{}: {}", one.pointer, one.detail).into(),
            more => format!("{} members are not valid; see errors", more.len()).into(),
        };
        Self { errors, ..Self::new(ProblemKind::InvalidEvent, detail) }
    }

    /// The same problem with another time to come back.
    #[must_use]
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// The problem as JSON.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        to_json(&self.members())
    }

    /// The problem as a line of a batch's answer, without the line's end. `line` is the number of
    /// the request's line, from 1; without one it is about the whole batch.
    #[must_use]
    pub fn to_json_line(&self, line: Option<u64>) -> Bytes {
        to_json(&Line { line, members: self.members() })
    }

    /// The problem as a response, which no cache may keep.
    #[must_use]
    pub fn to_response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.to_json());
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_PROBLEM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind == ProblemKind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn members(&self) -> Members<'_> {
        Members {
            urn: self.kind.urn(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        }
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    // Text and numbers always serialise; a body without members would still have its status.
    serde_json::to_vec(value).unwrap_or_default().into()
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let kind = match error.is_forbidden() {
            true => ProblemKind::Forbidden,
            false => ProblemKind::Unauthorized,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<CredentialsError> for Problem {
    fn from(error: CredentialsError) -> Self {
        Self::new(ProblemKind::BadRequest, error.to_string())
    }
}

/// A name in a path, the query or a header.
impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(ProblemKind::BadRequest, error.to_string())
    }
}

/// A body that is not JSON cannot be read; one that is nested too deep could be, but will not.
impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        match error.reason {
            Reason::TooDeep(_) => Self::invalid_event(vec![Invalid {
                pointer: String::new(),
                detail: error.to_string().into(),
            }]),
            _ => Self::new(ProblemKind::BadRequest, format!("not JSON: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_kind_has_its_name_and_status() {
        let statuses = [400, 422, 413, 415, 401, 403, 400, 408, 503, 503, 503, 503, 404, 405];
        for (kind, status) in ProblemKind::ALL.into_iter().zip(statuses) {
            assert_eq!(kind.status().as_u16(), status, "{kind:?}");
            let response = Problem::new(kind, "why").to_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401);
            let body: Value = serde_json::from_slice(response.body()).expect("JSON");
            let urn = format!("urn:tidegate:problem:{}", kind.as_str());
            let title = kind.title();
            let want = json!({"type": urn, "title": title, "status": status, "detail": "why"});
            assert_eq!(body, want);
        }
    }

    #[test]
    fn an_event_with_errors_lists_them_all() {
        let error = |pointer: &str| Invalid { pointer: pointer.to_owned(), detail: "no".into() };
        let problem = Problem::invalid_event(vec![error("/data"), error("/a")]);
        let body: Value = serde_json::from_slice(&problem.to_json()).expect("JSON");
        assert_eq!(
            body["errors"],
            json!([{"pointer": "/data", "detail": "no"}, {"pointer": "/a", "detail": "no"}])
        );
        assert_eq!(Problem::invalid_event(vec![error("/data")]).detail, "/data: no");
    }

    #[test]
    fn a_line_of_a_batch_says_which_it_is() {
        let problem = Problem::new(ProblemKind::IdleTimeout, "a\nb");
        for (line, want) in [(Some(3), json!(3)), (None, Value::Null)] {
            let text = problem.to_json_line(line);
            assert!(!text.contains(&b'\n'));
            let body: Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!((&body["line"], &body["status"]), (&want, &json!(408)));
            assert_eq!(body["type"], "urn:tidegate:problem:idle-timeout");
        }
    }

    #[test]
    fn the_time_to_come_back_is_rounded_up() {
        let problem = Problem::new(ProblemKind::Draining, "bye");
        let after = |after| problem.clone().retry_after(after).to_response();
        assert_eq!(after(Duration::from_millis(1001)).headers()[RETRY_AFTER], "2");
        assert_eq!(after(Duration::from_secs(3)).headers()[RETRY_AFTER], "3");
    }

    #[test]
    fn errors_become_problems() {
        assert_eq!(Problem::from(AuthError::Missing).kind, ProblemKind::Unauthorized);
        assert_eq!(Problem::from(AuthError::BodyHash).kind, ProblemKind::Forbidden);
        assert_eq!(Problem::from(CredentialsError::UsersDiffer).kind, ProblemKind::BadRequest);
        let name = crate::event::EventId::new("").expect_err("empty");
        assert_eq!(Problem::from(name).detail, "event_id must not be empty");
        let json = |text| Problem::from(crate::json::minify(text, 1).expect_err("not JSON")).kind;
        assert_eq!(json("{"), ProblemKind::BadRequest);
        assert_eq!(json("[[]]"), ProblemKind::InvalidEvent);
    }
}
