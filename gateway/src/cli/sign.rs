//! `tidegate sign`: a signature, and a URL that has it.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches as _, ValueEnum};
use reqwest::Url;

use super::output::{line, note};
use crate::auth::keys::Key;
use crate::auth::signature::{Claim, body_hash, check_scope};
use crate::auth::{Action, Keys, reload};
use crate::client::address::{encode, parse_base, publish_url, subscribe_url};
use crate::config::{Auth, parse_duration};
use crate::event::{Audience, EventId, EventType, Pattern, Room, User};

const LONG_ABOUT: &str = "\
Prints a signature, and on the next line a URL that is ready to use: for a publish with POST. The \
key is the gateway's own: --auth-keys, --auth-keys-file, the environment or --config.

`*` as the type covers every type of the id (a subscription to all of them, or a batch); `*` and \
`*` cover everything; publish `*` and a type is a broadcast.";

const EXIT_CODES: &str =
    "Exit codes: 0 signed, 1 it cannot be signed, 2 wrong use, 78 bad settings.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// To read a room
    Subscribe,
    /// To publish
    Publish,
}

#[derive(Debug, Args)]
struct SignArgs {
    /// What to allow
    what: What,
    /// What the events are about, or `*`
    event_id: String,
    /// What kind of events, or `*`
    event_type: String,
    /// The user who may; nobody in particular by default
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// How long it holds
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    expires: Duration,
    /// Which of the keys signs; the first that has not ended by default
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    /// Signs this body of a publish, too; `-` is standard input
    #[arg(long, value_name = "FILE")]
    body_file: Option<String>,
    /// The gateway's address
    #[arg(long, value_name = "URL", default_value = "http://localhost:30000")]
    url: String,
}

pub(super) fn command() -> Command {
    SignArgs::augment_args(Command::new("sign"))
        .about("Prints a signature, and a URL that has it")
        .long_about(LONG_ABOUT)
        .after_help(EXIT_CODES)
}

pub(super) async fn run(matches: &[&ArgMatches]) -> anyhow::Result<ExitCode> {
    let Some(of_command) = matches.last() else { bail!("no arguments") };
    let args = SignArgs::from_arg_matches(of_command)?;
    let auth = super::load(matches)?.config.auth;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;

    let base = parse_base(&args.url).context("--url")?;
    let body = args.body_file.as_deref().map(read_body).transpose()?;
    let keys = keys(&auth).await?;
    let key = choose(&keys, args.kid.as_deref(), now.as_secs())?;
    let signature = sign(&args, &auth, key, body.as_deref(), now)?;

    for warning in warnings(&args, &auth, key, now) {
        note(&mut std::io::stderr(), format_args!("warning: {warning}"));
    }
    let mut out = std::io::stdout();
    if line(&mut out, &signature)?.is_continue()
        && let Some(url) = url(&args, &base, &signature)?
    {
        let _ = line(&mut out, url)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl SignArgs {
    fn action(&self) -> Action {
        match self.what {
            What::Subscribe => Action::Subscribe,
            What::Publish => Action::Publish,
        }
    }

    /// In Unix seconds. Never an overflow: [`parse_duration`] knows a longest one.
    fn expires_at(&self, now: Duration) -> u64 {
        (now + self.expires).as_secs()
    }
}

/// The keys of the settings, those of the file among them.
async fn keys(auth: &Auth) -> anyhow::Result<Keys> {
    let fixed = auth.keys.as_ref().map(|keys| Keys::parse(keys.expose())).transpose();
    let fixed = fixed.context("auth.keys")?.unwrap_or_default();
    match &auth.keys_file {
        Some(path) => reload::read(&fixed, path)
            .await
            .with_context(|| format!("auth.keys_file {}", path.display())),
        None if fixed.is_empty() => bail!("there is no key: set auth.keys or auth.keys_file"),
        None => Ok(fixed),
    }
}

fn choose<'a>(keys: &'a Keys, kid: Option<&str>, now: u64) -> anyhow::Result<&'a Key> {
    let Some(kid) = kid else {
        return keys.live(now).next().map(AsRef::as_ref).context("every key has ended");
    };
    let key = keys.get(kid).with_context(|| format!("there is no key called {kid}"))?;
    if key.is_live(now) { Ok(key) } else { bail!("the key {kid} has ended") }
}

fn sign(
    args: &SignArgs,
    auth: &Auth,
    key: &Key,
    body: Option<&[u8]>,
    now: Duration,
) -> anyhow::Result<String> {
    check_scope(args.action(), &args.event_id, &args.event_type)?;
    if let Some(user) = &args.user {
        User::new(user)?;
    }
    if args.expires.is_zero() {
        bail!("--expires is 0");
    }
    if let Some(longest) = auth.max_lifetime
        && args.expires > longest
    {
        bail!("--expires is longer than auth.max_lifetime allows");
    }
    let takes_body = args.action() == Action::Publish && args.event_type != "*";
    if body.is_some() && !takes_body {
        bail!("--body-file is for a publish or a broadcast");
    }
    let claim = Claim {
        action: args.action(),
        id: &args.event_id,
        kind: &args.event_type,
        user: args.user.as_deref().unwrap_or_default(),
        expires_at: args.expires_at(now),
        body_hash: body.map(body_hash),
    };
    Ok(claim.sign(key))
}

/// Where the signature opens the door: nowhere in particular if it is for every room there is.
fn url(args: &SignArgs, base: &Url, signature: &str) -> anyhow::Result<Option<Url>> {
    let (id, kind) = (&*args.event_id, &*args.event_type);
    let mut url = match (args.action(), id, kind) {
        (Action::Subscribe, "*", _) => return Ok(None),
        (Action::Subscribe, ..) => subscribe_url(base, &[Pattern::new(id, kind)?], &[]),
        (Action::Publish, "*", "*") => base.join("v1/sse/batch")?,
        (Action::Publish, id, "*") => {
            let mut url = base.join("v1/sse/batch")?;
            url.set_query(Some(&format!("event_id={}", encode(id))));
            url
        }
        (Action::Publish, "*", kind) => {
            publish_url(base, &Audience::Broadcast(EventType::new(kind)?))
        }
        (Action::Publish, ..) => {
            let room = Room { id: EventId::new(id)?, kind: EventType::new(kind)? };
            publish_url(base, &Audience::Room(room))
        }
    };
    let mut query: Vec<_> = url.query().map(str::to_owned).into_iter().collect();
    query.extend(args.user.as_deref().map(|user| format!("user={}", encode(user))));
    query.push(format!("signature={}", encode(signature)));
    url.set_query(Some(&query.join("&")));
    Ok(Some(url))
}

/// What the gateway may not like, or what may not be meant.
fn warnings(args: &SignArgs, auth: &Auth, key: &Key, now: Duration) -> Vec<String> {
    let mut warnings = Vec::new();
    if key.end().is_some_and(|end| end < args.expires_at(now)) {
        warnings.push(format!("the key {} ends before the signature does", key.kid()));
    }
    let is_publish = args.action() == Action::Publish;
    if auth.require_body_hash && is_publish && args.body_file.is_none() {
        warnings.push("auth.require_body_hash is on: sign the body with --body-file".to_owned());
    }
    if !is_publish && args.event_id == "*" {
        warnings.push("it is for every room, so there is no one URL".to_owned());
    }
    warnings
}

fn read_body(path: &str) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    if path == "-" {
        std::io::stdin().read_to_end(&mut body).context("standard input")?;
    } else {
        body = std::fs::read(path).with_context(|| format!("--body-file {path}"))?;
    }
    Ok(body)
}
