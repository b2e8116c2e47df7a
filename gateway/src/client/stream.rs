//! A stream that reconnects by itself and resumes where it was, as a browser's `EventSource` does.
//!
//! It goes further where a browser would lose something or wait for ever: a server that answers
//! 5xx or not at all is asked again, with growing delays, and a connection on which nothing has
//! come for three heartbeats is given up.

mod connection;

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::address::{self, AddressError};
use super::identity::Identity;
use super::parser::{DEFAULT_MAX_EVENT_BYTES, Event, Item, ParseError, Parser};
use super::problem::Problem;
use super::{backoff, chain};
use crate::event::Pattern;
use connection::{Connection, Heard};

/// The event that opens each connection of a gateway.
pub const CONNECTED: &str = "tidegate.connected";
/// The event that keeps a quiet stream's cursor young.
pub const HEARTBEAT: &str = "tidegate.heartbeat";
/// The event that says that some events are gone.
pub const GAP: &str = "tidegate.gap";
/// The event before the server's end of a stream.
pub const GOODBYE: &str = "tidegate.goodbye";

/// How long the head of an answer may take, the connection standing. A gateway that refuses holds
/// its answer for some seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The silence that is borne until the server has said how often its heart beats.
const UNTOLD_SILENCE: Duration = Duration::from_secs(60);
/// So many heartbeats may be missed.
const MISSED_HEARTBEATS: u32 = 3;
/// A delay before a reconnect that no server has chosen: what browsers take.
const UNTOLD_RETRY: Duration = Duration::from_secs(3);

/// An event as it came, `tidegate.*` ones too.
pub type ClientEvent = Event;

/// Which stream, and as whom.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The gateway: see [`address::parse_base`].
    pub base: Url,
    /// What to listen to, at least one.
    pub rooms: Vec<Pattern>,
    /// Further query parameters, such as `from`.
    pub params: Vec<(String, String)>,
    /// The user that the stream is opened as, and what lets them in.
    pub identity: Identity,
    /// Where to resume. Empty: not from anywhere.
    pub last_event_id: String,
}

/// What happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// An event.
    Event(ClientEvent),
    /// A comment: some servers keep a connection alive with them.
    Comment(String),
    /// There is no connection; the next call waits this long and makes one.
    Lost {
        /// Why there is none.
        reason: Lost,
        /// The time until the next attempt.
        retry_in: Duration,
    },
}

/// Why a connection ended, or was not made, that another may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The server ended the stream, between two events or within one.
    Ended,
    /// It broke; the text says how.
    Broken(String),
    /// Nothing came for this long.
    Silent(Duration),
    /// None could be made; the text says why.
    Unreachable(String),
    /// The server cannot at the moment.
    Unavailable(Problem),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the server ended the stream"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Silent(time) => write!(f, "nothing came for {} ms", time.as_millis()),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Unavailable(problem) => problem.fmt(f),
        }
    }
}

/// What no other attempt can mend.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server refused for good; the problem says why.
    #[error("{0}")]
    Refused(Problem),
    /// The server names another address. It is not followed: the signature is for this one.
    #[error("the gateway is said to be at {to:?} ({status})")]
    Redirected {
        /// The status.
        status: StatusCode,
        /// What its `Location` says.
        to: String,
    },
    /// The server answers with something else.
    #[error("the answer is no event stream: {status}, Content-Type {content_type:?}")]
    NotAStream {
        /// The status.
        status: StatusCode,
        /// What it is instead.
        content_type: String,
    },
    /// The stream holds more than is taken.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The last id cannot be sent back, and without it events would be lost.
    #[error("the stream cannot be resumed: its id {0:?} does not fit into a header")]
    Id(String),
    /// The request cannot be made.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The request cannot be made.
    #[error("no request: {0}")]
    Request(String),
}

#[derive(Debug)]
enum State {
    /// No connection; the next one not before this.
    Waiting(Instant),
    Open(Box<Connection>),
    Ended,
}

/// A subscription that lasts over its connections.
#[derive(Debug)]
pub struct EventSource {
    client: reqwest::Client,
    subscription: Subscription,
    limit: usize,
    last_event_id: String,
    retry: Duration,
    /// Attempts that failed since bytes last came.
    failures: u32,
    opened: u64,
    state: State,
}

impl EventSource {
    /// Nothing is sent before the first [`EventSource::next`].
    #[must_use]
    pub fn new(client: reqwest::Client, subscription: Subscription) -> Self {
        Self {
            client,
            last_event_id: subscription.last_event_id.clone(),
            subscription,
            limit: DEFAULT_MAX_EVENT_BYTES,
            retry: UNTOLD_RETRY,
            failures: 0,
            opened: 0,
            state: State::Waiting(Instant::now()),
        }
    }

    /// Takes no line and no event's data longer than this, in bytes.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The delay before a reconnect until the server says another.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// The id that a reconnect would resume after; empty before the first.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How many streams were opened after the first.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.opened.saturating_sub(1)
    }

    /// What happens next. `None`: the server said, with 204, never to come back.
    ///
    /// A call that is cancelled loses no event.
    ///
    /// # Errors
    /// [`StreamError`] when coming back would not help; the stream is at its end then.
    pub async fn next(&mut self) -> Result<Option<Update>, StreamError> {
        let update = self.step().await;
        if update.is_err() {
            self.state = State::Ended;
        }
        update
    }

    async fn step(&mut self) -> Result<Option<Update>, StreamError> {
        loop {
            let connection = match &mut self.state {
                State::Ended => return Ok(None),
                State::Open(connection) => connection,
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    if let Some(update) = self.connect().await? {
                        return Ok(Some(update));
                    }
                    continue;
                }
            };
            let heard = connection.next().await;
            // Also when no event came of it: a block without data moves the id.
            if connection.last_event_id() != self.last_event_id {
                self.last_event_id = connection.last_event_id().to_owned();
            }
            if connection.heard_any() {
                self.failures = 0;
            }
            match heard? {
                Heard::Item(Item::Retry(retry)) => self.retry = retry,
                Heard::Item(Item::Comment(text)) => return Ok(Some(Update::Comment(text))),
                Heard::Item(Item::Event(event)) => {
                    if event.event == CONNECTED
                        && let Some(silence) = silence_of(&event.data)
                    {
                        connection.bear_silence(silence);
                    }
                    return Ok(Some(Update::Event(event)));
                }
                Heard::Lost(reason) => {
                    if !connection.heard_any() {
                        self.failures = self.failures.saturating_add(1);
                    }
                    return Ok(Some(self.lose(reason, None)));
                }
            }
        }
    }

    /// Makes a connection. `None`: there is one, or the server wants no more.
    async fn connect(&mut self) -> Result<Option<Update>, StreamError> {
        let (url, headers) = self.request()?;
        let request = self.client.get(url).headers(headers);
        let answer = match timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(answer) => answer,
            Err(_) => {
                let why = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
                return Ok(Some(self.fail(Lost::Unreachable(why), None)));
            }
        };
        match answer {
            Ok(response) => self.accept(response).await,
            Err(error) if error.is_builder() => Err(StreamError::Request(chain(&error))),
            Err(error) => {
                // The address is left out: its query may hold signatures.
                let why = chain(&error.without_url());
                Ok(Some(self.fail(Lost::Unreachable(why), None)))
            }
        }
    }

    fn request(&self) -> Result<(Url, HeaderMap), StreamError> {
        let subscription = &self.subscription;
        let mut params: Vec<(&str, &str)> =
            subscription.params.iter().map(|(name, value)| (&**name, &**value)).collect();
        // For each connection anew: the last one's may have expired.
        let signatures =
            subscription.identity.sign_subscribe(&subscription.rooms, SystemTime::now());
        let signature = match &*signatures {
            [] => None,
            [one] => Some(&**one),
            // A header holds one; for several rooms the query has one each, in their order.
            several => {
                params.extend(several.iter().map(|signature| ("signature", &**signature)));
                None
            }
        };
        let url = address::subscribe_url(&subscription.base, &subscription.rooms, &params);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        address::identify(&mut headers, signature, subscription.identity.user.as_deref())?;
        if !self.last_event_id.is_empty() {
            let id = HeaderValue::from_bytes(self.last_event_id.as_bytes())
                .map_err(|_| StreamError::Id(self.last_event_id.clone()))?;
            headers.insert("last-event-id", id);
        }
        Ok((url, headers))
    }

    async fn accept(&mut self, response: Response) -> Result<Option<Update>, StreamError> {
        let status = response.status();
        let header = |name| {
            let value = response.headers().get(name).map(HeaderValue::as_bytes);
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        if status == StatusCode::NO_CONTENT {
            self.state = State::Ended;
            return Ok(None);
        }
        if status.is_redirection() {
            return Err(StreamError::Redirected { status, to: header(LOCATION) });
        }
        // Not the gateway's, but what proxies say when another attempt may help.
        let come_back = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
        if status.is_server_error() || come_back {
            let problem = read_problem(response).await;
            let retry_after = problem.retry_after;
            return Ok(Some(self.fail(Lost::Unavailable(problem), retry_after)));
        }
        if status.is_client_error() {
            return Err(StreamError::Refused(read_problem(response).await));
        }
        let content_type = header(CONTENT_TYPE);
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if status != StatusCode::OK || !essence.eq_ignore_ascii_case("text/event-stream") {
            return Err(StreamError::NotAStream { status, content_type });
        }
        self.opened += 1;
        let parser = Parser::resuming(&self.last_event_id).with_limit(self.limit);
        self.state = State::Open(Box::new(Connection::new(response, parser, UNTOLD_SILENCE)));
        Ok(None)
    }

    fn fail(&mut self, reason: Lost, retry_after: Option<Duration>) -> Update {
        self.failures = self.failures.saturating_add(1);
        self.lose(reason, retry_after)
    }

    fn lose(&mut self, reason: Lost, retry_after: Option<Duration>) -> Update {
        let retry_in = backoff::delay(self.retry, self.failures, retry_after, &mut rand::rng());
        self.state = State::Waiting(Instant::now() + retry_in);
        Update::Lost { reason, retry_in }
    }
}

/// The problem of an answer whose body may never end.
async fn read_problem(response: Response) -> Problem {
    let (status, headers) = (response.status(), response.headers().clone());
    timeout(ANSWER_TIMEOUT, Problem::of_response(response))
        .await
        .unwrap_or_else(|_| Problem::read(status, &headers, b""))
}

/// The silence after which a connection is given up, by the data of a [`CONNECTED`].
fn silence_of(data: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Connected {
        heartbeat_ms: u64,
    }
    let connected: Connected = serde_json::from_str(data).ok()?;
    let heartbeat = Duration::from_millis(connected.heartbeat_ms);
    // A server without a heartbeat says 0, and its silence means nothing.
    (!heartbeat.is_zero()).then(|| heartbeat.saturating_mul(MISSED_HEARTBEATS))
}

#[cfg(test)]
mod tests;
