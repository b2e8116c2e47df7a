//! Dead letters on Redis: entries of `<prefix>:{dead-letters}`, trimmed to a length. What remembers
//! that a letter was written, `<prefix>:{dead-letters}:seen:<place>`, outlives the time in which a
//! pod that starts can read its record back, so each letter is written once, even when it was
//! purged. A connection is made for each batch: there are few of them.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::Keys;
use super::entry::{DATA, KEY, id, offset};
use super::link::{Link, Server, bytes, complaint, items, number, text, unexpected};
use crate::clock::millis;
use crate::config::Config;
use crate::cursor::Offset;
use crate::log::letter::{Entry, Found, Letter, LetterError, Parcel, Place, Purge, Replay, Spot};
use crate::log::{Kept, PublishError};

const LETTER: &str = include_str!("letter.lua");
/// How many entries are read at once.
const BATCH: usize = 64;
/// For how long beyond the recent window a letter is remembered.
const MARGIN: Duration = Duration::from_secs(3600);

/// The dead letters of a log on Redis.
#[derive(Debug)]
pub(in crate::log) struct Letters {
    server: Arc<Server>,
    keys: Keys,
    remembered_ms: i64,
    most: usize,
}

impl Letters {
    pub(super) fn new(server: Arc<Server>, keys: Keys, config: &Config) -> Self {
        let remembered = config.log.window_age + config.dedupe.window + MARGIN;
        Self {
            server,
            keys,
            remembered_ms: millis(remembered),
            most: config.redis.dead_letters_len,
        }
    }

    /// Keeps letters, each once.
    pub(in crate::log) async fn keep(
        &self,
        letters: &[Letter],
        deadline: Instant,
    ) -> Vec<Result<Kept, PublishError>> {
        let mut pipe = redis::pipe();
        let stream = self.keys.dead_letters();
        for letter in letters {
            pipe.cmd("EVAL").arg(LETTER).arg(2).arg(&stream);
            pipe.arg(format!("{stream}:seen:{}", letter.place));
            pipe.arg(self.remembered_ms).arg(self.most);
            add_fields(&mut pipe, &letter.parcel());
        }
        let answers = match self.call(&pipe, deadline).await {
            Ok(answers) => answers,
            Err(why) => return vec![Err(why); letters.len()],
        };
        let kept = |answer: &Value| match answer {
            Value::Int(0) => Ok(Kept::Known),
            Value::Int(_) => Ok(Kept::Written),
            Value::ServerError(error) => Err(PublishError::NotAccepted(complaint(error))),
            other => Err(PublishError::OutcomeUnknown(unexpected(other))),
        };
        answers.iter().map(kept).collect()
    }

    /// Marks a letter.
    pub(in crate::log) async fn mark(
        &self,
        place: &Place,
        replay: &Replay,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let mut pipe = redis::pipe();
        pipe.cmd("XADD").arg(self.keys.dead_letters()).arg("MAXLEN").arg("~").arg(self.most);
        pipe.arg("*");
        add_fields(&mut pipe, &replay.parcel(place));
        match self.call(&pipe, deadline).await?.first() {
            Some(Value::ServerError(error)) => Err(PublishError::NotAccepted(complaint(error))),
            _ => Ok(()),
        }
    }

    /// Removes letters.
    pub(in crate::log) async fn purge(
        &self,
        purge: Purge,
        deadline: Instant,
    ) -> Result<u64, String> {
        let mut pipe = redis::pipe();
        pipe.cmd("XTRIM").arg(self.keys.dead_letters());
        match purge {
            Purge::All => pipe.arg("MAXLEN").arg("0"),
            Purge::Before(time) => pipe.arg("MINID").arg(format!("{}-0", time.max(0))),
        };
        let answers = self.call(&pipe, deadline).await.map_err(|error| error.to_string())?;
        let removed = answers.first().map_or(Ok(0), number)?;
        Ok(u64::try_from(removed).unwrap_or_default())
    }

    /// Begins to read.
    pub(in crate::log) fn scan(&self) -> LetterScan<'_> {
        LetterScan { letters: self, link: None, next: Offset::default(), end: None }
    }

    async fn call(&self, pipe: &Pipeline, deadline: Instant) -> Result<Vec<Value>, PublishError> {
        let mut link = self.open(deadline).await.map_err(PublishError::NotAccepted)?;
        let patience = deadline.saturating_duration_since(Instant::now());
        link.call(pipe, patience).await.map_err(PublishError::OutcomeUnknown)
    }

    async fn open(&self, deadline: Instant) -> Result<Link, String> {
        Link::open(&self.server, &self.keys, None, deadline).await.map(|(link, _)| link)
    }
}

fn add_fields(pipe: &mut Pipeline, parcel: &Parcel) {
    pipe.arg(KEY).arg(&parcel.key);
    for (name, value) in &parcel.fields {
        pipe.arg(name).arg(&value[..]);
    }
    if let Some(value) = &parcel.value {
        pipe.arg(DATA).arg(&value[..]);
    }
}

/// A reading of the stream.
pub struct LetterScan<'l> {
    letters: &'l Letters,
    link: Option<Link>,
    next: Offset,
    /// After the last entry that there was at the beginning.
    end: Option<Offset>,
}

impl std::fmt::Debug for LetterScan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LetterScan").field("next", &self.next).finish_non_exhaustive()
    }
}

impl LetterScan<'_> {
    pub(in crate::log) async fn next(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<Vec<Found>>, String> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.letters.open(deadline).await?,
        };
        let stream = self.letters.keys.dead_letters();
        let mut pipe = redis::pipe();
        pipe.cmd("XRANGE").arg(&stream).arg(id(self.next)).arg("+").arg("COUNT").arg(BATCH);
        if self.end.is_none() {
            pipe.cmd("XREVRANGE").arg(&stream).arg("+").arg("-").arg("COUNT").arg(1);
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        let answers = link.call(&pipe, patience).await?;
        let end = match (self.end, answers.get(1)) {
            (Some(end), _) => end,
            (None, Some(last)) => match items(last)?.first() {
                Some(entry) => offset_of(entry)?.next(),
                None => Offset::default(),
            },
            (None, None) => return Err("Redis did not say where the dead letters end".to_owned()),
        };
        self.end = Some(end);
        self.link = Some(link);
        let mut found = Vec::new();
        for entry in items(&answers[0])? {
            let at = offset_of(entry)?;
            if at >= end {
                break;
            }
            self.next = at.next();
            found.push(Found { spot: Spot { shard: 0, offset: at }, entry: read(entry)? });
        }
        Ok((!found.is_empty()).then_some(found))
    }
}

fn offset_of(entry: &Value) -> Result<Offset, String> {
    let [entry_id, _] = items(entry)? else { return Err(unexpected(entry)) };
    offset(text(entry_id)?).ok_or_else(|| unexpected(entry_id))
}

/// What an entry is; an error is Redis's, not the entry's.
fn read(entry: &Value) -> Result<Result<Entry, LetterError>, String> {
    let [_, fields] = items(entry)? else { return Err(unexpected(entry)) };
    let mut key = None;
    let mut value = None;
    let mut others: Vec<(&[u8], &[u8])> = Vec::new();
    for pair in items(fields)?.chunks_exact(2) {
        let (name, content) = (bytes(&pair[0])?, bytes(&pair[1])?);
        match name {
            _ if name == KEY.as_bytes() => key = Some(content),
            _ if name == DATA.as_bytes() => value = Some(content),
            _ => others.push((name, content)),
        }
    }
    Ok(Parcel::open(key, others.into_iter(), value))
}
