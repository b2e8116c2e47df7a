//! A run: everything is started, things go wrong, everything is checked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Setup};
use crate::door::Doors;
use crate::fault::Fault;
use crate::load::{Load, Volume};
use crate::plan::Plan;
use crate::report::{Episode, Outcome};

/// Before the first fault and after the last.
const CALM: Duration = Duration::from_secs(2);

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// Faults of these kinds, one after the other, for so long.
    Random {
        /// The kinds.
        faults: Vec<Fault>,
        /// How long.
        time: Duration,
        /// The time between two of them, at least and at most.
        pause: (Duration, Duration),
    },
    /// These, in this order.
    Each(Vec<Fault>),
    /// These, in this order, the first on the first gateway, the next on the next one.
    InTurn(Vec<Fault>),
}

impl Schedule {
    /// The faults that it has.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Random { faults, .. } | Self::Each(faults) | Self::InTurn(faults) => faults,
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What is started.
    pub setup: Setup,
    /// Who publishes and reads.
    pub volume: Volume,
    /// What goes wrong.
    pub schedule: Schedule,
    /// What all chance comes from.
    pub seed: u64,
    /// The gateways' output is kept, also when all is well.
    pub keep: bool,
}

impl Run {
    /// Starts everything, runs, checks, and ends everything. `say` is told what happens.
    ///
    /// # Errors
    /// Something could not be started. What goes wrong later is part of the outcome.
    pub async fn run(&self, mut say: impl FnMut(String)) -> Result<Outcome> {
        let cluster = Cluster::start(&self.setup).await?;
        let began = Instant::now();
        let Volume { ids, rate, copies, bytes } = self.volume;
        let plan = Plan::new("cart", ids, rate, copies);
        let doors = Arc::new(Doors::direct(cluster.fronts().iter().copied()));
        let mut load = Load::start(plan, doors, &cluster.frozen_readers, bytes, self.seed).await?;
        sleep(CALM).await;
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut episodes = Vec::new();
        let mut not_tried = Vec::new();
        let struck =
            self.strike(&cluster, &mut rng, began, &mut episodes, &mut not_tried, &mut say).await;
        sleep(CALM).await;
        let mut surprises = load.finish().await;
        surprises.extend(struck.err().map(|error| format!("{error:#}")));
        for gateway in &cluster.gateways {
            if gateway.pid().await.is_none() {
                surprises.push(format!("{} has died", gateway.name()));
            }
            surprises.extend(gateway.panics());
        }
        let mut outcome = Outcome::of(&load, began, episodes);
        outcome.surprises.extend(surprises);
        outcome.not_tried = not_tried;
        drop(load);
        let keep = self.keep || !outcome.is_clean();
        if keep {
            say(format!("the gateways' output is kept in {}", cluster.home().display()));
        }
        cluster.end(keep).await;
        Ok(outcome)
    }

    async fn strike(
        &self,
        cluster: &Cluster,
        rng: &mut StdRng,
        began: Instant,
        episodes: &mut Vec<Episode>,
        not_tried: &mut Vec<(Fault, String)>,
        say: &mut impl FnMut(String),
    ) -> Result<()> {
        let faults = self.schedule.faults();
        let (possible, impossible): (Vec<Fault>, Vec<Fault>) =
            faults.iter().partition(|fault| fault.missing(cluster).is_none());
        for fault in impossible {
            let why = fault.missing(cluster).unwrap_or_default();
            say(format!("not tried: {}: {why}", fault.name()));
            not_tried.push((fault, why));
        }
        if possible.is_empty() {
            return Ok(());
        }
        let mut next = 0;
        loop {
            let fault = match &self.schedule {
                Schedule::Each(_) | Schedule::InTurn(_) => match possible.get(next) {
                    Some(fault) => *fault,
                    None => return Ok(()),
                },
                Schedule::Random { time, .. } if began.elapsed() >= *time => return Ok(()),
                Schedule::Random { pause, .. } => {
                    sleep(rng.random_range(pause.0..=pause.1)).await;
                    possible[rng.random_range(0..possible.len())]
                }
            };
            let n = match self.schedule {
                Schedule::InTurn(_) => next % cluster.gateways.len(),
                _ => rng.random_range(0..cluster.gateways.len()),
            };
            next += 1;
            let hold = fault.hold(rng);
            let from = Instant::now();
            let whom = fault.strike(cluster, n, hold).await;
            let to = Instant::now();
            let said = whom.as_ref().map_or("?", String::as_str);
            let (name, at, took) = (fault.name(), from - began, to - from);
            say(format!(
                "{:7.1} s  {name} ({said}), {:.1} s",
                at.as_secs_f64(),
                took.as_secs_f64()
            ));
            let whom = whom.with_context(|| fault.name());
            let whom_said = whom.as_ref().map(String::clone).unwrap_or_default();
            episodes.push(Episode { fault, whom: whom_said, from, to });
            whom?;
        }
    }
}
