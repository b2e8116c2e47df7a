//! `GET /v1/subscribe…`: from a request to a stream.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use tokio::time::Instant;

use super::encodings;
use super::handoff::Offer;
use super::openapi::params::{LastEventId, ReadRoom, Rooms, StreamQuery, UserHeader, UserQuery};
use super::openapi::schemas::ReadProblems;
use super::quota::Share;
use super::refusal::{self, Refusal};
use super::target::{self, Query};
use super::{App, Place, peer};
use crate::auth::Credentials;
use crate::auth::credentials::Cookies;
use crate::clock::now_ms;
use crate::config::{Slow, Stream};
use crate::connection::{Connection, HeartbeatForm, Terms};
use crate::cursor::Cursor;
use crate::disconnect::Stalled;
use crate::event::{Pattern, User};
use crate::hub::{Start, Unopened};
use crate::problem::{Problem, ProblemKind};
use crate::replay::{Begun, NotBegun};
use crate::shutdown::Phase;
use crate::telemetry::metrics;
use crate::wire::chunk::Framing;
use crate::wire::content::Coding;
use crate::wire::{self, Connected, StartKind, Variant};

/// A stream of one room, or of every type of an id.
#[utoipa::path(
    get,
    path = "/v1/subscribe/events/{event_id}/types/{event_type}",
    operation_id = "subscribe",
    tag = "streams",
    params(ReadRoom, StreamQuery, LastEventId, UserQuery, UserHeader),
    security(
        (),
        ("signature_header" = []),
        ("signature_query" = []),
        ("signature_cookie" = []),
    ),
    responses(
        (
            status = 200,
            description = "Server-sent events, in a content coding that `Accept-Encoding` allows if the operator has one on. First `tidegate.connected`; then events, whose `data:` is an `Envelope`, and `tidegate.gap`, `tidegate.heartbeat` and `tidegate.goodbye`, whose `data:` are the schemas of these names.",
            content_type = "text/event-stream",
            body = String,
            example = json!(wire::example()),
        ),
        (status = 204, description = "The room is complete: never come back."),
        ReadProblems,
    ),
)]
pub async fn room(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let patterns = target::pattern(request.uri(), 4).map(|pattern| vec![pattern]);
    answer(&app, &request.map(drop), patterns).await
}

/// A stream of several rooms.
#[utoipa::path(
    get,
    path = "/v1/subscribe",
    operation_id = "subscribeRooms",
    tag = "streams",
    params(Rooms, StreamQuery, LastEventId, UserQuery, UserHeader),
    security(
        (),
        ("signature_header" = []),
        ("signature_query" = []),
        ("signature_cookie" = []),
    ),
    responses(
        (
            status = 200,
            description = "Server-sent events, in a content coding that `Accept-Encoding` allows if the operator has one on. First `tidegate.connected`; then events, whose `data:` is an `Envelope`, and `tidegate.gap`, `tidegate.heartbeat` and `tidegate.goodbye`, whose `data:` are the schemas of these names.",
            content_type = "text/event-stream",
            body = String,
            example = json!(wire::example()),
        ),
        (status = 204, description = "The room is complete: never come back."),
        ReadProblems,
    ),
)]
pub async fn rooms(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let most = app.config.limits.rooms_per_stream;
    let patterns = Query::parse(request.uri()).and_then(|query| target::rooms(&query, most));
    answer(&app, &request.map(drop), patterns).await
}

async fn answer(
    app: &Arc<App>,
    request: &Request<()>,
    patterns: Result<Vec<Pattern>, Problem>,
) -> Response {
    let opened = match patterns {
        Ok(patterns) => open(app, request, patterns).await,
        Err(problem) => Err(problem),
    };
    match opened {
        Ok(response) => response,
        Err(problem) => problem.to_response().map(Body::from),
    }
}

/// What the query and the headers ask for beside the rooms.
struct Asked {
    variant: Variant,
    heartbeat_form: HeartbeatForm,
    /// `None`: what the operator prefers.
    slow: Option<Slow>,
    start: Start,
}

fn asked(query: &Query<'_>, headers: &HeaderMap, settings: &Stream) -> Result<Asked, Problem> {
    let unnamed = query.choice("name", &[("message", true)])?.unwrap_or(false);
    let lz4 = query.choice("compress", &[("lz4", true)])?.unwrap_or(false);
    let heartbeat = [("event", HeartbeatForm::Event), ("comment", HeartbeatForm::Comment)];
    let heartbeat_form = query.choice("heartbeat", &heartbeat)?.unwrap_or(HeartbeatForm::Event);
    let allowed: Vec<_> = settings.slow.iter().map(|slow| (slow.as_str(), *slow)).collect();
    let slow = query.choice("slow", &allowed)?;
    let cursor = headers
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or("\u{fffd}"))
        .or_else(|| query.get("last_event_id"))
        .or_else(|| query.get("lastEventId"))
        .filter(|text| !text.is_empty());
    // Looked at even where a cursor beats it: a wrong one is said at the first connect.
    let since = target::since(query, now_ms())?;
    let start = match cursor {
        None => since.map_or(Start::Live, Start::From),
        Some(cursor) => start_after(cursor),
    };
    let coding = encodings::choose(headers, settings);
    Ok(Asked { variant: Variant { unnamed, lz4, coding }, heartbeat_form, slow, start })
}

/// Where a client with this cursor goes on.
pub(super) fn start_after(cursor: &str) -> Start {
    Cursor::parse(cursor).map_or(Start::Unusable, Start::Resume)
}

async fn open(
    app: &Arc<App>,
    request: &Request<()>,
    patterns: Vec<Pattern>,
) -> Result<Response, Problem> {
    let query = Query::parse(request.uri())?;
    let headers = request.headers();
    let settings = &app.config.stream;
    let Asked { variant, heartbeat_form, slow, start } = asked(&query, headers, settings)?;
    let credentials = Credentials::of(headers, query.pairs(), Cookies::Read)?;
    let grant = app
        .verifier
        .subscribe(&patterns, &credentials, super::unix_seconds())
        .inspect_err(|e| metrics::signature_failure(e.reason()))?;

    let completes = matches!(patterns.as_slice(), [one] if one.kind.is_some());
    if completes && matches!(&start, Start::Resume(cursor) if cursor.complete) {
        // The final event was written: there is nothing to come back for.
        let mut done = Response::new(Body::empty());
        *done.status_mut() = StatusCode::NO_CONTENT;
        return Ok(done);
    }

    let wants_stream = accepts_event_stream(headers);
    if matches!(app.shutdown.phase(), Phase::Closing | Phase::Done) {
        return Ok(refusal::refuse(app, Refusal::Draining, wants_stream));
    }
    let permit = match admit(app, request, grant.user.as_ref()) {
        Ok(permit) => permit,
        Err(why) => return Ok(refusal::refuse(app, why, wants_stream)),
    };
    let start_kind = match &start {
        Start::Live => StartKind::Live,
        Start::From(_) => StartKind::From,
        Start::Resume(_) | Start::Unusable => StartKind::Resume,
    };
    let mut begun = match app.replays.begin(&patterns, grant.user.as_ref(), start).await {
        Ok(begun) => begun,
        Err(NotBegun::Unopened(error @ Unopened::TooManyRooms)) => {
            let detail = format!("{error}; open a second stream");
            return Err(Problem::new(ProblemKind::TooManyRooms, detail));
        }
        Err(error) => {
            tracing::debug!(%error, "a stream cannot begin");
            return Ok(refusal::refuse(app, Refusal::NotReady, wants_stream));
        }
    };
    if let Some(slow) = slow.or(settings.slow.first().copied()) {
        begun.feed.when_slow(slow);
    }

    let offer = request.extensions().get::<Offer>().cloned();
    let terms = Terms {
        variant,
        framing: if offer.is_some() { Framing::Chunks } else { Framing::ByLibrary },
        heartbeat_form,
        heartbeat: settings.heartbeat,
        retry: settings.retry,
        grant,
        ages_at: settings
            .max_age
            .map(|age| Instant::now() + crate::shutdown::jittered_age(age, &mut rand::rng())),
        completes,
        drain_window: app.config.drain.window,
        rooms: patterns.clone(),
        stalled: request.extensions().get::<Stalled>().cloned().unwrap_or_default(),
    };
    let preamble = preamble(app, &patterns, start_kind, &begun);
    let protocol = metrics::Protocol::of(request.version());
    let connection =
        Connection::new(begun.feed, preamble, terms, Arc::clone(app), protocol, Box::new(permit));
    let protocol = protocol.as_str();
    tracing::debug!(rooms = patterns.len(), replayed = begun.replayed, protocol, "stream opened");
    Ok(match offer {
        Some(offer) => offer.answer(event_stream(Body::empty(), variant.coding), connection),
        None => event_stream(Body::new(connection), variant.coding),
    })
}

/// The places of one stream, given back with it.
type Permit = (Place, Option<Share<IpAddr>>, Option<Share<User>>);

/// Takes the stream's place, and its address's and its user's, where these are counted.
fn admit(app: &App, request: &Request<()>, user: Option<&User>) -> Result<Permit, Refusal> {
    // First, so that no more addresses and users are counted than there are streams.
    let place = app.streams.take().ok_or(Refusal::Connections)?;
    let client = peer::client(request, &app.config.public.trusted_proxies).map(peer::network);
    let of_ip = client.map(|client| app.per_ip.take(client)).transpose();
    let of_ip = of_ip.map_err(|_| Refusal::PerIp)?.flatten();
    let of_user = user.map(|user| app.per_user.take(user.clone())).transpose();
    let of_user = of_user.map_err(|_| Refusal::PerUser)?.flatten();
    // Last: only streams that are opened count.
    if !app.rate.take() {
        return Err(Refusal::Rate);
    }
    Ok((place, of_ip, of_user))
}

/// The first block, and the hole if there is one.
fn preamble(app: &App, patterns: &[Pattern], start: StartKind, begun: &Begun) -> Vec<bytes::Bytes> {
    let mut blocks = vec![wire::connected(&Connected {
        pod: &app.config.pod.name,
        rooms: patterns,
        start,
        heartbeat: app.config.stream.heartbeat,
        // Jittered per stream: those of a pod that is lost do not all come back at one moment.
        retry: crate::shutdown::jittered_retry(app.config.stream.retry, &mut rand::rng()),
        id: begun.connected_at.as_ref(),
    })];
    if let Some(gap) = &begun.gap {
        metrics::gap(gap.reason);
        blocks.push(wire::gap(gap.reason, gap.requested.as_ref(), &gap.resumed_at, patterns));
    }
    metrics::replayed_events(metrics::ReplayFrom::Window, begun.replayed as u64);
    blocks
}

/// Whether a browser's `EventSource` asks: any other answer than a stream ends it for good.
fn accepts_event_stream(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("text/event-stream"))
    })
}

/// A 200 whose body is a stream of events in `coding`, with what keeps proxies from holding it back.
pub(super) fn event_stream(body: Body, coding: Coding) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let fixed = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (VARY, "Accept-Encoding"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if coding != Coding::Identity {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    }
    response
}
