//! `GET /`: a page to watch rooms and publish to them. One document without outside assets, whose
//! policy names the hashes of its own script and style and allows nothing else. The client module is
//! inside the script and not imported: `script-src 'self'` would let in whatever this origin serves.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::{App, client_module};
use crate::problem::{Problem, ProblemKind};

const STYLE: &str = include_str!("console/style.css");
/// The module, and the page's own parts in a block behind it, so that no names clash.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let parts = [
        include_str!("console/snippets.js"),
        include_str!("console/rows.js"),
        include_str!("console/script.js"),
    ];
    format!("{}{{\n{}}}\n", client_module::SCRIPT, parts.concat())
});

static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("console/page.html").replace("{{style}}", STYLE).replace("{{script}}", &SCRIPT)
});

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; connect-src 'self'; script-src 'sha256-{}'; style-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(&SCRIPT),
        hash(STYLE)
    )
});

/// The page, unless it is switched off.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "console",
    tag = "meta",
    security(()),
    responses(
        (status = 200, description = "The console page.", body = String, content_type = "text/html"),
    ),
)]
pub async fn page(State(app): State<Arc<App>>) -> Response {
    if !app.config.console.enabled {
        let detail = "the console is switched off (console.enabled); see /openapi.json";
        return Problem::new(ProblemKind::NotFound, detail).to_response().map(Body::from);
    }
    let mut response = Response::new(Body::from(PAGE.as_str()));
    put_headers(response.headers_mut());
    response
}

fn put_headers(headers: &mut HeaderMap) {
    let fixed = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        // The page's own address may carry a signature one day; it is nobody else's business.
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}
