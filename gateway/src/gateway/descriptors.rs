//! How many files the process may have open: a socket is one of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside the streams: the log's connections, publishers, probes, files.
const BESIDE: u64 = 512;

/// Raises the limit as far as the process may, and warns if `connections` streams do not fit.
/// Systems begin with a low one for the sake of `select`, which is not used here.
pub(super) fn raise(connections: usize) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
    // None is no limit.
    let Some(most) = getrlimit(Resource::Nofile).current else { return };
    tracing::debug!(before = ?before.current, now = most, "open files");
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(BESIDE);
    if most < wanted {
        tracing::warn!(
            open_files = most,
            wanted,
            "limits.connections needs more open files than this process may have; raise the hard limit (ulimit -Hn) or lower limits.connections"
        );
    }
}
