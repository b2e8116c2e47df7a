//! Time as records and clients count it: in milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time as `published_at` counts it, in milliseconds since the Unix epoch. It may step back.
#[must_use]
pub fn now_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A length of time in milliseconds. More than there are numbers for is the largest.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
