//! Where keys come from, and which of them count.
//!
//! Keys of the settings always do. Beside them there can be a file and a watched Secret, of which
//! one counts at a time: with the union of both, a key that was withdrawn would stay valid for as
//! long as the slower of the two still has it.
//!
//! The file is a copy of the Secret that lags: the kubelet brings it up to date about once a minute.
//! So while the watch is alive its keys count, whatever the file says. When the watch is lost, a
//! change of the file is news only if the copy cannot be of before the loss: after
//! [`COPY_LAG`]. A file that has not changed since the loss never is; it may be a stuck copy that
//! still has a key which was withdrawn.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::info;

use super::keys::Keys;
use super::verifier::Verifier;

/// How long the mounted copy of a Secret may lag behind it: the kubelet looks at its pods once a
/// minute, and what it has of the Secret may be as old again.
pub const COPY_LAG: Duration = Duration::from_secs(120);

/// Gives a verifier the keys that count.
#[derive(Debug)]
pub struct Keyring {
    verifier: Arc<Verifier>,
    fixed: Keys,
    found: Mutex<Found>,
}

/// What the file and the Secret have.
#[derive(Debug, Default)]
struct Found {
    file: Option<Keys>,
    /// When the file was seen with other keys than before.
    file_changed: Option<Instant>,
    secret: Option<Keys>,
    /// Since when nobody has said what is in the Secret.
    secret_lost: Option<Instant>,
}

/// Whose keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    File,
    Secret,
}

impl Source {
    fn setting(self) -> &'static str {
        match self {
            Self::File => "auth.keys_file",
            Self::Secret => "kubernetes.secret",
        }
    }
}

impl Found {
    /// The keys that count now, if any source has said some.
    fn counting(&self, now: Instant) -> Option<(Source, &Keys)> {
        let file = self.file.as_ref().map(|keys| (Source::File, keys));
        let Some(secret) = &self.secret else { return file };
        let is_stale = self.secret_lost.is_some_and(|lost| {
            now.duration_since(lost) >= COPY_LAG && self.file_changed.is_some_and(|at| at > lost)
        });
        if is_stale { file } else { Some((Source::Secret, secret)) }
    }
}

impl Keyring {
    /// A ring with the keys of the settings; `verifier` keeps those that it has until a source
    /// says others.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>, fixed: Keys) -> Self {
        Self { verifier, fixed, found: Mutex::default() }
    }

    /// The keys of the settings, which those of every source are added to.
    #[must_use]
    pub fn fixed(&self) -> &Keys {
        &self.fixed
    }

    /// The file has these keys. Called again and again, also when they are the same: what counts
    /// can change with time.
    pub fn file_has(&self, keys: Keys) {
        let now = Instant::now();
        let mut found = self.found.lock();
        if found.file.as_ref().is_some_and(|before| *before != keys) {
            found.file_changed = Some(now);
        }
        found.file = Some(keys);
        self.swap(&found, now);
    }

    /// The Secret has these keys, and whoever says so goes on watching it.
    pub fn secret_has(&self, keys: Keys) {
        let mut found = self.found.lock();
        found.secret = Some(keys);
        found.secret_lost = None;
        self.swap(&found, Instant::now());
    }

    /// The Secret is watched, and what is in it cannot be used: its last good keys stay.
    pub fn secret_is_unusable(&self) {
        self.found.lock().secret_lost = None;
    }

    /// The Secret is no longer watched.
    pub fn secret_is_lost(&self) {
        let mut found = self.found.lock();
        found.secret_lost.get_or_insert_with(Instant::now);
    }

    fn swap(&self, found: &Found, now: Instant) {
        let Some((source, keys)) = found.counting(now) else { return };
        if *self.verifier.keys() == *keys {
            return;
        }
        let kids: Vec<_> = keys.iter().map(|key| key.kid()).collect();
        info!(from = source.setting(), ?kids, "the keys have changed");
        self.verifier.replace(keys.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::Rules;

    const SECOND: Duration = Duration::from_secs(1);

    fn keys(text: &str) -> Keys {
        Keys::parse(text).expect("keys")
    }

    fn ring() -> Keyring {
        Keyring::new(Arc::new(Verifier::new(Rules::SIGNED, keys("old:1"))), Keys::default())
    }

    fn kids(ring: &Keyring) -> Vec<String> {
        ring.verifier.keys().iter().map(|key| key.kid().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_counts_until_the_secret_was_seen() {
        let ring = ring();
        ring.secret_is_lost();
        assert_eq!(kids(&ring), ["old"]);
        ring.file_has(keys("a:1"));
        assert_eq!(kids(&ring), ["a"]);
        ring.secret_is_unusable();
        ring.file_has(keys("b:1"));
        assert_eq!(kids(&ring), ["b"], "a Secret that never had keys takes nothing away");
        ring.secret_has(keys("c:1"));
        assert_eq!(kids(&ring), ["c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_file_does_not_undo_what_the_watch_has_said() {
        let ring = ring();
        ring.file_has(keys("a:1,b:2"));
        ring.secret_has(keys("b:2"));
        assert_eq!(kids(&ring), ["b"], "the key that was withdrawn is not kept by the file");
        // Copies of before, one after the other, long after the watch has spoken.
        for copy in ["a:1", "a:1,b:2"] {
            tokio::time::advance(COPY_LAG * 2).await;
            ring.file_has(keys(copy));
            assert_eq!(kids(&ring), ["b"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_of_before_the_loss_is_no_news() {
        let ring = ring();
        ring.file_has(keys("a:1"));
        ring.secret_has(keys("b:2"));
        ring.secret_is_lost();
        tokio::time::advance(COPY_LAG - SECOND).await;
        ring.file_has(keys("a:1,b:2"));
        assert_eq!(kids(&ring), ["b"], "it may be what the Secret had a minute ago");
        ring.secret_is_lost();
        ring.file_has(keys("b:2"));
        tokio::time::advance(SECOND).await;
        ring.file_has(keys("b:2"));
        assert_eq!(kids(&ring), ["b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_goes_on_changing_after_the_loss_counts() {
        let ring = ring();
        ring.file_has(keys("a:1"));
        ring.secret_has(keys("a:1"));
        ring.secret_is_lost();
        tokio::time::advance(SECOND).await;
        ring.file_has(keys("b:2"));
        assert_eq!(kids(&ring), ["a"], "not yet: nobody can tell it from an old copy");
        tokio::time::advance(COPY_LAG).await;
        ring.file_has(keys("b:2"));
        assert_eq!(kids(&ring), ["b"]);
        ring.file_has(keys("c:3"));
        assert_eq!(kids(&ring), ["c"]);
        ring.secret_has(keys("d:4"));
        assert_eq!(kids(&ring), ["d"], "the watch is back, and knows best");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_stuck_never_brings_a_key_back() {
        let ring = ring();
        ring.file_has(keys("a:1,b:2"));
        ring.secret_has(keys("b:2"));
        ring.secret_is_lost();
        tokio::time::advance(COPY_LAG * 100).await;
        ring.file_has(keys("a:1,b:2"));
        assert_eq!(kids(&ring), ["b"]);
    }

    proptest! {
        /// Whatever the file does while the watch is alive: only what the watch has said counts.
        #[test]
        fn while_the_watch_is_alive_only_it_counts(
            steps in prop::collection::vec((any::<bool>(), 0..4_u8, 0..200_u64), 1..40),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let ring = ring();
                let mut said = None;
                for (is_secret, version, seconds) in steps {
                    let text = format!("k{version}:s");
                    match is_secret {
                        true => {
                            ring.secret_has(keys(&text));
                            said = Some(format!("k{version}"));
                        }
                        false => ring.file_has(keys(&text)),
                    }
                    tokio::time::advance(Duration::from_secs(seconds)).await;
                    if let Some(said) = &said {
                        assert_eq!(kids(&ring), std::slice::from_ref(said));
                    }
                }
            });
        }
    }
}
