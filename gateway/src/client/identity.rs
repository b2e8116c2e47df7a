//! Who a client is, and how it proves that.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::auth::keys::Key;
use crate::auth::signature::{Claim, body_hash};
use crate::auth::{Action, Keys, KeysError};
use crate::event::{Audience, Pattern};

/// How long a signature that is made here holds. A stream that it ends is reopened with a new one;
/// longer would only make a stolen one worth more.
const LIFETIME: Duration = Duration::from_secs(600);

/// A user, and what lets them in.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The user; with `auth.mode=off` the gateway believes it.
    pub user: Option<String>,
    /// What lets them in.
    pub credential: Credential,
}

/// What is shown to a gateway that asks for signatures.
#[derive(Clone, Default)]
pub enum Credential {
    /// Nothing: the gateway asks for none.
    #[default]
    None,
    /// Signatures that somebody else has made: one, or on a stream one for each room.
    Given(Vec<String>),
    /// A key to make them with, for each request anew.
    Key(Arc<Key>),
}

impl Credential {
    /// Reads one key, `kid:secret`.
    ///
    /// # Errors
    /// [`CredentialError`], without what was given.
    pub fn from_key(text: &str) -> Result<Self, CredentialError> {
        let keys = Keys::parse(text)?;
        let mut keys = keys.iter();
        match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(Self::Key(Arc::clone(key))),
            _ => Err(CredentialError::Several),
        }
    }

    /// Reads a file of keys, as a gateway's `auth.keys_file` has them, and takes the first that has not
    /// ended at `now`: while keys are exchanged there are several.
    ///
    /// # Errors
    /// [`CredentialError`], without what was given.
    pub fn from_keys(text: &str, now: SystemTime) -> Result<Self, CredentialError> {
        let keys = Keys::parse(text)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let key = keys.live(now.as_secs()).next().ok_or(CredentialError::Ended)?;
        Ok(Self::Key(Arc::clone(key)))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Given(_) => "Given(***)",
            Self::Key(_) => "Key(***)",
        })
    }
}

/// Why a text is not the key to sign with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// It is no key.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// It is more than one.
    #[error("one key signs; there are several")]
    Several,
    /// None of a file's can sign any more.
    #[error("every key has ended")]
    Ended,
}

impl Identity {
    /// What opens a stream of `rooms` at `now`: nothing, one signature, or one for each room.
    #[must_use]
    pub fn sign_subscribe(&self, rooms: &[Pattern], now: SystemTime) -> Vec<String> {
        match &self.credential {
            Credential::None => Vec::new(),
            Credential::Given(signatures) => signatures.clone(),
            Credential::Key(key) => rooms
                .iter()
                .map(|room| {
                    let (id, kind) = (room.id.as_str(), room.kind_text());
                    self.claim(Action::Subscribe, id, kind, now).sign(key)
                })
                .collect(),
        }
    }

    /// What allows `body` to be published to `audience` at `now`. The body's hash is signed: the
    /// gateway may ask for that.
    #[must_use]
    pub fn sign_publish(
        &self,
        audience: &Audience,
        body: &[u8],
        now: SystemTime,
    ) -> Option<String> {
        match &self.credential {
            Credential::None => None,
            Credential::Given(signatures) => signatures.first().cloned(),
            Credential::Key(key) => {
                let (id, kind) = (audience.id_text(), audience.kind().as_str());
                let mut claim = self.claim(Action::Publish, id, kind, now);
                claim.body_hash = Some(body_hash(body));
                Some(claim.sign(key))
            }
        }
    }

    fn claim<'a>(
        &'a self,
        action: Action,
        id: &'a str,
        kind: &'a str,
        now: SystemTime,
    ) -> Claim<'a> {
        // A clock before 1970 makes signatures that have expired; the gateway says so.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Claim {
            action,
            id,
            kind,
            user: self.user.as_deref().unwrap_or_default(),
            expires_at: (now + LIFETIME).as_secs(),
            body_hash: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventType, Room};

    /// Ten minutes before the expiry of the signatures below.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_763_699_400)
    }

    fn identity(user: Option<&str>) -> Identity {
        let credential = Credential::from_key("k1:sesame").expect("a key");
        Identity { user: user.map(str::to_owned), credential }
    }

    #[test]
    fn a_key_signs_each_room_of_a_stream() {
        // printf 'v1\nsubscribe\ncart-1\n*\nanna ä\n1763700000\n-' | openssl dgst -sha256 -hmac sesame
        let room = |id: &str, kind: &str| Pattern::new(id, kind).expect("a room");
        let signatures = identity(Some("anna ä"))
            .sign_subscribe(&[room("cart-1", "*"), room("cart-2", "t")], now());
        assert_eq!(
            signatures[0],
            "v1.k1.1763700000.2ca7523298abf5fd742c12e7fe4cdd45b3bc739b81dff3b8c072b7fb79b5599e"
        );
        assert_eq!(signatures.len(), 2);
        assert_ne!(signatures[0], signatures[1]);
    }

    #[test]
    fn a_key_signs_a_body_for_its_room_and_its_user() {
        // printf 'v1\npublish\ncart-1\nCartItemUpdated\nanna\n1763700000\n%s' "$HASH" | openssl …,
        // HASH the SHA-256 of {"data":1}
        let room = Room {
            id: EventId::new("cart-1").expect("id"),
            kind: EventType::new("CartItemUpdated").expect("type"),
        };
        let signature =
            identity(Some("anna")).sign_publish(&Audience::Room(room), b"{\"data\":1}", now());
        assert_eq!(
            signature.as_deref(),
            Some(
                "v1.k1.1763700000.0c5532bb87bddd6e9c194d9c315b36742fb048d94266f40449af4513ca45fb87.b"
            )
        );
    }

    #[test]
    fn of_a_file_of_keys_the_first_that_has_not_ended_signs() {
        let kid = |text| match Credential::from_keys(text, now()) {
            Ok(Credential::Key(key)) => Ok(key.kid().to_owned()),
            Ok(_) => panic!("no key"),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(kid("only:sesame\n"), Ok("only".to_owned()));
        assert_eq!(kid("old:a:2020-01-01\nnow:b:2100-01-01\nnext:c\n"), Ok("now".to_owned()));
        assert_eq!(kid("old:a:2020-01-01"), Err("every key has ended".to_owned()));
        assert!(kid("sesame").is_err_and(|error| !error.contains("sesame")));
    }

    #[test]
    fn nothing_shows_a_credential() {
        let given = Credential::Given(vec!["v1.sesame".into()]);
        assert!(!format!("{given:?} {:?}", identity(None)).contains("sesame"));
        let error = Credential::from_key("sesame").expect_err("no key");
        assert!(!error.to_string().contains("sesame"));
        assert!(Credential::from_key("a:1,b:2").is_err(), "which of them would sign?");
    }
}
