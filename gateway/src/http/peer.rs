//! Who asks: the client's address, past the proxies that are trusted. Hostile input: anybody can
//! write `X-Forwarded-For`, so only what a trusted proxy has added to it counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, Request};
use ipnet::IpNet;

/// What proxies commonly write.
const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// What RFC 7239 has them write.
const FORWARDED: &str = "forwarded";

/// The other end of the socket, as a request's extension: the client, or the last proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop(IpAddr);

impl Hop {
    /// The socket's other end. IPv4 on a socket of IPv6 is IPv4.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }
}

/// The address of the client that sent `request`, with `trusted` proxies before us; none if the
/// request came by no listener.
#[must_use]
pub fn client<B>(request: &Request<B>, trusted: &[IpNet]) -> Option<IpAddr> {
    let Hop(hop) = *request.extensions().get()?;
    Some(behind(hop, request.headers(), trusted))
}

/// What counts as one client: an IPv4 address, and a /64 of IPv6, which is the least that a
/// client has to itself. Counted singly, it would come with a new address each time.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// The right-most hop that is not trusted. `X-Forwarded-For` if there is any, else `Forwarded`: a
/// proxy that writes the one lets the client's other one pass.
fn behind(hop: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |hop: IpAddr| trusted.iter().any(|net| net.contains(&hop));
    if !is_trusted(hop) {
        return hop;
    }
    let lines = |name| headers.get_all(name).iter().rev().map(http::HeaderValue::as_bytes);
    if headers.contains_key(X_FORWARDED_FOR) {
        let hops = lines(X_FORWARDED_FOR).flat_map(|line| line.rsplit(|b| *b == b','));
        walk(hop, hops.map(node), is_trusted)
    } else {
        let elements = lines(FORWARDED).flat_map(|line| FromRight { line: Some(line), at: b',' });
        walk(hop, elements.map(forwarded_for), is_trusted)
    }
}

/// Goes from hop to hop, the nearest first, up to the first that is not trusted. What no trusted
/// proxy could say ends the way: the hop that said so is all that is known.
fn walk(
    mut hop: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    for next in hops {
        let Some(next) = next else { return hop };
        hop = next;
        if !is_trusted(hop) {
            return hop;
        }
    }
    hop
}

/// The parts of a line between separators outside quotes, from the right: what a client wrote is
/// on the left, and a quote that it left open must not swallow what a proxy has added.
struct FromRight<'a> {
    line: Option<&'a [u8]>,
    at: u8,
}

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.line.take()?;
        let mut quoted = false;
        for (n, byte) in line.iter().enumerate().rev() {
            if *byte == b'"' {
                let slashes = line[..n].iter().rev().take_while(|b| **b == b'\\').count();
                // Outside, a quote is where a text ends, whatever is before it.
                if !quoted || slashes % 2 == 0 {
                    quoted = !quoted;
                }
            } else if *byte == self.at && !quoted {
                self.line = Some(&line[..n]);
                return Some(&line[n + 1..]);
            }
        }
        Some(line)
    }
}

/// The `for=` of an element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    FromRight { line: Some(element), at: b';' }.find_map(|pair| {
        let (name, value) = pair.trim_ascii().split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then(|| node(value)).flatten()
    })
}

/// An address, with a port or without, in brackets or quotes or bare. `unknown` and the other
/// names that RFC 7239 allows are none.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let address = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
        .or_else(|| {
            let bare = text.strip_prefix('[')?.strip_suffix(']')?;
            bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        })
        .or_else(|| {
            // RFC 7239 allows a made-up port.
            let (address, port) = text.rsplit_once(":_")?;
            port.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)).then_some(())?;
            address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        })?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network")).to_vec()
    }

    /// A header's line.
    type Line<'a> = (&'static str, &'a [u8]);

    fn from(hop: &str, lines: &[Line]) -> IpAddr {
        let headers = lines
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value).expect("a header's value");
                (HeaderName::from_static(name), value)
            })
            .collect();
        behind(Hop::new(ip(hop)).0, &headers, &trusted())
    }

    #[test]
    fn the_right_most_hop_that_is_not_trusted_is_the_client() {
        let cases: [(&str, &[Line], &str); 16] = [
            ("192.0.2.1", &[(X_FORWARDED_FOR, b"198.51.100.1")], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(X_FORWARDED_FOR, b"198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(X_FORWARDED_FOR, b"6.6.6.6, 198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(X_FORWARDED_FOR, b"6.6.6.6,198.51.100.1 , 10.9.9.9")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[(X_FORWARDED_FOR, b"6.6.6.6"), (X_FORWARDED_FOR, b"192.0.2.9")],
                "192.0.2.9",
            ),
            ("10.0.0.1", &[(X_FORWARDED_FOR, b"10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[(X_FORWARDED_FOR, b"6.6.6.6, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(X_FORWARDED_FOR, b"6.6.6.6, rubbish, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(X_FORWARDED_FOR, b"192.0.2.9:4711")], "192.0.2.9"),
            ("::ffff:10.0.0.1", &[(X_FORWARDED_FOR, b"[2001:db8::1]:80")], "2001:db8::1"),
            (
                "fd00::1",
                &[(FORWARDED, b"for=6.6.6.6, For=\"[2001:db8::1]:_x\";proto=http")],
                "fd00::1",
            ),
            (
                "fd00::1",
                &[(FORWARDED, b"for=6.6.6.6, proto=http;For=\"[2001:db8::1]\"")],
                "2001:db8::1",
            ),
            (
                "10.0.0.1",
                &[(FORWARDED, b"for=\"6.6.6.6, for=192.0.2.9:_p;by=\"a,\\\"b\"")],
                "192.0.2.9",
            ),
            ("10.0.0.1", &[(FORWARDED, b"for=_hidden")], "10.0.0.1"),
            (
                "10.0.0.1",
                &[(FORWARDED, b"for=6.6.6.6"), (X_FORWARDED_FOR, b"192.0.2.9")],
                "192.0.2.9",
            ),
        ];
        for (hop, lines, client) in cases {
            assert_eq!(from(hop, lines), ip(client), "{hop} {lines:?}");
        }
    }

    #[test]
    fn ipv6_counts_by_the_network() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("192.0.2.1")), ip("192.0.2.1"));
    }

    /// Bytes that a header's value may have.
    fn written_by_a_client() -> impl Strategy<Value = Vec<u8>> {
        let likely = prop::sample::select(b"\",;=\\ for1.:[]_".to_vec());
        let any = any::<u8>().prop_filter("a header's", |b| (*b >= 32 && *b != 127) || *b == 9);
        prop::collection::vec(prop_oneof![4 => likely, 1 => any], 0..60)
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_the_proxys_word_counts(
            client in written_by_a_client(),
            address in any::<[u8; 4]>(),
            v6 in any::<bool>(),
        ) {
            let address = match v6 {
                false => IpAddr::from(address),
                true => IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | u128::from(u32::from_be_bytes(address)))),
            };
            prop_assume!(!trusted().iter().any(|net| net.contains(&address)));
            let bare = [&client[..], format!(", {address}").as_bytes()].concat();
            prop_assert_eq!(from("10.0.0.1", &[(X_FORWARDED_FOR, &bare)]), address);
            let line = address.to_string();
            let two = [(X_FORWARDED_FOR, &client[..]), (X_FORWARDED_FOR, line.as_bytes())];
            prop_assert_eq!(from("10.0.0.1", &two), address);
            let named = match v6 {
                false => format!(", for={address}"),
                true => format!(", for=\"[{address}]:443\";by=\"_a\\\"b\""),
            };
            let named = [&client[..], named.as_bytes()].concat();
            prop_assert_eq!(from("10.0.0.1", &[(FORWARDED, &named)]), address);
            // And from anybody else nothing counts.
            prop_assert_eq!(from("192.0.2.1", &[(FORWARDED, &named)]), ip("192.0.2.1"));
        }

        #[test]
        fn no_header_makes_it_panic(one in written_by_a_client(), two in written_by_a_client()) {
            from("10.0.0.1", &[(X_FORWARDED_FOR, &one), (X_FORWARDED_FOR, &two)]);
            from("10.0.0.1", &[(FORWARDED, &one), (FORWARDED, &two)]);
        }
    }
}
