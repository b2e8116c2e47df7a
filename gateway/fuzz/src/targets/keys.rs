//! Keys as settings, files and Secrets spell them.

use tidegate::auth::Keys;
use tidegate::auth::keys::{MAX_KEYS, MAX_KID_BYTES};

use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Separators, ends and what is none.
pub const TOKENS: &[&str] = &[
    ":",
    ",",
    "\n",
    "\r\n",
    "#",
    "k1",
    "k2",
    "secret",
    ":2026-11-21",
    ":1763700000",
    "2026-02-30",
    "9999-12-31",
    "-9999-01-01",
    " ",
    "\t",
    "\0",
    "18446744073709551616",
    "é",
    "k:s,",
    "::",
];

/// A few keys.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut text = String::new();
    for n in 0..dice.below(5) {
        let secret = make::name(dice).replace([':', ','], "");
        text.push_str(&format!("k{n}:s{secret}e"));
        match dice.below(4) {
            0 => text.push_str(&format!(":{}", dice.number())),
            1 => {
                let (month, day) = (dice.below(13), dice.below(32));
                text.push_str(&format!(":{:04}-{month:02}-{day:02}", dice.below(10_000)));
            }
            _ => {}
        }
        text.push_str(dice.pick(&[",", "\n", "\n# one more\n", ", "]));
    }
    text.into_bytes()
}

/// What is taken has names that signatures can carry, each once; an error shows no secret.
pub fn check(input: &[u8]) -> Outcome {
    // No part of a name, a place or a message, so that an error that shows it gives itself away.
    let text = String::from_utf8_lossy(input).replace("secret", "\u{2603}\u{2603}");
    match Keys::parse(&text) {
        Ok(keys) => {
            assert!((1..=MAX_KEYS).contains(&keys.len()));
            for key in keys.iter() {
                assert!((1..=MAX_KID_BYTES).contains(&key.kid().len()) && key.kid().is_ascii());
                assert!(
                    std::ptr::eq(&**keys.get(key.kid()).expect("the key"), &**key),
                    "one a name"
                );
                assert!(!format!("{key:?}").contains('\u{2603}'), "a secret is not shown");
                assert_eq!(key.is_live(1_763_700_000), key.end().is_none_or(|e| e > 1_763_700_000));
                assert_eq!(keys.revoked_at(key), key.end());
            }
            assert_eq!(keys.clone().join(keys.clone()), Ok(keys));
            Outcome::Accepted
        }
        Err(error) => {
            assert!(!error.to_string().contains('\u{2603}'), "a secret is not shown");
            Outcome::Refused("faults")
        }
    }
}
