//! What is tried again and again: its failures are counted, said once and followed by a pause.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use crate::telemetry::metrics::{self, Task};

/// The pause after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause before it is jittered.
const MOST: Duration = Duration::from_secs(30);

/// How a task has fared so far.
#[derive(Debug)]
pub(super) struct Attempts {
    task: Task,
    /// How many have failed since one has not.
    failures: u32,
    /// What was said last, if it still holds.
    said: Option<String>,
}

impl Attempts {
    pub(super) fn new(task: Task) -> Self {
        Self { task, failures: 0, said: None }
    }

    /// One has failed, for a reason that is said unless it was said last. Returns how long to wait
    /// before the next.
    pub(super) fn failed(&mut self, why: &str, rng: &mut impl Rng) -> Duration {
        metrics::kubernetes_failure(self.task);
        self.failures = self.failures.saturating_add(1);
        if self.said.as_deref() != Some(why) {
            tracing::warn!(task = self.task.as_str(), why, "cannot be done in the cluster for now");
            self.said = Some(why.to_owned());
        }
        pause(self.failures, rng)
    }

    /// One has not.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
        if self.said.take().is_some() {
            tracing::info!(task = self.task.as_str(), "can be done in the cluster again");
        }
    }
}

/// The pause after so many failures in a row: doubled for each, then between half and one and a half
/// of that, so that pods which lost the API server together do not come back together.
pub(super) fn pause(failures: u32, rng: &mut impl Rng) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    jittered(FIRST.saturating_mul(1 << doublings).min(MOST), rng)
}

/// Between half and one and a half of `pause`.
pub(super) fn jittered(pause: Duration, rng: &mut impl Rng) -> Duration {
    pause.mul_f64(rng.random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut rng = StdRng::seed_from_u64(1);
        for (failures, seconds) in [(1, 1), (2, 2), (5, 16), (6, 30), (u32::MAX, 30)] {
            for _ in 0..100 {
                let pause = pause(failures, &mut rng).as_secs_f64() / f64::from(seconds);
                assert!((0.5..1.5).contains(&pause), "{failures}");
            }
        }
    }

    #[test]
    fn a_failure_is_said_once_until_it_changes_or_is_over() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut attempts = Attempts::new(Task::Janitor);
        for (why, failures) in [("away", 1), ("away", 2), ("forbidden", 3)] {
            attempts.failed(why, &mut rng);
            assert_eq!((attempts.said.as_deref(), attempts.failures), (Some(why), failures));
        }
        attempts.worked();
        assert_eq!((attempts.said, attempts.failures), (None, 0));
    }
}
