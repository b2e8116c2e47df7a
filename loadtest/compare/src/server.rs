//! The servers, each a process of its own that is started afresh for every run: what one run leaves
//! behind in a server's memory is no part of the next one's figures, and all are up in milliseconds.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tidegate_rig::process::{Process, Start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

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
    /// The gateway on a real Kafka.
    TidegateKafka,
    /// The gateway on the embedded log, with TLS in itself.
    TidegateTls,
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
            Self::TidegateKafka => "tidegate on Kafka",
            Self::TidegateTls => "tidegate with TLS",
            Self::Floor => "floor, one write each",
            Self::FloorBatched => "floor, batched",
            Self::Nchan => "nginx + nchan",
            Self::Axum => "plain axum",
        })
    }
}

/// What the servers need that is not theirs.
#[derive(Debug)]
pub struct Surroundings {
    /// Where the programs are.
    pub bin: PathBuf,
    /// Kafka, while there is one.
    pub brokers: Option<String>,
    /// A directory with the certificate in `cert.pem` and its key in `key.pem`.
    pub certificate: PathBuf,
}

impl Surroundings {
    /// Makes the certificate, of this machine's loopback, in a directory that is there.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn new(bin: PathBuf, certificate: PathBuf) -> Result<Self> {
        let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let made = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
        std::fs::write(certificate.join("cert.pem"), made.cert.pem())?;
        std::fs::write(certificate.join("key.pem"), made.signing_key.serialize_pem())?;
        Ok(Self { bin, brokers: None, certificate })
    }

    fn certificate(&self, file: &str) -> String {
        self.certificate.join(file).display().to_string()
    }
}

impl Kind {
    /// Whether it can be started here.
    #[must_use]
    pub fn is_there(self) -> bool {
        match self {
            Self::Nchan => Path::new(NCHAN).exists() && Path::new(NGINX).exists(),
            Self::TidegateKafka => {
                let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
                // They come from Maven Central, which cannot be reached from a namespace.
                java.is_ok_and(|status| status.success()) && tidegate_rig::kafka::is_fetched()
            }
            _ => true,
        }
    }

    /// swarm's flags that say where its streams are and where it is published to.
    #[must_use]
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Nchan => &["--subscribe-path=/sub?id={id}", "--publish-path=/pub?id={id}"],
            _ => &[],
        }
    }

    /// Whether it is the gateway.
    #[must_use]
    pub fn is_gateway(self) -> bool {
        matches!(self, Self::Tidegate | Self::TidegateKafka | Self::TidegateTls)
    }

    /// swarm's flags that say how it is published to; in a batch if it takes one.
    #[must_use]
    pub fn style(self, batch: bool) -> &'static [&'static str] {
        match self {
            Self::Axum | Self::Nchan => &["--style=raw"],
            _ if batch => &["--style=batch"],
            _ => &[],
        }
    }

    fn words(
        self,
        near: &Surroundings,
        at: SocketAddr,
        admin: SocketAddr,
        home: &Path,
    ) -> Vec<OsString> {
        let bin = &near.bin;
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
            Self::Tidegate | Self::TidegateKafka | Self::TidegateTls => {
                // For those who ask.
                let mut flags = vec!["--stream-gzip=true".into()];
                flags.extend([format!("--public-addr={at}"), format!("--admin-addr={admin}")]);
                if self == Self::TidegateKafka {
                    flags.push("--log-kind=kafka".into());
                    flags.extend(near.brokers.as_ref().map(|at| format!("--kafka-brokers={at}")));
                }
                if self == Self::TidegateTls {
                    flags.push(format!("--tls-cert-file={}", near.certificate("cert.pem")));
                    flags.push(format!("--tls-key-file={}", near.certificate("key.pem")));
                }
                words(bin.join("tidegate"), &flags)
            }
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
    kind: Kind,
    at: SocketAddr,
}

impl Server {
    /// Starts one; its files go to `home`.
    ///
    /// # Errors
    /// When it does not serve within 20 seconds, with what it wrote.
    pub async fn start(kind: Kind, near: &Surroundings, home: &Path) -> Result<Self> {
        let ports: [u16; 2] = tidegate_rig::free_ports();
        let [at, admin] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let out = home.join("server.log");
        if kind == Kind::Nchan {
            tokio::fs::write(home.join("nginx.conf"), nginx_conf(at, home)).await?;
        }
        let words = kind.words(near, at, admin, home);
        let start = Start { words, variables: &[], out: &out, remove: None };
        let process = Process::start(start).await;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(at).await.is_err() || (kind.is_gateway() && !is_ready(admin).await)
        {
            if Instant::now() > deadline || !process.is_alive() {
                let said = tokio::fs::read_to_string(&out).await.unwrap_or_default();
                bail!("{kind} does not serve on {at}: {said}");
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { process, kind, at })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// swarm's flags that say where it is and what it speaks.
    #[must_use]
    pub fn flags(&self, near: &Surroundings) -> Vec<String> {
        let tls = self.kind == Kind::TidegateTls;
        let mut flags = vec![format!("--url=http://{}", self.at), format!("--pid={}", self.pid())];
        if tls {
            flags.push(format!("--tls-ca={}", near.certificate("cert.pem")));
        }
        flags.extend(self.kind.paths().iter().map(|&flag| flag.to_owned()));
        flags
    }

    /// Ends it at once.
    pub async fn end(self) {
        self.process.end("KILL", PATIENCE).await;
    }
}

/// Whether the gateway with this admin listener says that it is ready: on Kafka it listens before.
async fn is_ready(admin: SocketAddr) -> bool {
    let answer = async {
        let mut stream = TcpStream::connect(admin).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.map(|_| head)
    };
    matches!(timeout(Duration::from_secs(1), answer).await, Ok(Ok(head)) if head == *b"HTTP/1.1 200")
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
