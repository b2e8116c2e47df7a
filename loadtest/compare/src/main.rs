//! `compare`: see the crate's documentation.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, value_parser};
use tidegate_compare::row::{self, ROWS, Row};
use tidegate_compare::run::Plan;
use tidegate_compare::{server, table};

/// The gateway, the floor and its peers under the same load, in turn; prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "compare", version, about, max_term_width = 100)]
struct Cli {
    /// Rows by name [default: all]
    #[arg(value_parser = row)]
    rows: Vec<&'static Row>,
    /// How often each server has its turn
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Seconds that each load publishes
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Count system calls as well, in two runs of their own: needs perf and the kernel's tracepoints
    #[arg(long)]
    syscalls: bool,
    /// Where the release builds are
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
}

fn row(name: &str) -> Result<&'static Row, String> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    row::find(name).ok_or_else(|| format!("there are {}", names()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    server::check_programs(&cli.bin)?;
    ensure!(cfg!(target_os = "linux"), "figures are read from /proc, which Linux has");
    let plan =
        Plan { bin: cli.bin, pairs: cli.pairs, seconds: cli.seconds, syscalls: cli.syscalls };
    let rows: Vec<_> = if cli.rows.is_empty() { ROWS.iter().collect() } else { cli.rows };
    let mut out = std::io::stdout();
    for row in rows {
        let outcome = plan.run(row).await.with_context(|| format!("row {}", row.name))?;
        writeln!(out, "{}", table::markdown(&outcome))?;
        out.flush()?;
    }
    Ok(())
}
