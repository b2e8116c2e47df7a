//! The drain: unready, then closed to new streams, then each stream at its own moment, then over.
//! A second signal ends it at once; a deadline ends what does not end by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
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
    /// The same, for every stream at every event: a lock's cache line would go from core to core.
    now: AtomicU8,
    settings: Drain,
    deadline: std::sync::OnceLock<Instant>,
}

impl Shutdown {
    /// One that has not begun.
    #[must_use]
    pub fn new(settings: &Drain) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
            now: AtomicU8::new(Phase::Running as u8),
            settings: settings.clone(),
            deadline: std::sync::OnceLock::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        const PHASES: [Phase; 4] = [Phase::Running, Phase::Unready, Phase::Closing, Phase::Done];
        PHASES[usize::from(self.now.load(Ordering::Acquire))]
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

    /// When everything has to be over: now, if there was a second signal; far away while it has
    /// not begun.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let latest = Instant::now() + self.settings.deadline;
        match self.phase() {
            Phase::Done => Instant::now(),
            _ => self.deadline.get().copied().unwrap_or(latest),
        }
    }

    /// Begins, goes through the phases, and returns when the deadline has come.
    pub async fn drain(&self) {
        let deadline = *self.deadline.get_or_init(|| Instant::now() + self.settings.deadline);
        self.enter(Phase::Unready);
        // A grace longer than the deadline must not move it.
        tokio::time::sleep_until(deadline.min(Instant::now() + self.settings.grace)).await;
        self.enter(Phase::Closing);
        tokio::time::sleep_until(deadline).await;
        self.enter(Phase::Done);
    }

    /// Goes on to `phase`, never back: a second drain would open again what the first has closed.
    fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let is_news = *now < phase;
            *now = phase.max(*now);
            self.now.store(*now as u8, Ordering::Release);
            is_news
        });
    }

    /// Drains at the first SIGTERM or SIGINT; ends at once at the second. Signals count from this
    /// call on, before what it returns is polled.
    pub fn run_signals(self: Arc<Self>) -> impl Future<Output = ()> {
        let term = each(SignalKind::terminate(), "SIGTERM");
        let int = each(SignalKind::interrupt(), "SIGINT");
        async move {
            match (term, int) {
                (Ok(term), Ok(int)) => self.run(stream::select(term, int)).await,
                (Err(error), _) | (_, Err(error)) => {
                    tracing::error!(%error, "signals cannot be waited for; only SIGKILL ends this process");
                }
            }
        }
    }

    /// Drains at the first of `signals`; ends at once at the second. Without any it never does.
    async fn run(&self, mut signals: impl Stream<Item = &'static str> + Unpin) {
        let Some(first) = signals.next().await else { return };
        tracing::info!(signal = first, "shutting down; a second signal ends at once");
        tokio::select! {
            () = self.drain() => {}
            Some(second) = signals.next() => {
                tracing::warn!(signal = second, "second signal");
                self.enter(Phase::Done);
            }
        }
    }
}

/// The signals of a kind, by their name.
fn each(
    kind: SignalKind,
    name: &'static str,
) -> std::io::Result<impl Stream<Item = &'static str> + Unpin> {
    let mut signals = signal(kind)?;
    Ok(stream::poll_fn(move |cx| signals.poll_recv(cx).map(|came| came.map(|()| name))))
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

    fn shutdown(grace: u64, deadline: u64) -> Arc<Shutdown> {
        Arc::new(Shutdown::new(&Drain {
            grace: Duration::from_secs(grace),
            window: Duration::from_secs(30),
            deadline: Duration::from_secs(deadline),
        }))
    }

    /// Signals that come after so many seconds each, counted from the one before, and then none.
    fn signals(after: &'static [u64]) -> impl Stream<Item = &'static str> + Unpin {
        let signals = stream::iter(after).then(async |seconds| {
            tokio::time::sleep(Duration::from_secs(*seconds)).await;
            "SIGTERM"
        });
        Box::pin(signals.chain(stream::pending()))
    }

    #[tokio::test]
    async fn a_signal_counts_before_it_is_waited_for() {
        let shutdown = shutdown(0, 0);
        let waiting = Arc::clone(&shutdown).run_signals();
        let this = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &this]).status();
        assert!(sent.expect("kill runs").success());
        waiting.await;
        assert_eq!(shutdown.phase(), Phase::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_it_at_once() {
        let shutdown = shutdown(5, 60);
        let began = Instant::now();
        shutdown.run(signals(&[100, 7])).await;
        assert_eq!(began.elapsed(), Duration::from_secs(107));
        assert_eq!(shutdown.phase(), Phase::Done);
        assert_eq!(shutdown.deadline(), Instant::now(), "nothing is waited for any longer");
    }

    #[tokio::test(start_paused = true)]
    async fn one_signal_has_until_the_deadline() {
        let shutdown = shutdown(5, 60);
        assert_eq!(shutdown.deadline(), Instant::now() + Duration::from_secs(60));
        let began = Instant::now();
        shutdown.run(signals(&[100])).await;
        assert_eq!(began.elapsed(), Duration::from_secs(160));
        assert_eq!(shutdown.phase(), Phase::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grace_beyond_the_deadline_does_not_move_it() {
        let shutdown = shutdown(90, 60);
        let began = Instant::now();
        shutdown.drain().await;
        assert_eq!(began.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_is_never_gone_back_to() {
        let shutdown = shutdown(5, 60);
        shutdown.drain().await;
        let phases = shutdown.subscribe();
        shutdown.drain().await;
        assert!(!phases.has_changed().expect("it is there"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_goes_through_its_phases_at_their_times() {
        let shutdown = shutdown(5, 60);
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
    fn what_is_jittered_stays_within_its_bounds() {
        let mut rng = StdRng::seed_from_u64(1);
        let base = Duration::from_secs(10);
        for _ in 0..1_000 {
            assert!((5..15).contains(&jittered_retry(base, &mut rng).as_secs()));
            assert!((8..=10).contains(&jittered_age(base, &mut rng).as_secs()));
        }
        assert_eq!(close_after(Duration::ZERO, &mut rng), Duration::ZERO);
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
