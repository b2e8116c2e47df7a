//! Which gateway a command speaks to, and as whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use reqwest::Url;

use crate::client::address::parse_base;
use crate::client::identity::{Credential, Identity};

/// The options that every command of a client has.
#[derive(Debug, Args)]
pub struct Target {
    /// The gateway's address
    #[arg(long, value_name = "URL", default_value = "http://localhost:30000")]
    url: String,
    /// The user to be: signed, or taken as given where the gateway asks for no signatures
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// A signature, as `tidegate sign` prints it; for several rooms one for each, in their order
    #[arg(long, value_name = "S", conflicts_with_all = ["key", "key_file"])]
    signature: Vec<String>,
    /// The key to sign with, kid:secret; others on this machine may see it among the processes
    #[arg(long, value_name = "KID:SECRET", conflicts_with = "key_file")]
    key: Option<String>,
    /// A file that holds the key to sign with, or a gateway's keys; the first that has not ended signs
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Target {
    /// The gateway's address.
    ///
    /// # Errors
    /// It is none.
    pub fn base(&self) -> anyhow::Result<Url> {
        parse_base(&self.url).context("--url")
    }

    /// Who asks.
    ///
    /// # Errors
    /// A key that is none, or a file that cannot be read.
    pub fn identity(&self) -> anyhow::Result<Identity> {
        let credential = if let Some(key) = &self.key {
            Credential::from_key(key).context("--key")?
        } else if let Some(path) = &self.key_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("--key-file {}", path.display()))?;
            Credential::from_keys(&text, SystemTime::now())
                .with_context(|| format!("--key-file {}", path.display()))?
        } else if self.signature.is_empty() {
            Credential::None
        } else {
            Credential::Given(self.signature.clone())
        };
        Ok(Identity { user: self.user.clone(), credential })
    }

    /// How many signatures were given.
    #[must_use]
    pub fn signatures(&self) -> usize {
        self.signature.len()
    }
}

/// The admin port of a gateway with these settings on this machine.
pub(super) fn local_admin(mut addr: SocketAddr) -> String {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{addr}")
}
