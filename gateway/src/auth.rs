//! Who may read and publish what: keys, signatures and what they grant.
//!
//! A backend that shares a key with the gateway signs what a client may do, until when and as whom;
//! the gateway keeps no accounts. Everything here is a pure value but [`reload`], which follows the
//! keys' file, and [`keyring`], which decides whose keys count.
//!
//! What is signed are the UTF-8 lines `v1`, action, event id, event type, user, expiry and body
//! hash, joined by LF. None of them can hold an LF, so no two claims have the same text. The
//! signature's own text does not say its scope: the verifier tries the few that would do (the
//! room's, every type of its id, everything), never one that is narrower than what is asked for.
//!
//! Neither a secret nor a signature is in any `Debug`, message or log line.

pub mod credentials;
pub mod error;
pub mod keyring;
pub mod keys;
pub mod reload;
pub mod signature;
pub mod verifier;

pub use credentials::{Credentials, CredentialsError};
pub use error::{AuthError, FailureReason};
pub use keyring::Keyring;
pub use keys::{Keys, KeysError};
pub use signature::{Action, Claim, Signature};
pub use verifier::{BatchGrant, Grant, Rules, Verifier};
