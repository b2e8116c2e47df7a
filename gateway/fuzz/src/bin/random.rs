//! Targets by the million, from a seed.
//!
//! ```text
//! fuzz-random [--count N] [--threads N] [--seed N] [TARGET…]   runs them, prints a table
//! fuzz-random --list                                           names the targets
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]
#![expect(clippy::disallowed_types, reason = "real time is what is measured")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use tidegate_fuzz::dice::Dice;
use tidegate_fuzz::{Outcome, TARGETS, Target, mutate, target};

/// How many inputs that made a target panic are shown.
const MOST_SHOWN: usize = 3;

struct Arguments {
    count: u64,
    threads: u64,
    seed: u64,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    match read_arguments() {
        Ok(Some(arguments)) => run_all(&arguments),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn read_arguments() -> Result<Option<Arguments>, String> {
    let mut read = Arguments { count: 100_000, threads: 1, seed: 1, targets: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
        match word.as_str() {
            "--count" => read.count = number(value()?)?,
            "--threads" => read.threads = number(value()?)?.max(1),
            "--seed" => read.seed = number(value()?)?,
            "--list" => {
                TARGETS.iter().for_each(|target| println!("{}", target.name));
                return Ok(None);
            }
            name => {
                read.targets.push(target(name).ok_or(format!("there is no target {name:?}"))?);
            }
        }
    }
    if read.targets.is_empty() {
        read.targets = TARGETS.iter().collect();
    }
    Ok(Some(read))
}

/// What became of a target's inputs.
#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
    panics: u64,
    /// The first inputs that made it panic.
    shown: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.panics += other.panics;
        self.shown.extend(other.shown);
        for (reason, number) in other.refused {
            *self.refused.entry(reason).or_default() += number;
        }
    }
}

fn run_all(arguments: &Arguments) -> ExitCode {
    // A panic is counted and its input shown; a backtrace for each would bury that.
    std::panic::set_hook(Box::new(|_| ()));
    println!("| parser | inputs | accepted | refused | panics | time |");
    println!("| --- | ---: | ---: | --- | ---: | ---: |");
    let mut panics = 0;
    let mut shown = Vec::new();
    for target in &arguments.targets {
        let began = Instant::now();
        let tally = run(target, arguments);
        let took = began.elapsed().as_secs_f64();
        let refused = tally.refused.iter().map(|(reason, number)| format!("{reason} {number}"));
        let refused = refused.collect::<Vec<_>>().join(", ");
        let Tally { accepted, panics: of_target, .. } = tally;
        println!(
            "| {} | {} | {accepted} | {refused} | {of_target} | {took:.1} s |",
            target.name, arguments.count
        );
        panics += of_target;
        shown.extend(
            tally.shown.into_iter().take(MOST_SHOWN).map(|s| format!("{}: {s}", target.name)),
        );
    }
    for line in shown {
        eprintln!("{line}");
    }
    if panics == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(target: &Target, arguments: &Arguments) -> Tally {
    let share = |thread: u64| {
        arguments.count / arguments.threads
            + u64::from(thread < arguments.count % arguments.threads)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads)
            .map(|thread| {
                let dice = Dice::new(arguments.seed ^ thread.rotate_right(16));
                scope.spawn(move || run_some(target, dice, share(thread)))
            })
            .collect();
        let mut tally = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(some) => tally.add(some),
                Err(_) => tally.panics += 1,
            }
        }
        tally
    })
}

fn run_some(target: &Target, mut dice: Dice, count: u64) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..count {
        let input = mutate::input(target, &mut dice);
        match catch_unwind(AssertUnwindSafe(|| (target.check)(&input))) {
            Ok(Outcome::Accepted) => tally.accepted += 1,
            Ok(Outcome::Refused(reason)) => *tally.refused.entry(reason).or_default() += 1,
            Err(panic) => {
                tally.panics += 1;
                if tally.shown.len() < MOST_SHOWN {
                    let why = panic.downcast_ref::<String>().map(String::as_str);
                    let why = why.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                    tally.shown.push(format!("{why}\n  {}", input.escape_ascii()));
                }
            }
        }
    }
    tally
}
