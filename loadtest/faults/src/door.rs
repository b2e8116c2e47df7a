//! Where clients knock, and what every request of theirs says there.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::rngs::StdRng;
use rand::{Rng, RngExt as _};
use sha2::Sha256;

use crate::publisher::now_ms;
use crate::wire::Wire;

/// How long a signature is good for: longer than any run.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// A way to the gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Where to connect.
    pub addr: SocketAddr,
    /// What `Host` says.
    pub host: String,
    /// A proxy stands before the gateways, which says 502, 503 or 504 for one that is just gone.
    pub proxied: bool,
}

/// A key that requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub kid: String,
    /// Its secret.
    pub secret: String,
}

/// All doors of the same gateways.
#[derive(Debug, Default)]
pub struct Doors {
    doors: Vec<Door>,
    /// With none, nothing is signed.
    key: RwLock<Option<Key>>,
}

/// What a request asks for, as it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// `subscribe` or `publish`.
    pub action: &'a str,
    /// The event id, or `*`.
    pub id: &'a str,
    /// The event type, or `*`.
    pub kind: &'a str,
    /// The user; empty for nobody.
    pub user: &'a str,
}

impl Doors {
    /// These, with nothing signed.
    #[must_use]
    pub fn new(doors: Vec<Door>) -> Self {
        Self { doors, key: RwLock::default() }
    }

    /// The gateways' own ports, with nothing signed.
    #[must_use]
    pub fn direct(addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        let door = |addr: SocketAddr| Door { addr, host: addr.to_string(), proxied: false };
        Self::new(addrs.into_iter().map(door).collect())
    }

    /// Signs all requests from now on with this key.
    pub fn sign_with(&self, key: Key) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// The same doors, signed with this key.
    #[must_use]
    pub fn signed(self, key: Key) -> Self {
        self.sign_with(key);
        self
    }

    /// Any of them.
    pub fn pick(&self, rng: &mut StdRng) -> usize {
        rng.random_range(0..self.doors.len())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.doors.len()
    }

    /// One of them, counted from 0.
    #[must_use]
    pub fn door(&self, n: usize) -> &Door {
        &self.doors[n]
    }

    /// Connects to one.
    ///
    /// # Errors
    /// As [`Wire::connect`].
    pub async fn connect(&self, n: usize) -> io::Result<Wire> {
        Wire::connect(self.doors[n].addr).await
    }

    /// The lines of a request's head that say where it goes and who asks.
    #[must_use]
    pub fn lines(&self, n: usize, ask: &Ask<'_>) -> String {
        let mut lines = format!("Host: {}\r\n", self.doors[n].host);
        if let Some(key) = &*self.key.read().unwrap_or_else(PoisonError::into_inner) {
            let until = now_ms() / 1000 + GOOD_FOR.as_secs();
            let _ = write!(lines, "x-signature: {}\r\n", key.sign(ask, until));
        }
        lines
    }
}

impl Key {
    /// `v1.<kid>.<expiry>.<hex>`; `until` in Unix seconds. The body is not part of it.
    #[must_use]
    pub fn sign(&self, ask: &Ask<'_>, until: u64) -> String {
        let text =
            ["v1", ask.action, ask.id, ask.kind, ask.user, &until.to_string(), "-"].join("\n");
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("any length");
        mac.update(text.as_bytes());
        let mut signature = format!("v1.{}.{until}.", self.kid);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(signature, "{byte:02x}");
        }
        signature
    }

    /// One of a new secret.
    #[must_use]
    pub fn random(kid: &str, rng: &mut impl Rng) -> Self {
        Self { kid: kid.to_owned(), secret: format!("{:032x}", rng.random::<u128>()) }
    }

    /// Its line in a file of keys.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}:{}", self.kid, self.secret)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_signed_as_the_contract_says() {
        // printf 'v1\nsubscribe\ncart-7\nOpened\nann\n1763700000\n-' | openssl dgst -sha256 -hmac s3cret
        let key = Key { kid: "k1".to_owned(), secret: "s3cret".to_owned() };
        let ask = Ask { action: "subscribe", id: "cart-7", kind: "Opened", user: "ann" };
        let hex = "2422d9a436752aeb733b40999a64cabf98f3d5a25c559642c24138a0ed10d45c";
        assert_eq!(key.sign(&ask, 1_763_700_000), format!("v1.k1.1763700000.{hex}"));
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = Key { kid: "k1".to_owned(), secret: "s3cret".to_owned() };
        assert!(!format!("{:?}", Doors::default().signed(key)).contains("s3cret"));
    }
}
