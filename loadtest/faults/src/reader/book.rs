//! What a reader keeps of its streams, and what is wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_swarm::sequence::{Checker, Faults};
use tokio::time::Instant;

use crate::plan::{ReaderPlan, Series};
use crate::publisher::now_ms;

/// How many surprises of a reader are remembered.
const REMEMBERED: usize = 10;

/// A `tidegate.gap`.
#[derive(Debug, Clone)]
pub struct Gap {
    /// Whose stream.
    pub reader: String,
    /// What it says.
    pub reason: String,
    /// When it came.
    pub at: Instant,
    /// Since when the reader had the cursor that it came back with.
    pub cursor_since: Instant,
    /// The door, counted from 0.
    pub door: usize,
}

/// A reader's account.
#[derive(Debug)]
pub struct Book {
    name: String,
    /// By the index of the series.
    checkers: BTreeMap<usize, Checker>,
    /// Connections that were opened.
    pub connected: u64,
    /// When it came back to a gateway.
    pub reconnects: Vec<Instant>,
    /// Who served it last.
    pub pod: Option<String>,
    /// How often it went on with an id.
    pub resumes: u64,
    /// How often of these on another gateway than it had the id from.
    pub resumed_elsewhere: u64,
    /// Answers of a proxy that had no gateway for it, by their status.
    pub turned_away: BTreeMap<u16, u64>,
    /// Events.
    pub delivered: u64,
    /// Holes that it was told of.
    pub gaps: Vec<Gap>,
    /// Goodbyes, by their reason.
    pub goodbyes: BTreeMap<String, u64>,
    /// Events of others, answers that end a browser's `EventSource` for good, and other surprises.
    pub surprises: Vec<String>,
    /// The longest time in which nothing came.
    pub silence: Duration,
    /// The longest time from the request of an event to its delivery.
    pub delay: Duration,
    /// When something came last.
    pub heard: Instant,
    /// An id has come: from here on everything is owed.
    pub has_cursor: bool,
    /// When the last id came.
    pub cursor_since: Instant,
}

impl Book {
    /// Of a reader that is there before the first event.
    #[must_use]
    pub fn new(plan: &ReaderPlan) -> Self {
        let now = Instant::now();
        Self {
            name: plan.name.clone(),
            checkers: plan.series.iter().map(|&series| (series, Checker::from(0))).collect(),
            connected: 0,
            reconnects: Vec::new(),
            pod: None,
            resumes: 0,
            resumed_elsewhere: 0,
            turned_away: BTreeMap::new(),
            delivered: 0,
            gaps: Vec::new(),
            goodbyes: BTreeMap::new(),
            surprises: Vec::new(),
            silence: Duration::ZERO,
            delay: Duration::ZERO,
            heard: now,
            has_cursor: false,
            cursor_since: now,
        }
    }

    /// Whether it was let in.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.connected > 0 && self.has_cursor
    }

    /// Notes that something came.
    pub fn hear(&mut self) {
        let now = Instant::now();
        self.silence = self.silence.max(now - self.heard);
        self.heard = now;
    }

    /// Notes which gateway a stream comes from, and whether it resumes one.
    pub fn arrive(&mut self, pod: String, resumes: bool) {
        let before = self.pod.replace(pod);
        self.resumes += u64::from(resumes);
        self.resumed_elsewhere += u64::from(resumes && before.is_some() && before != self.pod);
    }

    /// Notes that a proxy had no gateway for it.
    pub fn turn_away(&mut self, status: u16) {
        *self.turned_away.entry(status).or_default() += 1;
    }

    /// Notes what must never happen.
    pub fn surprise(&mut self, what: String) {
        if self.surprises.len() < REMEMBERED {
            self.surprises.push(format!("{}: {what}", self.name));
        }
    }

    /// Notes a hole that the server tells of: in all that the stream carries.
    pub fn gap(&mut self, reason: String, door: usize) {
        self.checkers.values_mut().for_each(Checker::gap);
        self.gaps.push(Gap {
            reader: self.name.clone(),
            reason,
            at: Instant::now(),
            cursor_since: self.cursor_since,
            door,
        });
    }

    /// Checks an event by its envelope.
    pub fn event(&mut self, envelope: &str, series: &[Series]) {
        self.delivered += 1;
        let envelope: serde_json::Value = serde_json::from_str(envelope).unwrap_or_default();
        let name = envelope["data"]["series"].as_str();
        let at = series.iter().position(|s| Some(s.name.as_str()) == name);
        let (Some(at), Some(seq)) = (at, envelope["data"]["seq"].as_u64()) else {
            return self.surprise(format!("an event of nobody: {envelope}"));
        };
        let Some(checker) = self.checkers.get_mut(&at) else {
            return self.surprise(format!("an event for others: {envelope}"));
        };
        let sent = envelope["data"]["t"].as_u64().unwrap_or(0);
        self.delay = self.delay.max(Duration::from_millis(now_ms().saturating_sub(sent)));
        let before = checker.faults();
        checker.take(seq);
        let after = checker.faults();
        if before.doubled != after.doubled || before.out_of_order != after.out_of_order {
            let (doubled, late) = (after.doubled - before.doubled, after.out_of_order);
            let name = &series[at].name;
            self.surprise(format!("{name} {seq}: doubled {doubled}, out of order {late}"));
        } else if after.lost > before.lost {
            let (name, lost) = (&series[at].name, after.lost - before.lost);
            self.surprise(format!("{name} {seq}: {lost} before it did not come"));
        }
    }

    /// Whether every acknowledged event came; `acknowledged` by the index of the series.
    #[must_use]
    pub fn has_all(&self, acknowledged: &[u64]) -> bool {
        self.checkers.iter().all(|(&series, checker)| {
            checker.expected().is_some_and(|next| next >= acknowledged[series])
        })
    }

    /// What was wrong.
    #[must_use]
    pub fn faults(&self, acknowledged: &[u64]) -> Faults {
        let mut faults = Faults::default();
        for (&series, checker) in &self.checkers {
            faults.add(checker.finish(acknowledged[series]));
        }
        faults
    }
}
