//! An nginx before the ingress controller: a proxy that buffers.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tidegate_faults::door::{Door, Doors};
use tidegate_rig::process::{Process, Start};
use tokio::net::TcpStream;

use crate::kube::{self, until};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx. It ends with this value.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// `proxy_buffering on`, and `X-Accel-Buffering: no` counts, as by default.
    pub(crate) heeding: SocketAddr,
    /// The same, and the header does not count.
    pub(crate) buffering: SocketAddr,
    _process: Process,
    _home: TempDir,
}

impl Nginx {
    /// Starts one before `to`.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub(crate) async fn start(to: SocketAddr) -> Result<Self> {
        let missing =
            "nginx shows what buffering does: install it (Debian: apt-get install nginx-light)";
        kube::run("nginx", &["-v"], None).await.context(missing)?;
        let home = tempfile::Builder::new().prefix("tidegate-nginx-").tempdir()?;
        let [heeding, buffering] = tidegate_rig::free_ports::<2>();
        let (config, out) = (home.path().join("nginx.conf"), home.path().join("out"));
        fs::write(&config, settings(&home, to, heeding, buffering))?;
        let words =
            ["nginx".into(), "-e".into(), "stderr".into(), "-c".into(), config.into()].to_vec();
        let start = Start { words, variables: &[], out: &out, remove: Some(home.path()) };
        let process = Process::start(start).await;
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        until("nginx is up", PATIENCE, async || {
            let connected = TcpStream::connect(at(heeding)).await;
            let _ = connected.with_context(|| fs::read_to_string(&out).unwrap_or_default())?;
            Ok(Some(()))
        })
        .await?;
        let (heeding, buffering) = (at(heeding), at(buffering));
        Ok(Self { heeding, buffering, _process: process, _home: home })
    }

    /// A door that leads through it.
    pub(crate) fn door(at: SocketAddr, like: &Door) -> Doors {
        Doors::new(vec![Door { addr: at, host: like.host.clone(), proxied: true }])
    }
}

fn settings(home: &TempDir, to: SocketAddr, heeding: u16, buffering: u16) -> String {
    let home = home.path().display();
    let server = |port: u16, more: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{to}; proxy_buffering on; {more}\n\
             proxy_set_header Host $host; }} }}\n"
        )
    };
    // It asks by HTTP/1.0, as by default: what comes in chunks it would not hold back.
    // One process: a worker of its own would outlive a master that is killed.
    format!(
        "daemon off; master_process off; pid {home}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{ access_log off;\n\
         client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;\n\
         fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;\n\
         {}{}}}\n",
        server(heeding, ""),
        server(buffering, "proxy_ignore_headers X-Accel-Buffering;")
    )
}
