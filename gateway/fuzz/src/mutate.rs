//! Inputs: mostly valid ones of which something was broken, some as they were made, some mere noise.

use crate::Target;
use crate::dice::Dice;

/// The longest input, in bytes. Limits of the parsers that lie higher are tested where they are.
pub const MAX_INPUT_BYTES: usize = 4_096;

/// Makes an input for `target`.
#[must_use]
pub fn input(target: &Target, dice: &mut Dice) -> Vec<u8> {
    let mut input = match dice.below(16) {
        0 => noise(dice),
        1 => nearly(target, dice),
        2..5 => (target.make)(dice),
        _ => {
            let mut input = (target.make)(dice);
            for _ in 0..=dice.below(4) {
                change(&mut input, target, dice);
            }
            input
        }
    };
    input.truncate(MAX_INPUT_BYTES);
    input
}

fn noise(dice: &mut Dice) -> Vec<u8> {
    (0..dice.below(64)).map(|_| dice.bits() as u8).collect()
}

/// Pieces of the grammar in any order.
fn nearly(target: &Target, dice: &mut Dice) -> Vec<u8> {
    (0..dice.below(16)).flat_map(|_| dice.pick(target.tokens).bytes()).collect()
}

/// Breaks one thing.
fn change(input: &mut Vec<u8>, target: &Target, dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let end = (at + dice.below(9)).min(input.len());
    match dice.below(8) {
        0 if at < input.len() => input[at] ^= 1 << dice.below(8),
        1 if at < input.len() => input[at] = dice.bits() as u8,
        2 => input.insert(at, dice.bits() as u8),
        3 => drop(input.drain(at..end)),
        4 => {
            let again = input[at..end].to_vec();
            for _ in 0..=dice.below(8) {
                drop(input.splice(at..at, again.iter().copied()));
            }
        }
        5 => drop(input.splice(at..end, dice.pick(target.tokens).bytes())),
        6 => {
            // Crossed with another one, wherever the two are cut.
            let other = (target.make)(dice);
            let from = dice.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => drop(input.splice(at..at, dice.pick(target.tokens).bytes())),
    }
}
