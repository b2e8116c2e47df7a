//! Publishing: one idempotent producer, and what becomes of each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::LogLines;
use super::native::{self, Persistence};
use super::options::Options;
use crate::log::PublishError;

/// How long the producer's thread waits for delivery reports before it looks for a stop.
const POLL: Duration = Duration::from_millis(100);

/// Where the log put a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since the Unix epoch, by the broker's clock where the topic has
    /// `LogAppendTime`.
    pub(super) timestamp: i64,
}

type Waiter = oneshot::Sender<Result<Placed, PublishError>>;
type Client = BaseProducer<Context>;

/// Takes the delivery reports.
struct Context {
    lines: LogLines,
    /// The broker lost track of the producer: it takes nothing any more and has to be replaced.
    fatal: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.lines.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fatal.store(true, Ordering::Relaxed);
        }
        self.lines.error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Waiter>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiter: Box<Waiter>) {
        let outcome = match result {
            Ok(message) if message.offset() >= 0 => Ok(Placed {
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp().to_millis().unwrap_or_default(),
            }),
            // A repeat that the broker recognised after it had forgotten the place.
            Ok(_) => Err(PublishError::OutcomeUnknown(
                "the log has the event, and does not know where".to_owned(),
            )),
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                if code == RDKafkaErrorCode::Fatal {
                    self.fatal.store(true, Ordering::Relaxed);
                }
                Err(failure(code, native::persistence(message)))
            }
        };
        // The publisher may have stopped waiting.
        let _ = waiter.send(outcome);
    }
}

/// What a failed delivery says about the log.
fn failure(code: RDKafkaErrorCode, persistence: Persistence) -> PublishError {
    match (code, persistence) {
        (
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidMessageSize,
            Persistence::No,
        ) => PublishError::TooLarge(code.to_string()),
        (_, Persistence::No) => PublishError::NotAccepted(code.to_string()),
        (_, Persistence::Possibly | Persistence::Yes) => {
            PublishError::OutcomeUnknown(code.to_string())
        }
    }
}

/// A producer that is replaced when it breaks.
pub(super) struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    lines: LogLines,
    /// `None` once everything was flushed.
    client: Mutex<Option<Arc<Client>>>,
    /// Set once, to the time by which everything has to be flushed.
    stop: Mutex<Option<Instant>>,
    stopped: tokio::sync::watch::Sender<bool>,
}

impl Shared {
    fn build(options: &Options, lines: &LogLines) -> Result<Client, KafkaError> {
        let context = Context { lines: lines.clone(), fatal: AtomicBool::new(false) };
        options.producer().create_with_context(context)
    }

    fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().clone()
    }
}

impl Producer {
    /// A producer and the thread that takes its delivery reports.
    ///
    /// # Errors
    /// Settings that librdkafka refuses, and no thread.
    pub(super) fn start(options: Options, lines: LogLines) -> anyhow::Result<Self> {
        let client = Shared::build(&options, &lines)?;
        let shared = Arc::new(Shared {
            options,
            lines,
            client: Mutex::new(Some(Arc::new(client))),
            stop: Mutex::new(None),
            stopped: tokio::sync::watch::Sender::new(false),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("kafka-producer".to_owned()).spawn(move || {
            run(&of_thread);
            of_thread.stopped.send_replace(true);
        })?;
        Ok(Self { shared })
    }

    /// Hands a message to the broker and waits for what becomes of it, at the latest until
    /// `deadline`.
    ///
    /// # Errors
    /// [`PublishError`] says whether the message can be in the log.
    pub(super) async fn send(
        &self,
        topic: &str,
        key: &str,
        value: &[u8],
        headers: OwnedHeaders,
        deadline: Instant,
    ) -> Result<Placed, PublishError> {
        let Some(client) = self.shared.client() else {
            return Err(PublishError::NotAccepted("the gateway is leaving".to_owned()));
        };
        let (waiter, report) = oneshot::channel();
        let record = BaseRecord::with_opaque_to(topic, Box::new(waiter))
            .key(key)
            .payload(value)
            .headers(headers);
        // Copied into librdkafka's queue, which is bounded; never blocks.
        if let Err((error, _)) = client.send(record) {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            return Err(failure(code, Persistence::No));
        }
        match tokio::time::timeout_at(deadline, report).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(PublishError::OutcomeUnknown("the producer is gone".to_owned())),
            Err(_) => Err(PublishError::OutcomeUnknown(
                "the brokers did not say so in time; the event may still be written".to_owned(),
            )),
        }
    }

    /// Waits until everything that was sent has its answer, at the latest until `deadline`; what
    /// is sent from now on is refused.
    pub(super) async fn close(&self, deadline: Instant) {
        self.shared.stop.lock().get_or_insert(deadline);
        let mut stopped = self.shared.stopped.subscribe();
        if tokio::time::timeout_at(deadline, stopped.wait_for(|stopped| *stopped)).await.is_err() {
            tracing::warn!("the producer was not flushed in time");
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.stop.lock().get_or_insert_with(Instant::now);
    }
}

/// The thread: takes delivery reports, replaces a client that broke, flushes at the end.
fn run(shared: &Shared) {
    let mut broken: Vec<Arc<Client>> = Vec::new();
    while let Some(client) = shared.client() {
        client.poll(POLL);
        if client.context().fatal.load(Ordering::Relaxed) {
            match Shared::build(&shared.options, &shared.lines) {
                Ok(fresh) => {
                    tracing::warn!("the producer broke and was replaced");
                    *shared.client.lock() = Some(Arc::new(fresh));
                    broken.push(client);
                }
                Err(error) => shared.lines.error(&error, "the producer cannot be replaced"),
            }
        }
        // Their waiters still get their answers.
        broken.retain(|client| {
            client.poll(Duration::ZERO);
            client.in_flight_count() > 0
        });
        if let Some(deadline) = *shared.stop.lock() {
            let left = deadline.saturating_duration_since(Instant::now());
            for client in broken.drain(..).chain(shared.client()) {
                if let Err(error) = client.flush(left) {
                    tracing::warn!(%error, waiting = client.in_flight_count(), "gave up on events");
                }
            }
            shared.client.lock().take();
        }
    }
}

/// The fields of a record as Kafka's headers.
pub(super) fn headers<'f>(
    fields: impl ExactSizeIterator<Item = (&'f str, &'f str)>,
) -> OwnedHeaders {
    fields.fold(OwnedHeaders::new_with_capacity(8), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_certain_only_if_nothing_can_have_been_written() {
        use RDKafkaErrorCode::{
            MessageSizeTooLarge, MessageTimedOut, NotEnoughReplicas, PurgeInflight,
        };
        let certain = |failure| matches!(failure, PublishError::NotAccepted(_));
        let unknown = |failure| matches!(failure, PublishError::OutcomeUnknown(_));
        assert!(certain(failure(MessageTimedOut, Persistence::No)));
        assert!(unknown(failure(MessageTimedOut, Persistence::Possibly)));
        assert!(certain(failure(NotEnoughReplicas, Persistence::No)));
        assert!(unknown(failure(PurgeInflight, Persistence::Possibly)));
        assert!(matches!(failure(MessageSizeTooLarge, Persistence::No), PublishError::TooLarge(_)));
    }
}
