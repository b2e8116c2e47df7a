//! The publishers and the readers of one run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::door::Doors;
use crate::plan::Plan;
use crate::publisher::{Phase, Publisher, Told};
use crate::reader::book::Book;
use crate::reader::{Orders, Reader};

/// How long readers may take to be there, and publishers and readers to be done once nothing is
/// wrong any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long what must not come is waited for, once all that must is there.
const AFTER: Duration = Duration::from_secs(2);

/// How much there is of everything.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Ids, of two rooms each.
    pub ids: usize,
    /// Events a second, all together.
    pub rate: f64,
    /// Readers of each kind.
    pub copies: usize,
    /// Padding of an event.
    pub bytes: usize,
}

/// Publishers and readers at work. They stop when this is dropped.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    told: Vec<Arc<Mutex<Told>>>,
    books: Vec<Arc<Mutex<Book>>>,
    phase: watch::Sender<Phase>,
    leave: watch::Sender<u32>,
    publishers: JoinSet<()>,
    /// Readers never end by themselves.
    _readers: JoinSet<()>,
}

impl Load {
    /// Connects all readers, then starts all publishers, whose events have `bytes` of padding. Every
    /// second reader reads nothing while `frozen` holds.
    ///
    /// # Errors
    /// Some reader is not let in.
    pub async fn start(
        plan: Plan,
        doors: Arc<Doors>,
        frozen: &watch::Sender<bool>,
        bytes: usize,
        seed: u64,
    ) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let series: Arc<[_]> = plan.series.clone().into();
        let (never, leave) = (watch::Sender::new(false), watch::Sender::new(0));
        let mut readers = JoinSet::new();
        let mut books = Vec::new();
        for (n, reader) in plan.readers.iter().enumerate() {
            let frozen = if n % 2 == 0 { frozen } else { &never };
            let orders = Orders { frozen: frozen.subscribe(), leave: leave.subscribe() };
            let (series, doors) = (Arc::clone(&series), Arc::clone(&doors));
            let reader = Reader::new(reader.clone(), series, doors, orders, rng.random());
            books.push(reader.book());
            readers.spawn(reader.run());
        }
        let phase = watch::Sender::new(Phase::Going);
        let mut load = Self {
            plan,
            told: Vec::new(),
            books,
            phase,
            leave,
            publishers: JoinSet::new(),
            _readers: readers,
        };
        let deadline = Instant::now() + PATIENCE;
        while load.books().any(|book| !book.has_begun()) {
            if Instant::now() > deadline {
                let late = load.books().filter(|book| !book.has_begun()).count();
                bail!("{late} of {} readers are not let in", load.books.len());
            }
            sleep(Duration::from_millis(20)).await;
        }
        for series in load.plan.series.clone() {
            let (doors, phase) = (Arc::clone(&doors), load.phase.subscribe());
            let publisher = Publisher::new(series, doors, phase, bytes, rng.random());
            load.told.push(publisher.told());
            load.publishers.spawn(publisher.run());
        }
        Ok(load)
    }

    /// Has every publisher get its last event acknowledged and every reader get all of them;
    /// says what did not come about.
    pub async fn finish(&mut self) -> Vec<String> {
        let mut unfinished = Vec::new();
        self.phase.send_replace(Phase::Ending);
        let all = async { while self.publishers.join_next().await.is_some() {} };
        if timeout(PATIENCE, all).await.is_err() {
            let late = self.publishers.len();
            unfinished.push(format!("{late} publishers got no receipt within {PATIENCE:?}"));
            self.phase.send_replace(Phase::Over);
            while self.publishers.join_next().await.is_some() {}
        }
        let acknowledged = self.acknowledged();
        let deadline = Instant::now() + PATIENCE;
        while !self.books().all(|book| book.has_all(&acknowledged)) {
            if Instant::now() > deadline {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        sleep(AFTER).await;
        unfinished
    }

    /// Has all readers leave, and come back.
    pub fn leave(&self) {
        self.leave.send_modify(|times| *times += 1);
    }

    /// The readers' accounts.
    pub fn books(&self) -> impl Iterator<Item = MutexGuard<'_, Book>> {
        self.books.iter().map(|book| book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the publishers were told.
    pub fn told(&self) -> impl Iterator<Item = MutexGuard<'_, Told>> {
        self.told.iter().map(|told| told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many events were acknowledged, by the index of the series.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<u64> {
        self.told().map(|told| told.acknowledged).collect()
    }
}
