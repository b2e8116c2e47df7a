//! A real Redis on loopback, up in milliseconds, gone with whoever started it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use redis::{FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::process::{Slot, Start};
use crate::{eventually, free_ports};

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

static SHARED: OnceCell<Redis> = OnceCell::const_new();

/// One server.
#[derive(Debug)]
pub struct Redis {
    /// Before its data, which is removed when the process was told to go.
    running: Slot,
    port: u16,
    /// Its data. The shared server's is never dropped: its supervisor removes it.
    home: TempDir,
    options: Vec<String>,
    password: Option<String>,
    variables: Vec<(String, String)>,
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
            port: free_ports::<1>()[0],
            home: tempfile::Builder::new()
                .prefix("tidegate-redis-")
                .tempdir()
                .expect("a directory"),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            password: options
                .windows(2)
                .find(|pair| pair[0] == "--requirepass")
                .map(|pair| pair[1].to_owned()),
            variables: Vec::new(),
            running: Slot::default(),
        }
    }

    /// Sets variables of the server's environment, for when it is started next.
    #[must_use]
    pub fn with_variables(mut self, variables: Vec<(String, String)>) -> Self {
        self.variables = variables;
        self
    }

    /// What it has written to its output since it was started.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("out")).unwrap_or_default()
    }

    /// Whether its process runs; it ends by itself when it cannot write its file.
    pub async fn is_alive(&self) -> bool {
        self.running.is_alive().await
    }

    /// The port that it listens on.
    #[must_use]
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
        self.running.end("TERM", PATIENCE).await;
        let mut words: Vec<OsString> =
            ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
                .map(Into::into)
                .to_vec();
        words.extend(["--appendfsync", "always", "--port"].map(Into::into));
        words.push(self.port.to_string().into());
        words.push("--dir".into());
        words.push(self.home.path().into());
        words.extend(self.options.iter().map(Into::into));
        let out = self.home.path().join("out");
        // What the last one said is not this one's.
        let _ = fs::remove_file(&out);
        let start =
            Start { words, variables: &self.variables, out: &out, remove: Some(self.home.path()) };
        self.running.start(start).await;
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
        self.running.end("TERM", PATIENCE).await;
    }

    /// Ends it as a power cut does.
    pub async fn kill(&self) {
        self.running.end("KILL", PATIENCE).await;
    }

    /// Removes all that it has written. Not while it runs.
    pub async fn wipe(&self) {
        assert!(self.running.is_empty().await, "it runs");
        fs::remove_dir_all(self.data()).expect("it has written something");
    }

    /// Stands still: connections stay open and nothing answers.
    pub async fn freeze(&self) {
        self.running.freeze().await;
    }

    /// Goes on after [`Self::freeze`].
    pub async fn thaw(&self) {
        self.running.thaw().await;
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
