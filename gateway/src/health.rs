//! Readiness as a list of named latches, each with a reason that an operator can act on.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

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
}

impl Latch {
    const ALL: [Self; 4] = [Self::CaughtUp, Self::Listener, Self::LogReachable, Self::NotDraining];
}

/// The state of one latch as `/readyz` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct State {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
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
    /// A pod that has just started: nothing holds but that it is not shutting down.
    #[must_use]
    pub fn new() -> Self {
        let latches = Latch::ALL.map(|latch| {
            let ok = latch == Latch::NotDraining;
            (latch, State { ok, why: (!ok).then(|| "not yet".to_owned()) })
        });
        Self { latches: Mutex::new(latches.into()) }
    }

    /// Sets a latch, or says why it does not hold.
    pub fn set(&self, latch: Latch, state: Result<(), String>) {
        let state = match state {
            Ok(()) => State { ok: true, why: None },
            Err(why) => State { ok: false, why: Some(why) },
        };
        let before = self.latches.lock().insert(latch, state.clone());
        if before.as_ref() == Some(&state) {
            return;
        }
        match state.why {
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
}
