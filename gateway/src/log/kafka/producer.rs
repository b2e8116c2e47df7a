//! Publishing: one idempotent producer, and what becomes of each event.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use serde::Deserialize;
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

/// A publisher who waits for what becomes of a message.
struct Waiter {
    answer: oneshot::Sender<Result<Placed, PublishError>>,
    /// What had been sent before the message was handed over.
    before: Arc<Transmitted>,
}

/// A failed message of which the statistics will tell whether it was ever sent.
struct Doubt {
    waiter: Waiter,
    topic: String,
    /// Negative if it never got one.
    partition: i32,
    code: RDKafkaErrorCode,
}

type Client = BaseProducer<Context>;

/// Takes the delivery reports.
struct Context {
    lines: LogLines,
    /// The broker lost track of the producer: it takes nothing any more and has to be replaced.
    fatal: AtomicBool,
    transmitted: Mutex<Arc<Transmitted>>,
    doubts: Mutex<Vec<Doubt>>,
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

    fn stats_raw(&self, statistics: &[u8]) {
        let now = match serde_json::from_slice::<Transmitted>(statistics) {
            Ok(now) => Arc::new(now),
            Err(error) => {
                tracing::error!(%error, "librdkafka's statistics cannot be read");
                return;
            }
        };
        for Doubt { waiter, topic, partition, code } in self.doubts.lock().drain(..) {
            let before = &waiter.before;
            let sent = now.count(&topic, partition) != before.count(&topic, partition);
            // A leader looks at its replicas before it writes. Its word is enough where no other
            // broker was asked: that one may have written, and been replaced before it said so.
            let refused = code == RDKafkaErrorCode::NotEnoughReplicas
                && now.leader(&topic, partition).is_some()
                && now.leader(&topic, partition) == before.leader(&topic, partition);
            let said = if sent && !refused {
                PublishError::OutcomeUnknown(code.to_string())
            } else {
                PublishError::NotAccepted(code.to_string())
            };
            // The publisher may have stopped waiting.
            let _ = waiter.answer.send(Err(said));
        }
        *self.transmitted.lock() = now;
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
                match verdict(code, native::persistence(message)) {
                    Some(said) => Err(said),
                    None => {
                        self.doubts.lock().push(Doubt {
                            waiter: *waiter,
                            topic: message.topic().to_owned(),
                            partition: message.partition(),
                            code,
                        });
                        return;
                    }
                }
            }
        };
        // The publisher may have stopped waiting.
        let _ = waiter.answer.send(outcome);
    }
}

/// What a failed delivery says about the log; `None` if that takes a look at what was sent.
///
/// librdkafka's account alone is not enough. A broker that is being stopped can append a record and
/// then answer that it is not the leader any more; librdkafka takes that for a refusal, tries again
/// and at last gives up on a message that is in the log.
fn verdict(code: RDKafkaErrorCode, persistence: Persistence) -> Option<PublishError> {
    use RDKafkaErrorCode as Code;
    match (persistence, code) {
        (Persistence::Possibly | Persistence::Yes, _) => {
            Some(PublishError::OutcomeUnknown(code.to_string()))
        }
        (
            Persistence::No,
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize,
        ) => Some(PublishError::TooLarge(code.to_string())),
        // The broker looked at it and will not have it, or it did not even get into the queue.
        (
            Persistence::No,
            Code::QueueFull
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::PolicyViolation
            | Code::InvalidRecord,
        ) => Some(PublishError::NotAccepted(code.to_string())),
        (Persistence::No, _) => None,
    }
}

/// How many messages were ever put into a request, by librdkafka's statistics. A count goes up
/// before the request leaves and never down: a message between two equal counts was never sent.
#[derive(Debug, Default, Deserialize)]
struct Transmitted {
    #[serde(default)]
    topics: HashMap<String, TopicTransmitted>,
}

#[derive(Debug, Default, Deserialize)]
struct TopicTransmitted {
    #[serde(default)]
    partitions: HashMap<i32, PartitionTransmitted>,
}

#[derive(Debug, Deserialize)]
struct PartitionTransmitted {
    txmsgs: u64,
    #[serde(default)]
    leader: i32,
    /// Goes up whenever another broker, or the same one again, becomes the leader.
    #[serde(default)]
    leader_epoch: i32,
}

impl Transmitted {
    /// Of one partition, or of all for a message that has none.
    fn count(&self, topic: &str, partition: i32) -> u64 {
        let Some(topic) = self.topics.get(topic) else { return 0 };
        if partition < 0 {
            return topic.partitions.values().map(|p| p.txmsgs).sum();
        }
        topic.partitions.get(&partition).map_or(0, |p| p.txmsgs)
    }

    /// Who leads a partition, and since which of its leaderships.
    fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let partition = self.topics.get(topic)?.partitions.get(&partition)?;
        Some((partition.leader, partition.leader_epoch))
    }
}

/// A producer that is replaced when it breaks.
pub(in crate::log) struct Producer {
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
        let context = Context {
            lines: lines.clone(),
            fatal: AtomicBool::new(false),
            transmitted: Mutex::default(),
            doubts: Mutex::default(),
        };
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
        value: Option<&[u8]>,
        headers: OwnedHeaders,
        deadline: Instant,
    ) -> Result<Placed, PublishError> {
        let Some(client) = self.shared.client() else {
            return Err(PublishError::NotAccepted("the gateway is leaving".to_owned()));
        };
        let (answer, report) = oneshot::channel();
        let before = Arc::clone(&client.context().transmitted.lock());
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(Waiter { answer, before }))
            .key(key)
            .headers(headers);
        record.payload = value;
        // Copied into librdkafka's queue, which is bounded; never blocks.
        if let Err((error, _)) = client.send(record) {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            // It did not get into the queue.
            return Err(verdict(code, Persistence::No)
                .unwrap_or_else(|| PublishError::NotAccepted(code.to_string())));
        }
        // Kept here, it could not be given up at the end, and nobody would have an answer.
        drop(client);
        match tokio::time::timeout_at(deadline, report).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(PublishError::OutcomeUnknown(
                "the gateway left before the brokers had answered".to_owned(),
            )),
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
pub(super) fn headers<'f, V: ToBytes + ?Sized + 'f>(
    fields: impl Iterator<Item = (&'f str, &'f V)>,
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
            MessageSizeTooLarge, MessageTimedOut, NotLeaderForPartition, TopicAuthorizationFailed,
        };
        for code in [MessageTimedOut, TopicAuthorizationFailed, MessageSizeTooLarge] {
            let said = verdict(code, Persistence::Possibly);
            assert!(matches!(said, Some(PublishError::OutcomeUnknown(_))), "{code}");
        }
        for code in [MessageTimedOut, NotLeaderForPartition] {
            assert_eq!(verdict(code, Persistence::No), None, "{code}");
        }
        let said = verdict(TopicAuthorizationFailed, Persistence::No);
        assert!(matches!(said, Some(PublishError::NotAccepted(_))));
        let said = verdict(MessageSizeTooLarge, Persistence::No);
        assert!(matches!(said, Some(PublishError::TooLarge(_))));
    }

    #[test]
    fn statistics_say_how_much_was_sent_to_each_partition() {
        let statistics = r#"{"name":"x","brokers":{},"topics":{"t":{"topic":"t","partitions":{
            "0":{"partition":0,"leader":2,"leader_epoch":5,"txmsgs":3},"1":{"txmsgs":4},"-1":{"txmsgs":0}}}}}"#;
        let sent: Transmitted = serde_json::from_str(statistics).expect("statistics");
        assert_eq!(sent.count("t", 1), 4);
        assert_eq!(sent.count("t", 2), 0);
        assert_eq!(sent.count("t", -1), 7);
        assert_eq!(sent.count("u", 0), 0);
        assert_eq!(sent.leader("t", 0), Some((2, 5)));
        assert_eq!(sent.leader("u", 0), None);
        assert_eq!(Transmitted::default().count("t", 0), 0);
    }
}
