//! The real things that tests and load tests start for themselves: Apache Kafka, Redis, and any
//! other process that must not outlive them.
//!
//! Whoever cannot go on without one of them is a test, so what fails here panics and says why.

pub mod kafka;
pub mod process;
pub mod redis;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Waits until `holds` does.
///
/// # Panics
/// With `what` if it does not within `patience`.
pub async fn eventually(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Where ports are looked for: below those that systems give to outgoing connections, of which any
/// might take the port of something that is being restarted.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// Ports that were free on 127.0.0.1 a moment ago, each another.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    let free = || {
        // Random, so that processes which look at the same time find others.
        let tries = std::iter::repeat_with(|| RandomState::new().build_hasher().finish());
        let ports = tries.map(|n| PORTS.start + (n % u64::from(PORTS.end - PORTS.start)) as u16);
        ports.take(1_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
    };
    let listeners = [(); N].map(|()| free().expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
