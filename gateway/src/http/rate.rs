//! How many streams may be opened in a second: those that come back all at once must not harm the
//! readers that are there.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

const SECOND_NS: u64 = 1_000_000_000;

/// So many in a second, a second's worth at once (the generic cell rate algorithm).
#[derive(Debug)]
pub struct Rate {
    /// The time between two that come evenly, in nanoseconds; 0 without a limit.
    interval_ns: u64,
    began: Instant,
    /// When the next one would come if all had come evenly, in nanoseconds since it began.
    due_ns: AtomicU64,
}

impl Rate {
    /// `per_second`, or as many as come.
    #[must_use]
    pub fn new(per_second: Option<usize>) -> Self {
        let interval_ns = per_second.map_or(0, |most| (SECOND_NS / most.max(1) as u64).max(1));
        Self { interval_ns, began: Instant::now(), due_ns: AtomicU64::new(0) }
    }

    /// Takes note of one; false if it is too many.
    pub fn take(&self) -> bool {
        if self.interval_ns == 0 {
            return true;
        }
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let latest = now.saturating_add(SECOND_NS.saturating_sub(self.interval_ns));
        let next = |due: u64| (due <= latest).then(|| due.max(now) + self.interval_ns);
        self.due_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_seconds_worth_may_come_at_once_and_then_as_many_as_time_allows() {
        let rate = Rate::new(Some(100));
        let burst = |rate: &Rate| (0..1_000).filter(|_| rate.take()).count();
        assert_eq!(burst(&rate), 100);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(burst(&rate), 25);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(burst(&rate), 100, "what was not used is not saved up");
        assert_eq!(burst(&Rate::new(None)), 1_000);
        assert_eq!(burst(&Rate::new(Some(1))), 1);
    }
}
