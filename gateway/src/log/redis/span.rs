//! Reading back a part of a stream, and the stream of notes, on a connection of their own.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Keys;
use super::entry::{self, Copier};
use super::link::{Link, Server, items, text, unexpected};
use super::place::Looked;
use super::reader;
use crate::clock::{millis, now_ms};
use crate::cursor::{Offset, Shard, SourceId};
use crate::log::note::{KEPT, Note};
use crate::log::{PublishError, Span, Stretch, Unread};

/// How many entries are asked for at once at least and at most: their size is not known before.
const COUNT: (usize, usize) = (64, 4096);

/// Reads parts of streams, one after the other.
pub(super) struct SpanReader {
    server: Arc<Server>,
    keys: Keys,
    /// `None` until something is to be read, and after a failure.
    state: Mutex<Option<State>>,
}

struct State {
    link: Link,
    identity: super::link::Identity,
    copier: Copier,
    count: usize,
}

impl SpanReader {
    pub(super) fn new(server: Arc<Server>, keys: Keys) -> Self {
        Self { server, keys, state: Mutex::new(None) }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Reads a span.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn read(&self, span: Span, deadline: Instant) -> Result<Stretch, Unread> {
        self.on_connection(deadline, async |state, keys, left| state.read(keys, &span, left).await)
            .await
    }

    /// Looks up the first entry that is not older than `time`: an id begins with the time, so only
    /// the end has to be asked for.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn seek(
        &self,
        shard: Shard,
        time: i64,
        deadline: Instant,
    ) -> Result<Offset, Unread> {
        let from = Offset(u128::from(u64::try_from(time).unwrap_or_default()) << 64);
        let nothing = Span { shard, from, until: Offset(0), most_bytes: 0 };
        let Stretch { log_start, end, .. } = self.read(nothing, deadline).await?;
        Ok(from.max(log_start).min(end))
    }

    /// Appends notes, and lets go of those that are too old.
    ///
    /// # Errors
    /// [`PublishError`]: some may have been appended.
    pub(super) async fn note(&self, notes: &[Note], deadline: Instant) -> Result<(), PublishError> {
        let oldest = now_ms().saturating_sub(millis(KEPT));
        let done = self.on_connection(deadline, async |state, keys, left| {
            let mut pipe = redis::pipe();
            for note in notes {
                pipe.cmd("XADD").arg(keys.deliveries()).arg("MINID").arg("~").arg(oldest).arg("*");
                pipe.arg(entry::KEY).arg(note.key());
                for (name, value) in note.fields() {
                    pipe.arg(name).arg(value);
                }
            }
            let answers = state.link.call(&pipe, left).await?;
            match answers.iter().find(|answer| matches!(answer, Value::ServerError(_))) {
                Some(refused) => Err(unexpected(refused)),
                None => Ok(Some(())),
            }
        });
        done.await.map_err(|error| PublishError::OutcomeUnknown(error.to_string()))
    }

    async fn on_connection<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFnOnce(&mut State, &Keys, Duration) -> Result<Option<T>, String>,
    ) -> Result<T, Unread> {
        let late = |_| Unread::Unreachable("Redis did not answer in time".to_owned());
        let mut held = tokio::time::timeout_at(deadline, self.state.lock()).await.map_err(late)?;
        if held.as_ref().is_none_or(|state| state.link.is_lost()) {
            *held = None;
            let (link, identity) = Link::open(&self.server, &self.keys, None, deadline)
                .await
                .map_err(Unread::Unreachable)?;
            *held = Some(State { link, identity, copier: Copier::default(), count: COUNT.0 });
        }
        let Some(state) = held.as_mut() else {
            return Err(Unread::Unreachable("there is no connection".to_owned()));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match work(state, &self.keys, left).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Unread::NoSuchShard),
            Err(why) => {
                // The next one begins with a connection of its own, and learns which log it is.
                *held = None;
                Err(Unread::Unreachable(why))
            }
        }
    }
}

impl State {
    async fn read(
        &mut self,
        keys: &Keys,
        span: &Span,
        left: Duration,
    ) -> Result<Option<Stretch>, String> {
        let Some((name, key)) = stream_of(keys, self.identity.streams, span.shard) else {
            return Ok(None);
        };
        let mut pipe = redis::pipe();
        reader::ask_look(&mut pipe, &self.link, &[(key.as_str(), None)], Duration::ZERO);
        pipe.cmd("GET").arg(keys.epoch());
        let wants = span.from < span.until;
        if wants {
            // Inclusive on both sides; an offset that was never an entry's is fine.
            let last = entry::before(span.until);
            pipe.cmd("XRANGE").arg(&key).arg(entry::id(span.from)).arg(last);
            pipe.arg("COUNT").arg(self.count);
        }
        let answers = self.link.call(&pipe, left).await?;
        if answers[1] == Value::Nil || text(&answers[1])? != self.identity.epoch {
            return Err("the log's epoch has changed".to_owned());
        }
        let looked = reader::looks(&answers[0])?.1;
        let Some(looked) = looked.first() else {
            return Err("Redis did not look at the stream".to_owned());
        };
        let (start, end) = (looked.start(), Looked::end(looked));
        let entries = if wants { items(&answers[2])? } else { &[] };
        let mut records = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for entry in entries {
            let record = self.copier.record(entry, span.shard, &name, self.identity.tag)?;
            bytes += record.bytes();
            if bytes > span.most_bytes && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        let is_all = records.len() == entries.len() && entries.len() < self.count;
        self.count = if bytes > span.most_bytes {
            (self.count / 2).max(COUNT.0)
        } else if entries.len() == self.count {
            (self.count * 2).min(COUNT.1)
        } else {
            self.count
        };
        Ok(Some(Stretch::new(span, records, is_all, start, end)))
    }
}

/// The name of a shard's source, and the key of its stream.
fn stream_of(keys: &Keys, streams: u32, shard: Shard) -> Option<(String, String)> {
    if shard == notes_shard(keys) {
        return Some((keys.deliveries(), keys.deliveries()));
    }
    let sources = keys.sources(streams);
    let source = sources.iter().find(|s| s.id == shard.source && shard.index < s.shards)?;
    Some((source.name.to_string(), keys.stream(source.role, shard.index)))
}

/// The shard of the notes.
pub(super) fn notes_shard(keys: &Keys) -> Shard {
    Shard { source: SourceId::of(&keys.deliveries()), index: 0 }
}
