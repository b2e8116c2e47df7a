//! The server under load: where it is, and how its URLs are written.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Tidegate's stream of one room, and the floor's.
pub const SUBSCRIBE_PATH: &str = "/v1/subscribe/events/{id}/types/{type}";
/// Tidegate's publish, and the floor's.
pub const PUBLISH_PATH: &str = "/v1/sse/events/{id}/types/{type}";
/// Tidegate's NDJSON batch.
pub const BATCH_PATH: &str = "/v1/sse/batch";

/// Why an address is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Not `http://`.
    #[error("`{0}` is not an http:// URL: TLS and other schemes are not measured here")]
    Scheme(String),
    /// Not an address that this machine alone can reach.
    #[error(
        "`{0}` is not a loopback address: this tool opens tens of thousands of connections and only \
         aims at 127.0.0.0/8, [::1] or localhost"
    )]
    NotLoopback(String),
    /// The host or the port cannot be read.
    #[error("`{0}` is not a host and port, such as http://127.0.0.1:30000")]
    Authority(String),
    /// A name that would have to be escaped in a URL or in JSON.
    #[error("`{0}` must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")]
    Name(String),
    /// A header that would break the request.
    #[error("`{0}` is not a header of the form `name: value`")]
    Header(String),
    /// A path without a slash in front, or with spaces.
    #[error("`{0}` is not a path")]
    Path(String),
}

/// An `http://` URL on loopback, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Where to connect.
    pub addr: SocketAddr,
    /// What the `Host` header says.
    pub host: String,
}

impl FromStr for Origin {
    type Err = BadTarget;

    fn from_str(url: &str) -> Result<Self, BadTarget> {
        let rest = url.strip_prefix("http://").ok_or_else(|| BadTarget::Scheme(url.into()))?;
        let authority = rest.trim_end_matches('/');
        if authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(BadTarget::Authority(authority.into()));
        }
        // Names are not resolved: a resolver could answer with anything.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !authority.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, Some(80)),
        };
        let port = port.ok_or_else(|| BadTarget::Authority(authority.into()))?;
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
                Some(v6) => v6.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
                None => host.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            }
            .ok_or_else(|| BadTarget::NotLoopback(host.into()))?,
        };
        if !ip.is_loopback() {
            return Err(BadTarget::NotLoopback(host.into()));
        }
        Ok(Self { addr: SocketAddr::new(ip, port), host: authority.into() })
    }
}

/// A header line to add to every request, `name: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHeader(String);

impl FromStr for ExtraHeader {
    type Err = BadTarget;

    fn from_str(line: &str) -> Result<Self, BadTarget> {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || line.bytes().any(|b| b.is_ascii_control())
        {
            return Err(BadTarget::Header(line.into()));
        }
        Ok(Self(line.into()))
    }
}

/// The server, and the names of its rooms: `<prefix>-<number>` of one type.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub origin: Origin,
    /// What every room's id starts with.
    pub prefix: String,
    /// Every room's event type.
    pub event_type: String,
    subscribe: String,
    publish: String,
    headers: String,
    /// Readers ask for gzip.
    gzip: bool,
}

impl Target {
    /// A server with Tidegate's paths.
    ///
    /// # Errors
    /// When a name could not be put into a URL as it is.
    pub fn new(origin: Origin, prefix: &str, event_type: &str) -> Result<Self, BadTarget> {
        for name in [prefix, event_type] {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(BadTarget::Name(name.into()));
            }
        }
        Ok(Self {
            origin,
            prefix: prefix.into(),
            event_type: event_type.into(),
            subscribe: SUBSCRIBE_PATH.into(),
            publish: PUBLISH_PATH.into(),
            headers: String::new(),
            gzip: false,
        })
    }

    /// Another server's paths, with `{id}` and `{type}` where the room's names go.
    ///
    /// # Errors
    /// When one is not a path.
    pub fn with_paths(mut self, subscribe: &str, publish: &str) -> Result<Self, BadTarget> {
        for path in [subscribe, publish] {
            if !path.starts_with('/') || path.bytes().any(|b| b <= b' ' || b >= 0x7f) {
                return Err(BadTarget::Path(path.into()));
            }
        }
        self.subscribe = subscribe.into();
        self.publish = publish.into();
        Ok(self)
    }

    /// Adds headers to every request.
    #[must_use]
    pub fn with_headers(mut self, headers: &[ExtraHeader]) -> Self {
        for ExtraHeader(line) in headers {
            self.headers.push_str(line);
            self.headers.push_str("\r\n");
        }
        self
    }

    /// Has readers ask for gzip.
    #[must_use]
    pub fn with_gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// The same rooms on another server.
    #[must_use]
    pub fn on(&self, origin: Origin) -> Self {
        Self { origin, ..self.clone() }
    }

    /// The id of a room.
    #[must_use]
    pub fn room(&self, room: usize) -> String {
        format!("{}-{room}", self.prefix)
    }

    fn path(&self, template: &str, room: usize) -> String {
        template.replace("{id}", &self.room(room)).replace("{type}", &self.event_type)
    }

    /// The request that opens a room's stream, after `last_id` unless that is empty.
    #[must_use]
    pub fn subscribe_request(&self, room: usize, last_id: &[u8]) -> Vec<u8> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{}",
            self.path(&self.subscribe, room),
            self.origin.host,
            self.headers,
        )
        .into_bytes();
        if self.gzip {
            request.extend_from_slice(b"Accept-Encoding: gzip\r\n");
        }
        if !last_id.is_empty() {
            request.extend_from_slice(b"Last-Event-ID: ");
            request.extend_from_slice(last_id);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// The head of a publish in a room, up to the value of `Content-Length`.
    #[must_use]
    pub fn publish_head(&self, room: usize) -> String {
        self.post_head(&self.path(&self.publish, room), "application/json")
    }

    /// The head of a batch, up to the value of `Content-Length`.
    #[must_use]
    pub fn batch_head(&self) -> String {
        self.post_head(BATCH_PATH, "application/x-ndjson")
    }

    fn post_head(&self, path: &str, content_type: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Type: {content_type}\r\nContent-Length: ",
            self.origin.host, self.headers,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_a_target() {
        for (url, addr) in [
            ("http://127.0.0.1:30000", "127.0.0.1:30000"),
            ("http://localhost:8080/", "127.0.0.1:8080"),
            ("http://127.9.9.9", "127.9.9.9:80"),
            ("http://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(url.parse::<Origin>().map(|o| o.addr), Ok(addr.parse().unwrap()), "{url}");
        }
        for url in
            ["http://10.0.0.1:80", "http://example.org", "http://[fe80::1]:80", "http://0.0.0.0:1"]
        {
            assert!(matches!(url.parse::<Origin>(), Err(BadTarget::NotLoopback(_))), "{url}");
        }
        assert!(matches!("https://127.0.0.1".parse::<Origin>(), Err(BadTarget::Scheme(_))));
        for url in ["http://127.0.0.1:x", "http://a@127.0.0.1:80", "http://127.0.0.1:80/path"] {
            assert!(matches!(url.parse::<Origin>(), Err(BadTarget::Authority(_))), "{url}");
        }
    }

    #[test]
    fn names_and_headers_cannot_break_a_request() {
        let origin: Origin = "http://127.0.0.1:1".parse().unwrap();
        for name in ["", "a/b", "a b", "a\r\nb", "é"] {
            assert!(Target::new(origin.clone(), name, "t").is_err(), "{name:?}");
            assert!(Target::new(origin.clone(), "p", name).is_err(), "{name:?}");
        }
        for header in ["", "x", ": x", "a b: c", "a: b\r\nc: d"] {
            assert!(header.parse::<ExtraHeader>().is_err(), "{header:?}");
        }
        let target = Target::new(origin, "p", "t").unwrap();
        assert!(target.clone().with_paths("sub", "/pub").is_err());
        let target = target
            .with_paths("/sub/{id}", "/pub/{id}?type={type}")
            .unwrap()
            .with_headers(&["x-user: me".parse().unwrap()]);
        assert_eq!(
            String::from_utf8(target.subscribe_request(3, b"c1")).unwrap(),
            "GET /sub/p-3 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAccept: text/event-stream\r\nx-user: me\r\n\
             Last-Event-ID: c1\r\n\r\n"
        );
        assert!(target.publish_head(0).starts_with("POST /pub/p-0?type=t HTTP/1.1\r\n"));
    }
}
