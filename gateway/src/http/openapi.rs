//! `GET /openapi.json`: what the public port takes and answers, as OpenAPI 3.1.
//!
//! The operations are described beside their handlers, the schemas in [`schemas`] and the
//! parameters in [`params`]. `tests/it/openapi.rs` holds the document to the routes and to what a
//! running gateway really answers.

pub mod params;
pub mod schemas;

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The document, without what [`document`] adds.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        description = "A gateway from a log to server-sent event streams. Cursors are opaque; \
                       each resumes just after its event, on any pod.",
    ),
    servers((url = "/", description = "This gateway.")),
    paths(
        super::subscribe::room,
        super::subscribe::rooms,
        super::publish::room,
        super::publish::broadcast,
        super::batch::batch,
        super::history::page,
        super::console::page,
        super::client_module::script,
        super::client_module::types,
        openapi,
    ),
    components(schemas(
        schemas::Envelope,
        schemas::Connected,
        schemas::Gap,
        schemas::Heartbeat,
        schemas::Goodbye,
    )),
    tags(
        (name = "streams", description = "Reading events as they come."),
        (name = "history", description = "Reading what was published."),
        (name = "publishing", description = "Appending events to the log."),
        (name = "meta", description = "About this interface."),
    ),
    modifiers(&Signatures),
)]
struct Document;

/// Where a signature may be.
struct Signatures;

impl Modify for Signatures {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let value = |name, description: &str| ApiKeyValue::with_description(name, description);
        let form = "`v1.<kid>.<expiry>.<hex>`: HMAC-SHA256 over action, event id, event type, user, \
                    expiry and body hash. Only where `auth.mode` is `hmac`; the first place of \
                    header, query and cookie wins.";
        let schemes = [
            ("signature_header", ApiKey::Header(value("x-signature", form))),
            ("signature_query", ApiKey::Query(value("signature", form))),
            ("signature_cookie", ApiKey::Cookie(value("tidegate_signature", form))),
        ];
        let components = document.components.get_or_insert_default();
        for (name, key) in schemes {
            components.add_security_scheme(name, SecurityScheme::ApiKey(key));
        }
    }
}

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    document
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "meta",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
pub async fn openapi() -> Response {
    static TEXT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default().into());
    let mut response = Response::new(Body::from(TEXT.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A release may describe more than the one before it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::disconnect::Disconnect;
    use crate::problem::ProblemKind;

    /// The values that a schema's property may have.
    fn values<'a>(document: &'a Value, schema: &str, property: &str) -> BTreeSet<&'a str> {
        let property = &document["components"]["schemas"][schema]["properties"][property];
        let reference = property["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        let named = reference.map(|name| &document["components"]["schemas"][name]);
        let values = named.unwrap_or(property)["enum"].as_array().expect("a closed set");
        values.iter().map(|v| v.as_str().expect("text")).collect()
    }

    #[test]
    fn every_route_is_in_the_document_and_every_path_of_it_is_a_route() {
        let routes: BTreeSet<&str> = crate::http::routes().into_iter().map(|r| r.0).collect();
        let document = document();
        let paths: BTreeSet<&str> = document.paths.paths.keys().map(String::as_str).collect();
        assert_eq!(routes, paths);
    }

    #[test]
    fn the_documents_closed_sets_are_the_codes() {
        let document = serde_json::to_value(document()).expect("JSON");
        let kinds: BTreeSet<String> = ProblemKind::ALL.map(ProblemKind::urn).into();
        let kinds: BTreeSet<&str> = kinds.iter().map(String::as_str).collect();
        assert_eq!(values(&document, "Problem", "type"), kinds);
        let mut goodbyes: BTreeSet<&str> =
            Disconnect::ALL.iter().filter_map(|end| end.goodbye()).collect();
        // Of a stream that is refused.
        goodbyes.insert("overloaded");
        assert_eq!(values(&document, "tidegate.goodbye", "reason"), goodbyes);
    }
}
