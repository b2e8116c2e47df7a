//! Replay: from a cursor that is older than the recent window to live, exactly.
//!
//! A stream whose reader is too far behind gets no seat in its rooms yet. It is written what the
//! log still has, in parts, with a cursor of its own after each event, until the window has all
//! that follows; then it takes its seats as if it had come back just now. So there is one hand-over
//! from history to live, the hub's, and it needs no queue while a replay goes on.
//!
//! The log is read through `scan`, where everybody who is behind in the same shard shares the
//! reading. What a replay may cost is bounded ([`Limits`]): beyond it the stream says
//! `tidegate.gap` and goes on at the head.

mod feed;
mod history;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub use feed::{Ended, Feed, Turn};

use crate::cursor::{Cursor, Offset};
use crate::event::{Pattern, User};
use crate::hub::facts::{Facts, Question, Reach};
use crate::hub::{Behind, Gap, Hub, Item, Opened, Partly, Start, Subscribed, Unopened, passes};
use crate::log::{Log, Unread};
use crate::wire::GapReason;
use scan::{Chunk, Filter, Found, Scans};

/// How often a cursor that is ahead of this pod is looked at again before the log is asked, and
/// after which pause.
const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long one question to the log may take.
const ASK: Duration = Duration::from_secs(5);
/// The pause after a read that failed, before another: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What replays may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes that one replay may read.
    pub bytes: usize,
    /// The most events that one replay may write.
    pub events: usize,
    /// How long one replay may take. It then ends with `overloaded` and is resumed where it was.
    pub time: Duration,
    /// The most replays at once.
    pub concurrent: usize,
    /// How long a replay may wait for its turn, or for a log that does not answer.
    pub wait: Duration,
}

/// Replays the log for the streams of this pod.
#[derive(Debug)]
pub struct Replays {
    hub: Arc<Hub>,
    log: Arc<Log>,
    scans: Arc<Scans>,
    turns: Arc<Semaphore>,
    limits: Limits,
}

/// A stream that was begun.
#[derive(Debug)]
pub struct Begun {
    /// What brings its events.
    pub feed: Feed,
    /// What the first block's `id:` says; `None` after something that is no cursor.
    pub connected_at: Option<Cursor>,
    /// The hole to say before anything else.
    pub gap: Option<Gap>,
    /// How many events of the recent window come first.
    pub replayed: usize,
}

/// Why a stream cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// The log has not been reached since the start, or so many rooms have no cursor.
    #[error(transparent)]
    Unopened(#[from] Unopened),
    /// Where the stream begins depends on what the log has, and it does not say.
    #[error(transparent)]
    Unread(#[from] Unread),
}

impl Replays {
    /// Replays `log`, for streams of `hub`. `dedupe` is for how long a key makes duplicates.
    #[must_use]
    pub fn new(hub: Arc<Hub>, log: Arc<Log>, limits: Limits, dedupe: Duration) -> Arc<Self> {
        let scans = Scans::new(Arc::clone(&hub), Arc::clone(&log), dedupe);
        let turns = Arc::new(Semaphore::new(limits.concurrent));
        Arc::new(Self { hub, log, scans, turns, limits })
    }

    /// Opens a stream of `patterns`, from wherever it asks for.
    ///
    /// # Errors
    /// [`NotBegun`].
    pub async fn begin(
        self: &Arc<Self>,
        patterns: &[Pattern],
        user: Option<&User>,
        start: Start,
    ) -> Result<Begun, NotBegun> {
        let deadline = Instant::now() + self.limits.wait.min(ASK);
        let mut facts = Facts::default();
        let mut looks = 0;
        loop {
            match self.hub.subscribe(patterns, user, &start, &facts)? {
                Subscribed::Opened(opened) => {
                    let Opened { subscription, connected_at, gap, replayed } = *opened;
                    let feed = Feed::live(subscription);
                    return Ok(Begun { feed, connected_at, gap, replayed });
                }
                Subscribed::Ask(_) if matches!(start, Start::Resume(_)) && looks < LOOKS => {
                    // Pods are some milliseconds apart: this one comes as far as the one before.
                    looks += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Subscribed::Ask(questions) => self.ask(&questions, &mut facts, deadline).await?,
                Subscribed::Partly(partly) => {
                    let requested = match start {
                        Start::Resume(cursor) => Some(cursor),
                        Start::Live | Start::From(_) | Start::Unusable => None,
                    };
                    let (asked, gap) = (partly.plan.asked.clone(), partly.plan.gap.clone());
                    let written = gap.as_ref().map_or(&asked, |gap| &gap.resumed_at).clone();
                    let reading = Reading::new(self, patterns, user, requested, *partly);
                    let feed = Feed::replaying(reading, written);
                    return Ok(Begun { feed, connected_at: Some(asked), gap, replayed: 0 });
                }
            }
        }
    }

    /// Asks the log.
    async fn ask(
        &self,
        questions: &[Question],
        facts: &mut Facts,
        deadline: Instant,
    ) -> Result<(), Unread> {
        let answers = questions.iter().map(|question| async move {
            match *question {
                Question::Time { shard, time } => {
                    let offset = self.log.seek(shard, time, deadline).await?;
                    Ok((*question, Answer::Time(offset)))
                }
                Question::Reach { shard, next } => {
                    Ok((*question, Answer::Reach(self.scans.reach(shard, next, deadline).await?)))
                }
            }
        });
        for answer in join_all(answers).await {
            match answer? {
                (Question::Time { shard, time }, Answer::Time(offset)) => {
                    facts.learn_time(shard, time, offset);
                }
                (Question::Reach { shard, next }, Answer::Reach(reach)) => {
                    facts.learn_reach(shard, next, reach);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

enum Answer {
    Time(Offset),
    Reach(Reach),
}

/// What comes next in a replay.
#[derive(Debug)]
enum Step {
    /// Events, each with the cursor that resumes just after it, and where the reader is after them.
    Events(Vec<(Arc<Item>, Cursor)>, Cursor),
    /// A hole.
    Gap(Gap),
    /// The window has the rest.
    Live(Box<Opened>),
    /// It takes too long, or the log does not answer: the client comes back where it is.
    Later,
}

/// One reader's way through the log.
#[derive(Debug)]
struct Reading {
    replays: Arc<Replays>,
    filter: Arc<Filter>,
    /// What the client came with, for the holes.
    requested: Option<Cursor>,
    own: Cursor,
    excess: GapReason,
    scanned: usize,
    events: usize,
    began: Instant,
    /// Held while events are read and written.
    turn: Option<OwnedSemaphorePermit>,
    facts: Facts,
    /// What the first look at the window found, to be written first.
    first: Option<(Vec<Arc<Item>>, Cursor)>,
}

impl Reading {
    fn new(
        replays: &Arc<Replays>,
        patterns: &[Pattern],
        user: Option<&User>,
        requested: Option<Cursor>,
        partly: Partly,
    ) -> Self {
        let Partly { plan, items, after } = partly;
        Self {
            replays: Arc::clone(replays),
            filter: Arc::new(Filter { patterns: patterns.to_vec(), user: user.cloned() }),
            requested,
            own: plan.own,
            excess: plan.excess,
            scanned: 0,
            events: 0,
            began: Instant::now(),
            turn: None,
            facts: Facts::default(),
            first: plan.behind.is_empty().then_some((items, after)),
        }
    }

    /// Goes on until there is something to write.
    async fn step(&mut self) -> Step {
        if self.turn.is_none() {
            let turn = Arc::clone(&self.replays.turns).acquire_owned();
            match tokio::time::timeout(self.replays.limits.wait, turn).await {
                Ok(Ok(turn)) => self.turn = Some(turn),
                Ok(Err(_)) | Err(_) => return Step::Later,
            }
            self.began = Instant::now();
        }
        if let Some((items, after)) = self.first.take() {
            return self.events(items, after);
        }
        let mut patience = Patience::new(self.replays.limits.wait);
        loop {
            let Limits { bytes, events, time, .. } = self.replays.limits;
            if self.scanned > bytes || self.events > events {
                return self.give_up();
            }
            if self.began.elapsed() > time {
                return Step::Later;
            }
            let replays = Arc::clone(&self.replays);
            let start = Start::Resume(self.own.clone());
            let filter = Arc::clone(&self.filter);
            let user = filter.user.as_ref();
            match replays.hub.subscribe(&filter.patterns, user, &start, &self.facts) {
                Err(_) => return Step::Later,
                Ok(Subscribed::Opened(mut opened)) => {
                    if let Some(gap) = &mut opened.gap {
                        gap.requested.clone_from(&self.requested);
                    }
                    return Step::Live(opened);
                }
                Ok(Subscribed::Ask(questions)) => {
                    let deadline = Instant::now() + ASK;
                    let asked = replays.ask(&questions, &mut self.facts, deadline).await;
                    if asked.is_err() && !patience.wait().await {
                        return Step::Later;
                    }
                }
                Ok(Subscribed::Partly(partly)) => {
                    let Partly { plan, items, after } = *partly;
                    self.own = plan.own;
                    if let Some(gap) = plan.gap {
                        return Step::Gap(Gap { requested: self.requested.clone(), ..gap });
                    }
                    if plan.behind.is_empty() {
                        return self.events(items, after);
                    }
                    match self.round(&plan.behind).await {
                        Ok(Some(step)) => return step,
                        Ok(None) => patience = Patience::new(self.replays.limits.wait),
                        Err(error) => {
                            tracing::debug!(%error, "the log cannot be replayed");
                            if !patience.wait().await {
                                return Step::Later;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Reads a part of each of these, and moves on past it. `None`: nothing to write was there.
    async fn round(&mut self, behind: &[Behind]) -> Result<Option<Step>, Unread> {
        let deadline = Instant::now() + ASK;
        let scans = &self.replays.scans;
        let chunks = behind.iter().map(|part| scans.chunk(*part, &self.filter, deadline));
        let mut found: Vec<VecDeque<Arc<Item>>> = Vec::new();
        let mut end = self.own.clone();
        let mut hole = None;
        for (part, chunk) in behind.iter().zip(join_all(chunks).await) {
            match chunk? {
                Found::Chunk(Chunk { items, next, scanned }) => {
                    self.scanned += scanned;
                    found.push(items.into());
                    end.advance(part.shard, next);
                }
                Found::Trimmed(start) => hole = Some((part.shard, start, GapReason::Expired)),
                Found::OtherLog(start) => hole = Some((part.shard, start, GapReason::Recreated)),
            }
        }
        if let Some((shard, start, reason)) = hole {
            // The other shards' parts are read again, after the hole was said.
            self.own.set(shard, start);
            let (requested, resumed_at) = (self.requested.clone(), self.own.clone());
            return Ok(Some(Step::Gap(Gap { reason, requested, resumed_at })));
        }
        let items = merged(found);
        if items.is_empty() {
            self.own = end;
            return Ok(None);
        }
        Ok(Some(self.events(items, end)))
    }

    /// Gives each event its cursor; after all of them the reader is at `after`.
    fn events(&mut self, items: Vec<Arc<Item>>, after: Cursor) -> Step {
        let is_one_room = self.filter.patterns.len() == 1;
        let mut events = Vec::with_capacity(items.len());
        for item in items {
            if passes(&mut self.own, &item) {
                let is_last = is_one_room && item.head.is_final;
                events.push((item, self.own.clone().flagged(is_last)));
            }
        }
        self.events += events.len();
        self.own.advance_all(&after);
        Step::Events(events, self.own.clone())
    }

    /// The replay costs more than it may: on to the head.
    fn give_up(&self) -> Step {
        let (patterns, user) = (&self.filter.patterns, self.filter.user.as_ref());
        let live = self.replays.hub.subscribe(patterns, user, &Start::Live, &self.facts);
        let Ok(Subscribed::Opened(mut opened)) = live else { return Step::Later };
        let Some(resumed_at) = opened.connected_at.clone() else { return Step::Later };
        let requested = self.requested.clone();
        opened.gap = Some(Gap { reason: self.excess, requested, resumed_at });
        Step::Live(opened)
    }
}

/// Events of several shards as they were published; those of one shard stay in its order.
fn merged(mut shards: Vec<VecDeque<Arc<Item>>>) -> Vec<Arc<Item>> {
    let mut items = Vec::with_capacity(shards.iter().map(VecDeque::len).sum());
    let first = |shard: &VecDeque<Arc<Item>>| shard.front().map(|item| item.published_at());
    while let Some(nth) = (0..shards.len())
        .filter(|&nth| !shards[nth].is_empty())
        .min_by_key(|&nth| first(&shards[nth]))
    {
        items.extend(shards[nth].pop_front());
    }
    items
}

/// How long a log that does not answer is waited for.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    fn new(wait: Duration) -> Self {
        Self { until: Instant::now() + wait, pause: BACK_OFF.0 }
    }

    /// Waits a little; false once it is over.
    async fn wait(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        let pause = self.pause.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(BACK_OFF.1);
        true
    }
}
