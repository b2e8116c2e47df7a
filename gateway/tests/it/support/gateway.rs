//! The real binary, started for a test and ended with it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::eventually;
use super::http::{self, Answer};

/// How long a gateway may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A drain that ends all streams at once and then waits for them, and writes that never time out.
pub const SWIFT_DRAIN: [&str; 4] =
    ["--drain-grace=0", "--drain-window=0", "--drain-deadline=29s", "--stream-write-timeout=1h"];

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// A gateway process.
pub struct Gateway {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
    /// What it has logged, a line each.
    lines: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    /// Starts one with these flags on free loopback ports and waits until it listens.
    pub async fn spawn(flags: &[&str]) -> Self {
        Self::spawn_with(flags, &[]).await
    }

    /// The same, with variables of the environment.
    pub async fn spawn_with(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start(Command::new(BINARY), flags, variables).await
    }

    /// The same, after these commands of a shell, which change what the process starts with.
    pub async fn spawn_after(shell: &str, flags: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\""), BINARY]);
        Self::start(command, flags, &[]).await
    }

    async fn start(mut command: Command, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = command
            .arg("serve")
            .args(["--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .args(["--telemetry-log-format", "json"])
            .args(flags)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway's binary starts");
        let stderr = child.stderr.take().expect("piped");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, told) = mpsc::channel();
        let collected = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = tell.send(line.clone());
                collected.lock().expect("lines").push(line);
            }
        });
        let listening = tokio::task::spawn_blocking(move || {
            let mut seen = Vec::new();
            while let Ok(line) = told.recv_timeout(PATIENCE) {
                if let Some(addresses) = listening(&line) {
                    return addresses;
                }
                seen.push(line);
            }
            panic!("the gateway did not listen; it said:\n{}", seen.join("\n"));
        });
        let (public, admin) = listening.await.expect("the gateway listens");
        Self { child, public, admin, lines }
    }

    /// Starts one and waits until it is ready.
    pub async fn ready(flags: &[&str]) -> Self {
        let gateway = Self::spawn(flags).await;
        gateway.until_ready().await;
        gateway
    }

    /// Waits until `/readyz` says 200.
    pub async fn until_ready(&self) {
        eventually("the gateway is ready", PATIENCE, async || {
            self.admin_get("/readyz").await.status == 200
        })
        .await;
    }

    pub fn public(&self) -> SocketAddr {
        self.public
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub async fn admin_get(&self, path: &str) -> Answer {
        http::get(self.admin, path, &[]).await
    }

    /// The value of a series in `/metrics`, summed over its labels that contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.admin_get("/metrics").await.text();
        text.lines()
            .filter(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                    && line.contains(labels)
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.lines.lock().expect("lines").join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Publishes one event and returns the answer.
    pub async fn publish(&self, id: &str, kind: &str, body: &str) -> Answer {
        http::post_json(self.public, &format!("/v1/sse/events/{id}/types/{kind}"), body).await
    }

    /// Sends a signal by its name, to this process only.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success(), "the signal {name} could not be sent");
    }

    /// Asks it to drain and waits until it has ended.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        // Waited for on a thread of its own: the test goes on reading its streams.
        let ended = tokio::task::spawn_blocking(move || (self.child.wait(), self));
        let (status, _ended) = tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("the gateway ends in time")
            .expect("waited");
        status.expect("an exit status")
    }

    /// Asks it to drain and waits until it has begun to. Its end is waited for with what is returned.
    pub async fn begin_drain(self) -> JoinHandle<ExitStatus> {
        let admin = self.admin();
        let ended = tokio::spawn(self.terminate());
        eventually("the drain has begun", PATIENCE, async || {
            http::get(admin, "/metrics", &[]).await.text().contains("tidegate_draining 1")
        })
        .await;
        ended
    }
}

/// The addresses of the line that says where it listens.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let field = |name: &str| fields.get(name)?.as_str();
    if field("message")? != "listening" {
        return None;
    }
    Some((field("public")?.parse().ok()?, field("admin")?.parse().ok()?))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test shows what the gateway said")]
            {
                eprintln!("--- the gateway {} said:\n{}", self.public, self.log());
            }
        }
    }
}
