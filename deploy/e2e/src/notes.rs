//! What a scenario has seen.

use std::time::Duration;

use crate::delay::Delay;
use crate::disturb::Disturbed;

/// The account of one scenario.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// What it found, in sentences.
    pub(crate) facts: Vec<String>,
    /// What was wrong.
    pub(crate) wrongs: Vec<String>,
    /// It was left out, as the command line said.
    pub(crate) is_left_out: bool,
    /// Disturbances under load.
    pub(crate) disturbed: Vec<Disturbed>,
    /// Delays by several ways.
    pub(crate) delays: Vec<Delay>,
    /// From `helm install` to the first event.
    pub(crate) first_event: Option<Duration>,
    /// What was left after the end; `None` if nobody looked.
    pub(crate) left: Option<Vec<String>>,
}

impl Notes {
    /// Notes what was found.
    pub(crate) fn say(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    /// Notes a fact that has to hold.
    pub(crate) fn check(&mut self, holds: bool, what: impl Into<String>) {
        if holds {
            self.facts.push(what.into());
        } else {
            self.wrongs.push(format!("not so: {}", what.into()));
        }
    }

    /// Whether all was well.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrongs.is_empty()
    }
}

/// Seconds, for people.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
