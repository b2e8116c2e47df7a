//! The drain: unready, then closed to new streams, then each stream at its own moment, then over.
//! A second signal ends it at once; a deadline ends what does not end by itself.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Drain;

/// Where a pod's shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not begun.
    Running,
    /// `/readyz` says no, and connections are still taken: endpoints propagate late.
    Unready,
    /// No new streams; those that are open are closed over the window.
    Closing,
    /// Everything that is left is cut.
    Done,
}

/// The shutdown of a pod.
#[derive(Debug)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
    settings: Drain,
    deadline: std::sync::OnceLock<Instant>,
}

impl Shutdown {
    /// One that has not begun.
    #[must_use]
    pub fn new(settings: &Drain) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
            settings: settings.clone(),
            deadline: std::sync::OnceLock::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Follows it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Waits until it has come to `phase`.
    pub async fn until(&self, phase: Phase) {
        // An error means that the sender is gone, and that is `self`.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// When everything has to be over; far away while it has not begun.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let begun = self.deadline.get().copied();
        begun.unwrap_or_else(|| Instant::now() + self.settings.deadline)
    }

    /// Begins, goes through the phases, and returns when the deadline has come.
    pub async fn drain(&self) {
        let deadline = *self.deadline.get_or_init(|| Instant::now() + self.settings.deadline);
        self.phase.send_replace(Phase::Unready);
        tokio::time::sleep(self.settings.grace).await;
        self.phase.send_replace(Phase::Closing);
        tokio::time::sleep_until(deadline).await;
        self.phase.send_replace(Phase::Done);
    }

    /// Drains at the first SIGTERM or SIGINT; ends at once at the second.
    pub async fn run_signals(self: Arc<Self>) {
        let (Ok(mut term), Ok(mut int)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("signals cannot be waited for; only SIGKILL ends this process");
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            }
        };
        let first = next().await;
        tracing::info!(signal = first, "shutting down; a second signal ends at once");
        tokio::select! {
            () = self.drain() => {}
            second = next() => {
                tracing::warn!(signal = second, "second signal");
                self.phase.send_replace(Phase::Done);
            }
        }
    }
}

/// When in the window a stream is closed: evenly spread, so that reconnects are a rate.
pub fn close_after(window: Duration, rng: &mut impl Rng) -> Duration {
    window.mul_f64(rng.random_range(0.0..1.0))
}

/// A `retry:` between half and one and a half of `base`, so that clients which were told goodbye
/// together do not come back together.
pub fn jittered_retry(base: Duration, rng: &mut impl Rng) -> Duration {
    base.mul_f64(rng.random_range(0.5..1.5))
}

/// An age between 80 and 100 % of `most`, so that streams which began together end apart.
pub fn jittered_age(most: Duration, rng: &mut impl Rng) -> Duration {
    most.mul_f64(rng.random_range(0.8..=1.0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_goes_through_its_phases_at_their_times() {
        let settings = Drain {
            grace: Duration::from_secs(5),
            window: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
        };
        let shutdown = Arc::new(Shutdown::new(&settings));
        let mut phases = shutdown.subscribe();
        let began = Instant::now();
        let drain = tokio::spawn({
            let shutdown = Arc::clone(&shutdown);
            async move { shutdown.drain().await }
        });
        for (phase, at) in [(Phase::Unready, 0), (Phase::Closing, 5), (Phase::Done, 60)] {
            phases.wait_for(|p| *p == phase).await.expect("phases go on");
            assert_eq!(began.elapsed(), Duration::from_secs(at), "{phase:?}");
        }
        drain.await.expect("over");
    }

    #[test]
    fn closings_are_spread_over_the_whole_window() {
        let mut rng = StdRng::seed_from_u64(1);
        let window = Duration::from_secs(10);
        let mut per_second = [0; 10];
        for _ in 0..1_000 {
            per_second[usize::try_from(close_after(window, &mut rng).as_secs()).expect("small")] +=
                1;
        }
        assert!(per_second.iter().all(|n| (60..140).contains(n)), "{per_second:?}");
    }
}
