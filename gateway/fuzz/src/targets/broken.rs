//! No parser: what fails on purpose, so that it is seen that a run then fails.

use crate::Outcome;
use crate::dice::Dice;

/// What it is made of, and what breaks it.
pub const TOKENS: &[&str] = &["a", "bb", "!"];

/// Letters. The input that fails has to be found.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    (0..=dice.below(8)).map(|_| b'a' + dice.below(26) as u8).collect()
}

/// Takes text and refuses what is none.
///
/// # Panics
/// At an exclamation mark.
pub fn check(input: &[u8]) -> Outcome {
    assert!(!input.contains(&b'!'), "broken on purpose");
    match std::str::from_utf8(input) {
        Ok(_) => Outcome::Accepted,
        Err(_) => Outcome::Refused("no text"),
    }
}
