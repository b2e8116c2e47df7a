//! How a stream is refused so that its client comes back.
//!
//! A status other than 200 ends a browser's `EventSource` for good. So a browser gets a stream
//! that says goodbye after a moment; others get 503. The moment also keeps a saturated pod from
//! answering fastest and drawing all new streams to itself.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use rand::RngExt as _;
use tokio::sync::Semaphore;

use super::App;
use super::subscribe::event_stream;
use crate::problem::{Problem, ProblemKind};
use crate::telemetry::metrics::{self, Refused};
use crate::wire;
use crate::wire::content::Coding;

/// Why there is no room for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.connections` streams are open.
    Connections,
    /// More streams come than `limits.connection_rate` allows.
    Rate,
    /// `limits.connections_per_ip` streams are open from this address.
    PerIp,
    /// `limits.connections_per_user` streams of this user are open.
    PerUser,
    /// The pod is going.
    Draining,
    /// The log has not been reached yet.
    NotReady,
}

impl Refusal {
    /// As it is counted.
    fn counted(self) -> Refused {
        match self {
            Self::Connections => Refused::Connections,
            Self::Rate => Refused::Rate,
            Self::PerIp => Refused::PerIp,
            Self::PerUser => Refused::PerUser,
            Self::Draining => Refused::Draining,
            Self::NotReady => Refused::NotReady,
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::Connections => Problem::new(
                ProblemKind::Overloaded,
                "this pod holds as many streams as it may (limits.connections); try again",
            ),
            Self::Rate => Problem::new(
                ProblemKind::Overloaded,
                "more streams are opened on this pod than it takes in a second \
                 (limits.connection_rate); try again",
            ),
            Self::PerIp => Problem::new(
                ProblemKind::Overloaded,
                "this address has as many streams here as it may (limits.connections_per_ip); \
                 close one, or try again",
            ),
            Self::PerUser => Problem::new(
                ProblemKind::Overloaded,
                "this user has as many streams here as one may (limits.connections_per_user); \
                 close one, or try again",
            ),
            Self::Draining => Problem::new(
                ProblemKind::Draining,
                "this pod is shutting down; another one will take the stream",
            ),
            Self::NotReady => Problem::new(
                ProblemKind::Overloaded,
                "this pod has not reached its log yet; try again (/readyz says why)",
            ),
        }
    }

    fn goodbye(self) -> &'static str {
        match self {
            Self::Draining => "drain",
            Self::Connections | Self::Rate | Self::PerIp | Self::PerUser | Self::NotReady => {
                "overloaded"
            }
        }
    }
}

/// Marks a response that is not to be sent: the listener closes the socket instead.
#[derive(Debug, Clone, Copy)]
pub struct Unanswered;

/// Places for streams that are held only to say goodbye.
pub type Held = Arc<Semaphore>;

/// Refuses a stream.
pub fn refuse(app: &App, why: Refusal, wants_stream: bool) -> Response {
    metrics::connection_refused(why.counted());
    if !wants_stream {
        return why.problem().to_response().map(Body::from);
    }
    let Ok(place) = Arc::clone(&app.held).try_acquire_owned() else {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Unanswered);
        return response;
    };
    let wait = Duration::from_millis(rand::rng().random_range(1_000..3_000));
    let retry = crate::shutdown::jittered_retry(app.config.stream.retry, &mut rand::rng());
    let goodbye = stream::once(async move {
        tokio::time::sleep(wait).await;
        drop(place);
        Ok::<_, std::convert::Infallible>(wire::goodbye(why.goodbye(), retry))
    });
    event_stream(Body::from_stream(goodbye), Coding::Identity)
}
