//! TLS on the public port: rustls, and a certificate that is picked up again when its files change.

mod expiry;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::clock::now_ms;
use crate::telemetry::metrics;

/// How often the files are looked at.
pub const EVERY: Duration = Duration::from_secs(1);
/// HTTP/2 as ALPN names it (RFC 7301).
pub const ALPN_HTTP2: &[u8] = b"h2";
/// HTTP/1 as ALPN names it. A client that offers nothing but 1.0 would get no session otherwise.
const ALPN_HTTP1: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];
/// The most bytes that are read of a file; a chain of certificates is a few kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a certificate and its key cannot be used. Says nothing of what is in the key.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Io(PathBuf, io::Error),
    /// A file is too long.
    #[error("{0} is longer than {MAX_FILE_BYTES} bytes")]
    TooLong(PathBuf),
    /// A file is not what it should be.
    #[error("{0}: {1}")]
    Pem(PathBuf, pem::Error),
    /// There is no certificate.
    #[error("{0} has no certificate in PEM")]
    NoCertificate(PathBuf),
    /// They cannot be used, or not with each other.
    #[error("the certificate and the key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// The two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The chain of certificates, the server's own first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What was in them.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    async fn read(&self) -> Result<Contents, PairError> {
        Ok(Contents { cert: read(&self.cert).await?, key: read(&self.key).await? })
    }

    fn pair(&self, contents: &Contents) -> Result<CertifiedKey, PairError> {
        let chain = CertificateDer::pem_slice_iter(&contents.cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| PairError::Pem(self.cert.clone(), error))?;
        if chain.is_empty() {
            return Err(PairError::NoCertificate(self.cert.clone()));
        }
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| PairError::Pem(self.key.clone(), error))?;
        // Also looks whether the key is the certificate's.
        Ok(CertifiedKey::from_der(chain, key, &provider())?)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    let fault = |error| PairError::Io(path.to_owned(), error);
    // The whole path every time: Kubernetes swaps a symlink on the way to the file.
    let file = tokio::fs::File::open(path).await.map_err(fault)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).await.map_err(fault)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(PairError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

/// Said by hand: another crate's default must not decide about this port.
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// The certificate that new handshakes get.
#[derive(Debug)]
struct Serving(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// TLS with the pair in two files.
pub struct Tls {
    files: Files,
    serving: Arc<Serving>,
    acceptor: TlsAcceptor,
    /// What was served first.
    first: Contents,
}

impl Tls {
    /// Reads `files` and makes what shakes hands.
    ///
    /// # Errors
    /// [`PairError`] says why the files cannot be used.
    pub async fn open(files: Files) -> Result<Self, PairError> {
        let contents = files.read().await?;
        let pair = files.pair(&contents)?;
        note(&pair);
        let serving = Arc::new(Serving(ArcSwap::from_pointee(pair)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Serving>::clone(&serving);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        let protocols = [&[ALPN_HTTP2], &ALPN_HTTP1[..]].concat();
        config.alpn_protocols = protocols.into_iter().map(<[u8]>::to_vec).collect();
        // Sessions are with the clients: a table of them would be one lock for all handshakes.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { files, serving, acceptor, first: contents })
    }

    /// What shakes hands, with whatever certificate is the latest.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Serves the pair anew whenever the files have changed; open connections keep theirs. While
    /// the files cannot be used, the last good pair stays. Never returns; drop it to stop.
    pub async fn follow(self, every: Duration) {
        let Self { files, serving, mut first, .. } = self;
        let mut fault = Fault::default();
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let outcome = match files.read().await {
                Ok(contents) if contents == first => Ok(None),
                Ok(contents) => files.pair(&contents).map(|pair| Some((pair, contents))),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(None) => fault = Fault::default(),
                Ok(Some((pair, contents))) => {
                    let not_after = note(&pair);
                    serving.0.store(Arc::new(pair));
                    first = contents;
                    fault = Fault::default();
                    info!(cert = %files.cert.display(), not_after, "the certificate was read again");
                }
                Err(error) => {
                    if let Some(error) = fault.is_worth_saying(error.to_string()) {
                        warn!(
                            error,
                            "the certificate's files cannot be used; the last good pair stays"
                        );
                    }
                }
            }
        }
    }
}

/// What is wrong with the files, and how often it was seen.
#[derive(Debug, Default)]
struct Fault {
    text: String,
    seen: u32,
}

impl Fault {
    /// `text` when it is seen for the second time. A pair is written one file after the other:
    /// what is broken for a moment is no fault, and what stays broken is said once.
    fn is_worth_saying(&mut self, text: String) -> Option<&str> {
        if self.text == text {
            self.seen = self.seen.saturating_add(1);
        } else {
            *self = Self { text, seen: 1 };
        }
        (self.seen == 2).then_some(self.text.as_str())
    }
}

/// Notes when the pair ends, for the alert, and returns it in Unix seconds.
fn note(pair: &CertifiedKey) -> Option<i64> {
    let not_after = expiry::not_after(pair.end_entity_cert().ok()?)?;
    metrics::tls_not_after(not_after);
    if not_after <= now_ms() / 1000 {
        warn!(not_after, "the certificate has expired");
    }
    Some(not_after)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(files: &Files, name: &str) {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a pair");
        fs::write(&files.cert, pair.cert.pem()).expect("written");
        fs::write(&files.key, pair.signing_key.serialize_pem()).expect("written");
    }

    fn served(serving: &Serving) -> Vec<u8> {
        serving.0.load().end_entity_cert().expect("a certificate").to_vec()
    }

    fn in_file(files: &Files) -> Vec<u8> {
        CertificateDer::from_pem_file(&files.cert).expect("a certificate").to_vec()
    }

    #[tokio::test]
    async fn a_changed_pair_is_taken_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let files = Files { cert: dir.path().join("cert"), key: dir.path().join("key") };
        assert!(matches!(Tls::open(files.clone()).await, Err(PairError::Io(..))));
        write(&files, "one");
        let tls = Tls::open(files.clone()).await.expect("a pair");
        let serving = Arc::clone(&tls.serving);
        let first = in_file(&files);
        let follower = tokio::spawn(tls.follow(Duration::from_millis(2)));
        let until = async |want: &[u8]| {
            let same = async {
                while served(&serving) != want {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), same).await.expect("served in time");
        };
        until(&first).await;

        write(&files, "two");
        let second = in_file(&files);
        until(&second).await;
        // Another's key, no key, nothing at all: each is refused.
        let contents = files.read().await.expect("read");
        let other = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("a pair");
        let other_key = other.signing_key.serialize_pem().into_bytes();
        for (cert, key) in [
            (&contents.cert, &other_key),
            (&contents.cert, &contents.cert),
            (&contents.key, &contents.key),
            (&Vec::new(), &contents.key),
        ] {
            let broken = Contents { cert: cert.clone(), key: key.clone() };
            assert!(files.pair(&broken).is_err());
        }
        fs::write(&files.key, other_key).expect("written");
        fs::remove_file(&files.cert).expect("removed");
        assert!(files.read().await.is_err());
        assert_eq!(served(&serving), second);
        write(&files, "three");
        let third = in_file(&files);
        until(&third).await;
        follower.abort();
    }

    #[test]
    fn a_fault_is_said_once_and_only_if_it_stays() {
        let mut fault = Fault::default();
        let mut said = |text: &str| fault.is_worth_saying(text.to_owned()).is_some();
        assert_eq!(
            ["a", "a", "a", "b", "c", "c", "c"].map(&mut said),
            [false, true, false, false, false, true, false]
        );
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for (year, seconds) in [(2031, 1_924_992_000), (2077, 3_376_684_800)] {
            let mut params = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("params");
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            let cert = params.self_signed(&key).expect("a certificate");
            assert_eq!(expiry::not_after(cert.der()), Some(seconds), "{year}");
            // Cut anywhere, it is refused and not read beyond.
            for end in 0..cert.der().len() {
                let _ = expiry::not_after(&cert.der()[..end]);
            }
        }
        assert_eq!(expiry::not_after(b""), None);
        assert_eq!(expiry::not_after(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }
}
