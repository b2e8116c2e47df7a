//! The life of one librdkafka consumer.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use super::{Context, End, Reader, TRY_AGAIN, WATCH_EVERY};
use crate::clock::{millis, now_ms};
use crate::config::Assignment;
use crate::cursor::{Position, Tag};
use crate::log::kafka::message::offset;
use crate::log::kafka::positions::{Move, Part};
use crate::log::kafka::survey::{Reach, Survey};
use crate::log::kafka::topics::{self, LOOKUP_TIMEOUT, Lookup, Since};
use crate::log::{KeysOnly, Sink};

/// What the watching thread found.
pub(super) type Finding = Result<Survey, String>;

impl<S: Sink> Reader<S> {
    /// Reads until something ends it.
    pub(super) fn session(&mut self, client: &BaseConsumer<Context>) -> End {
        self.positions.lock().trust();
        loop {
            if self.stop.wanted() {
                return End::Stop;
            }
            match self.prepare() {
                Ok(()) => break,
                Err(reason) => self.reach(Err(reason)),
            }
            // Serves librdkafka's log lines; nothing is read yet.
            while client.poll(Duration::ZERO).is_some() {}
            if self.pause(TRY_AGAIN) {
                return End::Stop;
            }
        }
        if let Err(error) = self.take_up(client) {
            return End::Again(error.to_string());
        }
        if let Err(error) = self.watch() {
            return End::Again(error.to_string());
        }
        self.read(client)
    }

    /// Finds the topics and where to begin.
    fn prepare(&mut self) -> Result<(), String> {
        if !self.opened {
            self.catalog.ensure(&self.lookup)?;
        }
        let survey = self.catalog.look(&self.lookup)?;
        self.tell_unread(&survey);
        self.settle(&survey, true)?;
        self.opened = true;
        Ok(())
    }

    /// Takes a survey over: tells the sink of new partitions and of those that begin, or begin
    /// anew. `still` says that nothing is being read.
    pub(super) fn settle(&mut self, survey: &Survey, still: bool) -> Result<Vec<Part>, String> {
        let now = now_ms();
        let window_start = now.saturating_sub(millis(self.window));
        let keys_start = window_start.saturating_sub(millis(self.dedupe));
        let mut positions = self.positions.lock();
        let changed = positions.count(survey, !self.opened, still);
        let moves = positions.moves(still, keys_start);
        let sources = changed.then(|| positions.sources());
        let names: Vec<Arc<str>> =
            moves.iter().map(|(part, ..)| Arc::clone(positions.name(*part))).collect();
        drop(positions);
        if let Some(sources) = sources {
            self.sink.sources(&sources);
        }
        let places = resolve(&self.lookup, &names, &moves)?;
        for (&(part, reach, to), &place) in moves.iter().zip(&places) {
            // From the log's very start there is nothing before that would have to be known.
            let keys_only = (to == Move::Since(keys_start) && place > reach.low)
                .then(|| KeysOnly { before_ms: window_start, below: offset(reach.high) });
            self.begin(part, reach, place, keys_only);
            if let Move::Since(time) = to {
                let shard = self.positions.lock().shard(part);
                self.sink.older(shard, time);
            }
        }
        Ok(moves.into_iter().map(|(part, ..)| part).collect())
    }

    /// From here on records of the partition are handed on from `place`.
    fn begin(&mut self, part: Part, reach: Reach, place: i64, keys_only: Option<KeysOnly>) {
        let mut positions = self.positions.lock();
        let shard = positions.shard(part);
        let topic = Arc::clone(positions.name(part));
        let Some(state) = positions.get_mut(part) else { return };
        if let Some(before) = state.next {
            tracing::warn!(
                %topic,
                partition = part.1,
                before,
                log_start = reach.low,
                log_end = reach.high,
                now = place,
                "the log does not have the place any more: reading on at another"
            );
        }
        state.begin(place);
        drop(positions);
        let from = Position { next: offset(place), tag: Tag::UNKNOWN };
        self.sink.start(shard, from, offset(reach.low), keys_only);
    }

    /// Asks for the partitions.
    pub(super) fn take_up(&mut self, client: &BaseConsumer<Context>) -> Result<(), KafkaError> {
        let topics = self.positions.lock().names();
        for topic in &topics {
            // Or librdkafka looks for the leaders after the assignment, at its next full second.
            client.fetch_metadata(Some(topic), LOOKUP_TIMEOUT)?;
        }
        self.taken_up.clone_from(&topics);
        match self.kafka.assignment {
            Assignment::Group => {
                let names: Vec<&str> = topics.iter().map(|name| &**name).collect();
                client.subscribe(&names)
            }
            Assignment::Manual => {
                let mut positions = self.positions.lock();
                let mut list = positions.known();
                // All are known: none is held.
                positions.assign(&mut list);
                client.assign(&list)
            }
        }
    }

    /// Starts the thread that looks up now and then how far the partitions reach, so that a slow
    /// broker does not hold up the reading. It outlives the session.
    fn watch(&mut self) -> std::io::Result<()> {
        if self.findings.is_some() {
            return Ok(());
        }
        // One finding waits at most; the watcher then waits too.
        let (found, findings) = mpsc::sync_channel::<Finding>(1);
        let client = Arc::clone(&self.lookup);
        let catalog = Arc::clone(&self.catalog);
        let stop = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new().name("kafka-watch".to_owned());
        thread.spawn(move || {
            while !stop.wanted() {
                let finding = catalog.look(&client);
                // Serves librdkafka's log lines; it has nothing else to say.
                while client.poll(Duration::ZERO).is_some() {}
                let pause = if finding.is_ok() { WATCH_EVERY } else { TRY_AGAIN };
                if found.send(finding).is_err() {
                    return;
                }
                std::thread::park_timeout(pause);
            }
        })?;
        self.findings = Some(findings);
        Ok(())
    }
}

/// The offsets that the moves come to, which have the topics of these `names`.
fn resolve(
    client: &Lookup,
    names: &[Arc<str>],
    moves: &[(Part, Reach, Move)],
) -> Result<Vec<i64>, String> {
    let wanted: Vec<Since<'_>> = moves
        .iter()
        .zip(names)
        .filter_map(|(&((_, partition), _, to), topic)| match to {
            Move::Since(time) => Some(Since { topic, partition, time }),
            Move::To(_) => None,
        })
        .collect();
    let mut found = topics::since(client, &wanted)?.into_iter();
    Ok(moves
        .iter()
        .map(|&(_, reach, to)| match to {
            Move::To(offset) => offset,
            // Nothing follows: a number at once, or what comes before the assignment is lost.
            Move::Since(_) => found.next().flatten().unwrap_or(reach.high).max(reach.low),
        })
        .collect())
}
