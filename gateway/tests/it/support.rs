//! What the tests start, and how they wait.

pub mod config;
pub mod gateway;
pub mod http;
pub mod kafka;
pub mod recording;
pub mod redis;
pub mod stream;
pub mod tls;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Waits until `holds` does; panics with `what` if it does not within `patience`.
pub async fn eventually(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
