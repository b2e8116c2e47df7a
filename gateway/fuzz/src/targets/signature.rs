//! Signatures: their one spelling, and that nothing is granted that was not signed.

use std::sync::LazyLock;

use bytes::Bytes;
use tidegate::auth::credentials::Carrier;
use tidegate::auth::signature::{body_hash, sign_legacy};
use tidegate::auth::{Action, AuthError, Claim, Credentials, Keys, Rules, Signature, Verifier};
use tidegate::config::AuthMode;
use tidegate::event::{Audience, EventId, EventType, Pattern, Room, User};

use crate::Outcome;
use crate::dice::Dice;

/// Parts of signatures.
pub const TOKENS: &[&str] = &[
    "v1.",
    ".",
    ".b",
    "v1",
    "v2.",
    "k1",
    "k2",
    "old",
    "nobody",
    "1763800000",
    "0",
    "01",
    "18446744073709551615",
    "00000000000000000000000000000000",
    "f",
    "A",
    "-",
    "+1",
];

/// The present, in Unix seconds.
const NOW: u64 = 1_763_700_000;
const KEYS: &str = "k1:secret-one,k2:secret-two,old:gone:1763000000";
const BODY: &[u8] = b"{\"data\":1}";

static KEY_SET: LazyLock<Keys> = LazyLock::new(|| Keys::parse(KEYS).unwrap_or_default());

/// Everything that was ever signed: some of it good, some expired, for others or by an ended key.
static SIGNED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut signed = Vec::new();
    for key in KEY_SET.iter() {
        signed.push(sign_legacy(key, "a", "t"));
        for action in [Action::Subscribe, Action::Publish] {
            for (id, kind) in [("a", "t"), ("a", "*"), ("*", "*"), ("*", "t"), ("b", "t")] {
                for user in ["", "me", "you"] {
                    for expires_at in [NOW - 1, NOW + 60, NOW + 1_000_000] {
                        for body_hash in [None, Some(body_hash(BODY)), Some([0; 32])] {
                            let claim = Claim { action, id, kind, user, expires_at, body_hash };
                            signed.push(claim.sign(key));
                        }
                    }
                }
            }
        }
    }
    signed
});

thread_local! {
    static VERIFIERS: Vec<Verifier> = [(false, false), (true, false), (false, true), (true, true)]
        .map(|(legacy_signature, require_body_hash)| {
            let max_lifetime = Some(std::time::Duration::from_secs(3600));
            let mode = AuthMode::Hmac;
            let rules = Rules { mode, max_lifetime, require_body_hash, legacy_signature };
            Verifier::new(rules, KEY_SET.clone())
        })
        .into();
}

/// Something that was signed.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    SIGNED[dice.below(SIGNED.len())].clone().into_bytes()
}

/// What is granted was signed, letter for letter; and what is read has one spelling.
pub fn check(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let parsed = Signature::parse(&text);
    if let Ok(read) = parsed {
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(parts.len(), if read.signs_body { 5 } else { 4 });
        assert_eq!((parts[0], parts[1]), ("v1", read.kid));
        assert_eq!(parts[2], read.expires_at.to_string());
        assert!(!format!("{read:?}").contains(parts[3]), "a signature is not shown");
    }
    let (Ok(id), Ok(kind)) = (EventId::new("a"), EventType::new("t")) else {
        return Outcome::Accepted;
    };
    let room = Pattern { id: id.clone(), kind: Some(kind.clone()) };
    let audiences =
        [Audience::Room(Room { id: id.clone(), kind: kind.clone() }), Audience::Broadcast(kind)];
    let body = Bytes::from_static(BODY);
    let mut granted = 0;
    let mut first = None;
    let mut count = |outcome: Result<(), AuthError>| match outcome {
        Ok(()) => granted += 1,
        Err(error) => {
            let _ = first.get_or_insert(error.reason().as_str());
        }
    };
    for user in [None, User::new("me").ok()] {
        let carrier = Carrier::Header;
        let credentials = Credentials { signatures: vec![&text], carrier, user };
        VERIFIERS.with(|verifiers| {
            for verifier in verifiers {
                count(verifier.subscribe(std::slice::from_ref(&room), &credentials, NOW).map(drop));
                count(verifier.batch(Some(&id), &credentials, NOW).map(drop));
                for audience in &audiences {
                    count(verifier.publish(audience, &credentials, &body, NOW).map(drop));
                }
            }
        });
    }
    if granted > 0 {
        assert!(SIGNED.iter().any(|signed| *signed == *text), "granted, and never signed");
        return Outcome::Accepted;
    }
    Outcome::Refused(first.unwrap_or("none"))
}
