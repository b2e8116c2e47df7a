//! Pages of other origins (the Fetch standard's CORS protocol): who may ask, and with what.
//!
//! The origin is always echoed and never `*`: a browser takes no `*` for a request with cookies,
//! and the signature's cookie is how an `EventSource` is let in. A refused origin still gets its
//! answer, but its page may not look at it; what could do harm without being looked at needs a
//! preflight, since a publish has to be JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::problem::{Problem, ProblemKind};

/// What the public routes take.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
/// What a page may send.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Last-Event-ID, X-Signature, X-User, Idempotency-Key, X-Deliver-Within, Content-Type, \
     traceparent, tracestate",
);
/// What a page may read beside what it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After");
/// How long a browser keeps a preflight's answer, in seconds. A publish would be two requests
/// otherwise.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The origins whose pages may ask.
#[derive(Debug, Clone)]
pub struct Origins {
    any: bool,
    exact: Arc<[String]>,
}

impl Origins {
    /// Those of the settings: exact ones, or `*`. None if no page may.
    #[must_use]
    pub fn new(settings: &[String]) -> Option<Self> {
        let any = settings.iter().any(|origin| origin == "*");
        (!settings.is_empty()).then(|| Self { any, exact: settings.into() })
    }

    /// The request's origin, if its page may ask.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let listed = || self.exact.iter().any(|exact| exact.as_bytes() == origin.as_bytes());
        (self.any || listed()).then(|| origin.clone())
    }
}

/// Answers preflights, and lets the pages of `origins` read every answer, problems too.
pub async fn layer(State(origins): State<Origins>, request: Request<Body>, next: Next) -> Response {
    let allowed = origins.allowed(request.headers());
    let asked = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && asked && request.headers().contains_key(ORIGIN) {
        return preflight(allowed);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    // Also without an origin: a cache must not give one page's answer to another's.
    vary(headers, "Origin");
    response
}

fn preflight(allowed: Option<HeaderValue>) -> Response {
    let mut response = match &allowed {
        Some(_) => Response::new(Body::empty()),
        None => {
            let detail = "pages of this origin may not ask (cors.origins)";
            Problem::new(ProblemKind::Forbidden, detail).to_response().map(Body::from)
        }
    };
    let headers = response.headers_mut();
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    vary(response.headers_mut(), "Origin");
    response
}

/// Adds `name` to `Vary`, in one line with what is there.
fn vary(headers: &mut HeaderMap, name: &str) {
    let mut names: Vec<String> = headers
        .get_all(VARY)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if !names.iter().any(|there| there == "*" || there.eq_ignore_ascii_case(name)) {
        names.push(name.to_owned());
    }
    if let Ok(value) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_exactly_or_all_are() {
        let allowed = |settings: &[&str], origin: &'static str| {
            let settings: Vec<String> = settings.iter().map(|&s| s.to_owned()).collect();
            let headers = [(ORIGIN, HeaderValue::from_static(origin))].into_iter().collect();
            Origins::new(&settings).and_then(|origins| origins.allowed(&headers)).is_some()
        };
        let list = ["https://a.example", "http://localhost:8080"];
        assert!(allowed(&list, "https://a.example"));
        assert!(allowed(&list, "http://localhost:8080"));
        for other in ["https://a.example.evil", "http://a.example", "https://a.example:1", "null"] {
            assert!(!allowed(&list, other), "{other}");
            assert!(allowed(&["*"], other), "{other}");
        }
        assert!(!allowed(&[], "https://a.example"));
    }

    #[test]
    fn vary_is_merged() {
        for (before, after) in [
            (&[][..], "Origin"),
            (&["Accept-Encoding"], "Accept-Encoding, Origin"),
            (&["Accept-Encoding", "x,  y"], "Accept-Encoding, x, y, Origin"),
            (&["origin"], "origin"),
            (&["*"], "*"),
        ] {
            let mut headers = HeaderMap::new();
            for line in before {
                headers.append(VARY, HeaderValue::from_static(line));
            }
            vary(&mut headers, "Origin");
            let lines: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(lines, [after]);
        }
    }
}
