//! A publisher: one series, in order, each event until it is acknowledged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::door::{Ask, Doors};
use crate::plan::{Audience, Series};
use crate::wire::{Answer, Wire};

/// How long an answer may take. A gateway says after its `publish.timeout` that it does not know.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two attempts, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How many surprising answers are remembered.
const REMEMBERED: usize = 20;

/// What a publisher was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Events that were acknowledged: exactly those below this number.
    pub acknowledged: u64,
    /// Requests.
    pub attempts: u64,
    /// Receipts that named an earlier event of the same key.
    pub duplicates: u64,
    /// Answers `not-accepted`.
    pub not_accepted: u64,
    /// Answers `outcome-unknown`.
    pub unknown: u64,
    /// Other answers that ask for patience: drain and overload.
    pub busy: u64,
    /// Requests without an answer.
    pub broken: u64,
    /// Answers of a proxy that had no gateway for it.
    pub turned_away: u64,
    /// Answers that a publisher of good events must never get.
    pub surprises: Vec<String>,
}

/// When a publisher goes on, and when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It publishes.
    Going,
    /// It has its last event acknowledged, and stops.
    Ending,
    /// It stops, whatever it knows.
    Over,
}

/// A publisher of one series.
#[derive(Debug)]
pub struct Publisher {
    series: Series,
    doors: Arc<Doors>,
    told: Arc<Mutex<Told>>,
    phase: watch::Receiver<Phase>,
    rng: StdRng,
    /// What makes an event this long that readers do not look at.
    pad: String,
    wire: Option<Wire>,
    door: usize,
}

enum Outcome {
    Acknowledged { duplicate: bool },
    NotAccepted,
    Unknown,
    Busy,
    Broken,
    TurnedAway,
    Surprise(String),
}

impl Publisher {
    /// One that begins with number 0. Events are some `bytes` long.
    #[must_use]
    pub fn new(
        series: Series,
        doors: Arc<Doors>,
        phase: watch::Receiver<Phase>,
        bytes: usize,
        seed: u64,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let door = doors.pick(&mut rng);
        let told = Arc::default();
        Self { series, doors, told, phase, rng, pad: "x".repeat(bytes), wire: None, door }
    }

    /// What it was told so far.
    #[must_use]
    pub fn told(&self) -> Arc<Mutex<Told>> {
        Arc::clone(&self.told)
    }

    /// Publishes until it is to end.
    pub async fn run(mut self) {
        let mut due = Instant::now() + self.series.every.mul_f64(self.rng.random_range(0.0..1.0));
        let mut phase = self.phase.clone();
        let mut seq = 0;
        loop {
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Going) => return,
                () = tokio::time::sleep_until(due) => {}
            }
            // After an outage it goes on at its pace and does not make up for it.
            due = (due + self.series.every).max(Instant::now());
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase == Phase::Over) => return,
                () = self.publish(seq) => {}
            }
            seq += 1;
        }
    }

    /// Tries until it is acknowledged.
    async fn publish(&mut self, seq: u64) {
        let mut backoff = BACKOFF.0;
        // A key is given up only if its event is certainly not in the log.
        let (mut key, mut certain) = (0, true);
        loop {
            let outcome = self.attempt(seq, key).await;
            self.note(seq, &outcome);
            match outcome {
                Outcome::Acknowledged { .. } => return,
                Outcome::NotAccepted => key += u32::from(self.series.believes && certain),
                Outcome::Busy => {}
                Outcome::Unknown | Outcome::Broken | Outcome::TurnedAway | Outcome::Surprise(_) => {
                    certain = false
                }
            }
            self.door = self.doors.pick(&mut self.rng);
            self.wire = None;
            sleep(backoff.mul_f64(self.rng.random_range(0.5..1.5))).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn note(&self, seq: u64, outcome: &Outcome) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.attempts += 1;
        match outcome {
            Outcome::Acknowledged { duplicate } => {
                told.acknowledged = seq + 1;
                told.duplicates += u64::from(*duplicate);
            }
            Outcome::NotAccepted => told.not_accepted += 1,
            Outcome::Unknown => told.unknown += 1,
            Outcome::Busy => told.busy += 1,
            Outcome::Broken => told.broken += 1,
            Outcome::TurnedAway => told.turned_away += 1,
            Outcome::Surprise(what) if told.surprises.len() < REMEMBERED => {
                told.surprises.push(format!("{} {seq}: {what}", self.series.name));
            }
            Outcome::Surprise(_) => {}
        }
    }

    async fn attempt(&mut self, seq: u64, key: u32) -> Outcome {
        let request = self.request(seq, key);
        let asking = async {
            let mut wire = match self.wire.take() {
                Some(wire) => wire,
                None => self.doors.connect(self.door).await?,
            };
            wire.send(request.as_bytes()).await?;
            let answer = wire.answer().await?;
            Ok::<_, std::io::Error>((wire, answer))
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok((wire, answer))) => {
                self.wire = (!answer.close).then_some(wire);
                outcome(&answer, self.doors.door(self.door).proxied)
            }
            Ok(Err(_)) | Err(_) => Outcome::Broken,
        }
    }

    fn request(&self, seq: u64, key: u32) -> String {
        let Series { name, audience, .. } = &self.series;
        let (id, kind, to) = match audience {
            Audience::Room { id, kind } => (id.as_str(), kind, None),
            Audience::User { id, kind, user } => (id.as_str(), kind, Some(user)),
            Audience::All { kind } => ("*", kind, None),
        };
        let path = match id {
            "*" => format!("/v1/sse/broadcast/types/{kind}"),
            id => format!("/v1/sse/events/{id}/types/{kind}"),
        };
        let lines = self.doors.lines(self.door, &Ask { action: "publish", id, kind, user: "" });
        let user = to.map(|u| format!("\"user\":{{\"to_user\":\"{u}\"}},")).unwrap_or_default();
        let (pad, t) = (&self.pad, now_ms());
        let body = format!(
            "{{{user}\"data\":{{\"series\":\"{name}\",\"seq\":{seq},\"t\":{t},\"pad\":\"{pad}\"}}}}"
        );
        format!(
            "POST {path} HTTP/1.1\r\n{lines}Content-Type: application/json\r\n\
             Idempotency-Key: {name}:{seq}:{key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// The time, as events carry it: milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    tidegate_swarm::clock::now() / 1_000_000
}

fn outcome(answer: &Answer, proxied: bool) -> Outcome {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let problem = body["type"].as_str().and_then(|t| t.strip_prefix("urn:tidegate:problem:"));
    match (answer.status, problem) {
        (200, _) => Outcome::Acknowledged { duplicate: body["duplicate"] == true },
        (503, Some("not-accepted")) => Outcome::NotAccepted,
        (503, Some("outcome-unknown")) => Outcome::Unknown,
        (503, Some("draining" | "overloaded")) => Outcome::Busy,
        (502..=504, None) if proxied => Outcome::TurnedAway,
        (status, _) => {
            let text = String::from_utf8_lossy(&answer.body);
            Outcome::Surprise(format!("{status} {}", text.chars().take(300).collect::<String>()))
        }
    }
}
