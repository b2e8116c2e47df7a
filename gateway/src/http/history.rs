//! `GET /v1/events/{event_id}/types/{event_type}/history`: a page of what was published.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request};
use serde::Serialize;

use super::openapi::params::{HistoryQuery, ReadRoom, UserHeader, UserQuery};
use super::openapi::schemas::{HistoryPage, ReadProblems};
use super::target::{self, Query};
use super::{App, Place, subscribe};
use crate::auth::Credentials;
use crate::auth::credentials::Cookies;
use crate::clock::now_ms;
use crate::hub::{Page, Since, Start};
use crate::problem::{Problem, ProblemKind};
use crate::replay::NotBegun;
use crate::telemetry::metrics;
use crate::wire::{self, GapReason};

/// How many events a page has if it is not told.
pub const DEFAULT_LIMIT: usize = 100;
/// The most events that a page has.
pub const MOST_LIMIT: usize = 1_000;
/// How many pages may be on their way at once. Each has up to 4 MiB, and clients may be slow.
pub const MOST_PAGES: usize = 64;
/// About how much of a page is written at once, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A page of a room's events, broadcasts among them.
#[utoipa::path(
    get,
    path = "/v1/events/{event_id}/types/{event_type}/history",
    operation_id = "history",
    tag = "history",
    params(ReadRoom, HistoryQuery, UserQuery, UserHeader),
    security(
        (),
        ("signature_header" = []),
        ("signature_query" = []),
        ("signature_cookie" = []),
    ),
    responses(
        (
            status = 200,
            description = "A page. What is no cursor is a page with a gap, not an error.",
            body = HistoryPage,
        ),
        ReadProblems,
    ),
)]
pub async fn page(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match read(&app, &request.map(drop)).await {
        Ok(response) => response,
        Err(problem) => problem.to_response().map(Body::from),
    }
}

async fn read(app: &Arc<App>, request: &Request<()>) -> Result<Response, Problem> {
    let pattern = target::pattern(request.uri(), 3)?;
    let query = Query::parse(request.uri())?;
    let limit = limit(&query)?;
    let since = target::since(&query, now_ms())?;
    let start = match query.get("after") {
        Some(cursor) => subscribe::start_after(cursor),
        None => Start::From(since.unwrap_or(Since::Earliest)),
    };
    let credentials = Credentials::of(request.headers(), query.pairs(), Cookies::Read)?;
    let grant = app
        .verifier
        .subscribe(std::slice::from_ref(&pattern), &credentials, super::unix_seconds())
        .inspect_err(|e| metrics::signature_failure(e.reason()))?;
    let place = app.pages.take().ok_or_else(|| {
        let detail = "this pod is sending as many pages of history as it may; try again";
        Problem::new(ProblemKind::Overloaded, detail)
    })?;
    let page = app.replays.history(&pattern, grant.user.as_ref(), start, limit).await;
    let page = page.map_err(|error| match error {
        NotBegun::Unopened(_) => {
            let detail = "this pod has not reached its log yet; try again (/readyz says why)";
            Problem::new(ProblemKind::Overloaded, detail)
        }
        NotBegun::Unread(why) => {
            Problem::new(ProblemKind::Overloaded, format!("no history now: {why}"))
        }
    })?;
    if let Some(gap) = &page.gap {
        metrics::gap(gap.reason);
    }
    metrics::replayed_events(metrics::ReplayFrom::Window, page.events.len() as u64);
    Ok(answer(page, place))
}

fn limit(query: &Query<'_>) -> Result<usize, Problem> {
    let Some(text) = query.get("limit") else { return Ok(DEFAULT_LIMIT) };
    text.parse().ok().filter(|n| (1..=MOST_LIMIT).contains(n)).ok_or_else(|| {
        let detail = format!("limit= takes a whole number from 1 to {MOST_LIMIT}, not {text:?}");
        Problem::new(ProblemKind::BadRequest, detail)
    })
}

/// A 200 whose body is written event by event: a page is never in memory twice. `place` is held
/// until all of it is on its way.
fn answer(page: Page, place: Place) -> Response {
    let end = end(&page);
    let events = page.events.into_iter();
    let body = stream::unfold(
        (events, Some(end), true, place),
        async |(mut events, end, first, place)| {
            let end = end?;
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            if first {
                chunk.put_slice(b"{\"events\":[");
            }
            let mut first = first;
            while chunk.len() < CHUNK_BYTES {
                let Some((event, cursor)) = events.next() else {
                    chunk.put_slice(&end);
                    return Some((
                        Ok::<_, Infallible>(chunk.freeze()),
                        (events, None, false, place),
                    ));
                };
                if !std::mem::take(&mut first) {
                    chunk.put_u8(b',');
                }
                chunk.put_slice(&wire::envelope_at(&event, &cursor));
            }
            Some((Ok(chunk.freeze()), (events, Some(end), false, place)))
        },
    );
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Another page is there a moment later, and it may be for one user only.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What follows the events.
fn end(page: &Page) -> Bytes {
    #[derive(Serialize)]
    struct End {
        next: String,
        gap: Option<Hole>,
    }
    #[derive(Serialize)]
    struct Hole {
        reason: GapReason,
        requested: Option<String>,
        resumed_at: String,
    }
    let gap = page.gap.as_ref().map(|gap| Hole {
        reason: gap.reason,
        requested: gap.requested.as_ref().map(ToString::to_string),
        resumed_at: gap.resumed_at.to_string(),
    });
    let end = serde_json::to_string(&End { next: page.next.to_string(), gap });
    // The array's end, and the members without the brace that opens them.
    format!("],{}", end.unwrap_or_default().trim_start_matches('{')).into()
}
