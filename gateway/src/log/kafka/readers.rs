//! Reading back: a few warm consumers without a group, which read parts of partitions when asked.
//!
//! Never one for each client that comes back: a consumer has four threads and some megabytes of its
//! own. The first one is made with the log, so that it has its connections when it is needed; the
//! others when there is more to read than it can, and they go when there is no more.
//!
//! A consumer that read a stretch goes on fetching behind it for a moment: who reads a long way
//! back asks for the next stretch at once, and finds it here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::LogLines;
use super::message::{self, number, offset};
use super::options::Options;
use super::topics::{self, Described, Since};
use crate::cursor::{Offset, Shard};
use crate::log::record::{Record, RecordWriter};
use crate::log::{Span, Stretch, Unread};

/// The most consumers at a time.
const MOST: usize = 4;
/// The most requests that wait. Those above ask for one stretch of a shard at a time.
const MOST_WAITING: usize = 1024;
/// How long a consumer goes on fetching behind what it has read.
const FETCH_ON: Duration = Duration::from_secs(2);
/// How long a consumer beside the first one waits for more to do.
const IDLE: Duration = Duration::from_secs(60);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

type Client = BaseConsumer<LogLines>;

/// What is asked of a reader, and where the answer goes.
enum Ask {
    Read(Span, oneshot::Sender<Result<Stretch, Unread>>),
    Seek(i64, oneshot::Sender<Result<Offset, Unread>>),
}

struct Job {
    topic: String,
    partition: i32,
    deadline: Instant,
    ask: Ask,
}

impl Job {
    /// Whether nobody waits for the answer any more.
    fn is_over(&self) -> bool {
        match &self.ask {
            Ask::Read(_, answer) => answer.is_closed(),
            Ask::Seek(_, answer) => answer.is_closed(),
        }
    }

    /// Whether it goes on where a reader is.
    fn follows(&self, at: Option<&At>) -> bool {
        match (&self.ask, at) {
            (Ask::Read(span, _), Some(at)) => {
                at.topic == self.topic
                    && at.partition == self.partition
                    && number(span.from) == at.next
            }
            _ => false,
        }
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    readers: usize,
    idle: usize,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes idle readers.
    asked: Condvar,
    options: Options,
    lines: LogLines,
}

/// The readers of a log. They end when this is dropped.
pub(super) struct Readers(Arc<Shared>);

impl Drop for Readers {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.waiting.clear();
        self.0.asked.notify_all();
    }
}

impl Readers {
    /// Makes the first reader.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn start(options: Options, lines: LogLines) -> anyhow::Result<Self> {
        let state = Mutex::default();
        let shared = Arc::new(Shared { state, asked: Condvar::new(), options, lines });
        shared.state.lock().readers = 1;
        Arc::clone(&shared).spawn(true)?;
        Ok(Self(shared))
    }

    /// Reads a span of a partition.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn read(
        &self,
        topic: String,
        span: Span,
        deadline: Instant,
    ) -> Result<Stretch, Unread> {
        let (answer, answered) = oneshot::channel();
        self.ask(topic, span.shard, deadline, Ask::Read(span, answer))?;
        wait(answered, deadline).await
    }

    /// Looks up the first record that is not older than `time`; the end if there is none.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn seek(
        &self,
        topic: String,
        shard: Shard,
        time: i64,
        deadline: Instant,
    ) -> Result<Offset, Unread> {
        let (answer, answered) = oneshot::channel();
        self.ask(topic, shard, deadline, Ask::Seek(time, answer))?;
        wait(answered, deadline).await
    }

    fn ask(&self, topic: String, shard: Shard, deadline: Instant, ask: Ask) -> Result<(), Unread> {
        let partition = i32::try_from(shard.index).map_err(|_| Unread::NoSuchShard)?;
        let mut state = self.0.state.lock();
        if state.waiting.len() >= MOST_WAITING {
            return Err(Unread::Unreachable("too many reads are waiting".to_owned()));
        }
        state.waiting.push_back(Job { topic, partition, deadline, ask });
        if state.idle == 0 && state.readers < MOST {
            state.readers += 1;
            if let Err(error) = Arc::clone(&self.0).spawn(false) {
                state.readers -= 1;
                tracing::warn!(%error, "no further reader of the log can be started");
            }
        }
        self.0.asked.notify_one();
        Ok(())
    }
}

async fn wait<T>(
    answered: oneshot::Receiver<Result<T, Unread>>,
    deadline: Instant,
) -> Result<T, Unread> {
    match tokio::time::timeout_at(deadline, answered).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Unread::Unreachable("the log is being closed".to_owned())),
        Err(_) => Err(Unread::Unreachable("the brokers did not answer in time".to_owned())),
    }
}

impl Shared {
    fn spawn(self: Arc<Self>, is_first: bool) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name("kafka-reader".to_owned());
        thread.spawn(move || {
            // Made on the thread: its first answers come from the brokers.
            match self.options.reader().create_with_context(self.lines.clone()) {
                Ok(client) => Reader { client, at: None, writer: RecordWriter::default() }
                    .run(&self, is_first),
                Err(error) => tracing::error!(%error, "no reader of the log can be made"),
            }
            self.state.lock().readers -= 1;
        })?;
        Ok(())
    }
}

/// Where a reader is: its consumer has fetched from here on.
struct At {
    topic: String,
    partition: i32,
    next: i64,
}

struct Reader {
    client: Client,
    at: Option<At>,
    writer: RecordWriter,
}

impl Reader {
    fn run(mut self, shared: &Shared, is_first: bool) {
        if is_first {
            // Only for the connections; who asks hears of what is wrong.
            let _ = self.client.fetch_metadata(Some(""), POLL);
        }
        let mut idle = Duration::ZERO;
        loop {
            let job = {
                let mut state = shared.state.lock();
                if state.closed {
                    return;
                }
                let next = state.waiting.iter().position(|job| job.follows(self.at.as_ref()));
                match state.waiting.remove(next.unwrap_or(0)) {
                    Some(job) => Some(job),
                    None => {
                        state.idle += 1;
                        shared.asked.wait_for(&mut state, FETCH_ON);
                        state.idle -= 1;
                        None
                    }
                }
            };
            match job {
                Some(job) => {
                    idle = Duration::ZERO;
                    if !job.is_over() {
                        self.answer(job);
                    }
                }
                None => {
                    idle += FETCH_ON;
                    self.rest();
                    if !is_first && idle >= IDLE && shared.state.lock().waiting.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    /// Lets go of what was fetched ahead.
    fn rest(&mut self) {
        if self.at.take().is_some() {
            let _ = self.client.unassign();
        }
        // The callbacks of its connections are served by polling.
        let _ = self.client.poll(Duration::ZERO);
    }

    fn answer(&mut self, job: Job) {
        let left = job.deadline.saturating_duration_since(Instant::now());
        match job.ask {
            Ask::Read(span, answer) => {
                let read = self.read(&job.topic, job.partition, span, job.deadline);
                if read.is_err() {
                    self.at = None;
                }
                // Nobody waits any more: so be it.
                let _ = answer.send(read);
            }
            Ask::Seek(time, answer) => {
                let _ = answer.send(self.seek(&job.topic, job.partition, time, left));
            }
        }
    }

    fn seek(
        &self,
        topic: &str,
        partition: i32,
        time: i64,
        left: Duration,
    ) -> Result<Offset, Unread> {
        let (_, high) = self.reach(topic, partition, left)?;
        let found = topics::since(&self.client, &[Since { topic, partition, time }]);
        let found = found.map_err(Unread::Unreachable)?;
        Ok(offset(found.first().copied().flatten().unwrap_or(high)))
    }

    /// From where to where a partition reaches.
    fn reach(&self, topic: &str, partition: i32, left: Duration) -> Result<(i64, i64), Unread> {
        self.client.fetch_watermarks(topic, partition, left).map_err(|error| {
            match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownTopicOrPartition,
                ) => self.unknown(topic, partition),
                _ => Unread::Unreachable(topics::text(&error)),
            }
        })
    }

    /// Why librdkafka does not know a partition. It says the same of one that is not there, of one
    /// that has no leader for now, and of a topic that the brokers do not show.
    fn unknown(&self, topic: &str, partition: i32) -> Unread {
        match topics::describe(&self.client, topic) {
            Ok(Described::Missing) => Unread::NoSuchShard,
            Ok(Described::Partitions(leaders)) => match usize::try_from(partition) {
                Ok(nth) if nth < leaders.len() => {
                    Unread::Unreachable(format!("{topic}/{partition} has no leader"))
                }
                _ => Unread::NoSuchShard,
            },
            Ok(Described::Refused(why)) | Err(why) => Unread::Unreachable(why),
        }
    }

    fn read(
        &mut self,
        topic: &str,
        partition: i32,
        span: Span,
        deadline: Instant,
    ) -> Result<Stretch, Unread> {
        let left = deadline.saturating_duration_since(Instant::now());
        let (low, high) = self.reach(topic, partition, left)?;
        let answer =
            |records, is_all| Stretch::new(&span, records, is_all, offset(low), offset(high));
        let (from, until) = (number(span.from).max(low), number(span.until).min(high));
        if from >= until {
            return Ok(answer(Vec::new(), true));
        }
        self.go_to(topic, partition, from)?;
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while next < until && (bytes < span.most_bytes || records.is_empty()) {
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    if message.topic() != topic
                        || message.partition() != partition
                        || message.offset() < next
                    {
                        continue;
                    }
                    next = message.offset() + 1;
                    if next <= until {
                        let record = message::record(&message, span.shard, &mut self.writer);
                        bytes += record.bytes();
                        records.push(record);
                    }
                }
                // What is left of the span are marks of transactions, or was compacted away.
                Some(Err(KafkaError::PartitionEOF(_))) => next = next.max(until),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    // Trimmed since it was looked up: who asked looks again.
                    Some(RDKafkaErrorCode::AutoOffsetReset) => {
                        return Err(Unread::Unreachable("the log's start has moved".to_owned()));
                    }
                    _ => tracing::debug!(%error, topic, partition, "reading back"),
                },
                None => {}
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        if next == from {
            return Err(Unread::Unreachable("the brokers did not answer in time".to_owned()));
        }
        self.at = Some(At { topic: topic.to_owned(), partition, next });
        Ok(answer(records, next >= until))
    }

    /// Fetches from this place on, unless that goes on already.
    fn go_to(&mut self, topic: &str, partition: i32, from: i64) -> Result<(), Unread> {
        let is_there = self
            .at
            .as_ref()
            .is_some_and(|at| at.topic == topic && at.partition == partition && at.next == from);
        if is_there {
            return Ok(());
        }
        self.at = None;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, KafkaOffset::Offset(from))
            .and_then(|()| self.client.assign(&list))
            .map_err(|error| Unread::Unreachable(topics::text(&error)))
    }
}
