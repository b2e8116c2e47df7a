//! Payloads as LZ4 frames in base64: what goes in comes out, and its size is announced.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate::wire::coding::lz4_base64;

use super::checks;
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// What compresses well, and what does not.
pub const TOKENS: &[&str] =
    &["a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "{\"k\":", "\0", "0123456789"];

/// JSON, now and then long and repetitive.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut out = String::new();
    make::json_value(dice, 4, &mut out);
    out.repeat(1 + dice.below(40)).into_bytes()
}

/// Any bytes survive.
pub fn check(input: &[u8]) -> Outcome {
    let text = lz4_base64(input);
    assert_eq!(checks::unpacked(&text), input);
    let frame = STANDARD.decode(&text).expect("base64");
    assert!(frame.len() <= input.len() + 64, "at most a frame's own bytes more");
    // Magic number, flags with the content's size, block descriptor, the size (LZ4 frame format).
    assert_eq!(frame[..4], [0x04, 0x22, 0x4D, 0x18]);
    assert_eq!(frame[4] & 0b1000, 0b1000);
    assert_eq!(frame[6..14], (input.len() as u64).to_le_bytes());
    Outcome::Accepted
}
