//! From the log to the hub: what a log hands on is counted, routed, and made known to `/readyz`.

pub mod dedupe;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

pub use dedupe::{Dedupe, First};

use crate::cursor::{Offset, Position, Shard};
use crate::health::{Health, Latch};
use crate::hub::{Fate, Hub, Routed};
use crate::log::letter::Outbox;
use crate::log::record::Record;
use crate::log::{KeysOnly, Sink, Source, decode};
use crate::telemetry::metrics;
use crate::telemetry::traces::{self, Consuming};
use crate::undelivered::{At, Undelivered};

/// The fewest records that the hub is made ready for.
const BULK: usize = 32;

/// The sink of this pod's log.
#[derive(Debug)]
pub struct Consumer {
    hub: Arc<Hub>,
    health: Arc<Health>,
    dedupe: Arc<Dedupe>,
    undelivered: Arc<Undelivered>,
    /// The log's kind, as the metrics spell it.
    log: &'static str,
    letters: Outbox,
    sources: Vec<Source>,
}

impl Consumer {
    /// A consumer that routes to `hub` and reports to `health`. What is no event goes to `letters`.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        health: Arc<Health>,
        dedupe: Arc<Dedupe>,
        undelivered: Arc<Undelivered>,
        log: &'static str,
        letters: Outbox,
    ) -> Self {
        Self { hub, health, dedupe, undelivered, log, letters, sources: Vec::new() }
    }

    fn source_of(&self, shard: Shard) -> Option<&Source> {
        self.sources.iter().find(|s| s.id == shard.source)
    }

    /// The name of a shard's source.
    fn source_name(&self, shard: Shard) -> &str {
        self.source_of(shard).map_or("", |source| &source.name)
    }

    /// Ends the spans of records that were routed from `routing` on.
    fn end(&self, spans: Vec<Consuming>, routing: SystemTime, routed: &Routed) {
        let mut spans = spans.into_iter();
        // In the same order, less those that the hub had already.
        for (place, reach) in &routed.followed {
            if let Some(span) = spans.by_ref().find(|span| span.place() == *place) {
                span.end(self.source_name(place.0), routing, *reach);
            }
        }
    }
}

/// Begins the spans of those records of a batch that belong to a sampled trace and are to be routed.
fn follow(batch: &[Record], fates: &mut [Fate]) -> Vec<Consuming> {
    if !traces::are_on() {
        return Vec::new();
    }
    let routed = batch.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Route);
    let begun = routed.filter_map(|(record, fate)| {
        let span = Consuming::begin(&record.trace(), record.shard, record.offset)?;
        *fate = Fate::Follow;
        Some(span)
    });
    begun.collect()
}

impl Sink for Consumer {
    fn sources(&mut self, sources: &[Source]) {
        self.sources = sources.to_vec();
        self.hub.set_sources(sources);
    }

    fn start(
        &mut self,
        shard: Shard,
        from: Position,
        log_start: Offset,
        keys_only: Option<KeysOnly>,
    ) {
        self.dedupe.start(shard, keys_only);
        self.hub.start(shard, from, log_start);
    }

    fn older(&mut self, shard: Shard, time: i64) {
        self.hub.older(shard, time);
    }

    fn records(&mut self, batch: &mut Vec<Record>) {
        metrics::consumed_records(self.log, batch.len() as u64);
        let began = Instant::now();
        let mut fates = self.dedupe.judge(batch, |shard| self.source_of(shard));
        if batch.len() >= BULK {
            self.hub.expect(batch);
        }
        let spans = follow(batch, &mut fates);
        let routing = (!spans.is_empty()).then(SystemTime::now);
        let routed = self.hub.route(batch.drain(..).zip(fates));
        if let Some(routing) = routing {
            self.end(spans, routing, &routed);
        }
        for &(shard, offset, deadline) in &routed.promised {
            self.undelivered.promised(At { shard, offset }, deadline);
        }
        self.dedupe.tell();
        if routed.matched > 0 {
            metrics::fanout(began.elapsed());
        }
        metrics::matched_records(routed.matched as u64);
        metrics::window_bytes(self.hub.window_bytes());
        for (record, error) in routed.malformed {
            let source = self.source_name(record.shard);
            decode::report(source, &record, &error);
            self.letters.post_malformed(source, &record, &error);
        }
    }

    fn lag(&mut self, shard: Shard, source: &str, records: u64) {
        metrics::consumer_lag(source, shard.index, records);
    }

    fn caught_up(&mut self) {
        self.health.set(Latch::CaughtUp, Ok(()));
    }

    fn reachable(&mut self, state: Result<(), String>) {
        metrics::log_up(state.is_ok());
        self.health.set(Latch::LogReachable, state);
    }

    fn sources_read(&mut self, state: Result<(), String>) {
        self.health.set(Latch::SourcesRead, state);
    }
}
