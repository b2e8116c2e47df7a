//! A real Redis on loopback, up in milliseconds, gone with the tests.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use redis::{FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, OnceCell};

use super::eventually;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

static SHARED: OnceCell<Redis> = OnceCell::const_new();

/// One server.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    /// Its data. The shared server's is never dropped: its supervisor removes it.
    home: TempDir,
    options: Vec<String>,
    password: Option<String>,
    running: Mutex<Option<Running>>,
}

/// A server's process, behind a shell that kills it when the tests are gone.
#[derive(Debug)]
struct Running {
    supervisor: Child,
    pid: String,
}

impl Redis {
    /// The server that all tests of this process share. Prefixes must be one's own.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// A server of one's own that writes every event to its file, up.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server of one's own with further options, up.
    pub async fn start_with(options: &[&str]) -> Self {
        let redis = Self::stopped(options);
        redis.restart().await;
        redis
    }

    /// A server of one's own that was never started: its address refuses connections.
    pub fn stopped(options: &[&str]) -> Self {
        Self {
            port: free_port(),
            home: tempfile::Builder::new()
                .prefix("tidegate-redis-")
                .tempdir()
                .expect("a directory"),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            password: options
                .windows(2)
                .find(|pair| pair[0] == "--requirepass")
                .map(|pair| pair[1].to_owned()),
            running: Mutex::new(None),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, with its password.
    pub fn url(&self) -> String {
        let login = self
            .password
            .as_ref()
            .map(|p| format!(":{}@", p.replace('/', "%2F")))
            .unwrap_or_default();
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("appendonlydir")
    }

    /// Starts it again on its port with its data, and waits until it serves.
    pub async fn restart(&self) {
        self.end("-TERM").await;
        let mut supervisor = Command::new("sh")
            .arg("-c")
            // Reads the end of its input when the tests are gone, however they went.
            .arg(
                "\"$@\" >\"$HOME_DIR/out\" 2>&1 </dev/null & p=$!; echo $p; read -r word; \
                 kill -9 $p 2>/dev/null; wait $p 2>/dev/null; \
                 [ \"$word\" = keep ] || rm -rf \"$HOME_DIR\"",
            )
            .args(["redis", "redis-server", "--bind", "127.0.0.1"])
            .args(["--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .arg("--dir")
            .arg(self.home.path())
            .args(&self.options)
            .env("HOME_DIR", self.home.path())
            // Not the terminal's Ctrl-C: the tests' end is its end.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut lines = BufReader::new(supervisor.stdout.take().expect("piped")).lines();
        let pid = lines.next_line().await.expect("a line").expect("the server's process id");
        *self.running.lock().await = Some(Running { supervisor, pid });
        let out = self.home.path().join("out");
        eventually("Redis is up", PATIENCE, async || {
            let said = fs::read_to_string(&out).unwrap_or_default();
            assert!(
                !said.contains("not found"),
                "these tests run a real Redis: install it (Debian: apt-get install redis-server)"
            );
            assert!(!said.contains("FATAL CONFIG"), "{said}");
            self.try_command::<String>(&["PING"]).await.is_ok()
        })
        .await;
    }

    /// Ends it in order. What it has written it keeps.
    pub async fn stop(&self) {
        self.end("-TERM").await;
    }

    /// Ends it as a power cut does.
    pub async fn kill(&self) {
        self.end("-KILL").await;
    }

    /// Removes all that it has written. Not while it runs.
    pub async fn wipe(&self) {
        assert!(self.running.lock().await.is_none(), "it runs");
        fs::remove_dir_all(self.data()).expect("it has written something");
    }

    /// Stands still: connections stay open and nothing answers.
    pub async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    /// Goes on after [`Self::freeze`].
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        if let Some(running) = &*self.running.lock().await {
            let done = Command::new("kill").args([signal, &running.pid]).status().await;
            assert!(done.expect("kill runs").success());
        }
    }

    async fn end(&self, signal: &str) {
        let Some(mut running) = self.running.lock().await.take() else { return };
        // Fails if it is gone already.
        let _ = Command::new("kill").args([signal, &running.pid]).status().await;
        eventually("Redis has ended", PATIENCE, async || {
            !Path::new("/proc").join(&running.pid).exists() || zombie(&running.pid)
        })
        .await;
        let mut stdin = running.supervisor.stdin.take().expect("piped");
        stdin.write_all(b"keep\n").await.expect("the supervisor reads");
        running.supervisor.wait().await.expect("the supervisor ends");
    }

    /// Runs a command on a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Runs commands as one transaction.
    pub async fn transaction(&self, commands: &[&[&str]]) {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for words in commands {
            pipe.cmd(words[0]).arg(&words[1..]).ignore();
        }
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
        pipe.exec_async(&mut connection).await.expect("carried out");
    }

    async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The supervisor's input ends with it.
        self.running.get_mut().take();
    }
}

/// Dead, and its parent has not looked yet.
fn zombie(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
