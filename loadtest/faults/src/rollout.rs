//! How readers come back during a rolling restart.

use std::fmt::Write as _;

use crate::report::Outcome;

/// Widest bar.
const COLUMNS: u64 = 60;

/// The reconnects of each second, from the first to the last.
#[must_use]
pub fn histogram(outcome: &Outcome) -> String {
    let seconds: Vec<u64> =
        outcome.reconnects_at.iter().map(std::time::Duration::as_secs).collect();
    let (Some(&first), Some(&last)) = (seconds.first(), seconds.last()) else {
        return "nobody came back".to_owned();
    };
    let count = |second: u64| seconds.iter().filter(|&&s| s == second).count() as u64;
    let most = (first..=last).map(count).max().unwrap_or(0).max(1);
    let mut text = format!("reconnects in each second, {most} at most:\n");
    for second in first..=last {
        let count = count(second);
        let bar = "#".repeat(usize::try_from((count * COLUMNS).div_ceil(most)).unwrap_or(0));
        let _ = writeln!(text, "{second:5} s {count:6} {bar}");
    }
    text
}
