//! How long to wait before the next attempt.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// Never sooner, whatever the server says: a server that says 0 and ends each stream at once would
/// be asked without a pause.
const LEAST: Duration = Duration::from_millis(20);
/// The most that a server's wish counts for.
const MOST_WISHED: Duration = Duration::from_secs(300);
/// Where delays of our own stop growing.
const MOST_GROWN: Duration = Duration::from_secs(30);

/// The delay before the next attempt after `failures` attempts in a row: `retry` doubled for each
/// after the first, and not before `retry_after`. Up to a quarter is added by chance, or all that
/// lost one server would come back in step.
pub(super) fn delay(
    retry: Duration,
    failures: u32,
    retry_after: Option<Duration>,
    rng: &mut impl Rng,
) -> Duration {
    let wished = retry.clamp(LEAST, MOST_WISHED);
    let doublings = failures.saturating_sub(1).min(16);
    let grown = wished.saturating_mul(1 << doublings).min(MOST_GROWN.max(wished));
    let told = retry_after.unwrap_or_default().min(MOST_WISHED);
    let least = grown.max(told);
    least + least.mul_f64(rng.random_range(0.0..0.25))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at_least(least: Duration, retry: Duration, failures: u32, retry_after: Option<Duration>) {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            let delay = delay(retry, failures, retry_after, &mut rng);
            assert!(delay >= least && delay <= least.mul_f64(1.25), "{delay:?} for {least:?}");
        }
    }

    #[test]
    fn a_lost_stream_is_asked_for_again_when_the_server_said() {
        at_least(3 * SECOND, 3 * SECOND, 0, None);
        at_least(45 * SECOND, 45 * SECOND, 0, None);
    }

    #[test]
    fn each_attempt_that_fails_doubles_the_delay_up_to_a_bound() {
        at_least(3 * SECOND, 3 * SECOND, 1, None);
        at_least(6 * SECOND, 3 * SECOND, 2, None);
        at_least(24 * SECOND, 3 * SECOND, 4, None);
        at_least(MOST_GROWN, 3 * SECOND, 5, None);
        at_least(MOST_GROWN, 3 * SECOND, u32::MAX, None);
        at_least(45 * SECOND, 45 * SECOND, 9, None);
    }

    #[test]
    fn a_retry_after_is_waited_for() {
        at_least(7 * SECOND, SECOND, 1, Some(7 * SECOND));
        at_least(8 * SECOND, SECOND, 4, Some(7 * SECOND));
    }

    #[test]
    fn neither_nothing_nor_for_ever_is_believed() {
        at_least(LEAST, Duration::ZERO, 0, None);
        at_least(MOST_WISHED, Duration::MAX, 0, None);
        at_least(MOST_WISHED, SECOND, 0, Some(Duration::MAX));
    }
}
