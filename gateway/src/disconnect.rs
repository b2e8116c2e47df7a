//! Why streams end: one closed list for goodbyes, metrics and tests.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disconnect {
    /// The client went away.
    ClientGone,
    /// The client took nothing of what was written for too long.
    Stalled,
    /// The reader was too slow: it is cut without a word and resumes by its cursor.
    Slow,
    /// The signature's time is over.
    Expired,
    /// The key that signed is gone.
    Revoked,
    /// The pod is going.
    Drain,
    /// The stream was open for as long as one may be.
    MaxAge,
    /// The room's final event was written.
    Complete,
    /// The pod cannot serve it now: a replay takes too long, or the log does not answer.
    Overloaded,
}

impl Disconnect {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ClientGone,
        Self::Stalled,
        Self::Slow,
        Self::Expired,
        Self::Revoked,
        Self::Drain,
        Self::MaxAge,
        Self::Complete,
        Self::Overloaded,
    ];

    /// As metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::Stalled => "stalled",
            Self::Slow => "slow",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Drain => "drain",
            Self::MaxAge => "max_age",
            Self::Complete => "complete",
            Self::Overloaded => "overloaded",
        }
    }

    /// The goodbye's reason; `None` where nothing is said.
    #[must_use]
    pub fn goodbye(self) -> Option<&'static str> {
        match self {
            Self::ClientGone | Self::Stalled | Self::Slow => None,
            said => Some(said.as_str()),
        }
    }
}

/// Whether the client of a connection takes nothing any more. Noticed at the socket, which knows no
/// streams; asked where a stream is dropped, which knows no socket.
#[derive(Debug, Clone, Default)]
pub struct Stalled(Arc<AtomicBool>);

thread_local! {
    /// Whether what is being dropped on this thread is a stream whose client took nothing.
    static DROPPED: Cell<bool> = const { Cell::new(false) };
}

impl Stalled {
    /// Takes note that the connection's client takes nothing.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Runs `drop`, which drops one stream for taking nothing, while others of its connection go
    /// on.
    pub fn while_dropping(drop: impl FnOnce()) {
        DROPPED.set(true);
        drop();
        DROPPED.set(false);
    }

    /// Why a stream of the connection ends that is just dropped.
    #[must_use]
    pub fn why_dropped(&self) -> Disconnect {
        if self.0.load(Ordering::Relaxed) || DROPPED.get() {
            Disconnect::Stalled
        } else {
            Disconnect::ClientGone
        }
    }
}
