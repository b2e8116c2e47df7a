//! `tidegate tail`: follows rooms and prints their events, over every reconnect.

mod printer;

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches as _};

use super::output;
use super::signals::Signals;
use super::target::Target;
use crate::client::http_client;
use crate::client::stream::{EventSource, Subscription, Update};
use crate::event::Pattern;
use printer::{Loudness, Printer, Said};

const LONG_ABOUT: &str = "\
Subscribes to one or several rooms and prints their events. A stream that ends or breaks is opened \
again and goes on where it was: each event is printed once. Should some be gone, standard error \
says so, --quiet or not.

An event is a line with its time, its room and its data; with --json it is its whole envelope.";

const EXIT_CODES: &str = "\
Exit codes: 0 --count events were printed, the room is complete (without --count) or the output's \
reader has left; 1 the gateway refused, or the room was complete before --count events; 2 the \
arguments are wrong; 130 after Ctrl-C; 143 after SIGTERM.";

#[derive(Debug, Args)]
struct TailArgs {
    /// What the events are about
    event_id: String,
    /// What kind of events; `*` is every type
    event_type: String,
    /// A further room on the same stream; its type follows the last `/`
    #[arg(long = "room", value_name = "ID/TYPE", value_parser = room)]
    rooms: Vec<Pattern>,
    /// Prints whole envelopes, one JSON object a line
    #[arg(long)]
    json: bool,
    /// Begins in the past: earliest, a time (RFC 3339) or a duration, such as 10m
    #[arg(long, value_name = "FROM")]
    from: Option<String>,
    /// Ends after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Resumes just after this cursor: an event's id or a receipt's
    #[arg(long, value_name = "CURSOR")]
    last_event_id: Option<String>,
    /// Says nothing about reconnects
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Says everything that the stream does: heartbeats, goodbyes, cursors
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    target: Target,
}

/// The command's arguments.
#[must_use]
pub fn command() -> Command {
    TailArgs::augment_args(Command::new("tail"))
        .about("Follows rooms and prints their events; reconnects and resumes")
        .long_about(LONG_ABOUT)
        .after_help(EXIT_CODES)
}

/// Runs the command.
///
/// # Errors
/// Arguments that no gateway would take, what the gateway refuses for good, and an output that
/// fails.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let args = TailArgs::from_arg_matches(matches)?;
    let base = args.target.base()?;
    let mut rooms = vec![Pattern::new(&args.event_id, &args.event_type)?];
    rooms.extend(args.rooms);
    let subscription = Subscription {
        rooms,
        params: args.from.map(|from| ("from".to_owned(), from)).into_iter().collect(),
        identity: args.target.identity()?,
        last_event_id: args.last_event_id.unwrap_or_default(),
        base,
    };
    let source = EventSource::new(http_client(&subscription.base)?, subscription);
    let loudness = match (args.quiet, args.verbose) {
        (true, _) => Loudness::Quiet,
        (_, true) => Loudness::Verbose,
        _ => Loudness::Normal,
    };
    let mut printer =
        Printer { out: std::io::stdout(), err: std::io::stderr(), json: args.json, loudness };

    let mut signals = Signals::listen()?;
    tokio::select! {
        biased;
        code = signals.exit_code() => Ok(code),
        () = output::reader_gone() => Ok(ExitCode::SUCCESS),
        end = follow(source, &mut printer, args.count) => Ok(match end? {
            End::Counted | End::ReaderGone => ExitCode::SUCCESS,
            End::Complete { wanted: 0 } => ExitCode::SUCCESS,
            End::Complete { wanted } => {
                printer.say(format_args!("the room is complete; {wanted} events did not come"));
                ExitCode::FAILURE
            }
        }),
    }
}

/// As the gateway splits them: an id may have slashes, a type has none.
fn room(text: &str) -> Result<Pattern, String> {
    let (id, kind) = text.rsplit_once('/').ok_or("a room is written EVENT_ID/EVENT_TYPE")?;
    Pattern::new(id, kind).map_err(|error| error.to_string())
}

/// Why there is nothing more to print.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// As many as were asked for.
    Counted,
    /// Nobody reads them.
    ReaderGone,
    /// There will be none; so many were still wanted, 0 without a number.
    Complete { wanted: u64 },
}

async fn follow(
    mut source: EventSource,
    printer: &mut Printer<impl Write, impl Write>,
    count: Option<u64>,
) -> anyhow::Result<End> {
    let mut wanted = count;
    loop {
        let Some(update) = source.next().await? else {
            return Ok(End::Complete { wanted: wanted.unwrap_or(0) });
        };
        let event = match update {
            Update::Event(event) => event,
            Update::Comment(text) => {
                printer.comment(&text);
                continue;
            }
            Update::Lost { reason, retry_in } => {
                printer.lost(&reason, retry_in);
                continue;
            }
        };
        match printer.event(&event)? {
            Said::Event => {}
            Said::Nothing => continue,
            // The resume would be answered with 204, after a pause.
            Said::Complete => return Ok(End::Complete { wanted: wanted.unwrap_or(0) }),
            Said::ToNobody => return Ok(End::ReaderGone),
        }
        if let Some(wanted) = &mut wanted {
            *wanted -= 1;
            if *wanted == 0 {
                return Ok(End::Counted);
            }
        }
    }
}

#[cfg(test)]
mod tests;
