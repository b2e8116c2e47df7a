//! The embedded log's time: the wall clock, but never stepping back.

use tokio::time::Instant;

use crate::clock::{millis, now_ms};

/// A clock in milliseconds since the Unix epoch.
///
/// It follows the wall clock forward. When that is set back, this one goes on from where it was at
/// the pace of the monotonic clock: standing still instead would let nothing grow old, and end no
/// `dedupe.window`, until the wall clock has caught up.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the wall clock was last at or ahead of this clock, by both clocks.
    agreed: (i64, Instant),
    last: i64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self::at(now_ms(), Instant::now())
    }

    fn at(wall: i64, now: Instant) -> Self {
        Self { agreed: (wall, now), last: wall }
    }

    pub(super) fn now(&mut self) -> i64 {
        self.advance(now_ms(), Instant::now())
    }

    fn advance(&mut self, wall: i64, now: Instant) -> i64 {
        let (then, since) = self.agreed;
        let running = then.saturating_add(millis(now.saturating_duration_since(since)));
        if wall >= running {
            self.agreed = (wall, now);
        }
        self.last = self.last.max(wall).max(running);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_back_does_not_stop_or_turn_the_log_s() {
        let start = Instant::now();
        let mut clock = Clock::at(1_000_000, start);
        let mut at = |wall, ms| clock.advance(wall, start + Duration::from_millis(ms));
        assert_eq!(at(1_000_010, 10), 1_000_010);
        assert_eq!(at(400_020, 20), 1_000_020, "set back by ten minutes");
        assert_eq!(at(401_010, 1_010), 1_001_010);
        assert_eq!(at(2_000_000, 1_020), 2_000_000, "set forward");
        assert_eq!(at(2_000_005, 1_025), 2_000_005);
        assert_eq!(at(2_000_000, 900), 2_000_005, "a reader that was overtaken");
    }
}
