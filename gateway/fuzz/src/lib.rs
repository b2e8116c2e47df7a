//! One target for every parser that faces the network. A target takes any bytes, hands them to its
//! parser, and checks what comes out against what has to hold for it: that names have no control
//! characters, that a second spelling is refused, that another implementation agrees. It panics
//! when something does not hold.
//!
//! The same targets run guided by coverage (`fuzz-guided`, libFuzzer) and by the million
//! (`fuzz-random`), which makes inputs that are valid and then breaks some of them.

pub mod dice;
pub mod make;
pub mod mutate;
pub mod targets;

use dice::Dice;

/// What a parser said to an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took it.
    Accepted,
    /// It refused it, for one of few reasons.
    Refused(&'static str),
}

/// A parser, and what is known about its inputs.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Makes an input that is valid, or nearly.
    pub make: fn(&mut Dice) -> Vec<u8>,
    /// What its grammar is made of; an input is broken with these.
    pub tokens: &'static [&'static str],
    /// Parses and checks.
    pub check: fn(&[u8]) -> Outcome,
}

/// Declares the table: `"name": module` for a module of [`targets`] with `make`, `TOKENS` and
/// `check`.
macro_rules! targets {
    ($($name:literal: $module:ident,)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$(Target {
            name: $name,
            make: targets::$module::make,
            tokens: targets::$module::TOKENS,
            check: targets::$module::check,
        }),*];
    };
}

targets! {
    "publish-body": publish_body,
    "batch-line": batch_line,
    "batch-lines": batch_lines,
    "json": json,
    "cursor": cursor,
    "resume": resume,
    "signature": signature,
    "keys": keys,
    "credentials": credentials,
    "target": target,
    "from": from,
    "delivery": delivery,
    "peer": peer,
    "record": record,
    "foreign": foreign,
    "redis-entry": redis_entry,
    "stream": stream,
    "answer": answer,
    "lz4": lz4,
    "duration": duration,
    "settings": settings,
}

/// A target that fails on purpose: it shows that a run then fails, and is none of [`TARGETS`].
pub const BROKEN: Target = Target {
    name: "broken",
    make: targets::broken::make,
    tokens: targets::broken::TOKENS,
    check: targets::broken::check,
};

/// The target called `name`.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().chain([&BROKEN]).find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn every_target_takes_some_of_its_inputs_and_refuses_some() {
        for target in TARGETS {
            let mut dice = Dice::new(7);
            let (mut accepted, mut refused) = (0, 0);
            for _ in 0..2_000 {
                let input = mutate::input(target, &mut dice);
                let outcome = catch_unwind(|| (target.check)(&input));
                match outcome.unwrap_or_else(|_| {
                    panic!("{}: {:?}", target.name, input.escape_ascii().to_string())
                }) {
                    Outcome::Accepted => accepted += 1,
                    Outcome::Refused(_) => refused += 1,
                }
            }
            assert!(accepted > 0, "{} takes nothing", target.name);
            assert!(refused > 0 || target.name == "lz4", "{} takes everything", target.name);
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let inputs = |seed| {
            let mut dice = Dice::new(seed);
            TARGETS.iter().map(|t| mutate::input(t, &mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }
}
