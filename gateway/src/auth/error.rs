//! Why a request was not let in.

use super::signature::{Action, SignatureError};

/// Why a request was not let in. The text says what to do, and never has a signature or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request has no signature.
    #[error(
        "the request is not signed: send x-signature, ?signature= or, to read, the cookie \
         tidegate_signature"
    )]
    Missing,
    /// The signature is not written as one.
    #[error("the signature cannot be read: {0}")]
    Malformed(#[from] SignatureError),
    /// A signature over a body's hash where no body is signed.
    #[error("a signature ending in '.b' is only for publish and broadcast; sign '-' as body hash")]
    NoBodyHere,
    /// The signature's time is over.
    #[error("the signature expired {ago} s ago; sign again, and compare the clocks")]
    Expired {
        /// For how many seconds.
        ago: u64,
    },
    /// The signature's expiry is further away than `auth.max_lifetime` allows.
    #[error("the signature is valid for {left} s more; at most {most} s are allowed here")]
    Lifetime {
        /// For how many seconds it would be valid.
        left: u64,
        /// The setting, in seconds.
        most: u64,
    },
    /// No key of this name.
    #[error("there is no key {kid:?} here; sign with one that is in auth.keys or its file")]
    UnknownKey {
        /// Its name.
        kid: Box<str>,
    },
    /// The key's end has come.
    #[error("the key {kid:?} has ended; sign with one that is still valid")]
    KeyEnded {
        /// Its name.
        kid: Box<str>,
    },
    /// The key was removed, replaced or ended after the signature had been accepted.
    #[error("the key of this signature was withdrawn; sign with another one")]
    Revoked,
    /// The signature is over something else, or with another secret.
    #[error(
        "the signature is not one for this request: with the secret of its key, sign the lines \
         v1, {action}, {id}, {kind}, {user}, the expiry, {body}", action = .action.as_str(),
        user = if user.is_empty() { "an empty line" } else { user },
        body = if *.body { "the SHA-256 of this body" } else { "-" }
    )]
    Mismatch {
        /// What was to be done.
        action: Action,
        /// The narrowest event id that would do.
        id: Box<str>,
        /// The narrowest type that would do.
        kind: Box<str>,
        /// The user that the request names.
        user: Box<str>,
        /// Whether the signature says that it is over the body.
        body: bool,
    },
    /// Neither one signature for all rooms nor one for each.
    #[error(
        "{given} signatures for {rooms} rooms: send one for each room, in the order of the rooms, \
         or exactly one that covers them all"
    )]
    Count {
        /// How many signatures there are.
        given: usize,
        /// How many rooms there are.
        rooms: usize,
    },
    /// A line of a batch for a room that the batch's signature does not cover.
    #[error("the batch is signed for {id:?} only; leave ?event_id= out and sign '*' for others")]
    Scope {
        /// The event id that it is signed for.
        id: Box<str>,
    },
    /// A `from_user` who is not the signed user.
    #[error("user.from_user must be the signed user, or be left out")]
    FromUser,
    /// `auth.require_body_hash` and a signature that is not over the body.
    #[error("the body's SHA-256 must be signed here (a signature ending in '.b')")]
    BodyHash,
    /// `auth.require_body_hash` and a batch, whose body cannot be signed.
    #[error("a batch's body cannot be signed, which is required here; publish events one by one")]
    Batch,
}

impl AuthError {
    /// Whether the signature is good but does not allow this: 403 and not 401.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Scope { .. } | Self::FromUser | Self::BodyHash | Self::Batch)
    }

    /// The reason as `tidegate_signature_failures_total` has it.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Missing => FailureReason::Missing,
            Self::Malformed(_) | Self::NoBodyHere => FailureReason::Malformed,
            Self::Expired { .. } => FailureReason::Expired,
            Self::Lifetime { .. } => FailureReason::Lifetime,
            Self::UnknownKey { .. } | Self::KeyEnded { .. } | Self::Revoked => {
                FailureReason::UnknownKey
            }
            Self::Mismatch { .. } => FailureReason::Mismatch,
            Self::Count { .. } => FailureReason::Count,
            Self::Scope { .. } => FailureReason::Scope,
            Self::FromUser => FailureReason::User,
            Self::BodyHash | Self::Batch => FailureReason::BodyHash,
        }
    }
}

/// The closed set of reasons that metrics have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// No signature.
    Missing,
    /// Not written as a signature.
    Malformed,
    /// Its time is over.
    Expired,
    /// A key that is not there, or no longer valid.
    UnknownKey,
    /// Over something else, or with another secret.
    Mismatch,
    /// A batch line for another room.
    Scope,
    /// A `from_user` who is not the signed user.
    User,
    /// The body had to be signed.
    BodyHash,
    /// Neither one signature for all rooms nor one for each.
    Count,
    /// An expiry too far away.
    Lifetime,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Missing,
        Self::Malformed,
        Self::Expired,
        Self::UnknownKey,
        Self::Mismatch,
        Self::Scope,
        Self::User,
        Self::BodyHash,
        Self::Count,
        Self::Lifetime,
    ];

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::UnknownKey => "unknown_key",
            Self::Mismatch => "mismatch",
            Self::Scope => "scope",
            Self::User => "user",
            Self::BodyHash => "body_hash",
            Self::Count => "count",
            Self::Lifetime => "lifetime",
        }
    }
}
