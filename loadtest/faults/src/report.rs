//! What a run has shown.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_swarm::sequence::Faults;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::load::Load;

/// How many surprises are shown.
const SHOWN: usize = 20;
/// A gap belongs to a fault for so long after it: a reader may come back late.
const LATE: Duration = Duration::from_secs(10);

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Episode {
    /// Which.
    pub fault: Fault,
    /// Whom it met.
    pub whom: String,
    /// When it began.
    pub from: Instant,
    /// When all was well again.
    pub to: Instant,
}

/// A gap, with its cause.
#[derive(Debug, Clone)]
pub struct ToldGap {
    /// Whose stream.
    pub reader: String,
    /// What it says.
    pub reason: String,
    /// The fault before it, or that is to blame for it.
    pub cause: Option<Fault>,
    /// That fault destroyed what is missing.
    pub is_owed: bool,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Events with a receipt.
    pub acknowledged: u64,
    /// Events that readers got, all together.
    pub delivered: u64,
    /// What was wrong with the order and the number of them.
    pub faults: Faults,
    /// Holes that readers were told of.
    pub gaps: Vec<ToldGap>,
    /// How often readers came back.
    pub reconnects: u64,
    /// How often readers went on with an id.
    pub resumes: u64,
    /// How often of these on another gateway than they had the id from.
    pub resumed_elsewhere: u64,
    /// Answers of a proxy that had no gateway, to readers, by their status.
    pub turned_away: BTreeMap<u16, u64>,
    /// The longest time in which a reader got nothing, not even a heartbeat.
    pub silence: Duration,
    /// The longest time from the request of an event to its delivery.
    pub delay: Duration,
    /// Requests of publishers, and what they were told: duplicates, not accepted, unknown, busy, broken,
    /// turned away by a proxy.
    pub requests: [(&'static str, u64); 7],
    /// Why streams ended that were told goodbye.
    pub goodbyes: BTreeMap<String, u64>,
    /// What must not happen, each in a sentence.
    pub surprises: Vec<String>,
    /// The faults, in order.
    pub episodes: Vec<Episode>,
    /// What this machine has no means for, and why.
    pub not_tried: Vec<(Fault, String)>,
    /// When the readers came back, since the beginning.
    pub reconnects_at: Vec<Duration>,
}

impl Outcome {
    /// Adds all up.
    #[must_use]
    pub fn of(load: &Load, began: Instant, episodes: Vec<Episode>) -> Self {
        let acknowledged = load.acknowledged();
        let mut outcome = Self { acknowledged: acknowledged.iter().sum(), ..Self::default() };
        for book in load.books() {
            outcome.delivered += book.delivered;
            outcome.faults.add(book.faults(&acknowledged));
            outcome.reconnects += book.reconnects.len() as u64;
            outcome.reconnects_at.extend(book.reconnects.iter().map(|at| *at - began));
            outcome.resumes += book.resumes;
            outcome.resumed_elsewhere += book.resumed_elsewhere;
            for (status, count) in &book.turned_away {
                *outcome.turned_away.entry(*status).or_default() += count;
            }
            outcome.silence = outcome.silence.max(book.silence);
            outcome.delay = outcome.delay.max(book.delay);
            for gap in &book.gaps {
                outcome.gaps.push(told(gap, &episodes));
            }
            for (reason, count) in &book.goodbyes {
                *outcome.goodbyes.entry(reason.clone()).or_default() += count;
            }
            outcome.surprises.extend(book.surprises.iter().cloned());
        }
        let mut sums = [0; 7];
        for told in load.told() {
            let counts = [
                told.attempts,
                told.duplicates,
                told.not_accepted,
                told.unknown,
                told.busy,
                told.broken,
                told.turned_away,
            ];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            outcome.surprises.extend(told.surprises.iter().cloned());
        }
        let names =
            ["requests", "duplicates", "not accepted", "unknown", "busy", "broken", "turned away"];
        outcome.requests = std::array::from_fn(|n| (names[n], sums[n]));
        outcome.reconnects_at.sort_unstable();
        outcome.episodes = episodes;
        outcome
    }

    /// Whether nothing was lost, doubled, out of order or surprising, and no hole was told of that
    /// no fault has made.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Faults { lost, doubled, out_of_order, .. } = self.faults;
        let owed = self.gaps.iter().all(|gap| gap.is_owed);
        [lost, doubled, out_of_order] == [0; 3] && owed && self.surprises.is_empty()
    }

    /// Why publishers had to ask again, and how often.
    pub fn retried(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let asked_again =
            |(why, count): &(&str, u64)| *count > 0 && !["requests", "duplicates"].contains(why);
        self.requests.iter().copied().filter(asked_again)
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "clean": self.is_clean(),
            "acknowledged": self.acknowledged,
            "delivered": self.delivered,
            "lost": self.faults.lost,
            "doubled": self.faults.doubled,
            "out_of_order": self.faults.out_of_order,
            "missed_in_gaps": self.faults.missed,
            "gaps": self.gap_counts(),
            "reconnects": self.reconnects,
            "resumes": self.resumes,
            "resumed_elsewhere": self.resumed_elsewhere,
            "longest_silence_ms": u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX),
            "longest_delay_ms": u64::try_from(self.delay.as_millis()).unwrap_or(u64::MAX),
            "publishers": self.requests.iter().copied().collect::<BTreeMap<_, _>>(),
            "goodbyes": self.goodbyes,
            "faults": self.episodes.iter().map(|e| e.fault.name()).collect::<Vec<_>>(),
            "not_tried": self.not_tried.iter().map(|(fault, _)| fault.name()).collect::<Vec<_>>(),
            "surprises": self.surprises,
        })
    }

    /// Gaps of a kind, counted: reason and cause.
    #[must_use]
    pub fn gap_counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for gap in &self.gaps {
            let cause = gap.cause.map_or_else(|| "no fault".to_owned(), Fault::name);
            let owed = if gap.is_owed { "" } else { ", NOT OWED" };
            *counts.entry(format!("{} after {cause}{owed}", gap.reason)).or_default() += 1;
        }
        counts
    }
}

/// The fault to blame for a gap: one that destroys such things and happened since the reader had
/// its cursor; else the last one before it, which it is no excuse for.
fn told(gap: &crate::reader::book::Gap, episodes: &[Episode]) -> ToldGap {
    let before = || episodes.iter().rev().filter(|episode| episode.from <= gap.at);
    let to_blame = before().find(|episode| {
        episode.fault.destroys().contains(&gap.reason.as_str())
            && gap.cursor_since <= episode.to + LATE
    });
    let cause = to_blame.or_else(|| before().next()).map(|episode| episode.fault);
    ToldGap {
        reader: gap.reader.clone(),
        reason: gap.reason.clone(),
        cause,
        is_owed: to_blame.is_some(),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faults { lost, doubled, out_of_order, missed } = self.faults;
        writeln!(
            f,
            "acknowledged {}, delivered {}, lost {lost}, doubled {doubled}, out of order \
             {out_of_order}, gaps {} ({missed} events), reconnects {}, longest silence {:.1} s, \
             longest delay {:.1} s",
            self.acknowledged,
            self.delivered,
            self.gaps.len(),
            self.reconnects,
            self.silence.as_secs_f64(),
            self.delay.as_secs_f64()
        )?;
        let mut told = String::new();
        for (name, count) in self.requests {
            write!(told, "{}{name} {count}", if told.is_empty() { "" } else { ", " })?;
        }
        writeln!(f, "publishers: {told}; goodbyes {:?}", self.goodbyes)?;
        for (what, count) in self.gap_counts() {
            writeln!(f, "  {count} gaps: {what}")?;
        }
        for (fault, why) in &self.not_tried {
            writeln!(f, "  not tried: {}: {why}", fault.name())?;
        }
        for surprise in self.surprises.iter().take(SHOWN) {
            writeln!(f, "  ! {surprise}")?;
        }
        if self.surprises.len() > SHOWN {
            writeln!(f, "  ! and {} more", self.surprises.len() - SHOWN)?;
        }
        write!(f, "{}", if self.is_clean() { "clean" } else { "NOT CLEAN" })
    }
}
