use std::time::Duration;

use tokio::time::Instant;

/// Waits until `holds` does, in paused time.
pub(super) async fn eventually(within: Duration, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + within;
    while !holds() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
