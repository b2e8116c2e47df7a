//! A gateway process that keeps its address over restarts.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_rig::process::{Slot, Start};
use tokio::time::{Instant, sleep};

use crate::wire;

/// How long one may take to drain; it kills itself before.
const PATIENCE: Duration = Duration::from_secs(40);

/// How a gateway is started.
#[derive(Debug, Clone)]
pub struct Command {
    /// The binary, behind what changes the place in which it runs.
    pub words: Vec<OsString>,
    /// The flags, without addresses and name.
    pub flags: Vec<String>,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
}

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    command: Command,
    name: String,
    public: SocketAddr,
    admin: SocketAddr,
    out: PathBuf,
    running: Slot,
}

impl Gateway {
    /// One that was not started. Its output goes to a file in `home`.
    #[must_use]
    pub fn new(command: Command, name: &str, at: IpAddr, home: &Path) -> Self {
        let [public, admin] = tidegate_rig::free_ports();
        Self {
            command,
            name: name.to_owned(),
            public: SocketAddr::new(at, public),
            admin: SocketAddr::new(at, admin),
            out: home.join(format!("{name}.log")),
            running: Slot::default(),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its clients go.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Starts it; it was not running.
    pub async fn start(&self) {
        let mut words = self.command.words.clone();
        words.push("serve".into());
        let own = [
            ("--public-addr", self.public.to_string()),
            ("--admin-addr", self.admin.to_string()),
            ("--pod-name", self.name.clone()),
        ];
        words.extend(own.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]));
        words.extend(self.command.flags.iter().map(Into::into));
        let variables = &self.command.variables;
        let start = Start { words, variables, out: &self.out, remove: None };
        self.running.start(start).await;
    }

    /// Ends it with a signal and waits until it is gone; says its status as a shell would.
    pub async fn end(&self, signal: &str) -> Option<i32> {
        self.running.end(signal, PATIENCE).await
    }

    /// Sends it a signal, if it is there.
    pub async fn signal(&self, name: &str) {
        self.running.signal(name).await;
    }

    /// Its process id, while it runs.
    pub async fn pid(&self) -> Option<u32> {
        self.running.pid().await
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let answer = wire::get(self.admin, "/readyz", Duration::from_secs(2)).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until it is ready; says whether it was within `patience`. One that is gone never is.
    pub async fn until_ready(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.is_ready().await {
            if Instant::now() > deadline || self.pid().await.is_none() {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
        true
    }

    /// The value of a series in its `/metrics`, summed over its labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = wire::get(self.admin, "/metrics", Duration::from_secs(2)).await.ok()?;
        let text = String::from_utf8(answer.body).ok()?;
        let of_it = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        Some(of_it.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// What it said that looks like a defect: panics.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        let said = std::fs::read_to_string(&self.out).unwrap_or_default();
        said.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
    }
}
