//! The text of a signature, and what it is computed over.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::keys::{Key, is_kid};
use crate::event::{EventId, EventType, NameError};

/// The longest text that can be a signature: `v1`, a key's name, a u64, 64 digits and `b`.
pub const MAX_SIGNATURE_BYTES: usize = 2 + 1 + 32 + 1 + 20 + 1 + 64 + 2;

/// What a signature allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To read a room, live or from its history.
    Subscribe,
    /// To publish to a room or to all.
    Publish,
}

impl Action {
    /// The action as it is signed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
        }
    }
}

/// Everything that a signature is over. The texts are names that were checked: without LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// What may be done.
    pub action: Action,
    /// The event id, or `*`.
    pub id: &'a str,
    /// The event type, or `*`.
    pub kind: &'a str,
    /// As whom; empty for nobody.
    pub user: &'a str,
    /// Until when, in Unix seconds.
    pub expires_at: u64,
    /// The SHA-256 of the body, if that is signed.
    pub body_hash: Option<[u8; 32]>,
}

impl Claim<'_> {
    /// Signs the claim: `v1.<kid>.<expiry>.<hex>`, with `.b` if it has a body's hash.
    #[must_use]
    pub fn sign(&self, key: &Key) -> String {
        let mac = hex(&self.mac(key).finalize().into_bytes());
        let suffix = if self.body_hash.is_some() { ".b" } else { "" };
        format!("v1.{}.{}.{mac}{suffix}", key.kid(), self.expires_at)
    }

    /// Whether `signature` was made over this claim with `key`. Takes the same time wherever the
    /// two differ.
    pub(super) fn is_signed(&self, key: &Key, signature: &Signature<'_>) -> bool {
        self.mac(key).verify_slice(&signature.mac).is_ok()
    }

    fn mac(&self, key: &Key) -> Hmac<Sha256> {
        let expiry = self.expires_at.to_string();
        let hash = self.body_hash.map_or_else(|| "-".to_owned(), |hash| hex(&hash));
        key.mac().chain_update(
            ["v1", self.action.as_str(), self.id, self.kind, self.user, &expiry, &hash].join("\n"),
        )
    }
}

/// Checks that some request is covered by a signature for this id and type, before it is made.
///
/// # Errors
/// A name that no room can have, or a scope that nothing asks for.
pub fn check_scope(action: Action, id: &str, kind: &str) -> Result<(), ScopeError> {
    if kind != "*" {
        EventType::new(kind)?;
    }
    match (action, id, kind) {
        (_, "*", "*") | (Action::Publish, "*", _) => Ok(()),
        (Action::Subscribe, "*", _) => Err(ScopeError::TypeOfAll),
        _ => Ok(EventId::new(id).map(drop)?),
    }
}

/// Why nothing could be done with a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `*` and a type, which only broadcasts have.
    #[error("to subscribe, '*' as event id goes with '*' as type only")]
    TypeOfAll,
}

/// The SHA-256 of a body, as a claim has it.
#[must_use]
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// A signature of the form that `auth.legacy_signature` allows: lower-case hex of the HMAC of
/// `event_id:event_type`.
#[must_use]
pub fn sign_legacy(key: &Key, id: &str, kind: &str) -> String {
    hex(&legacy_mac(key, id, kind).finalize().into_bytes())
}

/// Whether `mac` is [`sign_legacy`]'s, in constant time. An id with `:` could be split elsewhere.
pub(super) fn is_legacy_signed(key: &Key, id: &str, kind: &str, mac: &[u8; 32]) -> bool {
    !id.contains(':') && legacy_mac(key, id, kind).verify_slice(mac).is_ok()
}

fn legacy_mac(key: &Key, id: &str, kind: &str) -> Hmac<Sha256> {
    key.mac().chain_update(id).chain_update(":").chain_update(kind)
}

/// A signature as it came from a client: well-formed, and nothing more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The name of the key.
    pub kid: &'a str,
    /// The Unix second from which it is no longer valid.
    pub expires_at: u64,
    /// Whether it is over the body's hash as well.
    pub signs_body: bool,
    mac: [u8; 32],
}

impl<'a> Signature<'a> {
    /// Reads `v1.<kid>.<expiry>.<hex>` or `v1.<kid>.<expiry>.<hex>.b`. Each signature has exactly
    /// one spelling.
    ///
    /// # Errors
    /// [`SignatureError`] says which part is wrong, and nothing of what it was.
    pub fn parse(text: &'a str) -> Result<Self, SignatureError> {
        if text.len() > MAX_SIGNATURE_BYTES {
            return Err(SignatureError::TooLong);
        }
        let mut parts = text.split('.');
        if parts.next() != Some("v1") {
            return Err(SignatureError::Version);
        }
        let (Some(kid), Some(expiry), Some(mac)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(SignatureError::Parts);
        };
        let signs_body = match (parts.next(), parts.next()) {
            (None, _) => false,
            (Some("b"), None) => true,
            _ => return Err(SignatureError::Parts),
        };
        if !is_kid(kid) {
            return Err(SignatureError::Kid);
        }
        let expires_at = parse_decimal(expiry).ok_or(SignatureError::Expiry)?;
        let mac = parse_hex(mac).ok_or(SignatureError::Hex)?;
        Ok(Self { kid, expires_at, signs_body, mac })
    }
}

impl fmt::Debug for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature")
            .field("kid", &self.kid)
            .field("expires_at", &self.expires_at)
            .field("signs_body", &self.signs_body)
            .finish_non_exhaustive()
    }
}

/// Why a text is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// More bytes than any signature has.
    #[error("it is longer than any signature")]
    TooLong,
    /// It does not start with `v1.`.
    #[error("it does not start with 'v1.'")]
    Version,
    /// Not four parts, nor five with `b` as the last.
    #[error("it is not v1.<kid>.<expiry>.<hex>, nor that with '.b'")]
    Parts,
    /// The key's name.
    #[error("its kid is not 1 to 32 of A-Z, a-z, 0-9, '_' and '-'")]
    Kid,
    /// The expiry.
    #[error("its expiry is not Unix seconds in decimal without a sign or leading zeros")]
    Expiry,
    /// The HMAC.
    #[error("its last part is not 64 lower-case hex digits")]
    Hex,
}

/// A decimal number in its only spelling: no sign, no leading zero.
fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// 32 bytes from lower-case hex.
pub(super) fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 0xF])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::Keys;

    const EXPIRY: u64 = 1_763_700_000;

    fn key() -> std::sync::Arc<Key> {
        Keys::parse("k1:sesame").expect("keys").get("k1").expect("k1").clone()
    }

    fn claim(action: Action, id: &'static str, kind: &'static str) -> Claim<'static> {
        Claim { action, id, kind, user: "", expires_at: EXPIRY, body_hash: None }
    }

    /// Each computed by `printf '<lines>' | openssl dgst -sha256 -hmac sesame`, where `<lines>` are
    /// those in the comment.
    #[test]
    fn signatures_are_what_openssl_computes() {
        for (claim, want) in [
            (
                // v1\nsubscribe\ncart-1\nCartItemUpdated\n\n1763700000\n-
                claim(Action::Subscribe, "cart-1", "CartItemUpdated"),
                "v1.k1.1763700000.\
                 7e9872e9dbc709137e6213ccc11bdca122a4717ce1b0fb3d3085ad280b745fd7",
            ),
            (
                // v1\nsubscribe\ncart-1\n*\nanna ä\n1763700000\n-
                Claim { user: "anna ä", ..claim(Action::Subscribe, "cart-1", "*") },
                "v1.k1.1763700000.\
                 2ca7523298abf5fd742c12e7fe4cdd45b3bc739b81dff3b8c072b7fb79b5599e",
            ),
            (
                // v1\npublish\n*\n*\n\n1763700000\n-
                claim(Action::Publish, "*", "*"),
                "v1.k1.1763700000.\
                 66b0e8479af5dd5ccc04b847a47e861a01da75077eb29735c25f02383b2d900e",
            ),
            (
                // v1\npublish\ncart-1\nCartItemUpdated\nanna\n1763700000\n$H where
                // H=$(printf '{"data":1}' | openssl dgst -sha256 | sed 's/.*= //')
                Claim {
                    user: "anna",
                    body_hash: Some(body_hash(b"{\"data\":1}")),
                    ..claim(Action::Publish, "cart-1", "CartItemUpdated")
                },
                "v1.k1.1763700000.\
                 0c5532bb87bddd6e9c194d9c315b36742fb048d94266f40449af4513ca45fb87.b",
            ),
        ] {
            assert_eq!(claim.sign(&key()), want);
            let signature = Signature::parse(want).expect("well-formed");
            assert_eq!((signature.kid, signature.expires_at), ("k1", EXPIRY));
            assert_eq!(signature.signs_body, claim.body_hash.is_some());
            assert!(claim.is_signed(&key(), &signature));
            assert!(!Claim { user: "other", ..claim }.is_signed(&key(), &signature));
        }
        // printf 'cart-1:CartItemUpdated' | openssl dgst -sha256 -hmac sesame
        let legacy = "be7f78c247c19741b126aba299c01831553f5cce2bfcbbbfede7f9d0007c6081";
        assert_eq!(sign_legacy(&key(), "cart-1", "CartItemUpdated"), legacy);
        let mac = parse_hex(legacy).expect("hex");
        assert!(is_legacy_signed(&key(), "cart-1", "CartItemUpdated", &mac));
        assert!(!is_legacy_signed(&key(), "cart-2", "CartItemUpdated", &mac));
    }

    #[test]
    fn a_legacy_id_with_a_colon_is_never_signed() {
        let mac = parse_hex(&sign_legacy(&key(), "a:b", "c")).expect("hex");
        assert!(is_legacy_signed(&key(), "a", "b:c", &mac));
        assert!(!is_legacy_signed(&key(), "a:b", "c", &mac));
    }

    #[test]
    fn only_scopes_that_something_asks_for_are_worth_signing() {
        for (id, kind) in [("e", "t"), ("e", "*"), ("*", "*")] {
            assert_eq!(check_scope(Action::Subscribe, id, kind), Ok(()));
            assert_eq!(check_scope(Action::Publish, id, kind), Ok(()));
        }
        assert_eq!(check_scope(Action::Publish, "*", "t"), Ok(()));
        assert_eq!(check_scope(Action::Subscribe, "*", "t"), Err(ScopeError::TypeOfAll));
        for (id, kind) in [("", "t"), ("e", "a/b"), (".", "*"), ("*", "open")] {
            let refused = check_scope(Action::Publish, id, kind);
            assert!(matches!(refused, Err(ScopeError::Name(_))), "{id} {kind}");
        }
    }

    #[test]
    fn only_one_spelling_of_a_signature_is_taken() {
        let hex = "0123456789abcdef".repeat(4);
        let good = format!("v1.k.17.{hex}");
        assert!(Signature::parse(&good).is_ok());
        assert!(Signature::parse(&format!("{good}.b")).is_ok());
        for (text, error) in [
            (String::new(), SignatureError::Version),
            (format!("v2.k.17.{hex}"), SignatureError::Version),
            (format!(" {good}"), SignatureError::Version),
            ("v1".to_owned(), SignatureError::Parts),
            ("v1.k.17".to_owned(), SignatureError::Parts),
            (format!("{good}.c"), SignatureError::Parts),
            (format!("{good}."), SignatureError::Parts),
            (format!("{good}.b.b"), SignatureError::Parts),
            (format!("v1..17.{hex}"), SignatureError::Kid),
            (format!("v1.k k.17.{hex}"), SignatureError::Kid),
            (format!("v1.{}.17.{hex}", "k".repeat(33)), SignatureError::Kid),
            (format!("v1.k..{hex}"), SignatureError::Expiry),
            (format!("v1.k.017.{hex}"), SignatureError::Expiry),
            (format!("v1.k.+17.{hex}"), SignatureError::Expiry),
            (format!("v1.k.18446744073709551616.{hex}"), SignatureError::Expiry),
            (format!("v1.k.17.{}", hex.to_uppercase()), SignatureError::Hex),
            (format!("v1.k.17.{}", &hex[1..]), SignatureError::Hex),
            (format!("v1.k.17.{hex}0"), SignatureError::Hex),
            ("v".repeat(MAX_SIGNATURE_BYTES + 1), SignatureError::TooLong),
        ] {
            assert_eq!(Signature::parse(&text), Err(error), "{text}");
        }
        let longest = format!("v1.{}.{}.{hex}.b", "k".repeat(32), u64::MAX);
        assert_eq!(longest.len(), MAX_SIGNATURE_BYTES);
        assert!(Signature::parse(&longest).is_ok());
    }

    #[test]
    fn debug_does_not_show_what_would_let_another_in() {
        let text = claim(Action::Publish, "*", "*").sign(&key());
        let shown = format!("{:?}", Signature::parse(&text).expect("well-formed"));
        assert!(shown.contains("k1") && !shown.contains("66b0"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_it_takes_is_the_only_spelling(
            text in r"v1\.[a-z_]{1,3}\.[0-9+]{1,4}\.([0-9a-f]{64}|[0-9a-fA-F]{62,65})(\.b)?"
        ) {
            if let Ok(signature) = Signature::parse(&text) {
                let suffix = if signature.signs_body { ".b" } else { "" };
                let (kid, expiry) = (signature.kid, signature.expires_at);
                let again = format!("v1.{kid}.{expiry}.{}{suffix}", hex(&signature.mac));
                prop_assert_eq!(again, text);
            }
        }

        #[test]
        fn arbitrary_text_is_refused(text in any::<String>()) {
            prop_assert!(Signature::parse(&text).is_err());
        }
    }
}
