//! What is to be done about a Lease, as it was found.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

use super::LEASE_DURATION;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Make it: there is none.
    Create,
    /// Take it: nobody has it, or who had it is gone.
    Take,
    /// Renew it: it is our own.
    Renew,
    /// Leave it to who has it, or look whether it stays away.
    Wait,
}

/// What was seen of a Lease.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The last of it, and since when it is so.
    seen: Option<(Option<LeaseSpec>, Instant)>,
    /// Whether there ever was one.
    was_there: bool,
}

impl Memory {
    /// What is to be done about a Lease that was found like this at `now`; `None` if there is none.
    pub(super) fn step(&mut self, found: Option<&LeaseSpec>, me: &str, now: Instant) -> Step {
        let since = match &self.seen {
            Some((seen, since)) if seen.as_ref() == found => *since,
            _ => {
                self.seen = Some((found.cloned(), now));
                now
            }
        };
        let unchanged = now.duration_since(since);
        self.was_there |= found.is_some();
        let Some(spec) = found else {
            // One that was there and is not was deleted, perhaps with all else of the release, and
            // this pod may be next: made anew at once, it would be left behind.
            let may_be_made = !self.was_there || unchanged >= LEASE_DURATION;
            return if may_be_made { Step::Create } else { Step::Wait };
        };
        match spec.holder_identity.as_deref() {
            None | Some("") => Step::Take,
            Some(holder) if holder == me => Step::Renew,
            Some(_) if unchanged >= patience(spec) => Step::Take,
            Some(_) => Step::Wait,
        }
    }

    /// The Lease was written, at `now`.
    pub(super) fn wrote(&mut self, spec: LeaseSpec, now: Instant) {
        self.seen = Some((Some(spec), now));
        self.was_there = true;
    }
}

/// How long the holder has asked to be waited for.
fn patience(spec: &LeaseSpec) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(LEASE_DURATION, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use proptest::prelude::*;

    use super::*;

    fn spec(holder: Option<&str>, seconds: Option<i32>, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            ..LeaseSpec::default()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_state_of_a_lease_has_its_step() {
        let now = Instant::now();
        for (found, unchanged, step) in [
            (None, 0, Step::Create),
            (None, 1, Step::Create),
            (Some(spec(None, None, 0)), 0, Step::Take),
            (Some(spec(Some(""), Some(15), 0)), 0, Step::Take),
            (Some(spec(Some("me"), Some(15), 0)), 0, Step::Renew),
            (Some(spec(Some("me"), Some(15), 0)), 1_000, Step::Renew),
            (Some(spec(Some("you"), Some(15), 0)), 0, Step::Wait),
            (Some(spec(Some("you"), Some(15), 0)), 14, Step::Wait),
            (Some(spec(Some("you"), Some(15), 0)), 15, Step::Take),
            (Some(spec(Some("you"), None, 0)), 29, Step::Wait),
            (Some(spec(Some("you"), None, 0)), 30, Step::Take),
            (Some(spec(Some("you"), Some(-1), 0)), 29, Step::Wait),
            // A pod of the same name that has restarted is somebody else.
            (Some(spec(Some("me_0123abcd"), Some(15), 0)), 0, Step::Wait),
        ] {
            let mut memory = Memory::default();
            memory.step(found.as_ref(), "me", now);
            let later = now + unchanged * SECOND;
            assert_eq!(memory.step(found.as_ref(), "me", later), step, "{found:?} {unchanged}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_deleted_is_not_made_anew_at_once() {
        let now = Instant::now();
        let mut memory = Memory::default();
        memory.wrote(spec(Some("me"), Some(30), 0), now);
        assert_eq!(memory.step(None, "me", now + SECOND), Step::Wait);
        assert_eq!(memory.step(None, "me", now + LEASE_DURATION), Step::Wait);
        assert_eq!(memory.step(None, "me", now + SECOND + LEASE_DURATION), Step::Create);
    }

    proptest! {
        /// However its holder renews it: a Lease that changes often enough is never taken.
        #[test]
        fn a_lease_that_is_renewed_in_time_is_never_taken(
            pauses in prop::collection::vec(0..15_u32, 1..50),
        ) {
            let mut memory = Memory::default();
            let mut now = Instant::now();
            for (renewal, pause) in pauses.into_iter().enumerate() {
                let found = spec(Some("you"), Some(15), renewal as i64);
                prop_assert_eq!(memory.step(Some(&found), "me", now), Step::Wait);
                now += pause * SECOND;
                prop_assert_eq!(memory.step(Some(&found), "me", now), Step::Wait);
            }
        }
    }
}
