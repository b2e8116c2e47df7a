//! Real proxies in front of a gateway, configured as the documentation says.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tidegate_rig::process::{Process, Start};
use tidegate_rig::{eventually, free_ports};
use tokio::net::TcpStream;

/// How long one may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Whether it can be tried here. Where everything has to be, it is an error if it cannot.
    pub fn is_installed(self) -> bool {
        let name = self.name();
        let paths = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        if paths.iter().any(|dir| Path::new(dir).join(name).exists()) {
            return true;
        }
        let what = format!("{name} is not installed (Debian: apt-get install {name})");
        #[expect(clippy::disallowed_methods, reason = "how strict tests are is no setting")]
        let is_strict = std::env::var_os("TIDEGATE_TEST_ALL").is_some();
        assert!(!is_strict, "{what}");
        // Not by `eprintln!`, which nobody sees of a test that passes.
        writeln!(std::io::stderr(), "NOT TRIED: {what}").expect("stderr takes it");
        false
    }

    fn config(self, listen: u16, to: SocketAddr, home: &Path) -> String {
        let home = home.display();
        match self {
            Self::Nginx => format!(
                "daemon off;
                 master_process off;
                 pid {home}/pid;
                 error_log stderr notice;
                 events {{ worker_connections 256; }}
                 http {{
                   access_log off;
                   client_body_temp_path {home}/body;
                   proxy_temp_path {home}/proxy;
                   fastcgi_temp_path {home}/fastcgi;
                   uwsgi_temp_path {home}/uwsgi;
                   scgi_temp_path {home}/scgi;
                   server {{
                     listen 127.0.0.1:{listen};
                     location / {{
                       proxy_pass http://{to};
                       proxy_http_version 1.1;
                       proxy_set_header Connection \"\";
                       proxy_buffering off;
                       proxy_read_timeout 1h;
                     }}
                   }}
                 }}\n"
            ),
            Self::Haproxy => format!(
                "global
                   maxconn 256
                 defaults
                   mode http
                   option abortonclose
                   timeout connect 5s
                   timeout client 1h
                   timeout server 1h
                 listen tidegate
                   bind 127.0.0.1:{listen}
                   server gateway {to}\n"
            ),
        }
    }
}

/// A running proxy; ends with the test.
pub struct Proxy {
    _process: Process,
    _home: tempfile::TempDir,
    addr: SocketAddr,
}

impl Proxy {
    /// Starts one in front of `to`.
    pub async fn start(kind: Kind, to: SocketAddr) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let [port] = free_ports();
        let config = home.path().join("config");
        fs::write(&config, kind.config(port, to, home.path())).expect("written");
        let option = match kind {
            Kind::Nginx => "-c",
            Kind::Haproxy => "-f",
        };
        let out = home.path().join("out");
        let path = format!("PATH={}", "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin");
        let words = ["env", &path, kind.name(), option, config.to_str().expect("UTF-8")];
        let start = Start {
            words: words.map(Into::into).to_vec(),
            variables: &[],
            out: &out,
            remove: Some(home.path()),
        };
        let process = Process::start(start).await;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("the proxy listens", PATIENCE, async || {
            assert!(process.is_alive(), "{}", fs::read_to_string(&out).unwrap_or_default());
            TcpStream::connect(addr).await.is_ok()
        })
        .await;
        Self { _process: process, _home: home, addr }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
