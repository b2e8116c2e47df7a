//! What needs root: done by a shell, undone by another one, whatever becomes of us.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Runs these commands.
///
/// # Errors
/// What they wrote when one of them failed.
pub async fn run(commands: &str) -> Result<(), String> {
    let done = Command::new("sh")
        .args(["-e", "-c", commands])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(said.trim().lines().last().unwrap_or("it failed").to_owned())
}

/// Commands that are run when this is dropped, or when this process is gone.
#[derive(Debug)]
pub struct Undo {
    /// Its input ends with it.
    shell: Child,
}

impl Undo {
    /// Commands to undo something with; each is run, also after one that failed.
    ///
    /// # Errors
    /// When there is no shell.
    pub fn with(commands: &str) -> Result<Self, String> {
        let shell = Command::new("sh")
            .args(["-c", &format!("read -r word\n[ \"$word\" = keep ] && exit 0\n{commands}")])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { shell })
    }

    /// Leaves all as it is.
    pub async fn call_off(mut self) {
        if let Some(mut stdin) = self.shell.stdin.take() {
            // One that is gone undoes nothing any more.
            let _ = stdin.write_all(b"keep\n").await;
        }
    }
}
