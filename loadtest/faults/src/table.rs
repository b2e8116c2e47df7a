//! Every fault once, as Markdown.

use std::fmt;

use tidegate_swarm::sequence::Faults;

use crate::fault::Fault;
use crate::report::Outcome;
use crate::store::LogKind;

/// The rows of one log.
#[derive(Debug)]
pub struct Table {
    log: LogKind,
    rows: Vec<String>,
}

impl Table {
    /// One without rows.
    #[must_use]
    pub fn new(log: LogKind) -> Self {
        Self { log, rows: Vec::new() }
    }

    /// Adds what came of a fault.
    pub fn add(&mut self, fault: Fault, seed: u64, outcome: &Outcome) {
        let name = fault.name();
        let log = format!("{:?}", self.log).to_lowercase();
        let command = format!("`faults run --log {log} --once --fault {name} --seed {seed}`");
        let how = fault.how();
        if let Some((_, why)) = outcome.not_tried.first() {
            self.rows.push(format!("| {name} | {how} | {command} | not tried: {why} | | | | | |"));
            return;
        }
        let Faults { lost, doubled, out_of_order, .. } = outcome.faults;
        let gaps = match outcome.gaps.len() {
            0 => "0".to_owned(),
            _ => {
                let each = outcome.gap_counts().into_iter();
                each.map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join("; ")
            }
        };
        let surprises = match outcome.surprises.len() {
            0 => String::new(),
            n => format!("; {n} surprises"),
        };
        self.rows.push(format!(
            "| {name} | {how} | {command} | {} | {lost} / {doubled} / {out_of_order} | \
             {gaps}{surprises} | {} | {:.1} s | {:.1} s |",
            outcome.acknowledged,
            outcome.reconnects,
            outcome.silence.as_secs_f64(),
            outcome.delay.as_secs_f64()
        ));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | how | command | acknowledged | lost / doubled / out of order | gaps | \
             reconnects | longest silence | longest delay |\n| --- | --- | --- | --- | --- | --- | --- | --- \
             | --- |"
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
