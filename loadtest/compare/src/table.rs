//! The outcome as Markdown: a table a row, and one line a target for all of them.

use std::fmt::Write as _;

use crate::figures::Figure;
use crate::outcome::{Outcome, Verdict};
use crate::row::{Against, Case};
use crate::stats::Estimate;

/// A row's table, and what the gateway has to reach.
#[must_use]
pub fn markdown(outcome: &Outcome) -> String {
    let row = outcome.row;
    let mut text = format!("### {}: {}\n\n|  |", row.name, row.title);
    let is_known = |figure: &Figure| {
        outcome.runs.iter().any(|(case, _)| outcome.figure(*case, *figure).is_some())
    };
    let columns: Vec<Figure> = row.figures.iter().copied().filter(is_known).collect();
    for column in &columns {
        let _ = write!(text, " {column} |");
    }
    text += "\n| --- |";
    text += &" ---: |".repeat(columns.len());
    for (case, _) in &outcome.runs {
        let _ = write!(text, "\n| {} |", name(outcome, *case));
        for column in &columns {
            let cell = outcome.figure(*case, *column).map_or_else(
                || "–".to_owned(),
                |estimate| format!("{:.*}", column.digits(), estimate.median),
            );
            let _ = write!(text, " {cell} |");
        }
    }
    text += "\n";
    for kind in row.peers.iter().filter(|kind| !kind.is_there()) {
        let _ = write!(text, "\n{kind} is not installed here.\n");
    }
    let targets = row.all_targets();
    if !targets.is_empty() {
        text += "\n";
    }
    for target in targets {
        let verdict = outcome.judge(target);
        let _ = writeln!(
            text,
            "- {}: {}, at most {}: {}",
            what(outcome, &verdict),
            found(&verdict),
            most(&verdict),
            said(&verdict)
        );
    }
    text
}

/// One line a target, of all rows.
#[must_use]
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut text =
        "### Summary\n\n| row | figure | found | at most | |\n| --- | --- | --- | ---: | --- |\n"
            .to_owned();
    let (mut reached, mut all) = (0, 0);
    for outcome in outcomes {
        for target in outcome.row.all_targets() {
            let verdict = outcome.judge(target);
            all += 1;
            reached += usize::from(verdict.is_reached() == Some(true));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                outcome.row.name,
                what(outcome, &verdict),
                found(&verdict),
                most(&verdict),
                said(&verdict)
            );
        }
    }
    let _ = writeln!(text, "\n{reached} of {all} reached.");
    text
}

fn name(outcome: &Outcome, case: Case) -> String {
    match outcome.row.without {
        Some((title, _)) if case.without => format!("{}, {title}", case.kind),
        _ => case.kind.to_string(),
    }
}

/// What is looked at, and against whom.
fn what(outcome: &Outcome, Verdict { target, .. }: &Verdict) -> String {
    let (figure, row) = (target.figure, outcome.row);
    let without = row.without.map_or("", |(title, _)| title);
    match target.against {
        Against::Nothing => figure.to_string(),
        Against::Server(kind) if row.peers.contains(&kind) => format!("{figure}, ahead of {kind}"),
        Against::Server(kind) => format!("{figure} × {kind}"),
        Against::Without => format!("{figure} × {without}"),
        Against::More(each) => format!("{figure} more than {without}, each of {each:.0}"),
    }
}

fn found(verdict: &Verdict) -> String {
    let Some(Estimate { median, low, high, is_confident }) = verdict.found else {
        return "not measured".to_owned();
    };
    let digits = digits(verdict);
    let interval = if is_confident { "95 %" } else { "all runs" };
    format!("{median:.digits$} ({interval}: {low:.digits$} to {high:.digits$})")
}

fn most(verdict: &Verdict) -> String {
    verdict.target.most.to_string()
}

/// A ratio has two digits behind the point.
fn digits(verdict: &Verdict) -> usize {
    match verdict.target.against {
        Against::Nothing => verdict.target.figure.digits(),
        Against::More(_) => 4,
        _ => 2,
    }
}

fn said(verdict: &Verdict) -> &'static str {
    match verdict.is_reached() {
        Some(true) => "reached",
        Some(false) => "NOT reached",
        None => "–",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::rows;
    use crate::server::Kind;

    fn outcome() -> Outcome {
        let run = |us: f64| {
            let cpu = json!({"us_per_delivery": us, "user_us_per_delivery": 0.25});
            let json = json!({"server": {"cpu": cpu}, "lost": 0, "doubled": 0, "out_of_order": 0});
            BTreeMap::from([(0, json)])
        };
        Outcome {
            row: rows::find("paced").expect("a row"),
            runs: [(Kind::Tidegate, 3.0), (Kind::Floor, 2.0), (Kind::Axum, 6.0)]
                .map(|(kind, us)| (Case::of(kind), run(us)))
                .into(),
            syscalls: Vec::new(),
        }
    }

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|l| l == *line), "{line}\nin\n{text}");
        }
    }

    #[test]
    fn what_is_not_reached_is_said() {
        let lines = [
            "|  | CPU µs/delivery | user µs | amiss |",
            "| tidegate | 3.00 | 0.25 | 0 |",
            "| floor, one write each | 2.00 | 0.25 | 0 |",
            "- amiss: 0 (all runs: 0 to 0), at most 0: reached",
            "- CPU µs/delivery × floor, one write each: 1.50 (all runs: 1.50 to 1.50), at most 1.15: NOT reached",
            "- user µs: 0.25 (all runs: 0.25 to 0.25), at most 0.5: reached",
            "- syscalls/delivery: not measured, at most 1.01: –",
            "- CPU µs/delivery, ahead of plain axum: 0.50 (all runs: 0.50 to 0.50), at most 1: reached",
        ];
        assert_lines(&markdown(&outcome()), &lines);
    }

    #[test]
    fn the_summary_has_a_line_for_every_target() {
        let text = summary(&[outcome()]);
        let lines = [
            "| paced | amiss | 0 (all runs: 0 to 0) | 0 | reached |",
            "| paced | CPU µs/delivery × floor, one write each | 1.50 (all runs: 1.50 to 1.50) | 1.15 | NOT reached |",
            "| paced | syscalls/delivery | not measured | 1.01 | – |",
        ];
        assert_lines(&text, &lines);
        assert!(text.contains("\n3 of "), "{text}");
    }
}
