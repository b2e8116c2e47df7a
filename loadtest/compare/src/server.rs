//! The servers, each a process of its own that is started afresh for every run.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tidegate_rig::process::{Process, Start};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long one may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where Debian's `libnginx-mod-nchan` puts the module.
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// Where Debian puts nginx.
const NGINX: &str = "/usr/sbin/nginx";

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The gateway, on the embedded log.
    Tidegate,
    /// The floor: a write per delivery.
    Floor,
    /// The floor that writes everything pending at once.
    FloorBatched,
    /// nginx with nchan, one process.
    Nchan,
    /// axum's `Sse` over broadcast channels.
    Axum,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tidegate => "tidegate",
            Self::Floor => "floor, one write each",
            Self::FloorBatched => "floor, batched",
            Self::Nchan => "nginx + nchan",
            Self::Axum => "plain axum",
        })
    }
}

impl Kind {
    /// Whether it can be started here.
    #[must_use]
    pub fn is_there(self) -> bool {
        self != Self::Nchan || (Path::new(NCHAN).exists() && Path::new(NGINX).exists())
    }

    /// swarm's flags that say where its streams are and where it is published to.
    #[must_use]
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Nchan => &["--subscribe-path=/sub?id={id}", "--publish-path=/pub?id={id}"],
            _ => &[],
        }
    }

    /// swarm's flags that say how it is published to; in a batch if it takes one.
    #[must_use]
    pub fn style(self, batch: bool) -> &'static [&'static str] {
        match self {
            Self::Tidegate | Self::Floor | Self::FloorBatched if batch => &["--style=batch"],
            Self::Tidegate | Self::Floor | Self::FloorBatched => &[],
            Self::Axum | Self::Nchan => &["--style=raw"],
        }
    }

    fn words(self, bin: &Path, at: SocketAddr, home: &Path) -> Vec<OsString> {
        let words = |program: PathBuf, flags: &[String]| {
            std::iter::once(program.into()).chain(flags.iter().map(Into::into)).collect()
        };
        let addr = format!("--addr={at}");
        match self {
            Self::Floor => words(bin.join("swarm"), &["floor".into(), addr]),
            Self::FloorBatched => {
                words(bin.join("swarm"), &["floor".into(), "--batched".into(), addr])
            }
            Self::Axum => words(bin.join("baseline"), &[addr]),
            Self::Tidegate => words(
                bin.join("tidegate"),
                &[format!("--public-addr={at}"), "--admin-addr=127.0.0.1:0".into()],
            ),
            Self::Nchan => {
                words(NGINX.into(), &["-c".into(), home.join("nginx.conf").display().to_string()])
            }
        }
    }
}

/// nchan as its manual has it, with what would cost and does not serve the load switched off.
fn nginx_conf(at: SocketAddr, home: &Path) -> String {
    let home = home.display();
    format!(
        "load_module {NCHAN};
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/nginx.log;
worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  server {{
    listen {at} backlog=4096;
    location = /sub {{
      nchan_subscriber eventsource;
      nchan_channel_id $arg_id;
      nchan_subscriber_first_message newest;
    }}
    location = /pub {{
      nchan_publisher;
      nchan_channel_id $arg_id;
      nchan_message_buffer_length 1000;
    }}
  }}
}}
"
    )
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    at: SocketAddr,
}

impl Server {
    /// Starts one whose program is in `bin`; its files go to `home`.
    ///
    /// # Errors
    /// When it does not listen within 20 seconds, with what it wrote.
    pub async fn start(kind: Kind, bin: &Path, home: &Path) -> Result<Self> {
        let [port] = tidegate_rig::free_ports();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let out = home.join("server.log");
        if kind == Kind::Nchan {
            tokio::fs::write(home.join("nginx.conf"), nginx_conf(at, home)).await?;
        }
        let words = kind.words(bin, at, home);
        let start = Start { words, variables: &[], out: &out, remove: None };
        let process = Process::start(start).await;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(at).await.is_err() {
            if Instant::now() > deadline || !process.is_alive() {
                let said = tokio::fs::read_to_string(&out).await.unwrap_or_default();
                bail!("{kind} does not listen on {at}: {said}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { process, at })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Ends it at once.
    pub async fn end(self) {
        self.process.end("KILL", PATIENCE).await;
    }
}

/// Checks that what has to be built is there.
///
/// # Errors
/// When a program is missing, with how to build it.
pub fn check_programs(bin: &Path) -> Result<()> {
    for program in ["swarm", "tidegate", "baseline"] {
        let path = bin.join(program);
        std::fs::metadata(&path).with_context(|| {
            format!(
                "{} is missing: cargo build --release -p tidegate -p tidegate-swarm -p tidegate-baseline",
                path.display()
            )
        })?;
    }
    Ok(())
}
