//! Takes letters from the outbox to the log.
//!
//! Every pod trips over the same records. Each waits a moment of its own before it writes, and the
//! log then looks whether another pod was faster.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Letter;
use super::outbox::Queued;
use crate::log::{Kept, Log, PublishError};
use crate::telemetry::metrics::{self, LostLetter};

/// How long a pod waits at most before it writes, so that another one may have done so.
const SPREAD: Duration = Duration::from_secs(2);
/// How many letters are written at once.
const BATCH: usize = 256;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a letter is tried for. A broker's restart is shorter.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two attempts.
const AGAIN: Duration = Duration::from_secs(2);
/// The pause between two attempts to have a place for letters made.
const PREPARE_AGAIN: Duration = Duration::from_secs(15);

/// Delivers what is put into an [`Outbox`](super::Outbox).
#[derive(Debug)]
pub struct Mailman {
    letters: mpsc::Receiver<Queued>,
    /// Whether other pods write letters about the same records.
    shares: bool,
}

impl Mailman {
    pub(super) fn new(letters: mpsc::Receiver<Queued>, shares: bool) -> Self {
        Self { letters, shares }
    }

    /// Delivers until `stop`, then what is there with one attempt each.
    pub async fn run(self, log: Arc<Log>, stop: CancellationToken) {
        tokio::select! {
            () = self.work(&log, &stop) => {}
            () = prepare(&log) => {}
        }
    }

    async fn work(mut self, log: &Log, stop: &CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                first = self.letters.recv() => first,
                () = stop.cancelled() => break,
            };
            let Some(first) = first else { return };
            if self.shares {
                let moment = SPREAD.mul_f64(rand::rng().random());
                pause(moment, stop).await;
            }
            let mut next = Some(first);
            while let Some(first) = next {
                let mut batch = vec![first];
                while batch.len() < BATCH
                    && let Ok(more) = self.letters.try_recv()
                {
                    batch.push(more);
                }
                deliver(log, batch, stop).await;
                next = self.letters.try_recv().ok();
            }
        }
    }
}

/// Waits, but not beyond `stop`.
async fn pause(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = sleep(pause) => {}
    }
}

/// Has the place for letters made, before there is one to be written: who may not make it says so
/// at the start. Never ends.
async fn prepare(log: &Log) {
    let mut said = false;
    while let Err(why) = log.prepare_letters(Instant::now() + ATTEMPT).await {
        if !said {
            said = true;
            tracing::warn!(why, "there is no place for dead letters; trying again");
        }
        sleep(PREPARE_AGAIN).await;
    }
    std::future::pending().await
}

async fn deliver(log: &Log, batch: Vec<Queued>, stop: &CancellationToken) {
    let patience = Instant::now() + PATIENCE;
    // Their room in the queue is given back when all of them are done.
    let (mut letters, _rooms): (Vec<Letter>, Vec<_>) =
        batch.into_iter().map(|queued| (queued.letter, queued._room)).unzip();
    loop {
        let outcomes = log.dead_letters(&letters, Instant::now() + ATTEMPT).await;
        let mut left = Vec::new();
        let mut reason = None;
        for (letter, outcome) in letters.into_iter().zip(outcomes) {
            match outcome {
                Ok(Kept::Written) => written(&letter),
                Ok(Kept::Known) => {}
                Err(PublishError::TooLarge(why)) => match letter.smaller() {
                    Some(smaller) => left.push(smaller),
                    None => lost(1, &why),
                },
                Err(PublishError::NotAccepted(why) | PublishError::OutcomeUnknown(why)) => {
                    reason = Some(why);
                    left.push(letter);
                }
            }
        }
        letters = left;
        if letters.is_empty() {
            return;
        }
        // Smaller ones are tried at once.
        let Some(why) = reason else { continue };
        if stop.is_cancelled() || Instant::now() >= patience {
            return lost(letters.len(), &why);
        }
        pause(AGAIN, stop).await;
    }
}

fn written(letter: &Letter) {
    if let Some(reason) = letter.reason.label() {
        metrics::dead_letter(reason);
    }
    tracing::debug!(
        place = %letter.place,
        reason = letter.reason.as_str(),
        detail = &*letter.detail,
        "kept a dead letter"
    );
}

fn lost(letters: usize, why: &str) {
    metrics::dead_letters_lost(LostLetter::NotTaken, letters as u64);
    tracing::error!(letters, why, "the log did not take dead letters: they are not kept");
}

#[cfg(test)]
mod tests;
