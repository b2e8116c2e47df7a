//! `tidegate publish`: one event, or one a line from standard input.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::output::{Shown, line, note};
use super::signals::Signals;
use super::target::Target;
use crate::client::http_client;
use crate::client::publish::{Body, Publication, PublishError, Publisher, Receipt, Users};
use crate::config::parse_duration;
use crate::event::{Audience, EventId, EventType, IdempotencyKey, Room};

/// The longest line that is read, in bytes: as much as a gateway could be told to take, and not
/// what an endless file holds.
const MAX_LINE_BYTES: usize = 64 << 20;

const LONG_ABOUT: &str = "\
Publishes one event, or one a line from standard input, each line being the event's data.

The receipts go to standard output, one JSON object a line; those for standard input name their \
line. What failed goes to standard error, and the lines after it are published all the same. An \
event that certainly is not in the log is sent again; one whose outcome is unknown only with an \
idempotency key.";

const EXIT_CODES: &str = "\
Exit codes: 0 every event has its receipt (or the receipts' reader has left), 1 at least one has \
none, 2 the arguments are wrong, 130 after Ctrl-C, 143 after SIGTERM: the outcome of the event \
that was being published is unknown.";

#[derive(Debug, Args)]
struct PublishArgs {
    /// What the event is about; `*`, or nothing with --broadcast, is every open stream
    #[arg(value_name = "EVENT_ID")]
    first: String,
    /// What kind of event it is
    #[arg(value_name = "EVENT_TYPE", required_unless_present = "broadcast")]
    second: Option<String>,
    /// The payload; `-` or none: standard input has one a line
    #[arg(long, value_name = "JSON|-", allow_hyphen_values = true)]
    data: Option<String>,
    /// A name for humans and handlers
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Who the event is from
    #[arg(long, value_name = "U")]
    from_user: Option<String>,
    /// The only user who gets it
    #[arg(long, value_name = "U")]
    to_user: Option<String>,
    /// A header of the envelope's
    #[arg(long = "header", value_name = "K=V", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Delivers one event a key, however often it is sent; lines add their number, as in K-17
    #[arg(long, value_name = "K")]
    idempotency_key: Option<String>,
    /// Makes it a dead letter when no stream was written it within this time, such as 30s
    #[arg(long, value_name = "TIME")]
    deliver_within: Option<String>,
    /// The last event of its room: streams of that room end with it
    #[arg(long = "final", conflicts_with = "broadcast")]
    is_final: bool,
    /// Publishes to every open stream
    #[arg(long)]
    broadcast: bool,
    /// How long one event may be tried for
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    retry_for: Duration,
    #[command(flatten)]
    target: Target,
}

/// The command's arguments.
#[must_use]
pub fn command() -> Command {
    PublishArgs::augment_args(Command::new("publish"))
        .about("Publishes one event, or one a line from standard input")
        .long_about(LONG_ABOUT)
        .after_help(EXIT_CODES)
}

/// Runs the command.
///
/// # Errors
/// Arguments that no gateway would take, and standard input or output that fails.
pub async fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let args = PublishArgs::from_arg_matches(matches)?;
    if args.target.signatures() > 1 {
        bail!("one --signature allows a publish");
    }
    let base = args.target.base()?;
    let publisher =
        Publisher { client: http_client(&base)?, base, identity: args.target.identity()? };
    let job = Job { publisher, patience: args.retry_for, template: template(&args)? };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let publishing = async {
        match args.data.as_deref() {
            None | Some("-") => {
                let input = BufReader::new(tokio::io::stdin());
                job.publish_lines(input, &mut out, &mut err).await
            }
            Some(data) => job.publish_one(data, &mut out, &mut err).await,
        }
    };
    let mut signals = Signals::listen()?;
    let all_well = tokio::select! {
        biased;
        code = signals.exit_code() => return Ok(code),
        all_well = publishing => all_well?,
    };
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is written NAME=VALUE".to_owned()),
    }
}

/// Everything but the payload.
fn template(args: &PublishArgs) -> anyhow::Result<Publication> {
    let audience = match (&*args.first, args.second.as_deref(), args.broadcast) {
        (kind, None, true) | ("*", Some(kind), _) => Audience::Broadcast(EventType::new(kind)?),
        (_, Some(_), true) => bail!("--broadcast takes a type, or * and a type"),
        (_, None, false) => bail!("an event has a type"),
        (id, Some(kind), false) => {
            Audience::Room(Room { id: EventId::new(id)?, kind: EventType::new(kind)? })
        }
    };
    let mut body = Body::new(raw("null")?);
    body.event_name.clone_from(&args.name);
    body.user = Users { from_user: args.from_user.clone(), to_user: args.to_user.clone() };
    body.headers.clone_from(&args.headers);
    body.is_final = args.is_final;
    let idempotency_key = args.idempotency_key.as_deref().map(IdempotencyKey::new).transpose()?;
    Ok(Publication { audience, body, idempotency_key, deliver_within: args.deliver_within.clone() })
}

fn raw(json: &str) -> anyhow::Result<Box<RawValue>> {
    RawValue::from_string(json.trim().to_owned()).context("the data is no JSON")
}

/// A line's receipt, as the batch endpoint writes it.
#[derive(Serialize)]
struct LineReceipt<'a> {
    line: u64,
    #[serde(flatten)]
    receipt: &'a Receipt,
}

struct Job {
    publisher: Publisher,
    patience: Duration,
    template: Publication,
}

impl Job {
    /// Whether it has a receipt.
    async fn publish_one(
        &self,
        data: &str,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<bool> {
        let mut publication = self.template.clone();
        publication.body.data = raw(data)?;
        match self.publish(&publication, "", err).await {
            Ok(receipt) => {
                // Published is published, whoever reads of it.
                let _ = line(out, serde_json::to_string(&receipt)?)?;
                Ok(true)
            }
            Err(error) => {
                note(err, format_args!("error: {}", Shown(&error.to_string())));
                Ok(false)
            }
        }
    }

    /// Publishes line after line: the next one waits for the receipt of the last, so that the log
    /// has them in their order. Whether each has its receipt.
    async fn publish_lines(
        &self,
        mut input: impl AsyncBufRead + Unpin,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<bool> {
        let mut all_well = true;
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let mut bounded = (&mut input).take(MAX_LINE_BYTES as u64);
            let read = bounded.read_until(b'\n', &mut bytes).await.context("standard input")?;
            if read == 0 {
                break;
            }
            if read == MAX_LINE_BYTES && bytes.last() != Some(&b'\n') {
                bail!("line {number} is longer than {MAX_LINE_BYTES} bytes");
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            match self.publish_line(number, &bytes, err).await {
                Ok(receipt) => {
                    let receipt = LineReceipt { line: number, receipt: &receipt };
                    if line(out, serde_json::to_string(&receipt)?)?.is_break() {
                        break;
                    }
                }
                Err(error) => {
                    all_well = false;
                    let text = format!("{error:#}");
                    note(err, format_args!("error: line {number}: {}", Shown(&text)));
                }
            }
        }
        Ok(all_well)
    }

    async fn publish_line(
        &self,
        number: u64,
        bytes: &[u8],
        err: &mut impl Write,
    ) -> anyhow::Result<Receipt> {
        let mut publication = self.template.clone();
        let text = std::str::from_utf8(bytes).context("the data is no UTF-8")?;
        publication.body.data = raw(text)?;
        if let Some(key) = &self.template.idempotency_key {
            // One key for all would make every line but the first a duplicate.
            let key = IdempotencyKey::new(&format!("{key}-{number}"))?;
            publication.idempotency_key = Some(key);
        }
        Ok(self.publish(&publication, &format!("line {number}: "), err).await?)
    }

    /// Publishes and says why it takes long, about `place`.
    async fn publish(
        &self,
        publication: &Publication,
        place: &str,
        err: &mut impl Write,
    ) -> Result<Receipt, PublishError> {
        let on_retry = |error: &PublishError, delay: Duration| {
            let (error, seconds) = (error.to_string(), delay.as_secs_f64());
            note(err, format_args!("{place}{}; trying again in {seconds:.1} s", Shown(&error)));
        };
        self.publisher.publish(publication, self.patience, on_retry).await
    }
}

#[cfg(test)]
mod tests;
