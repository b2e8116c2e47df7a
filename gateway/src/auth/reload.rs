//! Reads keys, and follows their file, so that keys come and go without a restart.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tracing::{info, warn};

use super::keyring::Keyring;
use super::keys::{Keys, KeysError};

/// How often the file is looked at.
pub const EVERY: Duration = Duration::from_secs(1);

/// The most bytes that are read of it; a file of [`MAX_KEYS`](super::keys::MAX_KEYS) keys is
/// shorter.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why the keys' file cannot be used. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is too long.
    #[error("it is longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// It is no list of keys.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// Why bytes are no keys that can be used. Says nothing of what is in them.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// They are not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// The keys are not written as keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// One of the keys has the name of another one in `auth.keys`.
    #[error("its key {0:?} is in auth.keys with another secret or end")]
    Differs(Box<str>),
}

/// Reads the keys in the file at `path` and adds them to those in `fixed`.
///
/// # Errors
/// [`FileError`] says why there are none.
pub async fn read(fixed: &Keys, path: &Path) -> Result<Keys, FileError> {
    // The whole path every time: Kubernetes swaps a symlink on the way to the file, which a watch
    // of the file itself would never see.
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLong);
    }
    Ok(parse(fixed, &bytes)?)
}

/// The keys that `bytes` list and those in `fixed`.
///
/// # Errors
/// [`Unusable`] says why there are none.
pub fn parse(fixed: &Keys, bytes: &[u8]) -> Result<Keys, Unusable> {
    let text = str::from_utf8(bytes).map_err(|_| Unusable::NotUtf8)?;
    fixed.clone().join(Keys::parse(text)?).map_err(Unusable::Differs)
}

/// Tells `ring` the keys in the file at `path`, again and again. While the file cannot be used, the
/// last good keys stay: half of a file must not end every stream. Never returns; drop it to stop.
pub async fn follow(ring: &Keyring, path: &Path, every: Duration) {
    let mut complaint = None;
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match read(ring.fixed(), path).await {
            Ok(keys) => {
                if complaint.take().is_some() {
                    info!(file = %path.display(), "the keys' file can be used again");
                }
                ring.file_has(keys);
            }
            Err(error) => {
                let error = error.to_string();
                // Once, and not every second.
                if complaint.as_ref() != Some(&error) {
                    warn!(file = %path.display(), error, "the keys' file cannot be used; the last good keys stay");
                    complaint = Some(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::auth::{Rules, Verifier};

    fn ring(verifier: &Arc<Verifier>) -> Keyring {
        Keyring::new(Arc::clone(verifier), Keys::parse("fixed:zero").expect("keys"))
    }

    /// Runs `change` while the file is followed and returns the kids after the next swap.
    async fn kids_after(
        verifier: &Arc<Verifier>,
        path: &Path,
        change: impl FnOnce(),
    ) -> Vec<String> {
        let ring = ring(verifier);
        let mut changes = verifier.changes();
        change();
        tokio::select! {
            () = follow(&ring, path, Duration::from_millis(5)) => {}
            changed = changes.changed() => changed.expect("open"),
        }
        verifier.keys().iter().map(|key| key.kid().to_owned()).collect()
    }

    #[tokio::test]
    async fn a_changed_file_is_taken_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("keys");
        let verifier = Arc::new(Verifier::new(Rules::SIGNED, Keys::default()));
        let kids = kids_after(&verifier, &path, || fs::write(&path, "a:one").expect("write")).await;
        assert_eq!(kids, ["fixed", "a"]);
        for bad in [&b""[..], b"a", b"\xFF", b"fixed:other", &[b'#'; (1 << 20) + 1]] {
            fs::write(&path, bad).expect("write");
            assert!(read(&Keys::parse("fixed:zero").expect("keys"), &path).await.is_err());
        }
        fs::remove_file(&path).expect("remove");
        // It is gone for as long as it takes to be looked at once, then comes back with other keys.
        let ring = ring(&verifier);
        let gone = follow(&ring, &path, Duration::from_millis(5));
        assert!(tokio::time::timeout(Duration::from_millis(30), gone).await.is_err());
        assert_eq!(verifier.keys().len(), 2);
        let kids = kids_after(&verifier, &path, || fs::write(&path, "b:two").expect("write")).await;
        assert_eq!(kids, ["fixed", "b"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_swapped_symlink_is_seen() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name);
        for (version, keys) in [("v1", "a:one"), ("v2", "b:two")] {
            fs::create_dir(at(version)).expect("dir");
            fs::write(at(version).join("keys"), keys).expect("write");
        }
        symlink("v1", at("..data")).expect("symlink");
        symlink("..data/keys", at("keys")).expect("symlink");
        let verifier = Arc::new(Verifier::new(Rules::SIGNED, Keys::default()));
        assert_eq!(kids_after(&verifier, &at("keys"), || ()).await, ["fixed", "a"]);
        let swap = || {
            symlink("v2", at("..next")).expect("symlink");
            fs::rename(at("..next"), at("..data")).expect("rename");
        };
        assert_eq!(kids_after(&verifier, &at("keys"), swap).await, ["fixed", "b"]);
    }
}
