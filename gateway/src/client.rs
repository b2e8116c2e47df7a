//! The other end of the wire: what `tidegate publish`, `tail`, `dlq` and the tests speak with.
//!
//! It knows the gateway by its contract. It shares the names and the signatures with it, and nothing
//! that reads or writes the wire: a mistake on one side must not be cancelled out by the same one
//! on the other.

pub mod address;
mod backoff;
pub mod identity;
pub mod letters;
pub mod parser;
pub mod problem;
pub mod publish;
#[cfg(test)]
pub(crate) mod script;
pub mod stream;

use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;

/// How long a TCP and TLS connection may take to stand.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client for a gateway at `base`.
///
/// It follows no redirect: a signature is for one gateway, and would be handed to whatever place
/// the answer names.
///
/// # Errors
/// The system's root certificates cannot be read, which only an `https` address asks for.
pub fn http_client(base: &Url) -> Result<reqwest::Client, reqwest::Error> {
    provide_crypto();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    if base.scheme() == "http" {
        // Or an image without root certificates could not speak to a gateway in cleartext either.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

/// Gives this process's TLS clients their cryptography.
pub fn provide_crypto() {
    // It fails when the process has a provider already, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An error and everything that it came from, in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
