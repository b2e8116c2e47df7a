//! What a row's runs came to, and what they say together.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::figures::Figure;
use crate::row::{Against, Case, Row, Target};
use crate::server::Kind;
use crate::stats::Estimate;

/// A row's runs.
#[derive(Debug)]
pub struct Outcome {
    /// The row.
    pub row: &'static Row,
    /// What each case's runs came to, by the number of the pair.
    pub runs: Vec<(Case, BTreeMap<u32, Value>)>,
    /// System calls per delivery, of one run.
    pub syscalls: Vec<(Kind, f64)>,
}

/// A target, and what was found.
#[derive(Debug)]
pub struct Verdict {
    /// The target.
    pub target: Target,
    /// What was measured, if it was.
    pub found: Option<Estimate>,
}

impl Verdict {
    /// Whether it was reached; `None` if it was not measured.
    #[must_use]
    pub fn is_reached(&self) -> Option<bool> {
        Some(self.found?.median <= self.target.most)
    }
}

impl Outcome {
    fn of(&self, case: Case) -> Option<&BTreeMap<u32, Value>> {
        self.runs.iter().find(|(of, _)| *of == case).map(|(_, runs)| runs)
    }

    /// A case's figure over its pairs. Of system calls there is one run only.
    #[must_use]
    pub fn figure(&self, case: Case, figure: Figure) -> Option<Estimate> {
        if figure == Figure::Syscalls {
            let calls = self.syscalls.iter().find(|(kind, _)| Case::of(*kind) == case);
            return Estimate::of(&[calls?.1]);
        }
        let values: Option<Vec<f64>> =
            self.of(case)?.values().map(|run| figure.read(run)).collect();
        Estimate::of(&values?)
    }

    /// What two cases' figures come to together, pair by pair; `None` if one of them is missing in
    /// a pair that both were in.
    fn both(
        &self,
        case: Case,
        other: Case,
        figure: Figure,
        together: impl Fn(f64, f64) -> Option<f64>,
    ) -> Option<Estimate> {
        let (runs, others) = (self.of(case)?, self.of(other)?);
        let pairs = runs.iter().filter_map(|(pair, run)| Some((run, others.get(pair)?)));
        let values: Option<Vec<f64>> =
            pairs.map(|(run, other)| together(figure.read(run)?, figure.read(other)?)).collect();
        Estimate::of(&values?)
    }

    /// A target and what was found.
    #[must_use]
    pub fn judge(&self, target: Target) -> Verdict {
        let gateway = Case::of(self.row.gateway);
        let without = Case { without: true, ..gateway };
        let ratio = |figure: f64, other: f64| (other > 0.0).then(|| figure / other);
        let found = match target.against {
            Against::Nothing if target.figure == Figure::Amiss => {
                self.worst(gateway, target.figure)
            }
            Against::Nothing => self.figure(gateway, target.figure),
            Against::Server(kind) => self.both(gateway, Case::of(kind), target.figure, ratio),
            Against::Without => self.both(gateway, without, target.figure, ratio),
            Against::More(each) => self.both(gateway, without, target.figure, |figure, other| {
                Some((figure - other) / each)
            }),
        };
        Verdict { target, found }
    }

    /// The largest of all runs: one lost event is one too many.
    fn worst(&self, case: Case, figure: Figure) -> Option<Estimate> {
        let values = self.of(case)?.values().map(|run| figure.read(run));
        let worst = values.collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::max)?;
        Estimate::of(&[worst])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rows;

    fn runs(case: Case, name: &str, values: &[(u32, f64)]) -> (Case, BTreeMap<u32, Value>) {
        let run = |value: f64| match name {
            "cpu" => json!({"server": {"cpu": {"us_per_delivery": value}}}),
            "memory" => json!({"server": {"memory": {"pss_bytes": value * 1_048_576.0}}}),
            _ => json!({"lost": value, "doubled": 0, "out_of_order": 0}),
        };
        (case, values.iter().map(|(pair, value)| (*pair, run(*value))).collect())
    }

    fn target(figure: Figure, most: f64, against: Against) -> Target {
        Target { figure, most, against }
    }

    fn found(outcome: &Outcome, target: Target) -> Option<(f64, f64, f64)> {
        outcome.judge(target).found.map(|e| (e.median, e.low, e.high))
    }

    #[test]
    fn ratios_are_those_of_the_pairs_that_both_were_in() {
        let outcome = Outcome {
            row: &rows::ROWS[0],
            runs: vec![
                runs(Case::of(Kind::Tidegate), "cpu", &[(0, 2.0), (1, 40.0), (2, 6.0)]),
                runs(Case::of(Kind::Floor), "cpu", &[(0, 1.0), (1, 10.0), (2, 3.0)]),
                runs(Case::of(Kind::Axum), "cpu", &[(1, 80.0)]),
            ],
            syscalls: vec![(Kind::Floor, 1.0)],
        };
        let ratio = |kind| target(Figure::Cpu, 1.15, Against::Server(kind));
        assert_eq!(found(&outcome, ratio(Kind::Floor)), Some((2.0, 2.0, 4.0)));
        assert_eq!(outcome.judge(ratio(Kind::Floor)).is_reached(), Some(false));
        assert_eq!(found(&outcome, ratio(Kind::Axum)), Some((0.5, 0.5, 0.5)));
        assert_eq!(outcome.judge(ratio(Kind::Axum)).is_reached(), Some(true));
        assert_eq!(outcome.judge(ratio(Kind::Nchan)).is_reached(), None);
        let calls = outcome.figure(Case::of(Kind::Floor), Figure::Syscalls);
        assert_eq!(calls.map(|e| e.median), Some(1.0));
        assert_eq!(outcome.figure(Case::of(Kind::Tidegate), Figure::Rate), None);
    }

    #[test]
    fn memory_is_what_there_is_more_with_those_who_stall() {
        let with = Case::of(Kind::Tidegate);
        let outcome = Outcome {
            row: rows::find("stalled").expect("a row"),
            runs: vec![
                runs(with, "memory", &[(0, 20.0)]),
                runs(Case { without: true, ..with }, "memory", &[(0, 10.0)]),
            ],
            syscalls: Vec::new(),
        };
        let more = target(Figure::Memory, 0.0625, Against::More(50.0));
        assert_eq!(found(&outcome, more), Some((0.2, 0.2, 0.2)));
        let times = target(Figure::Memory, 2.0, Against::Without);
        assert_eq!(found(&outcome, times), Some((2.0, 2.0, 2.0)));
    }

    #[test]
    fn one_run_that_lost_events_is_enough() {
        let outcome = Outcome {
            row: &rows::ROWS[0],
            runs: vec![runs(Case::of(Kind::Tidegate), "amiss", &[(0, 0.0), (1, 0.0), (2, 3.0)])],
            syscalls: Vec::new(),
        };
        let verdict = outcome.judge(target(Figure::Amiss, 0.0, Against::Nothing));
        assert_eq!(
            (verdict.found.map(|e| e.median), verdict.is_reached()),
            (Some(3.0), Some(false))
        );
    }
}
