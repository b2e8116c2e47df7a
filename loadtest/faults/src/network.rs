//! A network namespace for each gateway, on a bridge: cables that can be pulled.

use std::ffi::OsString;
use std::net::Ipv4Addr;

use crate::shell::{self, Undo};

/// The gateways' namespaces.
#[derive(Debug)]
pub struct Namespaces {
    /// What all their names begin with: of this process, and short, as names of links must be.
    prefix: String,
    subnet: u8,
    _undo: Undo,
}

impl Namespaces {
    /// Makes so many, at most 250.
    ///
    /// # Errors
    /// Why this machine does not let us.
    pub async fn make(count: usize) -> Result<Self, String> {
        let pid = std::process::id();
        let prefix = format!("tgf{pid}");
        let subnet = u8::try_from(pid % 200).unwrap_or_default();
        let names = || (0..count).map(|n| format!("{prefix}n{n}"));
        let mut undo: String = names().map(|name| format!("ip netns del {name}\n")).collect();
        undo.push_str(&format!("ip link del {prefix}\n"));
        let undo = Undo::with(&undo)?;
        let mut make = format!(
            "ip link add {prefix} type bridge\n\
             ip addr add 10.213.{subnet}.1/24 dev {prefix}\n\
             ip link set {prefix} up\n"
        );
        for (n, name) in names().enumerate() {
            // The end in the namespace is `eth0`; ours is a port of the bridge.
            make.push_str(&format!(
                "ip netns add {name}\n\
                 ip link add {prefix}p{n} type veth peer name eth0 netns {name}\n\
                 ip link set {prefix}p{n} master {prefix} up\n\
                 ip netns exec {name} ip link set lo up\n\
                 ip netns exec {name} ip addr add 10.213.{subnet}.{}/24 dev eth0\n\
                 ip netns exec {name} ip link set eth0 up\n",
                n + 2
            ));
        }
        shell::run(&make).await?;
        Ok(Self { prefix, subnet, _undo: undo })
    }

    /// Our address, as the gateways see it.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, 1)
    }

    /// A gateway's address.
    #[must_use]
    pub fn addr(&self, n: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, u8::try_from(n + 2).unwrap_or(u8::MAX))
    }

    /// What stands before a command so that it runs in a gateway's namespace.
    #[must_use]
    pub fn enter(&self, n: usize) -> Vec<OsString> {
        ["ip", "netns", "exec", &format!("{}n{n}", self.prefix)].map(Into::into).to_vec()
    }

    /// Pulls a gateway's cable, or puts it back.
    ///
    /// # Errors
    /// What `ip` says.
    pub async fn set_cable(&self, n: usize, plugged: bool) -> Result<(), String> {
        let state = if plugged { "up" } else { "down" };
        shell::run(&format!("ip link set {}p{n} {state}", self.prefix)).await
    }
}
