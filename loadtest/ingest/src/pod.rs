//! A gateway on the real Kafka.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tidegate_rig::process::{Process, Start};
use tidegate_swarm::subscribers::{Outcome, Plan, Readers};
use tidegate_swarm::target::{Origin, Target};
use tidegate_swarm::usage::{Memory, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long one may take to end or to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway.
#[derive(Debug)]
pub struct Pod {
    process: Process,
    public: SocketAddr,
    admin: SocketAddr,
    /// What it wrote.
    out: PathBuf,
    _home: TempDir,
}

impl Pod {
    /// Starts one that reads `topic` from its beginning; everything else is as it is by default. It
    /// need not be ready.
    ///
    /// # Errors
    /// When there is no place for what it writes.
    pub async fn start(bin: &Path, brokers: &str, topic: &str) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let out = home.path().join("out");
        let [public, admin] = tidegate_rig::free_ports();
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (public, admin) = (at(public), at(admin));
        let mut words: Vec<OsString> = vec![bin.join("tidegate").into()];
        words.extend(
            [
                format!("--public-addr={public}"),
                format!("--admin-addr={admin}"),
                "--pod-name=ingest".to_owned(),
                "--log-kind=kafka".to_owned(),
                format!("--kafka-brokers={brokers}"),
                format!("--kafka-events-topic={topic}"),
                // Older than any record of a run: the window is read back from the topic's start.
                "--log-window-age=6h".to_owned(),
            ]
            .map(Into::into),
        );
        let start = Start { words, variables: &[], out: &out, remove: None };
        Ok(Self { process: Process::start(start).await, public, admin, out, _home: home })
    }

    /// Its process.
    #[must_use]
    pub fn server(&self) -> Server {
        Server::new(vec![self.process.pid()])
    }

    /// Its memory now.
    ///
    /// # Errors
    /// When it is gone.
    pub fn memory(&self) -> Result<Memory> {
        self.server().memory()?.context("no process")
    }

    /// Rooms of it, with this prefix and event type.
    ///
    /// # Errors
    /// When a name could not be put into a URL as it is.
    pub fn target(&self, prefix: &str, kind: &str) -> Result<Target> {
        let origin: Origin = format!("http://{}", self.public).parse()?;
        Ok(Target::new(origin, prefix, kind)?)
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it is not in time, with what it wrote.
    pub async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.get("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            let said = || std::fs::read_to_string(&self.out).unwrap_or_default();
            ensure!(
                Instant::now() < deadline && self.process.is_alive(),
                "the gateway is not ready: {}",
                said()
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Records that it has read; none while it does not answer yet.
    pub async fn consumed(&self) -> u64 {
        let page = self.get("/metrics").await.unwrap_or_default();
        sum(&page, "tidegate_consumed_records_total{") as u64
    }

    /// Events that it has read and somebody wanted, and how far it says that it is behind.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn matched_and_lag(&self) -> Result<(u64, u64)> {
        let page = self.get("/metrics").await?;
        let number = |name| sum(&page, name) as u64;
        Ok((number("tidegate_matched_records_total "), number("tidegate_consumer_lag_records{")))
    }

    async fn get(&self, path: &str) -> Result<String> {
        let mut connection = TcpStream::connect(self.admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Readers of the first `rooms` rooms of `target`, one each, whose streams are open.
    ///
    /// # Errors
    /// When they do not open in time.
    pub async fn readers(&self, target: Target, rooms: usize) -> Result<Readers> {
        let readers = Readers::start(&Plan {
            target: Arc::new(target),
            readers: rooms,
            per_room: 1,
            threads: 1,
            sources: 1,
            connect_rate: 0.0,
            in_flight: 256,
            stalled: 0.0,
            stalled_buffer: 0,
            leave_after: None,
            reconnect: false,
            resume: false,
            from_start: true,
        })?;
        readers.want(rooms);
        let deadline = Instant::now() + PATIENCE;
        while readers.open() < rooms {
            ensure!(Instant::now() < deadline && !readers.broken(), "the streams do not open");
            sleep(Duration::from_millis(20)).await;
        }
        // A head is there before the reader has its seat.
        sleep(Duration::from_millis(500)).await;
        Ok(readers)
    }

    /// Sends it a signal by its name.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub async fn signal(&self, name: &str) -> Result<()> {
        ensure!(self.process.signal(name).await, "the gateway has ended by itself");
        Ok(())
    }

    /// Ends it at once.
    pub async fn end(self) {
        self.process.end("KILL", PATIENCE).await;
    }
}

/// Waits for the last events of readers whose rooms got so many each, and says what they saw.
///
/// # Errors
/// When they miss any.
pub async fn all(readers: Readers, published: Vec<u64>) -> Result<Outcome> {
    let due: u64 = published.iter().sum();
    let deadline = Instant::now() + Duration::from_secs(10);
    while readers.received() < due && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let seen = readers.finish(Some(published))?;
    let amiss = seen.faults.lost + seen.faults.doubled + seen.faults.out_of_order;
    let came = seen.deliveries;
    ensure!(amiss == 0 && came == due, "{came} of {due} events came, {amiss} amiss");
    Ok(seen)
}

/// The sum of all series whose lines begin so.
fn sum(page: &str, name: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_added_up() {
        let page = "# HELP a\na_total{x=\"1\"} 2\na_total{x=\"2\"} 40\nb 7\n";
        assert_eq!(sum(page, "a_total{"), 42.0);
        assert_eq!(sum(page, "b "), 7.0);
        assert_eq!(sum(page, "c "), 0.0);
    }
}
