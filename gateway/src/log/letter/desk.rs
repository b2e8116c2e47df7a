//! What an operator does with dead letters: looks at them, publishes them again, removes them.
//!
//! Each time all of them are read, from the first on: only so are repeats and markers known. That
//! is bounded in number and time.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};

use super::{Entry, Found, Lasting, Letter, Limits, Place, Purge, Reason, Replay, Spot, revive};
use crate::clock::now_ms;
use crate::config::Config;
use crate::event::MessageId;
use crate::log::{Log, PublishError};

/// The most records that are read at once.
const MOST_READ: usize = 500_000;
/// How long reading may take.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// How much a page may hold of the originals, in bytes.
const PAGE_BYTES: usize = 16 << 20;
/// How long one event may take to be published, or one marker to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// How long a request waits for the one before it.
const WAIT: Duration = Duration::from_secs(10);
/// How long a request's replays go on. What is left is for the next one.
const REPLAY_FOR: Duration = Duration::from_secs(20);

/// Which letters.
#[derive(Debug, Clone)]
pub enum Which {
    /// Those at these places.
    Places(HashSet<Place>),
    /// All, or all with a reason.
    All(Option<Reason>),
}

impl Which {
    fn takes(&self, letter: &Letter) -> bool {
        match self {
            Self::Places(places) => places.contains(&letter.place),
            Self::All(reason) => reason.as_ref().is_none_or(|reason| *reason == letter.reason),
        }
    }
}

/// Which letters, from where on and how many.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Which.
    pub which: Which,
    /// Only those after this place among the letters.
    pub after: Option<Spot>,
    /// At most so many.
    pub limit: usize,
}

/// A letter among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelved {
    /// Where it lies.
    pub spot: Spot,
    /// The letter.
    pub letter: Letter,
    /// When it was published again, and as what.
    pub replays: Vec<Replay>,
}

/// A part of the dead letters.
#[derive(Debug, Default)]
pub struct Page {
    /// Letters in the order in which they were written, each once.
    pub letters: Vec<Shelved>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Spot>,
    /// How many records among the dead letters are none.
    pub unreadable: usize,
}

/// What became of a letter that was to be published again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was, as the event with this id.
    Replayed(MessageId),
    /// It was, but the letter could not be marked; why not.
    Unmarked(MessageId, String),
    /// It had been before, and was not again.
    Already,
    /// It is no event even now.
    NoEvent(Lasting),
    /// The log did not take it.
    Failed(PublishError),
}

/// One letter that was to be published again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Its key.
    pub place: Place,
    /// What became of it.
    pub outcome: Outcome,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// Another request works on the letters of this pod.
    #[error("this pod is working on the dead letters for somebody else; try again")]
    Busy,
    /// They are more than are read at once.
    #[error("there are more than {MOST_READ} dead letters: purge the oldest first")]
    TooMany,
    /// The log cannot be read.
    #[error("the dead letters cannot be read: {0}")]
    Log(String),
}

/// A pod's dead letters, for one request at a time.
#[derive(Debug)]
pub struct Desk {
    log: Arc<Log>,
    pod: Box<str>,
    limits: Limits,
    work: Mutex<()>,
}

impl Desk {
    /// The dead letters of `log`.
    #[must_use]
    pub fn new(log: Arc<Log>, config: &Config) -> Self {
        let limits =
            Limits { json_depth: config.limits.json_depth, value_bytes: config.limits.body_bytes };
        Self { log, pod: config.pod.name.as_str().into(), limits, work: Mutex::new(()) }
    }

    /// Reads a page.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn page(&self, filter: &Filter) -> Result<Page, DeskError> {
        let _turn = self.turn().await?;
        self.read(filter).await
    }

    /// Publishes letters again and marks them; those that are marked only if `again`. Returns what
    /// became of each, and where the next page begins. Ends when the log does not take one.
    ///
    /// # Errors
    /// [`DeskError`], before anything was published.
    pub async fn replay(
        &self,
        filter: &Filter,
        again: bool,
    ) -> Result<(Vec<Replayed>, Option<Spot>), DeskError> {
        let _turn = self.turn().await?;
        let page = self.read(filter).await?;
        let over = Instant::now() + REPLAY_FOR;
        let mut done = Vec::new();
        let last = page.letters.last().map(|shelved| shelved.spot);
        for Shelved { spot, letter, replays } in page.letters {
            let outcome = if again || replays.is_empty() {
                self.replay_one(&letter, replays.len()).await
            } else {
                Outcome::Already
            };
            tracing::info!(place = %letter.place, ?outcome, "a dead letter was to be replayed");
            let failed = matches!(outcome, Outcome::Failed(_));
            done.push(Replayed { place: letter.place, outcome });
            if failed {
                return Ok((done, None));
            }
            if Instant::now() >= over && Some(spot) != last {
                return Ok((done, Some(spot)));
            }
        }
        Ok((done, page.next))
    }

    async fn replay_one(&self, letter: &Letter, nth: usize) -> Outcome {
        let source = self.log.source_of(letter.place.source());
        let event = match revive(letter, source.as_ref(), self.limits, nth) {
            Ok(event) => event,
            Err(why) => return Outcome::NoEvent(why),
        };
        if let Err(error) = self.log.publish(&event, Instant::now() + WRITE_WITHIN).await {
            return Outcome::Failed(error);
        }
        let message_id = event.message_id;
        let replay = Replay { message_id, pod: self.pod.clone(), at: now_ms() };
        let marked = self.log.mark(&letter.place, &replay, Instant::now() + WRITE_WITHIN).await;
        match marked {
            Ok(()) => Outcome::Replayed(message_id),
            Err(error) => Outcome::Unmarked(message_id, error.to_string()),
        }
    }

    /// Removes letters for good. Returns how many records that were, repeats and markers among
    /// them.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn purge(&self, purge: Purge) -> Result<u64, DeskError> {
        let _turn = self.turn().await?;
        let removed = self.log.purge_letters(purge, Instant::now() + READ_WITHIN).await;
        let removed = removed.map_err(DeskError::Log)?;
        tracing::info!(removed, ?purge, "dead letters were purged");
        Ok(removed)
    }

    async fn turn(&self) -> Result<MutexGuard<'_, ()>, DeskError> {
        timeout(WAIT, self.work.lock()).await.map_err(|_| DeskError::Busy)
    }

    async fn read(&self, filter: &Filter) -> Result<Page, DeskError> {
        let deadline = Instant::now() + READ_WITHIN;
        let mut reading = Reading::new(filter);
        let mut scan = self.log.letters();
        while let Some(found) = scan.next(deadline).await.map_err(DeskError::Log)? {
            for found in found {
                reading.take(found);
            }
            if reading.count > MOST_READ {
                return Err(DeskError::TooMany);
            }
        }
        Ok(reading.into_page())
    }
}

/// A page that is being read.
struct Reading<'f> {
    filter: &'f Filter,
    page: Page,
    bytes: usize,
    is_full: bool,
    count: usize,
    /// The letters that there were, by a hash of their places: there may be many.
    seen: HashSet<u64>,
    marks: HashMap<u64, Vec<Replay>>,
    hasher: foldhash::fast::RandomState,
}

impl<'f> Reading<'f> {
    fn new(filter: &'f Filter) -> Self {
        Self {
            filter,
            page: Page::default(),
            bytes: 0,
            is_full: false,
            count: 0,
            seen: HashSet::new(),
            marks: HashMap::new(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    fn take(&mut self, found: Found) {
        self.count += 1;
        match found.entry {
            Ok(Entry::Letter(letter)) => self.take_letter(found.spot, letter),
            Ok(Entry::Replayed(place, replay)) => {
                self.marks.entry(self.hasher.hash_one(&place)).or_default().push(replay);
            }
            Err(error) => {
                tracing::debug!(spot = %found.spot, %error, "a record is no dead letter");
                self.page.unreadable += 1;
            }
        }
    }

    fn take_letter(&mut self, spot: Spot, letter: Letter) {
        // Several pods may have written it.
        let is_first = self.seen.insert(self.hasher.hash_one(&letter.place));
        let is_asked_for =
            self.filter.which.takes(&letter) && self.filter.after.is_none_or(|after| after < spot);
        if !is_first || !is_asked_for || self.is_full {
            return;
        }
        self.bytes += letter.bytes();
        let too_much = self.bytes > PAGE_BYTES && !self.page.letters.is_empty();
        if too_much || self.page.letters.len() == self.filter.limit {
            self.page.next = self.page.letters.last().map(|last| last.spot);
            self.is_full = true;
            return;
        }
        self.page.letters.push(Shelved { spot, letter, replays: Vec::new() });
    }

    fn into_page(mut self) -> Page {
        for shelved in &mut self.page.letters {
            let place = self.hasher.hash_one(&shelved.letter.place);
            shelved.replays = self.marks.remove(&place).unwrap_or_default();
        }
        self.page
    }
}
