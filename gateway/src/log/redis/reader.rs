//! Reads all streams and hands their entries on, for ever.
//!
//! A session is a connection's life. It begins by asking which log it is and whether the entries
//! that this pod read last are still there:
//!
//! * the same log, and they are: reading goes on;
//! * another epoch: all streams are begun anew, with the new tag;
//! * the same epoch and an end of a stream is missing (a failover to a replica that lagged, a
//!   restart that lost its last second, a restored backup): the first pod that notices replaces the
//!   epoch, or the readers' cursors would lie about what they have, and new entries could get ids
//!   that they have passed. All pods go on with the new tag, and repeat nothing;
//! * trimmed past this pod's place: that stream is begun anew at its start.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::Keys;
use super::advice::advice;
use super::entry::{self, Copier, before};
use super::link::{CONNECT, Identity, Link, Server, items, number, text, unexpected};
use super::place::{Looked, Place, Verdict};
use crate::clock::millis;
use crate::config::Config;
use crate::cursor::{Offset, Position, Shard};
use crate::log::{KeysOnly, Sink, Source};

/// How long Redis holds a read that finds nothing.
const BLOCK: Duration = Duration::from_secs(2);
/// How long an answer may take beyond that.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the streams are looked at: for the lag, and for what happened behind our back.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long to wait before connecting again: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long the recent window is read back before the pod counts as caught up all the same: a
/// window that takes longer to read than this must not keep a pod out of service.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);
/// How many entries of one stream are read at once: at least, and at most when there are more.
const COUNT: (usize, usize) = (32, 1024);
/// From how many bytes on an answer is large enough: fewer entries are asked for.
const LARGE: usize = 8 << 20;

/// The reader of a pod.
pub(super) struct Reader<S> {
    server: Arc<Server>,
    keys: Keys,
    /// How much of the past is read at the start.
    window: Duration,
    /// How much before that is read for its keys only.
    dedupe: Duration,
    sink: S,
    copier: Copier,
    /// Where this pod is, once it has been anywhere.
    known: Option<Known>,
    /// When the pod counts as caught up whatever is left to read; `None` once it is.
    catch_up: Option<Instant>,
    back_off: Duration,
}

/// Where a pod is in a log.
struct Known {
    identity: Identity,
    sources: [Source; 2],
    places: Vec<Place>,
}

impl<S: Sink> Reader<S> {
    pub(super) fn new(server: Arc<Server>, keys: Keys, config: &Config, sink: S) -> Self {
        Self {
            server,
            keys,
            window: config.log.window_age,
            dedupe: config.dedupe.window,
            sink,
            copier: Copier::default(),
            known: None,
            catch_up: None,
            back_off: BACK_OFF.0,
        }
    }

    /// Reads until it is aborted.
    pub(super) async fn run(mut self) {
        let mut said = false;
        loop {
            let Err(why) = self.session(&mut said).await;
            if !said {
                said = true;
                tracing::warn!(server = ?self.server, why, "the log on Redis cannot be read; trying again");
            }
            self.sink.reachable(Err(why));
            // Jittered, or all pods would come back at the same moment.
            let wait = self.back_off.mul_f64(rand::rng().random_range(0.5..1.0));
            self.back_off = (self.back_off * 2).min(BACK_OFF.1);
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection's life. Ends with the reason why it cannot go on.
    async fn session(&mut self, said: &mut bool) -> Result<Infallible, String> {
        let (mut link, identity) = self.open(None).await?;
        match self.known.take() {
            Some(known) if identity.continues(&known.identity) => {
                link = self.go_on(link, identity, known).await?;
            }
            Some(_) => {
                tracing::warn!(server = ?self.server, "the log on Redis was replaced by another one");
                self.begin(&mut link, identity).await?;
            }
            None => {
                self.begin(&mut link, identity).await?;
                advise(&mut link).await?;
            }
        }
        if std::mem::take(said) {
            tracing::info!(server = ?self.server, "the log on Redis can be read again");
        }
        self.sink.reachable(Ok(()));
        self.back_off = BACK_OFF.0;
        self.read(&mut link).await
    }

    async fn open(&mut self, replace: Option<&str>) -> Result<(Link, Identity), String> {
        Link::open(&self.server, &self.keys, replace, Instant::now() + CONNECT).await
    }

    /// Begins every stream of a log that this pod has not read.
    async fn begin(&mut self, link: &mut Link, identity: Identity) -> Result<(), String> {
        let sources = self.keys.sources(identity.streams);
        let streams: Vec<_> = sources
            .iter()
            .flat_map(|source| (0..source.shards).map(move |index| (source, index)))
            .map(|(source, index)| {
                let shard = Shard { source: source.id, index };
                (shard, self.keys.stream(source.role, index))
            })
            .collect();
        let ask: Vec<_> = streams.iter().map(|(_, key)| (key.as_str(), None)).collect();
        let age = self.window + self.dedupe;
        let (now_ms, looked) = look(link, &ask, age).await?;
        let ago = |age: Duration| now_ms.saturating_sub(millis(age));
        let before_ms = ago(self.window);
        let places = streams.into_iter().zip(&looked);
        let places: Vec<_> = places
            .map(|((shard, key), looked)| Place::new(shard, key, looked.begin(), looked))
            .collect();
        self.sink.sources(&sources);
        for (place, looked) in places.iter().zip(&looked) {
            let from = Position { next: place.next, tag: identity.tag };
            // From the log's very start there is nothing before that would have to be known.
            let keys_only =
                (place.next > looked.start()).then(|| KeysOnly { before_ms, below: looked.end() });
            self.sink.start(place.shard, from, looked.start(), keys_only);
            if looked.has_older() {
                self.sink.older(place.shard, ago(age));
            }
        }
        self.known = Some(Known { identity, sources, places });
        self.catch_up = Some(Instant::now() + CATCH_UP_LIMIT);
        self.note_caught_up();
        Ok(())
    }

    /// Goes on where the last session ended, as far as the log is still what it was.
    async fn go_on(
        &mut self,
        mut link: Link,
        mut identity: Identity,
        mut known: Known,
    ) -> Result<Link, String> {
        let ask: Vec<_> = known.places.iter().map(|p| (p.key.as_str(), p.read)).collect();
        let looked = match look(&mut link, &ask, self.window).await {
            Ok((_, looked)) => looked,
            Err(why) => {
                self.known = Some(known);
                return Err(why);
            }
        };
        let verdicts: Vec<_> =
            known.places.iter().zip(&looked).map(|(place, looked)| place.verdict(looked)).collect();
        if identity.epoch == known.identity.epoch && verdicts.contains(&Verdict::Lost) {
            tracing::error!(
                server = ?self.server,
                "Redis lost events that were read from it; the log is taken for another one from here on"
            );
            match self.open(Some(&known.identity.epoch)).await {
                Ok(opened) => (link, identity) = opened,
                Err(why) => {
                    self.known = Some(known);
                    return Err(why);
                }
            }
        }
        let renamed = identity.epoch != known.identity.epoch;
        known.identity = identity;
        for ((place, looked), verdict) in known.places.iter_mut().zip(&looked).zip(verdicts) {
            let next = match verdict {
                Verdict::Trimmed => looked.start(),
                // What was handed on is not handed on again; what comes may have lower ids.
                Verdict::Lost => place.next.min(looked.end()),
                Verdict::Holds if renamed => place.next,
                Verdict::Holds => continue,
            };
            let from = Position { next, tag: known.identity.tag };
            self.sink.start(place.shard, from, looked.start(), None);
            let read = place.read.filter(|_| verdict == Verdict::Holds);
            *place = Place::new(place.shard, std::mem::take(&mut place.key), next, looked);
            place.read = read;
        }
        self.known = Some(known);
        Ok(link)
    }

    /// Reads what comes until the connection breaks or the log is not what it was.
    async fn read(&mut self, link: &mut Link) -> Result<Infallible, String> {
        let mut count = COUNT.0;
        let mut look_at = Instant::now() + LOOK_EVERY;
        let mut batch = Vec::new();
        loop {
            let Some(known) = &mut self.known else { return Err("nothing to read".to_owned()) };
            let looks = Instant::now() >= look_at;
            let pipe = ask(link, &self.keys, known, count, looks.then_some(self.window));
            let answers = link.call(&pipe, BLOCK + PATIENCE).await?;
            // Asked for after the entries: these are of the log that has the epoch, or of one that
            // was replaced in between, whose entries are no more.
            if answers[1] == Value::Nil || text(&answers[1])? != known.identity.epoch {
                return Err("the log's epoch has changed".to_owned());
            }
            let mut bytes = 0;
            let mut most = 0;
            for (nth, entries) in of_streams(&answers[0], &known.places)? {
                let place = &mut known.places[nth];
                let source = &known.sources[usize::from(place.shard.source != known.sources[0].id)];
                for entry in entries {
                    let tag = known.identity.tag;
                    let record = self.copier.record(entry, place.shard, &source.name, tag)?;
                    place.pass(record.offset);
                    bytes += record.bytes();
                    batch.push(record);
                }
                most = most.max(batch.len());
                self.sink.records(&mut batch);
                batch.clear();
            }
            count = if bytes > LARGE {
                (count / 2).max(1)
            } else if most >= count {
                (count * 2).min(COUNT.1)
            } else {
                COUNT.0.min(count.max(1) * 2)
            };
            if looks {
                look_at = Instant::now() + LOOK_EVERY;
                self.judge(&answers[2])?;
            }
            self.note_caught_up();
        }
    }

    /// Reports the lag, and ends the session if a stream is not what it was.
    fn judge(&mut self, answer: &Value) -> Result<(), String> {
        let Some(known) = &mut self.known else { return Ok(()) };
        for (place, looked) in known.places.iter_mut().zip(looks(answer)?.1) {
            // Not the verdict: the last read came after the question.
            if looked.end() < place.next && place.read.is_some() {
                return Err(format!("the end of {} is missing", place.key));
            }
            if let Some(lag) = place.lag(&looked) {
                let of_place = |source: &&Source| source.id == place.shard.source;
                let name = known.sources.iter().find(of_place).map_or("", |s| &*s.name);
                self.sink.lag(place.shard, name, lag);
            }
        }
        Ok(())
    }

    fn note_caught_up(&mut self) {
        let (Some(limit), Some(known)) = (self.catch_up, &self.known) else { return };
        let read = known.places.iter().all(|place| place.next >= place.end);
        if !read && Instant::now() >= limit {
            tracing::warn!(limit = ?CATCH_UP_LIMIT, "the recent window is still being read; serving all the same");
        }
        if read || Instant::now() >= limit {
            self.catch_up = None;
            self.sink.caught_up();
        }
    }
}

/// The commands of one turn: the entries that come, the epoch, and at times a look.
fn ask(link: &Link, keys: &Keys, known: &Known, count: usize, age: Option<Duration>) -> Pipeline {
    let mut pipe = redis::pipe();
    pipe.cmd("XREAD").arg("COUNT").arg(count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    pipe.arg("STREAMS");
    for place in &known.places {
        pipe.arg(&place.key);
    }
    for place in &known.places {
        pipe.arg(before(place.next));
    }
    pipe.cmd("GET").arg(keys.epoch());
    if let Some(age) = age {
        let streams: Vec<_> = known.places.iter().map(|p| (p.key.as_str(), p.read)).collect();
        ask_look(&mut pipe, link, &streams, age);
    }
    pipe
}

pub(super) fn ask_look(
    pipe: &mut Pipeline,
    link: &Link,
    streams: &[(&str, Option<Offset>)],
    age: Duration,
) {
    pipe.cmd("EVALSHA").arg(&link.look).arg(streams.len());
    for (key, _) in streams {
        pipe.arg(*key);
    }
    pipe.arg(millis(age));
    for (_, read) in streams {
        pipe.arg(read.map(entry::id).unwrap_or_default());
    }
}

/// Looks at streams, of each of which this entry was read last.
async fn look(
    link: &mut Link,
    streams: &[(&str, Option<Offset>)],
    age: Duration,
) -> Result<(i64, Vec<Looked>), String> {
    let mut pipe = redis::pipe();
    ask_look(&mut pipe, link, streams, age);
    let answers = link.call(&pipe, PATIENCE).await?;
    let (now_ms, looked) = looks(&answers[0])?;
    if looked.len() == streams.len() {
        Ok((now_ms, looked))
    } else {
        Err("Redis looked at other streams than was asked".to_owned())
    }
}

/// The server's time in ms, and what was found.
pub(super) fn looks(answer: &Value) -> Result<(i64, Vec<Looked>), String> {
    let [now_ms, looked @ ..] = items(answer)? else { return Err(unexpected(answer)) };
    let looked = looked.iter().map(Looked::parse).collect::<Result<_, _>>()?;
    Ok((number(now_ms)?, looked))
}

/// The entries of an answer to `XREAD`, with the number of their place.
fn of_streams<'a>(
    answer: &'a Value,
    places: &[Place],
) -> Result<Vec<(usize, &'a [Value])>, String> {
    if *answer == Value::Nil {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut nth = 0;
    for stream in items(answer)? {
        let [key, entries] = items(stream)? else { return Err(unexpected(stream)) };
        let key = text(key)?;
        // In the order in which they were asked for; those without news are left out.
        while places.get(nth).is_some_and(|place| place.key != key) {
            nth += 1;
        }
        if nth == places.len() {
            return Err("Redis answered with a stream that was not asked for".to_owned());
        }
        found.push((nth, items(entries)?));
    }
    Ok(found)
}

/// Says which of the server's settings lose events. A server that keeps them to itself is not
/// blamed.
async fn advise(link: &mut Link) -> Result<(), String> {
    let mut pipe = redis::pipe();
    pipe.cmd("INFO").arg("persistence");
    pipe.cmd("INFO").arg("memory");
    let answers = link.call(&pipe, PATIENCE).await?;
    for found in answers.iter().filter_map(|answer| text(answer).ok()).flat_map(advice) {
        tracing::warn!("{found}");
    }
    Ok(())
}
