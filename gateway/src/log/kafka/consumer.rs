//! Reading: one thread that polls librdkafka and hands records on.
//!
//! A *session* is the life of one librdkafka consumer. It looks up where the partitions reach,
//! joins the group and polls. Whatever librdkafka cannot mend by itself (a fatal error, a place
//! that the log no longer has) ends the session, and the next one begins where the pod is.

mod reading;
mod session;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::watch;
use tokio::time::Instant;

use super::catalog::Catalog;
use super::client::LogLines;
use super::options::{GroupProtocol, Options};
use super::positions::Positions;
use super::relay::Relay;
use super::survey::Survey;
use super::topics::{self, Lookup};
use crate::config::{Assignment, Config, Kafka};
use crate::cursor::Shard;
use crate::log::{Sink, Source};

/// How long to wait before another session, or another attempt at its look-ups.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// The longest such wait, when one session after the other fails.
const TRY_AGAIN_MOST: Duration = Duration::from_secs(15);
/// How often to look for new partitions and how far the partitions reach.
const WATCH_EVERY: Duration = Duration::from_secs(3);

/// Of how many topics the sink is told why they are not read.
const MOST_SAID: usize = 10;

/// How long leaving and deleting the group may take: a broker that does not answer must not hold a
/// pod that drains. The group is empty then, and the next janitor's.
const LEAVE: Duration = Duration::from_secs(5);

/// Hears of rebalances on the thread that polls.
pub(super) struct Context {
    lines: LogLines,
    positions: Arc<Mutex<Positions>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if made_anew(text) {
            self.positions.lock().doubt();
        }
        self.lines.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lines.error(&error, reason);
    }
}

impl ConsumerContext for Context {
    /// Every assignment begins where the pod is: after a frozen process, a deleted group, a new
    /// partition. Whatever the group remembers is of no interest.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let held = self.positions.lock().assign(list);
            let assigned =
                if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) };
            assigned.and_then(|()| pause(consumer, &held))
        } else if cooperative {
            self.positions.lock().revoke(list);
            consumer.incremental_unassign(list)
        } else {
            self.positions.lock().revoke_all();
            consumer.unassign()
        };
        if let Err(error) = done {
            self.lines.error(&error, "a rebalance could not be followed");
        }
    }
}

/// Whether librdkafka says that a topic has become another one. It goes on at the same offset of
/// the new one, and says so in this line only (2.12.1, `rdkafka_topic.c`: "FIXME: an offset reset
/// must be triggered"). The line comes before the first record of the new topic: records are asked
/// for by the topic's id. A test holds librdkafka to that.
fn made_anew(text: &str) -> bool {
    /// What it knew at first.
    const NONE: &str = " changed id from AAAAAAAAAAAAAAAAAAAAAA to ";
    text.contains(" changed id from ") && !text.contains(NONE)
}

fn pause(consumer: &BaseConsumer<Context>, held: &TopicPartitionList) -> KafkaResult<()> {
    if held.count() == 0 { Ok(()) } else { consumer.pause(held) }
}

/// A consumer whose records go to a [`Sink`] until it is closed.
pub(super) struct Consumer {
    stop: Arc<Stop>,
    positions: Arc<Mutex<Positions>>,
}

/// How the thread is told to stop and says that it has.
struct Stop {
    /// The time by which to be gone; set once.
    deadline: Mutex<Option<Instant>>,
    /// Gone once `deadline` is set, so that whoever waits on the other end wakes.
    wake: Mutex<Option<mpsc::SyncSender<()>>>,
    stopped: watch::Sender<bool>,
}

impl Stop {
    fn by(&self, deadline: Instant) {
        self.deadline.lock().get_or_insert(deadline);
        self.wake.lock().take();
    }

    fn wanted(&self) -> bool {
        self.deadline.lock().is_some()
    }
}

impl Consumer {
    /// Begins to read. The broker need not be there.
    ///
    /// # Errors
    /// Settings that librdkafka refuses, and no thread.
    pub(super) fn start(
        config: &Config,
        group: String,
        options: Options,
        lines: LogLines,
        sink: impl Sink,
    ) -> anyhow::Result<Self> {
        let (wake, sleep) = mpsc::sync_channel(0);
        let stop = Arc::new(Stop {
            deadline: Mutex::new(None),
            wake: Mutex::new(Some(wake)),
            stopped: watch::Sender::new(false),
        });
        let protocol = match config.kafka.assignment {
            Assignment::Group => options.passed_protocol().unwrap_or(GroupProtocol::Consumer),
            Assignment::Manual => GroupProtocol::Classic,
        };
        // Here and not on the thread, so that wrong settings end the start.
        let lookup: Lookup = options.lookup().create_with_context(lines.clone())?;
        let catalog = Catalog::new(&config.kafka, options.clone(), lines.clone());
        let positions = Arc::new(Mutex::new(Positions::new(catalog.own())));
        let reader = Reader {
            lookup: Arc::new(lookup),
            findings: None,
            kafka: config.kafka.clone(),
            window: config.log.window_age,
            dedupe: config.dedupe.window,
            positions: Arc::clone(&positions),
            catalog: Arc::new(catalog),
            taken_up: Vec::new(),
            unread: Vec::new(),
            options,
            lines,
            group,
            protocol,
            sink: Relay::new(sink)?,
            reached: None,
            failures: 0,
            opened: false,
            caught_up: false,
            stop: Arc::clone(&stop),
            sleep,
        };
        let first = reader.build()?;
        let done = Arc::clone(&stop);
        std::thread::Builder::new().name("kafka-consumer".to_owned()).spawn(move || {
            reader.run(first);
            done.stopped.send_replace(true);
        })?;
        Ok(Self { stop, positions })
    }

    /// The source called `name`, if it is known.
    pub(super) fn source_of(&self, name: &str) -> Option<Source> {
        self.positions.lock().sources().into_iter().find(|source| *source.name == *name)
    }

    /// The name of the topic that `shard` is of, if the topic has such a partition.
    pub(super) fn topic_of(&self, shard: Shard) -> Option<String> {
        let positions = self.positions.lock();
        let source = positions.sources().into_iter().find(|source| source.id == shard.source)?;
        (shard.index < source.shards).then(|| source.name.to_string())
    }

    /// Stops handing records on, leaves the group and deletes it, as far as that can be had until
    /// `deadline`.
    pub(super) async fn close(&self, deadline: Instant) {
        let deadline = deadline.min(Instant::now() + LEAVE);
        self.stop.by(deadline);
        let mut stopped = self.stop.stopped.subscribe();
        if tokio::time::timeout_at(deadline, stopped.wait_for(|stopped| *stopped)).await.is_err() {
            tracing::warn!("the consumer was not gone in time");
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.by(Instant::now());
    }
}

/// What the thread owns.
struct Reader<S> {
    kafka: Kafka,
    window: Duration,
    /// How long a key that was used makes duplicates.
    dedupe: Duration,
    options: Options,
    lines: LogLines,
    group: String,
    /// Falls back to classic with brokers before 4.0, for good.
    protocol: GroupProtocol,
    lookup: Arc<Lookup>,
    /// What the watching thread finds, once there is one.
    findings: Option<mpsc::Receiver<session::Finding>>,
    catalog: Arc<Catalog>,
    positions: Arc<Mutex<Positions>>,
    /// The topics that the consumer was asked to read.
    taken_up: Vec<Arc<str>>,
    /// What the sink was told last that is not read.
    unread: Vec<String>,
    sink: S,
    /// What the sink was told last.
    reached: Option<Result<(), String>>,
    /// How many sessions have failed since one was given its partitions.
    failures: u32,
    /// The partitions that were there at the start are known.
    opened: bool,
    caught_up: bool,
    stop: Arc<Stop>,
    sleep: mpsc::Receiver<()>,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// The log is being closed.
    Stop,
    /// The broker does not know the group protocol that was tried.
    OldBroker,
    /// Something that the next session mends.
    Again(String),
}

impl<S: Sink> Reader<S> {
    fn build(&self) -> KafkaResult<BaseConsumer<Context>> {
        self.options.consumer(self.protocol).create_with_context(Context {
            lines: self.lines.clone(),
            positions: Arc::clone(&self.positions),
        })
    }

    fn run(mut self, first: BaseConsumer<Context>) {
        let mut built = Some(first);
        loop {
            let client = match built.take().map_or_else(|| self.build(), Ok) {
                Ok(client) => client,
                Err(error) => {
                    self.reach(Err(format!("the consumer cannot be made: {error}")));
                    if self.pause(TRY_AGAIN_MOST) {
                        return;
                    }
                    continue;
                }
            };
            let end = self.session(&client);
            self.positions.lock().revoke_all();
            self.part_with(client);
            match end {
                End::Stop => break,
                End::OldBroker => {
                    tracing::info!("the brokers do not know KIP-848 groups: using a classic one");
                    self.protocol = GroupProtocol::Classic;
                }
                End::Again(reason) => {
                    tracing::info!(reason, "reading on with another consumer");
                    let pause = TRY_AGAIN * 2u32.saturating_pow(self.failures.min(8));
                    self.failures += 1;
                    if self.pause(pause.min(TRY_AGAIN_MOST)) {
                        break;
                    }
                }
            }
        }
        self.leave_nothing_behind();
    }

    /// Leaves the group, if it can be told.
    fn part_with(&self, client: BaseConsumer<Context>) {
        if self.stop.wanted() && !matches!(self.reached, Some(Ok(()))) {
            // Nobody is there to be told, and librdkafka waits for the answer when it is dropped.
            // The process ends now, and the broker forgets the member by itself.
            std::mem::forget(client);
        }
    }

    fn leave_nothing_behind(&self) {
        let deadline = *self.stop.deadline.lock();
        if let (Some(deadline), Assignment::Group, Some(Ok(()))) =
            (deadline, self.kafka.assignment, &self.reached)
        {
            topics::delete_group(&self.group, &self.options, &self.lines, deadline);
        }
    }

    /// Waits a little; true if the log is being closed.
    fn pause(&self, pause: Duration) -> bool {
        // The other end sends nothing and is dropped at the stop.
        let _ = self.sleep.recv_timeout(pause);
        self.stop.wanted()
    }

    /// Tells the sink what is not read of what the settings name, if it does not know.
    fn tell_unread(&mut self, survey: &Survey) {
        if self.unread == survey.unread {
            return;
        }
        for reason in survey.unread.iter().filter(|reason| !self.unread.contains(reason)) {
            tracing::warn!(reason, "a topic of kafka.sources is not read");
        }
        self.unread.clone_from(&survey.unread);
        let mut said = self.unread.iter().take(MOST_SAID).cloned().collect::<Vec<_>>().join("; ");
        if self.unread.len() > MOST_SAID {
            said += &format!("; and {} more", self.unread.len() - MOST_SAID);
        }
        self.sink.sources_read(if said.is_empty() { Ok(()) } else { Err(said) });
    }

    /// Tells the sink, if it does not know.
    fn reach(&mut self, state: Result<(), String>) {
        if self.reached.as_ref() != Some(&state) {
            match &state {
                Ok(()) => tracing::info!("Kafka can be reached"),
                Err(reason) => tracing::warn!(reason, "Kafka cannot be used"),
            }
            self.sink.reachable(state.clone());
            self.reached = Some(state);
        }
    }
}
