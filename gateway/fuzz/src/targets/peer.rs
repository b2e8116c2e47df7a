//! Whose address counts behind trusted proxies.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Request};
use ipnet::IpNet;
use tidegate::http::peer::{self, Hop};

use super::request;
use crate::Outcome;
use crate::dice::Dice;

/// Addresses in their many spellings, and what separates them.
pub const TOKENS: &[&str] = &[
    "\nx-forwarded-for: ",
    "\nforwarded: ",
    "for=",
    "For=\"",
    "\"",
    "\\",
    ",",
    ";",
    "10.0.0.7",
    "203.0.113.9",
    "[2001:db8::1]",
    "2001:db8::1",
    "fd00::1",
    ":443",
    ":_x",
    "unknown",
    "_hidden",
    "::ffff:203.0.113.9",
    "by=",
    "proto=https",
    " ",
    "256.0.0.1",
    "10.1",
];

/// A chain of hops in either header.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    const NODES: &[&str] = &[
        "203.0.113.9",
        "10.0.0.7",
        "10.9.9.9:443",
        "2001:db8::1",
        "fd00::1",
        "::ffff:10.0.0.8",
        "[2001:db8::2]:80",
        "unknown",
        "198.51.100.1:_port",
    ];
    let mut text = String::from("/");
    for _ in 0..=dice.below(2) {
        let is_forwarded = dice.one_in(2);
        let hops = (0..1 + dice.below(4)).map(|_| {
            let node = dice.pick(NODES);
            match (is_forwarded, dice.below(3)) {
                (false, _) => node.to_owned(),
                (true, 0) => format!("for={node}"),
                (true, 1) => format!("for=\"{node}\";proto=https"),
                (true, _) => format!("by=\"a,b;\\\"c\";FOR=\"{node}\""),
            }
        });
        let hops: Vec<String> = hops.collect();
        let name = if is_forwarded { "forwarded" } else { "x-forwarded-for" };
        text.push_str(&format!("\n{name}: {}", hops.join(", ")));
    }
    text.into_bytes()
}

fn client(hop: &str, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut request = Request::new(());
    *request.headers_mut() = headers.clone();
    request.extensions_mut().insert(Hop::new(hop.parse().expect("an address")));
    peer::client(&request, trusted).expect("a request with a hop has a client")
}

/// Who is not trusted is taken at nobody's word; and what a client writes in front of what the
/// proxies have added changes nothing.
pub fn check(input: &[u8]) -> Outcome {
    let Some((_, headers)) = request::read(input) else { return Outcome::Refused("http") };
    let trusted: [IpNet; 2] = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network"));
    let stranger = "203.0.113.200";
    assert_eq!(client(stranger, &headers, &trusted).to_string(), stranger);
    assert_eq!(client("10.0.0.1", &headers, &[]).to_string(), "10.0.0.1");
    let found = client("10.0.0.1", &headers, &trusted);
    assert_eq!(found, found.to_canonical());
    assert_eq!(peer::network(peer::network(found)), peer::network(found));
    if trusted.iter().any(|net| net.contains(&found)) {
        return Outcome::Refused("nobody_else");
    }
    let name =
        if headers.contains_key("x-forwarded-for") { "x-forwarded-for" } else { "forwarded" };
    for forged in ["1.2.3.4", "for=1.2.3.4", "for=\"1.2.3.4", "\"", "\\", "for=10.0.0.9;\"x"] {
        let mut lines: Vec<Vec<u8>> =
            headers.get_all(name).iter().map(|line| line.as_bytes().to_vec()).collect();
        lines[0].splice(0..0, format!("{forged}, ").into_bytes());
        let mut longer = headers.clone();
        longer.remove(name);
        for line in lines {
            longer.append(name, HeaderValue::from_bytes(&line).expect("a value"));
        }
        assert_eq!(client("10.0.0.1", &longer, &trusted), found, "forged by {forged:?}");
    }
    Outcome::Accepted
}
