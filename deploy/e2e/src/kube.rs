//! `kubectl` and `helm`, as programs: they know every way to a cluster that a KUBECONFIG can name.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// How long a program may take. Those that wait have a shorter limit of their own.
const PATIENCE: Duration = Duration::from_secs(400);
/// Between two looks at the cluster.
const LOOK: Duration = Duration::from_millis(200);

/// Runs a program and gives what it wrote.
///
/// # Errors
/// What it said when it failed, or that it did not end.
pub(crate) async fn run(program: &str, args: &[&str], input: Option<&str>) -> Result<String> {
    let said = || format!("{program} {}", args.join(" "));
    let mut child = Command::new(program)
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(said)?;
    let work = async {
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let done = timeout(PATIENCE, work).await.with_context(said)?.with_context(said)?;
    if !done.status.success() {
        let error = String::from_utf8_lossy(&done.stderr);
        bail!("{}: {}", said(), error.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// `kubectl` in a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Kube {
    /// The namespace.
    pub(crate) namespace: String,
}

impl Kube {
    /// Runs it.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<String> {
        run("kubectl", &[&["--namespace", &self.namespace], args].concat(), None).await
    }

    /// Runs it with an object on its input.
    pub(crate) async fn give(&self, args: &[&str], object: &Value) -> Result<String> {
        let args = [&["--namespace", &self.namespace], args].concat();
        run("kubectl", &args, Some(&object.to_string())).await
    }

    /// `kubectl get … -o json`.
    pub(crate) async fn get(&self, what: &[&str]) -> Result<Value> {
        let said = self.run(&[&["get", "--output", "json"], what].concat()).await?;
        serde_json::from_str(&said).context("kubectl's JSON")
    }

    /// `kubectl apply`.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        self.give(&["apply", "--server-side", "--filename", "-"], object).await?;
        Ok(())
    }

    /// Whether there is such an object.
    pub(crate) async fn has(&self, what: &[&str]) -> Result<bool> {
        let args = [&["get", "--output", "name", "--ignore-not-found"], what].concat();
        Ok(!self.run(&args).await?.trim().is_empty())
    }
}

/// Waits until `look` finds something. What fails meanwhile is told if nothing ever comes of it.
///
/// # Errors
/// It was not found within `patience`.
pub(crate) async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let error = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() > deadline {
            let error = error.map(|error| format!(": {error:#}")).unwrap_or_default();
            bail!("{what}: not within {} s{error}", patience.as_secs());
        }
        sleep(LOOK).await;
    }
}
