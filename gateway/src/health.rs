//! Readiness as a list of named latches, each with a reason that an operator can act on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// What has to hold for a pod to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Latch {
    /// Everything that the log held at the start was read. Holds for ever once it does.
    CaughtUp,
    /// The public port takes connections.
    Listener,
    /// The log can be reached. Told, but a broker that is lost after the start does not make all
    /// pods unready at once: they serve their windows and their open streams.
    LogReachable,
    /// The pod is not shutting down.
    NotDraining,
    /// Every source that the settings name is read. Told, but a topic that is missing or cannot be
    /// read does not keep the others from their readers.
    SourcesRead,
}

impl Latch {
    const ALL: [Self; 5] =
        [Self::CaughtUp, Self::Listener, Self::LogReachable, Self::NotDraining, Self::SourcesRead];
}

/// The state of one latch as `/readyz` tells it.
#[derive(Debug, Clone, Serialize)]
struct State {
    ok: bool,
    /// Since when it has held, or has not.
    #[serde(serialize_with = "to_milliseconds")]
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// RFC 3339 in UTC.
fn to_milliseconds<S: Serializer>(since: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{since:.3}"))
}

/// What `/readyz` says.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the pod is to be sent clients.
    pub ready: bool,
    latches: BTreeMap<Latch, State>,
}

/// The latches of a pod.
#[derive(Debug)]
pub struct Health {
    latches: Mutex<BTreeMap<Latch, State>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A pod that has just started: nothing holds but that it is not shutting down, and that no
    /// source is known to be unread.
    #[must_use]
    pub fn new() -> Self {
        let latches = Latch::ALL.map(|latch| {
            let ok = matches!(latch, Latch::NotDraining | Latch::SourcesRead);
            let why = (!ok).then(|| "not yet".to_owned());
            (latch, State { ok, since: Timestamp::now(), why })
        });
        Self { latches: Mutex::new(latches.into()) }
    }

    /// Sets a latch, or says why it does not hold. [`Latch::CaughtUp`] is not taken back: a pod
    /// that has read its log once can serve.
    pub fn set(&self, latch: Latch, state: Result<(), String>) {
        let (ok, why) = (state.is_ok(), state.err());
        {
            let mut latches = self.latches.lock();
            let Some(before) = latches.get_mut(&latch) else { return };
            if (before.ok == ok && before.why == why) || (latch == Latch::CaughtUp && before.ok) {
                return;
            }
            let since = if before.ok == ok { before.since } else { Timestamp::now() };
            *before = State { ok, since, why: why.clone() };
        }
        match why {
            None => tracing::info!(?latch, "readiness: holds"),
            Some(why) => tracing::warn!(?latch, why, "readiness: does not hold"),
        }
    }

    /// What `/readyz` says now.
    #[must_use]
    pub fn report(&self) -> Report {
        let latches = self.latches.lock().clone();
        let holds = |latch| latches.get(&latch).is_some_and(|state: &State| state.ok);
        let ready = holds(Latch::CaughtUp) && holds(Latch::Listener) && holds(Latch::NotDraining);
        Report { ready, latches }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_lost_after_the_start_does_not_unready_the_pod() {
        let health = Health::new();
        assert!(!health.report().ready);
        health.set(Latch::Listener, Ok(()));
        health.set(Latch::LogReachable, Ok(()));
        assert!(!health.report().ready, "not before the log was read");
        health.set(Latch::CaughtUp, Ok(()));
        assert!(health.report().ready);
        health.set(Latch::LogReachable, Err("gone".into()));
        assert!(health.report().ready);
        health.set(Latch::NotDraining, Err("going".into()));
        assert!(!health.report().ready);
        let json = serde_json::to_value(health.report()).expect("JSON");
        assert_eq!(json["latches"]["log_reachable"]["why"], "gone");
    }

    #[test]
    fn a_pod_that_has_caught_up_once_stays_so() {
        let health = Health::new();
        health.set(Latch::CaughtUp, Ok(()));
        health.set(Latch::CaughtUp, Err("behind".into()));
        let json = serde_json::to_value(health.report()).expect("JSON");
        assert_eq!(json["latches"]["caught_up"]["ok"], true);
        assert_eq!(json["latches"]["caught_up"].get("why"), None);
    }

    #[test]
    fn every_latch_says_since_when() {
        let health = Health::new();
        let since = |latch: &str| {
            let json = serde_json::to_value(health.report()).expect("JSON");
            let since = json["latches"][latch]["since"].as_str().expect("a time").to_owned();
            since.parse::<Timestamp>().expect("RFC 3339")
        };
        let start = since("log_reachable");
        health.set(Latch::LogReachable, Err("no route".into()));
        assert_eq!(since("log_reachable"), start, "another reason is no change");
        health.set(Latch::LogReachable, Ok(()));
        assert!(since("log_reachable") >= start);
    }
}
