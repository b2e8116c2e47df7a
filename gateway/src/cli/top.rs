//! `tidegate top`: the pods of a cluster side by side, looked at every few seconds.

mod page;
mod table;

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use futures_util::future::join_all;
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::time::Instant;

use self::page::Page;
use self::table::{Pod, Sample, table};
use super::output::{line, reader_gone};
use super::signals::Signals;
use super::target::local_admin;
use crate::client::address::parse_base;
use crate::client::{chain, http_client};
use crate::config::parse_duration;

/// How long a pod has to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest page of metrics that is read, in bytes.
const PAGE_BYTES: usize = 16 << 20;

const LONG_ABOUT: &str = "\
Asks the admin port of every pod what it holds and what it does, and shows them side by side: \
streams, rooms, events in and out, latency, lag. A name that stands for several addresses, as that \
of a headless Service does, is all of them; it is looked up anew each time.

Rates and latency are of the time between two looks; lag and gaps are what the pod counts in all. \
On a terminal the table is drawn anew in its place; elsewhere each is written below the last.";

const EXIT_CODES: &str = "\
Exit codes: 0 --count tables were written or the output's reader has left; 1 no pod answered the \
last look; 2 the arguments are wrong; 130 after Ctrl-C; 143 after SIGTERM.";

#[derive(Debug, Args)]
struct TopArgs {
    /// Admin ports, such as http://tidegate-headless:30001 [default: that of admin.addr, on this
    /// machine]
    #[arg(value_name = "URL")]
    admin: Vec<String>,
    /// How often the pods are asked
    #[arg(long, short, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// Ends after so many tables with rates
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How many of the largest rooms are shown
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(..=1_000))]
    rooms: u16,
}

/// The command's arguments.
pub(super) fn command() -> Command {
    TopArgs::augment_args(Command::new("top"))
        .about("Shows connections, rates, latency and lag of every pod")
        .long_about(LONG_ABOUT)
        .after_help(EXIT_CODES)
}

fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        short if short < Duration::from_millis(100) => Err("it is shorter than 100ms".to_owned()),
        long => Ok(long),
    }
}

/// Runs the command. `matches` are the program's, which may have settings, and its own.
///
/// # Errors
/// Addresses that are none, settings that cannot be read, an output that fails.
pub(super) async fn run(matches: &[&ArgMatches]) -> anyhow::Result<ExitCode> {
    let [program @ .., of_command] = matches else { bail!("no arguments") };
    let args = TopArgs::from_arg_matches(of_command)?;
    let given = match args.admin.as_slice() {
        [] => vec![local_admin(super::load(program)?.config.admin.addr)],
        given => given.to_vec(),
    };
    let bases: Vec<Url> = given.iter().map(|url| parse_base(url)).collect::<Result<_, _>>()?;
    let clients: Vec<(Client, Url)> = bases
        .into_iter()
        .map(|base| Ok((http_client(&base)?, base)))
        .collect::<anyhow::Result<_>>()?;
    let mut signals = Signals::listen()?;
    tokio::select! {
        biased;
        code = signals.exit_code() => Ok(code),
        () = reader_gone() => Ok(ExitCode::SUCCESS),
        shown = show(&args, &clients) => shown,
    }
}

/// Writes tables until `--count` says that it is enough, or nobody reads them.
async fn show(args: &TopArgs, clients: &[(Client, Url)]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let redraws = out.is_terminal();
    let mut known: HashMap<String, Box<Sample>> = HashMap::new();
    let mut looked: Option<Instant> = None;
    let mut written = 0;
    loop {
        let at = Instant::now();
        let has_rates = looked.is_some();
        let apart = looked.replace(at).map_or(args.interval, |before| at - before);
        let answers = join_all(clients.iter().map(|(client, base)| look(client, base, args.rooms)));
        let mut pods = Vec::new();
        let mut next = HashMap::new();
        for (address, answer) in answers.await.into_iter().flatten() {
            pods.push(match answer {
                Err(error) => Pod::Down { address, why: format!("{error:#}") },
                Ok(now) => {
                    let before = known.remove(&address);
                    next.insert(address, now.clone());
                    Pod::Up { now, before }
                }
            });
        }
        pods.sort_by(|a, b| name(a).cmp(name(b)));
        known = next;
        // A look without rates is shown to a person only, who would wait for the second.
        if has_rates || redraws {
            let text = table(&pods, apart, args.rooms.into());
            let text = if redraws { format!("\x1b[H\x1b[J{text}") } else { text };
            if line(&mut out, text.trim_end_matches('\n'))?.is_break() {
                return Ok(ExitCode::SUCCESS);
            }
            out.flush()?;
            written += u64::from(has_rates);
        }
        if args.count.is_some_and(|count| written >= count) {
            let answered = pods.iter().any(|pod| matches!(pod, Pod::Up { .. }));
            return Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        tokio::time::sleep_until(at + args.interval).await;
    }
}

fn name(pod: &Pod) -> &str {
    match pod {
        Pod::Up { now, .. } => &now.pod,
        Pod::Down { address, .. } => address,
    }
}

type Answer = (String, anyhow::Result<Box<Sample>>);

/// Asks all pods that `base` stands for.
async fn look(client: &Client, base: &Url, rooms: u16) -> Vec<Answer> {
    let all = match addresses(base).await {
        Ok(all) => all,
        Err(error) => return vec![(base.to_string(), Err(error))],
    };
    let asked = all.into_iter().map(async |base| {
        let answer = tokio::time::timeout(PATIENCE, ask(client, &base, rooms)).await;
        let answer = answer.unwrap_or_else(|_| bail!("nothing within {PATIENCE:?}"));
        (base.to_string(), answer)
    });
    join_all(asked).await
}

/// Every address of a name. One with TLS stays as it is: a certificate is for the name.
async fn addresses(base: &Url) -> anyhow::Result<Vec<Url>> {
    let (Some(host), Some(port), "http") =
        (base.host_str(), base.port_or_known_default(), base.scheme())
    else {
        return Ok(vec![base.clone()]);
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await;
    let mut found: Vec<_> = found.with_context(|| format!("{host} is not found"))?.collect();
    found.sort_unstable();
    found.dedup();
    let mut all = Vec::new();
    for address in found {
        let mut url = base.clone();
        if url.set_ip_host(address.ip()).is_ok() {
            all.push(url);
        }
    }
    Ok(all)
}

/// Asks one pod.
async fn ask(client: &Client, base: &Url, rooms: u16) -> anyhow::Result<Box<Sample>> {
    #[derive(Deserialize)]
    struct Room {
        event_id: String,
        event_type: String,
        connections: u64,
    }
    #[derive(Deserialize)]
    struct Report {
        pod: String,
        draining: bool,
        rooms: Vec<Room>,
    }
    let connections = format!("v1/connections?limit={rooms}");
    let (report, page) =
        tokio::try_join!(get(client, base, &connections), get(client, base, "metrics"))?;
    let report: Report =
        serde_json::from_slice(&report).context("its /v1/connections is no gateway's")?;
    let rooms = report.rooms.into_iter();
    Ok(Box::new(Sample {
        pod: report.pod,
        draining: report.draining,
        rooms: rooms.map(|r| (format!("{}/{}", r.event_id, r.event_type), r.connections)).collect(),
        page: Page::parse(&String::from_utf8_lossy(&page)),
    }))
}

async fn get(client: &Client, base: &Url, path: &str) -> anyhow::Result<Vec<u8>> {
    let answer = client.get(base.join(path)?).send().await;
    let mut answer = answer.map_err(|error| anyhow::anyhow!("{}", chain(&error.without_url())))?;
    if !answer.status().is_success() {
        bail!("/{path} is answered with {}", answer.status());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > PAGE_BYTES {
            bail!("/{path} has more than {PAGE_BYTES} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
