//! `POST /v1/sse/batch`: NDJSON in, NDJSON out, both streaming. A language model's tokens go
//! through one request; each line's receipt leaves while the request is still open.

pub mod lines;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Request};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::lines::{Line, Lines};
use super::App;
use super::body::{BatchLine, delivery};
use super::openapi::params::{BatchQuery, UserHeader, UserQuery};
use super::openapi::schemas::{BatchAnswer, BatchLine as LineSchema, BatchProblems};
use super::publish::{self, PublishReceipt};
use super::target::Query;
use crate::auth::credentials::Cookies;
use crate::auth::{BatchGrant, Credentials};
use crate::event::{EventId, TraceContext};
use crate::problem::{Problem, ProblemKind};
use crate::shutdown::Phase;
use crate::telemetry::metrics;
use crate::telemetry::traces::Publishing;

/// The media type of both directions.
const NDJSON: &str = "application/x-ndjson";
/// How many lines may be on their way into the log at once. Their answers keep the lines' order.
const MOST_IN_FLIGHT: usize = 64;
/// How many answers wait for a slow client; then no more lines are read.
const MOST_ANSWERS: usize = 64;

/// Publishes what comes, line by line.
#[utoipa::path(
    post,
    path = "/v1/sse/batch",
    operation_id = "publishBatch",
    tag = "publishing",
    params(BatchQuery, UserQuery, UserHeader),
    request_body(
        content = LineSchema,
        content_type = "application/x-ndjson",
        description = "NDJSON: each line that is not empty is one event, as the schema says.",
    ),
    security((), ("signature_header" = []), ("signature_query" = [])),
    responses(
        (
            status = 200,
            description = "NDJSON, sent while the request is still open: each line is the answer to one, as the schema says.",
            content_type = "application/x-ndjson",
            body = BatchAnswer,
        ),
        BatchProblems,
    ),
)]
pub async fn batch(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match open(&app, request).await {
        Ok(response) => response,
        Err(problem) => {
            metrics::published(Err(problem.kind), std::time::Duration::ZERO);
            problem.to_response().map(Body::from)
        }
    }
}

async fn open(app: &Arc<App>, request: Request<Body>) -> Result<Response, Problem> {
    publish::expect_type(request.headers(), NDJSON, "the batch, one event a line,")?;
    let (head, body) = request.into_parts();
    let query = Query::parse(&head.uri)?;
    let only = query.get("event_id").map(EventId::new).transpose()?;
    let credentials = Credentials::of(&head.headers, query.pairs(), Cookies::Ignore)?;
    let grant = app
        .verifier
        .batch(only.as_ref(), &credentials, super::unix_seconds())
        .inspect_err(|e| metrics::signature_failure(e.reason()))?;
    let (answers, answered) = mpsc::channel(MOST_ANSWERS);
    let batch =
        Batch { app: Arc::clone(app), grant, trace: delivery::trace_of(&head.headers), answers };
    let mut lines = Lines::new(body, app.config.limits.body_bytes);
    if head
        .headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        // An answer that begins before the body was asked for would take the place of the 100
        // (RFC 9110, section 10.1.1), and the client may then send none.
        lines.fill(app.config.limits.batch_idle).await?;
    }
    tokio::spawn(batch.run(lines));
    let answered = futures_util::stream::unfold(answered, async |mut answered| {
        let answer = answered.recv().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(answer), answered))
    });
    let mut response = Response::new(Body::from_stream(answered));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    // A proxy that held the answers back would hold back the receipts.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A batch that is being published.
struct Batch {
    app: Arc<App>,
    grant: BatchGrant,
    trace: TraceContext,
    answers: mpsc::Sender<Bytes>,
}

/// The answer to a line: its number and what became of it.
type Answer = (u64, Result<PublishReceipt, Problem>);

impl Batch {
    /// Reads, publishes and answers until the client has sent all, is silent for too long, goes
    /// away, or the pod drains. A line that was begun is always answered.
    async fn run(self, mut lines: Lines) {
        let mut in_flight = FuturesOrdered::new();
        let idle = self.app.config.limits.batch_idle;
        let last = loop {
            tokio::select! {
                biased;
                Some(answer) = in_flight.next(), if !in_flight.is_empty() => {
                    if !self.answer(answer).await {
                        break None;
                    }
                }
                // Between two lines only: a drain does not cut what was begun.
                () = self.app.shutdown.until(Phase::Closing), if lines.is_between() => {
                    let detail = "this pod is shutting down; send the other lines again";
                    break Some(Problem::new(ProblemKind::Draining, detail));
                }
                line = lines.next(idle), if in_flight.len() < MOST_IN_FLIGHT => match line {
                    Ok(Some(line)) => {
                        let mut published = Box::pin(self.publish(line));
                        // Begun at once and in turn: the log's order is the lines'.
                        match futures_util::poll!(&mut published) {
                            std::task::Poll::Ready(answer) => {
                                in_flight.push_back(Published::Done(Some(answer)));
                            }
                            std::task::Poll::Pending => {
                                in_flight.push_back(Published::Going(published));
                            }
                        }
                    }
                    Ok(None) => break None,
                    Err(problem) => break Some(problem),
                },
            }
        };
        while let Some(answer) = in_flight.next().await {
            if !self.answer(answer).await {
                return;
            }
        }
        if let Some(problem) = last {
            metrics::published(Err(problem.kind), std::time::Duration::ZERO);
            let _ = self.answers.send(line_of(&problem.to_json_line(None))).await;
        }
    }

    /// Publishes one line.
    async fn publish(&self, line: Line) -> Answer {
        let began = Instant::now();
        let mut span = Publishing::begin(|| self.trace.clone());
        let outcome = match line.text {
            Ok(text) => self.publish_text(&text, &mut span).await,
            Err(problem) => Err(problem),
        };
        let counted = outcome.as_ref().map(|_| ()).map_err(|problem| problem.kind);
        metrics::published(counted, began.elapsed());
        span.end(counted);
        (line.number, outcome)
    }

    async fn publish_text(
        &self,
        text: &Bytes,
        span: &mut Publishing,
    ) -> Result<PublishReceipt, Problem> {
        metrics::publish_bytes(text.len() as u64);
        let mut line = BatchLine::parse(text, self.app.config.limits.json_depth)?;
        self.app
            .verifier
            .batch_line(&self.grant, &line.audience, super::unix_seconds())
            .inspect_err(|e| metrics::signature_failure(e.reason()))?;
        line.body.from_user = self.grant.grant.from_user(line.body.from_user.take())?;
        publish::append(&self.app, line.into_event(self.trace.clone()), span).await
    }

    /// Sends an answer; false if the client is gone.
    async fn answer(&self, (line, outcome): Answer) -> bool {
        #[derive(Serialize)]
        struct Receipt {
            line: u64,
            status: u16,
            #[serde(flatten)]
            receipt: PublishReceipt,
        }
        let text = match outcome {
            Ok(receipt) => serde_json::to_vec(&Receipt { line, status: 200, receipt })
                .unwrap_or_default()
                .into(),
            Err(problem) => problem.to_json_line(Some(line)),
        };
        self.answers.send(line_of(&text)).await.is_ok()
    }
}

/// A line's way into the log.
enum Published<F> {
    Going(F),
    Done(Option<Answer>),
}

impl<F: Future<Output = Answer> + Unpin> Future for Published<F> {
    type Output = Answer;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Answer> {
        match self.get_mut() {
            Self::Going(future) => std::pin::Pin::new(future).poll(cx),
            Self::Done(answer) => match answer.take() {
                Some(answer) => std::task::Poll::Ready(answer),
                None => std::task::Poll::Pending,
            },
        }
    }
}

fn line_of(json: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(json.len() + 1);
    line.put_slice(json);
    line.put_u8(b'\n');
    line.freeze()
}
