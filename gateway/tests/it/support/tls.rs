//! Certificates for a test, and clients that trust them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that the certificates are for.
pub const NAME: &str = "gateway.test";

/// A certificate and its key.
pub struct Pair {
    pub cert: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Pair {
    /// A new one, good until the end of `year`'s first day.
    pub fn until(year: i32) -> Self {
        let mut params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).expect("params");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        Self { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
    }

    /// A client of HTTP that trusts this certificate and no other.
    pub fn client(&self, to: SocketAddr, http1: bool) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = reqwest::Certificate::from_der(&self.der).expect("a certificate");
        let builder = reqwest::Client::builder().tls_certs_only([root]).resolve(NAME, to);
        let builder = if http1 { builder.http1_only() } else { builder };
        builder.build().expect("a client")
    }

    /// A session with nothing asked for yet, with a client that trusts this certificate only.
    pub async fn session(
        &self,
        to: SocketAddr,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.der.clone())).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(to).await?;
        let name = ServerName::try_from(NAME).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

/// The two files that the gateway reads.
pub struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    pub fn with(pair: &Pair) -> Self {
        let files = Self { dir: tempfile::tempdir().expect("a directory") };
        files.write(pair);
        files
    }

    pub fn write(&self, pair: &Pair) {
        std::fs::write(self.cert(), &pair.cert).expect("written");
        std::fs::write(self.key(), &pair.key).expect("written");
    }

    pub fn cert(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.path().join("tls.key")
    }

    pub fn flags(&self) -> [String; 4] {
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        ["--tls-cert-file".into(), text(self.cert()), "--tls-key-file".into(), text(self.key())]
    }
}

/// Reads a stream's body until `text` was in it.
pub async fn read_until(response: &mut reqwest::Response, seen: &mut String, text: &str) {
    let read = async {
        while !seen.contains(text) {
            let chunk = response.chunk().await.expect("the stream goes on").expect("not the end");
            seen.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    };
    let in_time = tokio::time::timeout(super::http::PATIENCE, read).await;
    assert!(in_time.is_ok(), "{text:?} did not come; there was {seen:?}");
}
