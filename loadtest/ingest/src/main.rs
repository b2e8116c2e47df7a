//! `ingest`: see the crate's documentation.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, value_parser};
use tidegate_compare::stats::Estimate;
use tidegate_ingest::meter::Run;
use tidegate_ingest::rounds::Plan;
use tidegate_ingest::{latency, sustain, table};
use tidegate_rig::kafka::Kafka;

/// How fast a gateway takes in a real Kafka's records, beside a bare consumer of the same topic;
/// prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "ingest", version, about, max_term_width = 100)]
struct Cli {
    /// Rounds: in each the bare consumer and the gateway, without and with readers, read one topic
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u32).range(0..=100))]
    pairs: u32,
    /// Records of a topic
    #[arg(long, default_value_t = 3_000_000, value_parser = value_parser!(u64).range(1_000..=20_000_000))]
    records: u64,
    /// Rooms that they are of
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// The bytes of a value
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(64..=100_000))]
    bytes: u32,
    /// Of how many rooms in a hundred there are readers
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=100))]
    read_percent: u32,
    /// Then also keep a gateway at a rate for so many seconds [without a number: 600]
    #[arg(long, num_args = 0..=1, default_missing_value = "600", value_parser = value_parser!(u64).range(5..=7200))]
    sustain: Option<u64>,
    /// That rate, in records a second [default: half of what the rounds came to]
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Seconds that single records are followed from Kafka to a stream, 200 a second; 0: not at all
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u64).range(0..=600))]
    latency: u64,
    /// Where the release build of the gateway is
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
}

/// Records that are followed from Kafka to a stream, a second.
const FOLLOWED: f64 = 200.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cfg!(target_os = "linux"), "figures are read from /proc, which Linux has");
    ensure!(
        cli.sustain.is_none() || cli.pairs > 0 || cli.rate.is_some(),
        "--sustain without rounds needs --rate"
    );
    let program = cli.bin.join("tidegate");
    std::fs::metadata(&program)
        .with_context(|| format!("{}: cargo build --release", program.display()))?;
    let plan = Plan {
        bin: cli.bin,
        records: cli.records,
        rooms: cli.rooms as usize,
        bytes: cli.bytes as usize,
        read_rooms: (cli.rooms * cli.read_percent).div_ceil(100) as usize,
    };
    let kafka = Kafka::start().await;
    let mut out = std::io::stdout();

    let mut rounds = Vec::new();
    for nth in 0..cli.pairs {
        let round = plan.round(&kafka, nth).await.with_context(|| format!("round {nth}"))?;
        rounds.push(round);
    }
    if !rounds.is_empty() {
        writeln!(out, "{}", table::rounds(&plan, &rounds))?;
        out.flush()?;
    }
    if cli.latency > 0 {
        let time = Duration::from_secs(cli.latency);
        let times = latency::run(&plan.bin, &kafka, FOLLOWED, time).await?;
        writeln!(out, "{}", table::latency(FOLLOWED, &times))?;
        out.flush()?;
    }
    if let Some(seconds) = cli.sustain {
        let rates: Vec<f64> = rounds.iter().map(|round| Run::rate(&round.gateway)).collect();
        let half = || Estimate::of(&rates).map(|estimate| estimate.median / 2.0);
        let rate = cli.rate.map(f64::from).or_else(half).context("no rate")?;
        let run = sustain::run(&plan, &kafka, rate, Duration::from_secs(seconds)).await?;
        writeln!(out, "{}", table::sustained(&run))?;
    }
    Ok(())
}
