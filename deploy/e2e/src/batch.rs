//! A batch request that stays open: each line is answered before the next is sent.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_faults::door::{Ask, Doors};
use tidegate_swarm::clock;
use tidegate_swarm::stats::Times;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// How long the answer to a line may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.1. Some proxies do not answer before they have all of the request.
    One,
    /// HTTP/2.
    Two,
}

impl Http {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "HTTP/1.1",
            Self::Two => "HTTP/2",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::One => "--http1.1",
            Self::Two => "--http2-prior-knowledge",
        }
    }
}

/// Has curl send so many lines, each after the answer to the one before; how long the answers took.
///
/// # Errors
/// An answer did not come, or was none.
pub(crate) async fn line_by_line(
    doors: &Doors,
    door: usize,
    http: Http,
    id: &str,
    lines: u64,
) -> Result<Times> {
    let url = format!("http://{}/v1/sse/batch", doors.door(door).addr);
    let ask = Ask { action: "publish", id: "*", kind: "*", user: "" };
    // `-T .` also reads the answer while there is nothing to send.
    let fixed = ["--silent", "--show-error", "--no-buffer", "--request", "POST", "-T", "."];
    let mut curl = Command::new("curl");
    curl.args(fixed).arg(http.flag());
    for header in doors.lines(door, &ask).lines() {
        curl.args(["--header", header]);
    }
    let mut curl = curl
        .args(["--header", "Content-Type: application/x-ndjson", "--header", "Expect:", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("curl")?;
    let mut input = curl.stdin.take().context("piped")?;
    let mut answers = BufReader::new(curl.stdout.take().context("piped")?).lines();
    let mut times = Times::default();
    for n in 0..lines {
        let line = json!({"event_id": id, "event_type": "Token", "data": {"n": n}}).to_string();
        let from = clock::now();
        input.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = timeout(PATIENCE, answers.next_line()).await;
        let answer = answer.with_context(|| format!("no answer to line {n}"))??;
        let answer = answer.with_context(|| format!("it ended at line {n}"))?;
        let said: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
        ensure!(said["status"] == 200, "line {n}: {said}");
        times.record_between(from, clock::now());
    }
    Ok(times)
}
