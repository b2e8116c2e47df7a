//! One target, guided by coverage. libFuzzer has the `main` and reads its own flags; ours follow its
//! `-ignore_remaining_args=1`. `gateway/fuzz/run` starts it.
//!
//! ```text
//! fuzz-guided … -ignore_remaining_args=1 TARGET            fuzzes it
//! fuzz-guided … -ignore_remaining_args=1 TARGET DIRECTORY  writes inputs to begin with
//! fuzz-guided … -ignore_remaining_args=1                   names the targets
//! ```

#![no_main]
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::process::exit;
use std::sync::OnceLock;

use tidegate_fuzz::dice::Dice;
use tidegate_fuzz::{TARGETS, Target, target};

/// How many inputs a run begins with.
const CORPUS: u64 = 200;

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: begin(),
    |input: &[u8]| {
        if let Some(target) = TARGET.get() {
            let _ = (target.check)(input);
        }
    }
);

fn begin() {
    let ours = std::env::args().skip_while(|word| word != "-ignore_remaining_args=1");
    let ours: Vec<String> = ours.skip(1).collect();
    let [name, directory @ ..] = &ours[..] else {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        exit(0);
    };
    let target = target(name).unwrap_or_else(|| panic!("there is no target {name:?}"));
    let _ = TARGET.set(target);
    if let [directory, ..] = directory {
        let mut dice = Dice::new(1);
        for n in 0..CORPUS {
            let path = format!("{directory}/{n:03}");
            std::fs::write(&path, (target.make)(&mut dice))
                .unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        exit(0);
    }
}
