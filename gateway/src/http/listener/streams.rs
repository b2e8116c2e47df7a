//! The deadlines of HTTP/2 that hyper does not have: a connection that asks for nothing, and a
//! stream whose client gives it no window while the connection lives.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::disconnect::Stalled;
use crate::telemetry::metrics;

/// The most bytes that a body hands over at once. The deadline is for each such step: a slow
/// client that takes a large event bit by bit is not one that takes nothing.
const STEP_BYTES: usize = 16 * 1024;

/// What goes on on one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    open: usize,
    /// Whether there was a request at all.
    served: bool,
    /// Since when nothing is open.
    quiet_since: Instant,
}

impl Activity {
    /// A connection that was just opened.
    pub(super) fn new() -> Arc<Self> {
        let state = State { open: 0, served: false, quiet_since: Instant::now() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Whether there was a request at all.
    pub(super) fn served(&self) -> bool {
        self.0.lock().served
    }

    /// Waits until nothing has been open for too long: `first` without any request, so that half a
    /// head or half a preface holds nothing, and `later` between requests.
    pub(super) async fn idle(&self, first: Duration, later: Duration) {
        loop {
            let now = Instant::now();
            let due = {
                let state = self.0.lock();
                match (state.open, state.served) {
                    (0, false) => state.quiet_since + first,
                    (0, true) => state.quiet_since + later,
                    // Looked at again then: whatever ends meanwhile has that long anyway.
                    _ => now + later,
                }
            };
            if due <= now {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    fn open(self: &Arc<Self>) -> Open {
        let mut state = self.0.lock();
        state.open += 1;
        state.served = true;
        drop(state);
        Open(Arc::clone(self))
    }
}

/// An open stream of a connection, counted until it is dropped.
struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// Runs the streams of one connection, each as a task.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    /// Where they are counted.
    pub(super) activity: Arc<Activity>,
    /// How long a step of a body may wait for the client's window.
    pub(super) write_timeout: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let open = self.activity.open();
        let limit = self.write_timeout;
        tokio::spawn(async move {
            until_stalled(stream, limit).await;
            drop(open);
        });
    }
}

/// What the body of the stream that is being polled did last.
#[derive(Clone, Copy)]
enum Last {
    /// It was not asked.
    Unasked,
    /// It had nothing.
    Waiting,
    /// It gave a step. If it is not asked again, that step waits for the client.
    Gave,
}

thread_local! {
    /// Set by [`Steps`], read by [`until_stalled`] around it: a poll runs on one thread.
    static LAST: Cell<Last> = const { Cell::new(Last::Unasked) };
}

/// Runs `stream` and gives it up when a step of its body has waited for `limit`. hyper asks a body
/// only when the client's window has room for more, so it would never learn of a stream's end, and
/// the stream's reader would stay until the connection goes. Dropped, the stream is reset.
async fn until_stalled(stream: impl Future<Output = ()>, limit: Duration) {
    let mut stream = pin!(Some(stream));
    let mut stalled: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|cx| {
        LAST.set(Last::Unasked);
        let Some(running) = stream.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        if running.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match LAST.get() {
            Last::Unasked => {}
            Last::Waiting => stalled = None,
            Last::Gave => match &mut stalled {
                Some(timer) => timer.as_mut().reset(Instant::now() + limit),
                None => stalled = Some(Box::pin(tokio::time::sleep(limit))),
            },
        }
        let Some(timer) = &mut stalled else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        metrics::send_failure(metrics::SendFailure::WriteTimeout);
        Stalled::while_dropping(|| stream.set(None));
        Poll::Ready(())
    })
    .await;
}

/// A body in steps of bounded size, which tells [`until_stalled`] how it goes.
pub(super) struct Steps {
    body: Body,
    rest: Bytes,
}

impl Steps {
    /// `body` in steps.
    pub(super) fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl http_body::Body for Steps {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            LAST.set(Last::Waiting);
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        LAST.set(Last::Gave);
        let step = self.rest.len().min(STEP_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(step)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Polls `body` as hyper does while the client's window has room, and then no more.
    async fn taken(mut body: Steps, steps: usize) {
        let mut taken = 0;
        std::future::poll_fn(|cx| {
            while taken < steps {
                match ready!(Pin::new(&mut body).poll_frame(cx)) {
                    Some(_) => taken += 1,
                    None => return Poll::Ready(()),
                }
            }
            Poll::Pending
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_window_is_given_up_and_a_silent_one_is_not() {
        let began = Instant::now();
        until_stalled(taken(Steps::new(Body::from("event")), 1), LIMIT).await;
        assert_eq!(began.elapsed(), LIMIT);

        let silent =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let silent = until_stalled(taken(Steps::new(silent), 1), LIMIT);
        assert!(tokio::time::timeout(LIMIT * 100, silent).await.is_err());
    }

    #[tokio::test]
    async fn a_large_block_goes_in_steps_and_nothing_is_lost() {
        let block: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let mut steps = Steps::new(Body::from(block.clone()));
        assert_eq!(steps.size_hint().exact(), Some(100_000));
        let mut whole = Vec::new();
        while let Some(frame) = steps.frame().await {
            let data = frame.expect("no error").into_data().expect("data");
            assert!(data.len() <= STEP_BYTES);
            whole.extend_from_slice(&data);
        }
        assert!(steps.is_end_stream());
        assert_eq!(whole, block);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_its_last_request_on() {
        let (first, later) = (Duration::from_secs(10), Duration::from_secs(60));
        let activity = Activity::new();
        let began = Instant::now();
        activity.idle(first, later).await;
        assert_eq!(began.elapsed(), first);

        let open = activity.open();
        let idle = tokio::time::timeout(later * 10, activity.idle(first, later)).await;
        assert!(idle.is_err(), "a stream is open");
        drop(open);
        let ended = Instant::now();
        activity.idle(first, later).await;
        assert_eq!(ended.elapsed(), later);
    }
}
