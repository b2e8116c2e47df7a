//! `tidegate dlq`: looks at dead letters, publishes them again, removes them.

mod shown;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches as _, Subcommand};

use super::output::{Shown, line, note};
use super::signals::Signals;
use super::target::local_admin;
use crate::client::address::parse_base;
use crate::client::http_client;
use crate::client::letters::{Letters, Replayed};
use shown::{Letter, Whole};

/// How many letters are asked for at once.
const PAGE: usize = 500;
/// How many keys are sent at once.
const KEYS: usize = 500;

const LONG_ABOUT: &str = "\
Works on dead letters: records that are no events or could not be delivered, kept with the reason. \
A letter's key is its record's place, source/shard/offset.

A running gateway does the work, through its admin port. Any pod will do, except that the embedded \
log's letters are in their own process.";

const EXIT_CODES: &str = "\
Exit codes: 0 done (replay: every letter is published, now or before), 1 refused, or a letter was \
left, 2 the arguments are wrong, 78 bad settings, 130 after Ctrl-C, 143 after SIGTERM.";

#[derive(Debug, Args)]
struct DlqArgs {
    /// The gateway's admin port [default: that of admin.addr, on this machine]
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists letters, oldest first
    List(List),
    /// Shows a letter with its record
    Show {
        /// The letter's key
        key: String,
        /// Prints it as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Publishes letters again and marks them as replayed; what is no event even now is left
    Replay(Replay),
    /// Removes letters for good
    #[command(group(clap::ArgGroup::new("which").required(true).args(["before", "all"])))]
    Purge {
        /// Those that are older than this, such as 24h
        #[arg(long, value_name = "AGE")]
        before: Option<String>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only those with this reason: malformed, mapping_failed, too_large, undelivered
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["keys", "all"])))]
struct Replay {
    /// The letters' keys
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// With --all: only those with this reason
    #[arg(long, value_name = "REASON", conflicts_with = "keys")]
    reason: Option<String>,
    /// Those, too, that were replayed before
    #[arg(long)]
    again: bool,
}

/// The command's arguments.
pub(super) fn command() -> Command {
    DlqArgs::augment_args(Command::new("dlq"))
        .about("Looks at dead letters, publishes them again, removes them")
        .long_about(LONG_ABOUT)
        .after_help(EXIT_CODES)
}

/// Runs the command. `matches` are the program's, which may have settings, and its own.
pub(super) async fn run(matches: &[&ArgMatches]) -> anyhow::Result<ExitCode> {
    let [program @ .., of_command] = matches else { bail!("no arguments") };
    let args = DlqArgs::from_arg_matches(of_command)?;
    let admin = match args.admin {
        Some(admin) => admin,
        None => local_admin(super::load(program)?.config.admin.addr),
    };
    let base = parse_base(&admin).context("--admin")?;
    let letters = Letters { client: http_client(&base)?, base };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let work = async {
        match args.what {
            What::List(what) => list(&letters, &what, &mut out, &mut err).await.map(|()| true),
            What::Show { key, json } => {
                let letter = letters.letter(&key).await?;
                let _ = match json {
                    true => line(&mut out, letter),
                    false => line(&mut out, Whole::read(letter)?),
                }?;
                Ok(true)
            }
            What::Replay(what) => replay(&letters, what, &mut out, &mut err).await,
            What::Purge { before, .. } => {
                let removed = letters.purge(before.as_deref()).await?;
                note(&mut err, format_args!("{removed} records are removed"));
                Ok(true)
            }
        }
    };
    let mut signals = Signals::listen()?;
    let all_well = tokio::select! {
        biased;
        code = signals.exit_code() => return Ok(code),
        all_well = work => all_well?,
    };
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(
    letters: &Letters,
    what: &List,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<()> {
    let mut wanted = what.limit.unwrap_or(u64::MAX);
    let mut after: Option<String> = None;
    loop {
        let limit = wanted.min(PAGE as u64).to_string();
        let mut params = vec![("limit", limit.as_str())];
        params.extend(what.reason.as_deref().map(|reason| ("reason", reason)));
        params.extend(after.as_deref().map(|after| ("after", after)));
        let page = letters.page(&params).await?;
        for letter in page.letters {
            wanted -= 1;
            let written = match what.json {
                true => line(out, letter),
                false => line(out, Letter::read(letter)?),
            };
            if written?.is_break() {
                return Ok(());
            }
        }
        let Some(next) = page.next.filter(|_| wanted > 0) else {
            if page.unreadable > 0 {
                let count = page.unreadable;
                note(err, format_args!("{count} records among them are no dead letters"));
            }
            return Ok(());
        };
        after = Some(next);
    }
}

/// Whether every letter is published.
async fn replay(
    letters: &Letters,
    what: Replay,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<bool> {
    let mut tally = Tally::default();
    if what.all {
        let mut after = None;
        loop {
            let reason = what.reason.as_deref();
            let done = letters.replay_all(reason, after.as_deref(), what.again).await?;
            tally.add(&done.letters, out, err)?;
            if done.next.is_none() || tally.stopped {
                break;
            }
            after = done.next;
        }
    } else {
        let mut left = what.keys;
        while !left.is_empty() && !tally.stopped {
            let some = &left[..left.len().min(KEYS)];
            let done = letters.replay(some, what.again).await?;
            if done.letters.is_empty() {
                bail!("the gateway says nothing of {}", some[0]);
            }
            tally.add(&done.letters, out, err)?;
            left.retain(|key| !done.letters.iter().any(|one| one.key == *key));
        }
        tally.left += left.len() as u64;
    }
    let Tally { replayed, before, left, .. } = tally;
    note(err, format_args!("{replayed} replayed, {before} had been before, {left} left"));
    Ok(left == 0)
}

#[derive(Debug, Default)]
struct Tally {
    replayed: u64,
    before: u64,
    left: u64,
    /// The log did not take one.
    stopped: bool,
}

impl Tally {
    fn add(
        &mut self,
        letters: &[Replayed],
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<()> {
        for Replayed { key, outcome, message_id, detail } in letters {
            let (key, detail) = (Shown(key), Shown(detail.as_deref().unwrap_or_default()));
            let id = Shown(message_id.as_deref().unwrap_or_default());
            match &**outcome {
                "replayed" | "unmarked" => {
                    self.replayed += 1;
                    // Published is published, whoever reads of it.
                    let _ = line(out, format_args!("{key} replayed as {id}"))?;
                    if outcome == "unmarked" {
                        note(err, format_args!("{key} could not be marked as replayed: {detail}"));
                    }
                }
                "already" => {
                    self.before += 1;
                    note(err, format_args!("{key} was replayed before (see --again)"));
                }
                other => {
                    self.left += 1;
                    self.stopped |= other == "failed";
                    let why = match other {
                        "no_event" => "is no event even now",
                        "failed" => "could not be published",
                        "not_found" => "is not there",
                        other => other,
                    };
                    note(err, format_args!("error: {key} {}: {detail}", Shown(why)));
                }
            }
        }
        Ok(())
    }
}
