//! How many streams an address and a user may have, who an address is, and open files.

use std::net::SocketAddr;

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::{self, PATIENCE};
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/a/types/t";

/// Asserts that another stream is refused as one of `reason`, so that a browser comes back.
async fn assert_refused(gateway: &Gateway, path: &str, headers: &[(&str, &str)], reason: &str) {
    let to = gateway.public();
    let before = refused(gateway, reason).await;
    let mut stream = Stream::open(to, path, headers).await;
    let plain = http::get(to, path, headers).await;
    assert_eq!(plain.status, 503, "{}", plain.text());
    assert!(plain.header("retry-after").is_some());
    assert_eq!(plain.json()["type"], "urn:tidegate:problem:overloaded");
    let goodbye = stream.block().await.expect("a goodbye");
    assert_eq!(goodbye.event.as_deref(), Some("tidegate.goodbye"));
    assert_eq!(goodbye.json()["reason"], "overloaded");
    assert!(goodbye.retry.is_some() && goodbye.id.is_none());
    assert_eq!(stream.block().await, None, "a clean end");
    assert_eq!(refused(gateway, reason).await, before + 2.0);
}

async fn refused(gateway: &Gateway, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    gateway.metric("tidegate_connections_refused_total", &label).await
}

/// Opens a stream as soon as there is a place for it.
async fn open_again(to: SocketAddr, path: &str, headers: &[(&str, &str)]) {
    eventually("the place is given back", PATIENCE, async || {
        let mut stream = Stream::open(to, path, headers).await;
        stream.next().await.event.as_deref() == Some("tidegate.connected")
    })
    .await;
}

#[tokio::test]
async fn an_address_has_its_streams_and_gets_a_place_back_when_one_ends() {
    let gateway = Gateway::ready(&["--limits-connections-per-ip", "2"]).await;
    let to = gateway.public();
    let (_one, _) = Stream::connect(to, ROOM, &[]).await;
    let (two, _) = Stream::connect(to, ROOM, &[]).await;
    // Nobody is trusted, so nobody becomes somebody else by a header.
    let spoofed = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
    assert_refused(&gateway, ROOM, &spoofed, "per_ip").await;
    assert_eq!(gateway.publish("a", "t", r#"{"data":1}"#).await.status, 200);
    drop(two);
    open_again(to, ROOM, &[]).await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own() {
    let flags = ["--limits-connections-per-ip", "1", "--public-trusted-proxies", "127.0.0.0/8"];
    let gateway = Gateway::ready(&flags).await;
    let to = gateway.public();
    let mut held = Vec::new();
    let clients = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
        ("forwarded", "for=192.0.2.1, for=\"[2001:db8::1]:4711\";proto=https"),
    ];
    for client in clients {
        held.push(Stream::connect(to, ROOM, &[client]).await.0);
    }
    let same = [
        ("x-forwarded-for", "198.51.100.1, 192.0.2.1"),
        ("forwarded", "for=\"192.0.2.9, for=192.0.2.2"),
        // Another address of the same network of IPv6.
        ("x-forwarded-for", "2001:db8::2"),
    ];
    for client in same {
        assert_refused(&gateway, ROOM, &[client], "per_ip").await;
    }
    held.remove(0);
    open_again(to, ROOM, &[clients[0]]).await;
}

#[tokio::test]
async fn a_user_has_its_streams_and_nobody_is_no_user() {
    let gateway = Gateway::ready(&["--limits-connections-per-user", "1"]).await;
    let to = gateway.public();
    let ann = format!("{ROOM}?user=ann");
    let (held, _) = Stream::connect(to, &ann, &[]).await;
    assert_refused(&gateway, ROOM, &[("x-user", "ann")], "per_user").await;
    let _bob = Stream::connect(to, ROOM, &[("x-user", "bob")]).await;
    let _nobody = [Stream::connect(to, ROOM, &[]).await, Stream::connect(to, ROOM, &[]).await];
    drop(held);
    open_again(to, &ann, &[]).await;
    assert_eq!(refused(&gateway, "per_ip").await, 0.0);
}

#[tokio::test]
async fn streams_that_come_faster_than_they_may_be_opened_come_back_and_get_in() {
    let gateway = Gateway::ready(&["--limits-connection-rate", "1"]).await;
    let to = gateway.public();
    let (_one, _) = Stream::connect(to, ROOM, &[]).await;
    eventually("a stream comes too soon", PATIENCE, async || {
        let mut next = Stream::open(to, ROOM, &[]).await;
        let first = next.next().await;
        if first.event.as_deref() == Some("tidegate.connected") {
            return false;
        }
        assert_eq!(first.event.as_deref(), Some("tidegate.goodbye"));
        assert_eq!(first.json()["reason"], "overloaded");
        let retry = first.retry.expect("when to come back");
        assert!((1_500..4_500).contains(&retry), "{retry}");
        assert_eq!(next.block().await, None, "a clean end");
        refused(&gateway, "rate").await > 0.0
    })
    .await;
    open_again(to, ROOM, &[]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_limit_of_open_files_is_raised_and_said_if_it_is_too_low() {
    let gateway = Gateway::spawn_after("ulimit -Sn 100; ulimit -Hn 1500", &[]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid()));
    let limits = limits.expect("the process's limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["1500", "1500"]);
    assert!(gateway.log().contains("limits.connections needs more open files"));
    let enough = Gateway::spawn_after("ulimit -Sn 100", &["--limits-connections", "500"]).await;
    assert!(!enough.log().contains("limits.connections needs more open files"));
}
