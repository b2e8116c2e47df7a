//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::cluster::{Setup, Wants};
use crate::fault::Fault;
use crate::load::Volume;
use crate::rollout;
use crate::run::{Run, Schedule};
use crate::store::LogKind;
use crate::table;

/// Faults for gateways on this machine, and readers who count what they get.
#[derive(Debug, Parser)]
#[command(name = "faults", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Faults at random, for a time; fails if anything was lost, doubled, out of order or a gap
    Run(RunArgs),
    /// Every fault once, each on a cluster of its own: a Markdown table
    Table(TableArgs),
    /// Every gateway drained and started again, one after the other: how readers come back
    Rollout(RolloutArgs),
}

#[derive(Debug, Args)]
struct ClusterArgs {
    /// The gateway's binary [default: `tidegate` beside this one]
    #[arg(long)]
    tidegate: Option<PathBuf>,
    /// How many gateways
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    gateways: u8,
    /// A flag of the gateways, such as `--gateway-flag=--log-window-age=1m`; several times
    #[arg(long = "gateway-flag", allow_hyphen_values = true)]
    flags: Vec<String>,
    /// Ids, of two rooms each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=1000))]
    ids: u16,
    /// Events a second, all together
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Readers of each kind, of which there are five for each id
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
    copies: u16,
    /// Bytes of padding in an event
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    bytes: u32,
    /// Decides all that is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keeps the gateways' output, also when all is well
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Which log
    #[arg(long, value_enum)]
    log: LogKind,
    /// How long things go wrong
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these faults; several times [default: all that destroy no events]
    #[arg(long = "fault", value_enum)]
    faults: Vec<Fault>,
    /// Each of the faults once, in their order, instead of at random
    #[arg(long)]
    once: bool,
    /// Appends the outcome as a line of JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct TableArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Only this log [default: both]
    #[arg(long, value_enum)]
    log: Option<LogKind>,
    /// Only these faults; several times
    #[arg(long = "fault", value_enum)]
    faults: Vec<Fault>,
}

#[derive(Debug, Args)]
struct RolloutArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Which log
    #[arg(long, value_enum, default_value = "kafka")]
    log: LogKind,
}

/// Does what the command line says; says whether all was well.
///
/// # Errors
/// When it cannot be done. A gateway that loses events is no error here.
pub async fn run(cli: Cli) -> Result<bool> {
    match cli.command {
        Command::Run(args) => {
            let faults = match args.faults.is_empty() {
                true => harmless(args.log),
                false => args.faults.clone(),
            };
            for fault in &faults {
                let (name, log) = (fault.name(), args.log);
                ensure!(fault.is_of(log), "{name} cannot happen on {log:?}");
            }
            let setup = args.cluster.setup(args.log, Wants::of(&faults))?;
            let pause = (Duration::from_secs(1), Duration::from_secs(6));
            let time = Duration::from_secs(args.seconds);
            let schedule = match args.once {
                true => Schedule::Each(faults),
                false => Schedule::Random { faults, time, pause },
            };
            let outcome = args.cluster.run(setup, schedule).run(say).await?;
            if let Some(file) = args.json {
                let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
                writeln!(file, "{}", outcome.json())?;
            }
            say(outcome.to_string());
            Ok(outcome.is_clean())
        }
        Command::Table(args) => {
            let logs = args.log.map_or(vec![LogKind::Kafka, LogKind::Redis], |log| vec![log]);
            let mut clean = true;
            for log in logs {
                let wanted = |fault: &Fault| {
                    fault.is_of(log) && (args.faults.is_empty() || args.faults.contains(fault))
                };
                let mut table = table::Table::new(log);
                for fault in Fault::ALL.into_iter().filter(wanted) {
                    let setup = args.cluster.setup(log, Wants::of(&[fault]))?;
                    let run = args.cluster.run(setup, Schedule::Each(vec![fault]));
                    let outcome = run.run(|line| tell(&line)).await?;
                    tell(&format!("{}: {outcome}", fault.name()));
                    clean &= outcome.is_clean();
                    table.add(fault, args.cluster.seed, &outcome);
                }
                say(table.to_string());
            }
            Ok(clean)
        }
        Command::Rollout(args) => {
            let setup = args.cluster.setup(args.log, Wants::default())?;
            let faults = vec![Fault::GatewayDrained; usize::from(args.cluster.gateways)];
            let run = args.cluster.run(setup, Schedule::InTurn(faults));
            let outcome = run.run(say).await?;
            say(rollout::histogram(&outcome));
            say(outcome.to_string());
            Ok(outcome.is_clean())
        }
    }
}

/// What destroys nothing, on this log.
fn harmless(log: LogKind) -> Vec<Fault> {
    let all = Fault::ALL.into_iter();
    all.filter(|fault| fault.is_of(log) && fault.destroys().is_empty()).collect()
}

impl ClusterArgs {
    fn setup(&self, log: LogKind, wants: Wants) -> Result<Setup> {
        let binary = match &self.tidegate {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?.with_file_name("tidegate"),
        };
        let binary = binary.canonicalize().with_context(|| binary.display().to_string())?;
        let gateways = usize::from(self.gateways);
        Ok(Setup { binary, log, gateways, wants, flags: self.flags.clone() })
    }

    fn run(&self, setup: Setup, schedule: Schedule) -> Run {
        let volume = Volume {
            ids: usize::from(self.ids),
            rate: self.rate,
            copies: usize::from(self.copies),
            bytes: self.bytes as usize,
        };
        Run { setup, volume, schedule, seed: self.seed, keep: self.keep }
    }
}

fn say(line: String) {
    // Whoever does not want to read it closes it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
