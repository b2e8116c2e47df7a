//! Why streams end: one closed list for goodbyes, metrics and tests.

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disconnect {
    /// The client went away.
    ClientGone,
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
    pub const ALL: [Self; 8] = [
        Self::ClientGone,
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
            Self::ClientGone | Self::Slow => None,
            said => Some(said.as_str()),
        }
    }
}
