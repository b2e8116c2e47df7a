//! `compare`: see the crate's documentation.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, value_parser};
use tidegate_compare::row::Row;
use tidegate_compare::rows::{self, ROWS};
use tidegate_compare::run::{Plan, Syscalls};
use tidegate_compare::server::{self, Surroundings};
use tidegate_compare::table;
use tokio::time::Instant;

/// The gateway, the floor and its peers under the same load, in turn; prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "compare", version, about, max_term_width = 100)]
struct Cli {
    /// Rows by name [default: all]
    #[arg(value_parser = row)]
    rows: Vec<&'static Row>,
    /// Three pairs of a second each, unless told otherwise: to see that everything runs
    #[arg(long)]
    quick: bool,
    /// How often the gateway and the floors have their turn; the others have it in every third
    /// [default: 9, --quick 3]
    #[arg(long, value_parser = value_parser!(u32).range(1..=100))]
    pairs: Option<u32>,
    /// Seconds that each load publishes [default: 3, --quick 1]
    #[arg(long, value_parser = value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// Whose system calls are counted, in two runs of their own: needs perf and the kernel's tracepoints
    /// [default: all, --quick targets]
    #[arg(long)]
    syscalls: Option<Syscalls>,
    /// Write the Markdown to this file as well
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where the release builds are
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
}

fn row(name: &str) -> Result<&'static Row, String> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    rows::find(name).ok_or_else(|| format!("there are {}", names()))
}

/// The tables, and what is said meanwhile.
struct Output(Option<File>);

impl Output {
    fn write(&mut self, markdown: &str) -> io::Result<()> {
        let mut out = io::stdout();
        writeln!(out, "{markdown}")?;
        out.flush()?;
        match &mut self.0 {
            Some(file) => writeln!(file, "{markdown}"),
            None => Ok(()),
        }
    }

    /// Not a part of the tables.
    fn say(text: &str) -> io::Result<()> {
        writeln!(io::stderr(), "{text}")
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    server::check_programs(&cli.bin)?;
    ensure!(cfg!(target_os = "linux"), "figures are read from /proc, which Linux has");
    let file =
        |path: PathBuf| File::create(&path).with_context(|| format!("writing {}", path.display()));
    let mut output = Output(cli.out.map(file).transpose()?);
    let home = tempfile::tempdir()?;
    let (pairs, seconds, syscalls) =
        if cli.quick { (3, 1, Syscalls::Targets) } else { (9, 3, Syscalls::All) };
    let mut plan = Plan {
        near: Surroundings::new(cli.bin, home.path().into())?,
        pairs: cli.pairs.unwrap_or(pairs),
        seconds: cli.seconds.unwrap_or(seconds),
        syscalls: cli.syscalls.unwrap_or(syscalls),
    };
    let rows: Vec<_> = if cli.rows.is_empty() { ROWS.iter().collect() } else { cli.rows };
    let (rows, missing): (Vec<&Row>, Vec<&Row>) =
        rows.into_iter().partition(|row| row.gateway.is_there());
    for row in missing {
        output.write(&format!(
            "### {}: {}\n\nNeeds what is not installed here.\n",
            row.name, row.title
        ))?;
    }
    let all = rows.iter().map(|row| plan.estimate(row)).sum();
    Output::say(&format!("{} rows, about {} minutes", rows.len(), minutes(all)))?;
    output.write(&format!(
        "{} pairs of {} s; peers in every third pair. Medians of the pairs.\n",
        plan.pairs, plan.seconds
    ))?;
    let (mut outcomes, mut failed) = (Vec::new(), 0);
    for row in rows {
        let began = Instant::now();
        let expected = plan.estimate(row);
        match plan.run(row).await {
            Ok(outcome) => {
                output.write(&table::markdown(&outcome))?;
                outcomes.push(outcome);
            }
            // The other rows, and their summary, are not lost with it.
            Err(error) => {
                output.write(&format!("### {}: {}\n\nFailed: {error:#}\n", row.name, row.title))?;
                failed += 1;
            }
        }
        let took = minutes(began.elapsed());
        Output::say(&format!("{}: {took} minutes of about {}", row.name, minutes(expected)))?;
    }
    output.write(&table::summary(&outcomes))?;
    ensure!(failed == 0, "{failed} rows failed");
    Ok(())
}
