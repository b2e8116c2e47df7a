//! A process that ends with the one that started it, however that went, and a place for one that
//! comes and goes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

/// Starts the command and tells its process id; then reads a word. Without one, which is when the
/// input ends because we are gone, it kills the process and removes what is to be removed.
const SUPERVISOR: &str = r#"
"$@" >>"$OUT" 2>&1 </dev/null & p=$!
echo $p
read -r word
kill -9 $p 2>/dev/null
wait $p 2>/dev/null
echo $?
[ "$word" = keep ] || [ -z "$REMOVE" ] || rm -rf "$REMOVE"
"#;

/// What to start.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Further variables of its environment.
    pub variables: &'a [(String, String)],
    /// The file that its standard output and error are appended to.
    pub out: &'a Path,
    /// What is removed when this process is gone without having ended that one.
    pub remove: Option<&'a Path>,
}

/// A running process, behind a shell that kills it when we are gone.
#[derive(Debug)]
pub struct Process {
    supervisor: Child,
    said: Lines<BufReader<ChildStdout>>,
    pid: u32,
}

impl Process {
    /// Starts one. That the program is there is seen by what it writes.
    ///
    /// # Panics
    /// When there is no shell.
    pub async fn start(start: Start<'_>) -> Self {
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .args(&start.words)
            .envs(start.variables.iter().map(|(name, value)| (name, value)))
            .env("OUT", start.out)
            .env("REMOVE", start.remove.map_or(OsStr::new(""), Path::as_os_str))
            // Not the terminal's Ctrl-C: our end is its end.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut said = BufReader::new(supervisor.stdout.take().expect("piped")).lines();
        let pid = said.next_line().await.expect("a line").expect("a process id");
        Self { supervisor, said, pid: pid.parse().expect("a process id") }
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs, or stands still.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // A zombie: dead, and the shell has not looked yet.
        fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
    }

    /// Sends a signal by its name, `TERM` for one. Says whether there was a process to send it to.
    ///
    /// # Panics
    /// When there is no `kill`.
    pub async fn signal(&self, name: &str) -> bool {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid.to_string()])
            .stderr(Stdio::null())
            .status();
        sent.await.expect("kill runs").success()
    }

    /// Sends a signal and waits until it has ended; after `patience` it is killed. What was to be
    /// removed is kept. The status is the shell's: 128 and the signal's number if one ended it.
    ///
    /// # Panics
    /// When the shell is gone before it.
    pub async fn end(mut self, signal: &str, patience: Duration) -> i32 {
        self.signal(signal).await;
        let gone = async {
            while self.is_alive() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // Then the supervisor kills it.
        let _ = timeout(patience, gone).await;
        let mut stdin = self.supervisor.stdin.take().expect("piped");
        stdin.write_all(b"keep\n").await.expect("the supervisor reads");
        let status = self.said.next_line().await.expect("a line").expect("a status");
        self.supervisor.wait().await.expect("the supervisor ends");
        status.parse().expect("a status")
    }
}

/// A place for a process that is started, ended and started again. One that is in it when it is
/// dropped is killed.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Option<Process>>);

impl Slot {
    /// Starts a process in it, which is empty.
    pub async fn start(&self, start: Start<'_>) {
        *self.0.lock().await = Some(Process::start(start).await);
    }

    /// Whether no process was started, or the last one was ended.
    pub async fn is_empty(&self) -> bool {
        self.0.lock().await.is_none()
    }

    /// Its process id, while it runs or stands still.
    pub async fn pid(&self) -> Option<u32> {
        self.0.lock().await.as_ref().filter(|process| process.is_alive()).map(Process::pid)
    }

    /// Whether it runs, or stands still; it may end by itself.
    pub async fn is_alive(&self) -> bool {
        self.pid().await.is_some()
    }

    /// Ends it with a signal, or kills it after `patience`, and waits until it is gone; says its
    /// status as a shell would. Empty, there is nothing to end.
    pub async fn end(&self, signal: &str, patience: Duration) -> Option<i32> {
        match self.0.lock().await.take() {
            Some(process) => Some(process.end(signal, patience).await),
            None => None,
        }
    }

    /// Sends a signal by its name; false if the process has ended by itself.
    pub async fn signal(&self, name: &str) -> bool {
        match &*self.0.lock().await {
            Some(process) => process.signal(name).await,
            None => true,
        }
    }

    /// Lets it stand still: connections stay open and nothing answers.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub async fn freeze(&self) {
        assert!(self.signal("STOP").await, "it has ended by itself");
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Panics
    /// When it has ended by itself.
    pub async fn thaw(&self) {
        assert!(self.signal("CONT").await, "it has ended by itself");
    }
}
