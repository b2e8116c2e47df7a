//! The outcome as Markdown.

use std::fmt::Write as _;

use crate::figures::Figure;
use crate::row::Target;
use crate::run::Outcome;
use crate::server::Kind;
use crate::stats::Estimate;

/// A row's table, and what it has to reach.
#[must_use]
pub fn markdown(outcome: &Outcome) -> String {
    let row = outcome.row;
    let mut text = format!("### {}\n\n|  |", row.title);
    let columns: Vec<Figure> = row
        .figures
        .iter()
        .copied()
        .filter(|figure| {
            outcome.runs.iter().any(|(kind, _)| outcome.figure(*kind, *figure).is_some())
        })
        .collect();
    for column in &columns {
        let _ = write!(text, " {column} |");
    }
    text += "\n| --- |";
    text += &" ---: |".repeat(columns.len());
    for (kind, _) in &outcome.runs {
        let _ = write!(text, "\n| {kind} |");
        for column in &columns {
            let cell = outcome.figure(*kind, *column).map_or_else(
                || "–".to_owned(),
                |estimate| format!("{:.*}", column.digits(), estimate.median),
            );
            let _ = write!(text, " {cell} |");
        }
    }
    text += "\n";
    for kind in row.others.iter().filter(|kind| !kind.is_there()) {
        let _ = write!(text, "\n{kind} is not installed here.\n");
    }
    if !row.targets.is_empty() {
        text += "\n";
    }
    for target in row.targets {
        let _ = writeln!(text, "- {}", judged(outcome, target));
    }
    text
}

/// A target and whether it was reached.
fn judged(outcome: &Outcome, target: &Target) -> String {
    let Target { figure, most, against } = *target;
    let found = match against {
        Some(other) => outcome.ratio(Kind::Tidegate, figure, other),
        None => outcome.figure(Kind::Tidegate, figure),
    };
    let compared = against.map_or_else(String::new, |other| format!(" × {other}"));
    let Some(Estimate { median, low, high, is_confident }) = found else {
        return format!("{figure}: at most {most}{compared}: not measured");
    };
    let interval = if is_confident { "95 %" } else { "all runs" };
    let verdict = if median <= most { "reached" } else { "NOT reached" };
    format!(
        "{figure}: {median:.2}{compared} ({interval}: {low:.2} to {high:.2}), at most {most}: {verdict}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::row;

    #[test]
    fn what_is_not_reached_is_said() {
        let run = |us: f64| json!({"server": {"cpu": {"us_per_delivery": us, "user_us_per_delivery": 0.25}}});
        let outcome = Outcome {
            row: row::find("paced").expect("a row"),
            runs: vec![(Kind::Tidegate, vec![run(3.0)]), (Kind::Floor, vec![run(2.0)])],
            syscalls: HashMap::new(),
        };
        let text = markdown(&outcome);
        for line in [
            "|  | CPU µs/delivery | user µs |",
            "| tidegate | 3.00 | 0.25 |",
            "| floor, one write each | 2.00 | 0.25 |",
            "- CPU µs/delivery: 1.50 × floor, one write each (all runs: 1.50 to 1.50), at most 1.15: NOT reached",
            "- user µs: 0.25 (all runs: 0.25 to 0.25), at most 0.5: reached",
            "- syscalls/delivery: at most 1.01: not measured",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nin\n{text}");
        }
    }
}
