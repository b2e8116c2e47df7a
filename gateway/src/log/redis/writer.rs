//! Publishes: one task, one connection, one pipeline at a time.
//!
//! What waits goes into the next pipeline together, so a busy pod pays one round trip for many
//! events and a lone event waits for nothing; and of every event it is known whether it was ever
//! sent, which is what tells [`PublishError::NotAccepted`] from [`PublishError::OutcomeUnknown`].

mod job;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{Pipeline, Value};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::Keys;
use super::entry::{DATA, KEY, millis, offset};
use super::link::{CONNECT, Identity, Link, Server, complaint, items, number, text, unexpected};
use crate::clock;
use crate::config::Config;
use crate::cursor::Offset;
use crate::event::{MessageId, NewEvent};
use crate::log::{PublishError, Receipt, Source};
use job::Job;

/// How many events may wait. Publishers beyond that wait outside, until their deadline.
const QUEUE: usize = 1024;
/// How many bytes of events may wait or be under way.
const QUEUE_BYTES: usize = 64 << 20;
/// How many events go into one pipeline.
const BATCH: usize = 128;
/// After how many bytes of events a pipeline is full.
const BATCH_BYTES: usize = 4 << 20;
/// The longest string that Redis takes.
const MOST_BYTES: usize = 512 << 20;
/// How long replicas may take. They hold up what comes after, and need milliseconds.
const REPLICAS: Duration = Duration::from_secs(2);
/// How often a stream is trimmed by age: a hundredth of the age, within these.
const TRIM_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The way in.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the log is closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    bytes: Arc<Semaphore>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(server: Arc<Server>, keys: Keys, config: &Config) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let task = Task { server, keys, terms: Terms::new(config), link: None };
        Self {
            jobs: Mutex::new(Some(jobs)),
            bytes: Arc::new(Semaphore::new(QUEUE_BYTES)),
            task: Mutex::new(Some(tokio::spawn(task.run(queue)))),
        }
    }

    /// Appends `event`.
    pub(super) async fn publish(
        &self,
        event: &NewEvent,
        deadline: Instant,
    ) -> Result<Receipt, PublishError> {
        let bytes = event.data.len();
        if bytes > MOST_BYTES {
            return Err(PublishError::TooLarge(format!(
                "it has {bytes} bytes and Redis takes {MOST_BYTES}"
            )));
        }
        let Some(jobs) = self.jobs.lock().clone() else { return Err(closed()) };
        let busy = || PublishError::NotAccepted("Redis does not keep up".to_owned());
        // Without waiting where that is possible: what waits may be woken in another order than
        // it came, and the lines of a batch are to be in the log as they were sent.
        let room = u32::try_from(bytes.min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        let room = match Arc::clone(&self.bytes).try_acquire_many_owned(room) {
            Ok(room) => room,
            Err(_) => timeout_at(deadline, Arc::clone(&self.bytes).acquire_many_owned(room))
                .await
                .map_err(|_| busy())?
                .map_err(|_| closed())?,
        };
        let (job, answer) = Job::new(event, deadline, room);
        if let Err(TrySendError::Full(job)) = jobs.try_send(job) {
            timeout_at(deadline, jobs.send(job))
                .await
                .map_err(|_| busy())?
                .map_err(|_| closed())?;
        }
        // Or the queue would stay open for as long as this publish waits.
        drop(jobs);
        answer.wait().await
    }

    /// Takes nothing more, and waits for what is under way.
    pub(super) async fn close(&self, deadline: Instant) {
        drop(self.jobs.lock().take());
        let task = self.task.lock().take();
        if let Some(mut task) = task
            && timeout_at(deadline, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

fn closed() -> PublishError {
    PublishError::NotAccepted("the log is closed".to_owned())
}

/// What the settings ask of every publish.
#[derive(Debug)]
struct Terms {
    dedupe_ms: i64,
    /// 0 is none.
    max_age_ms: i64,
    /// 0 is none.
    max_len: usize,
    trim_ms: i64,
    replicas: u32,
}

impl Terms {
    fn new(config: &Config) -> Self {
        let age = config.redis.max_age.unwrap_or_default();
        Self {
            dedupe_ms: clock::millis(config.dedupe.window).max(1),
            max_age_ms: clock::millis(age),
            max_len: config.redis.max_len.unwrap_or_default(),
            trim_ms: clock::millis((age / 100).clamp(TRIM_EVERY.0, TRIM_EVERY.1)),
            replicas: config.redis.wait_replicas,
        }
    }
}

struct Task {
    server: Arc<Server>,
    keys: Keys,
    terms: Terms,
    link: Option<(Link, Log)>,
}

/// The log that a connection found.
struct Log {
    identity: Identity,
    sources: [Source; 2],
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.recv().await {
            let mut bytes = first.data.len();
            let mut batch = vec![first];
            while batch.len() < BATCH && bytes < BATCH_BYTES {
                let Ok(job) = queue.try_recv() else { break };
                bytes += job.data.len();
                batch.push(job);
            }
            self.publish(batch).await;
        }
    }

    /// Publishes a batch in its order and answers it.
    async fn publish(&mut self, batch: Vec<Job>) {
        let again = self.attempt(batch).await;
        if again.is_empty() {
            return;
        }
        // Certainly not in the log: the server has forgotten the script, or is of another log.
        self.link = None;
        for job in self.attempt(again).await {
            job.answer(Err(PublishError::NotAccepted("the log is being replaced".to_owned())));
        }
    }

    /// Tries once. Returns what was not even looked at because this connection is out of date.
    async fn attempt(&mut self, batch: Vec<Job>) -> Vec<Job> {
        if let Err(why) = self.connect(&batch).await {
            for job in batch {
                job.answer(Err(PublishError::NotAccepted(why.clone())));
            }
            return Vec::new();
        }
        let Some((link, log)) = &mut self.link else { return batch };
        // From here on a publisher that gives up is told that the outcome is unknown.
        let batch: Vec<_> = batch.into_iter().filter(Job::claim).collect();
        let Some(deadline) = batch.iter().map(|job| job.deadline).max() else { return batch };
        let mut pipe = redis::pipe();
        for job in &batch {
            ask(&mut pipe, link, log, &self.keys, &self.terms, job);
        }
        if self.terms.replicas > 0 {
            let earliest = batch.iter().map(|job| job.deadline).min().unwrap_or(deadline);
            let patience = earliest.saturating_duration_since(Instant::now()).min(REPLICAS);
            // 0 would be for ever.
            let patience = clock::millis(patience).max(1);
            pipe.cmd("WAIT").arg(self.terms.replicas).arg(patience);
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        let mut answers = match link.call(&pipe, patience).await {
            Ok(answers) => answers,
            Err(why) => {
                self.link = None;
                for job in batch {
                    job.answer(Err(PublishError::OutcomeUnknown(why.clone())));
                }
                return Vec::new();
            }
        };
        let replicated = match self.terms.replicas {
            0 => Ok(()),
            asked => replicated(answers.pop().as_ref(), asked),
        };
        let mut again = Vec::new();
        let mut refused = false;
        for (job, answer) in batch.into_iter().zip(&answers) {
            let outcome = match answer {
                Value::ServerError(error) if matches!(error.code(), "NOSCRIPT" | "ANOTHERLOG") => {
                    again.push(job);
                    continue;
                }
                // A script that fails has not appended.
                Value::ServerError(error) => {
                    refused = true;
                    Err(PublishError::NotAccepted(complaint(error)))
                }
                answer => receipt(answer, log, &job).map_err(PublishError::OutcomeUnknown),
            };
            let outcome = outcome.and_then(|receipt| replicated.clone().map(|()| receipt));
            job.answer(outcome);
        }
        if refused {
            // The server may have become a replica, and its name another's.
            self.link = None;
        }
        again
    }

    /// Makes sure that there is a connection that was not lost.
    async fn connect(&mut self, batch: &[Job]) -> Result<(), String> {
        if self.link.as_ref().is_some_and(|(link, _)| !link.is_lost()) {
            return Ok(());
        }
        self.link = None;
        let latest = batch.iter().map(|job| job.deadline).max();
        let deadline = latest.unwrap_or_else(|| Instant::now() + CONNECT);
        let (link, identity) = Link::open(&self.server, &self.keys, None, deadline).await?;
        let sources = self.keys.sources(identity.streams);
        self.link = Some((link, Log { identity, sources }));
        Ok(())
    }
}

/// Adds the command that publishes `job`.
fn ask(pipe: &mut Pipeline, link: &Link, log: &Log, keys: &Keys, terms: &Terms, job: &Job) {
    let source = log.source(job);
    let stream = keys.stream(job.role, source.shard_of(job.key.as_bytes()).index);
    pipe.cmd("EVALSHA").arg(&link.publish).arg(if job.once.is_some() { 4 } else { 3 });
    pipe.arg(&stream).arg(keys.epoch()).arg(format!("{stream}:trimmed"));
    if let Some(once) = job.once {
        pipe.arg(format!("{}:key:{once}", source.name));
    }
    pipe.arg(&log.identity.epoch).arg(terms.dedupe_ms).arg(terms.max_age_ms).arg(terms.max_len);
    pipe.arg(terms.trim_ms).arg(job.message_id.to_string());
    pipe.arg(KEY).arg(&job.key);
    for (name, value) in &job.fields {
        pipe.arg(name).arg(value);
    }
    pipe.arg(DATA).arg(&job.data[..]);
}

impl Log {
    fn source(&self, job: &Job) -> &Source {
        let [events, broadcast] = &self.sources;
        if job.role == events.role { events } else { broadcast }
    }
}

/// Reads what `publish.lua` returns.
fn receipt(answer: &Value, log: &Log, job: &Job) -> Result<Receipt, String> {
    let [known, place] = items(answer)? else { return Err(unexpected(answer)) };
    let place = text(place)?;
    let (id, duplicate) = match number(known)? {
        0 => (place, None),
        _ => {
            let (id, first) = place.split_once(' ').ok_or_else(|| unexpected(answer))?;
            (id, Some(MessageId::parse(first).ok_or_else(|| unexpected(answer))?))
        }
    };
    let offset: Offset = offset(id).ok_or_else(|| unexpected(answer))?;
    Ok(Receipt {
        shard: log.source(job).shard_of(job.key.as_bytes()),
        offset,
        tag: log.identity.tag,
        timestamp: i64::try_from(millis(offset)).unwrap_or(i64::MAX),
        duplicate,
    })
}

/// Whether as many replicas as were asked for have the events.
fn replicated(answer: Option<&Value>, asked: u32) -> Result<(), PublishError> {
    let have = answer.ok_or_else(|| "Redis said nothing of its replicas".to_owned());
    match have.and_then(number) {
        Ok(have) if have >= i64::from(asked) => Ok(()),
        Ok(have) => Err(PublishError::OutcomeUnknown(format!(
            "{have} of {asked} replicas had it in time (redis.wait_replicas)"
        ))),
        Err(why) => Err(PublishError::OutcomeUnknown(why)),
    }
}
