//! Memory that streams took goes back to the system when they have gone.
//!
//! glibc keeps what was freed, in case it is wanted again. After ten thousand streams that is most of
//! what the process takes up, for as long as it lives (`docs/adr/0016-memory-goes-back.md`).

use std::time::Duration;

use tokio::time::Instant;

/// The fewest streams that have to be gone. Fewer leave next to nothing.
const LEAST_GONE: usize = 1_000;
/// How often it is done at most: it holds the allocator up for milliseconds.
const EVERY: Duration = Duration::from_secs(10);

/// How many streams there were, to see when most have gone.
#[derive(Debug, Default)]
pub(super) struct Ebb {
    /// The most since memory was given back.
    most: usize,
    given_back: Option<Instant>,
}

impl Ebb {
    /// Whether memory is to be given back now that there are `streams`: half of them have gone.
    pub(super) fn is_due(&mut self, streams: usize, now: Instant) -> bool {
        self.most = self.most.max(streams);
        let gone = self.most - streams;
        let is_due = gone >= LEAST_GONE
            && gone >= self.most / 2
            && self.given_back.is_none_or(|at| now.duration_since(at) >= EVERY);
        if is_due {
            self.most = streams;
            self.given_back = Some(now);
        }
        is_due
    }
}

/// Gives back what the allocator keeps. Takes milliseconds.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "glibc gives memory back only when it is asked in C")]
pub(super) fn give_back() {
    // SAFETY: the function takes no pointer, may be called from any thread at any time, and touches
    // nothing but the allocator's free memory, under its own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_when_half_of_many_streams_have_gone_and_not_again_at_once() {
        let mut ebb = Ebb::default();
        let start = Instant::now();
        let mut due = |streams, seconds| ebb.is_due(streams, start + Duration::from_secs(seconds));
        assert!(!due(0, 0));
        assert!(!due(900, 1) && !due(0, 2), "so few leave nothing");
        assert!(!due(10_000, 3) && !due(5_001, 4), "most are there");
        assert!(due(5_000, 5));
        assert!(!due(5_000, 6), "nobody has gone since");
        assert!(!due(0, 7), "not so soon");
        assert!(due(0, 15));
    }
}
