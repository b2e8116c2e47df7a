//! One clock for everything: nanoseconds since the Unix epoch.
//!
//! Publishers and readers may be different processes, so a monotonic clock would not do; on one
//! machine both read the same counter. A step of the clock during a run shows as an absurd maximum.

use std::{
    os::fd::OwnedFd,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Nanoseconds since the Unix epoch.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds of a duration, at most `u64::MAX`.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A timer that an epoll loop can wait for.
///
/// epoll's own timeout counts milliseconds: pacing by it would add up to one to every latency.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that does not run yet.
    ///
    /// # Errors
    /// What `timerfd_create` says.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?))
    }

    /// Makes the timer readable in so many nanoseconds, replacing what was set before.
    ///
    /// # Errors
    /// What `timerfd_settime` says.
    pub fn set(&self, nanos: u64) -> std::io::Result<()> {
        // Zero would switch the timer off.
        let nanos = nanos.max(1);
        let value = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// The descriptor to register.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }
}
