//! `GET /tidegate.js`: the client module for browsers, and its types beside it.
//!
//! Served wherever the public port is, also with the console switched off: like `/openapi.json` it
//! is part of the interface, says nothing of the deployment, and pages of other origins import it
//! from here (under `cors.origins`, as they may read streams). A gateway's own module is the one that
//! understands its streams.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

/// The module: its parts in one scope, as a page loads one file and not four.
pub(super) const SCRIPT: &str = concat!(
    include_str!("client_module/lz4.js"),
    include_str!("client_module/source.js"),
    include_str!("client_module/tabs.js"),
    include_str!("client_module/tidegate.js"),
);
const TYPES: &str = include_str!("client_module/tidegate.d.ts");

static SCRIPT_TAG: LazyLock<String> = LazyLock::new(|| tag(SCRIPT));
static TYPES_TAG: LazyLock<String> = LazyLock::new(|| tag(TYPES));

/// The module.
#[utoipa::path(
    get,
    path = "/tidegate.js",
    operation_id = "clientModule",
    tag = "meta",
    security(()),
    responses(
        (
            status = 200,
            description = "An ECMAScript module: a client of the streams for browsers.",
            body = String,
            content_type = "text/javascript",
        ),
        (status = 304, description = "It is as `If-None-Match` has it."),
    ),
)]
pub async fn script(headers: HeaderMap) -> Response {
    answer(&headers, SCRIPT, "text/javascript; charset=utf-8", &SCRIPT_TAG)
}

/// Its types.
#[utoipa::path(
    get,
    path = "/tidegate.d.ts",
    operation_id = "clientTypes",
    tag = "meta",
    security(()),
    responses(
        (
            status = 200,
            description = "The module's TypeScript declarations.",
            body = String,
            content_type = "text/plain",
        ),
        (status = 304, description = "They are as `If-None-Match` has them."),
    ),
)]
pub async fn types(headers: HeaderMap) -> Response {
    // No `video/mp2t`, as servers that go by `.ts` say, nor anything that a page could run.
    answer(&headers, TYPES, "text/plain; charset=utf-8", &TYPES_TAG)
}

fn tag(text: &str) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(text)))
}

fn answer(asked: &HeaderMap, text: &'static str, kind: &'static str, tag: &str) -> Response {
    let known = is_known(asked, tag);
    let mut response = Response::new(if known { Body::empty() } else { Body::from(text) });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // Asked for again at every load: the address has no version, and a rollout may mend it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, tag);
    }
    if known {
        headers.remove(CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}

/// Whether `If-None-Match` (RFC 9110, 13.1.2) names `tag`. A proxy that compresses makes it weak.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
