//! One target, guided by coverage. libFuzzer has the `main` and reads its own flags; the target is
//! the last argument, after `-ignore_remaining_args=1`. `gateway/fuzz/run` starts it.

#![no_main]

use std::sync::OnceLock;

use tidegate_fuzz::{Target, target};

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::args().next_back().unwrap_or_default();
        target(&name).unwrap_or_else(|| panic!("there is no target {name:?}"))
    });
    let _ = (target.check)(input);
});
