//! What a run says and how it ends. That of a guided run is looked at by `gateway/fuzz/run-fails`:
//! it needs a build of its own.

use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fuzz-random")).args(words).output().expect("it runs")
}

#[test]
fn a_run_ends_with_1_when_an_input_makes_a_target_fail_and_shows_the_input() {
    let ended = run(&["--count", "2000", "--threads", "2", "duration", "broken"]);
    assert_eq!(ended.status.code(), Some(1));
    let table = String::from_utf8(ended.stdout).expect("text");
    let panics_of = |target: &str| {
        let row = table.lines().find(|line| line.starts_with(&format!("| {target} |")));
        row.and_then(|row| row.split(" | ").nth(4)?.parse::<u64>().ok()).expect("a row")
    };
    assert_eq!(panics_of("duration"), 0, "{table}");
    assert!(panics_of("broken") > 0, "{table}");
    let shown = String::from_utf8(ended.stderr).expect("text");
    assert!(shown.contains("broken: broken on purpose") && shown.contains('!'), "{shown}");
}

#[test]
fn a_run_in_which_nothing_fails_ends_with_0() {
    assert_eq!(run(&["--count", "100", "duration"]).status.code(), Some(0));
}

#[test]
fn what_fails_on_purpose_is_run_by_its_name_only() {
    let listed = String::from_utf8(run(&["--list"]).stdout).expect("text");
    assert!(listed.lines().any(|name| name == "duration") && !listed.contains("broken"));
    assert_eq!(run(&["no-such-parser"]).status.code(), Some(2));
}
