//! The command line. Everything is bounded: readers, rates, sizes, time; only loopback is a target.

mod args;
mod resume;

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use self::{
    args::{CyclesArgs, IdleArgs, LoadArgs},
    resume::ResumeArgs,
};
use crate::{
    floor::{Floor, Options},
    report::{self, Report},
    scenario::Load,
    sockets,
};

/// Load for SSE gateways on this machine.
#[derive(Debug, Parser)]
#[command(name = "swarm", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Many readers, paced events: CPU per delivery, throughput, latency, order
    Fanout(Box<LoadArgs>),
    /// One reader, a few hundred events a second: publish to receive
    Latency(Box<LoadArgs>),
    /// Streams on which nothing happens: memory and CPU of each
    Idle(Box<IdleArgs>),
    /// Streams that come and go, over and over: does what they took come back?
    Cycles(Box<CyclesArgs>),
    /// Streams that lose their server at once and resume on another: how long until each has all
    Resume(Box<ResumeArgs>),
    /// The least server that can serve the same streams, to compare with
    Floor(FloorArgs),
}

#[derive(Debug, clap::Args)]
struct FloorArgs {
    /// Loopback address to listen on
    #[arg(long, default_value = "127.0.0.1:30000")]
    addr: SocketAddr,
    /// One write for all that is pending for a reader, instead of one per delivery
    #[arg(long)]
    batched: bool,
    /// How far a reader may lag in bytes before it is cut
    #[arg(long, default_value_t = 4 * 1024 * 1024, value_parser = clap::value_parser!(u32).range(65_536..=1 << 30))]
    ring_bytes: u32,
}

/// Does what the command line says.
///
/// # Errors
/// When it cannot be done. A server that loses events is a result, and the exit code's matter.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Fanout(args) => run_load("fanout", &args, args.load(args::FANOUT)?),
        Command::Latency(args) => run_load("latency", &args, args.load(args::LATENCY)?),
        Command::Idle(args) => {
            let idle = args.idle()?;
            let report = report::idle(&idle, &idle.run()?);
            write(&report, args.server.metrics_json.as_deref())?;
            Ok(exit_code(args.server.check, &report))
        }
        Command::Cycles(args) => {
            let cycles = args.cycles()?;
            let report = report::cycles(&cycles, &cycles.run()?);
            write(&report, args.server.metrics_json.as_deref())?;
            Ok(exit_code(args.server.check, &report))
        }
        Command::Resume(args) => {
            let resume = args.resume()?;
            let report = report::resume(&resume, &resume.run()?);
            write(&report, args.server.metrics_json.as_deref())?;
            Ok(exit_code(args.server.check, &report))
        }
        Command::Floor(args) => {
            run_floor(&args)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_load(name: &str, args: &LoadArgs, mut load: Load) -> Result<ExitCode> {
    let _adapters = args.adapt(&mut load)?;
    let report = report::load(name, &load, &load.run()?);
    write(&report, args.server.metrics_json.as_deref())?;
    Ok(exit_code(args.server.check, &report))
}

fn write(report: &Report, file: Option<&Path>) -> Result<()> {
    let place = file.map_or_else(|| PathBuf::from("standard output"), Path::to_owned);
    report.write(file).with_context(|| format!("writing the report to {}", place.display()))
}

fn exit_code(check: bool, report: &Report) -> ExitCode {
    let clean = report.json["clean"].as_bool().unwrap_or(false);
    if check && !clean { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_floor(args: &FloorArgs) -> Result<()> {
    ensure!(args.addr.ip().is_loopback(), "{} is not a loopback address", args.addr);
    let files = sockets::raise_open_files();
    let options = Options {
        batched: args.batched,
        ring_bytes: args.ring_bytes as usize,
        connections: usize::try_from(files.saturating_sub(50)).unwrap_or(usize::MAX),
        ..Options::default()
    };
    let floor =
        Floor::start(args.addr, options).with_context(|| format!("listening on {}", args.addr))?;
    writeln!(
        std::io::stdout(),
        "floor on http://{}, process {}",
        floor.addr(),
        std::process::id()
    )?;
    floor.wait()?;
    Ok(())
}
