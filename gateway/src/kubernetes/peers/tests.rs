use std::future::pending;

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

/// A pod's admin port.
pub(in crate::kubernetes) struct Peer(Value);

impl Peer {
    pub(in crate::kubernetes) fn new(pod: &str, total: usize) -> Self {
        Self(
            json!({"pod": pod, "total": total, "draining": false, "rooms": [], "truncated": false}),
        )
    }

    pub(in crate::kubernetes) fn in_group(mut self, group: &str) -> Self {
        self.0["group"] = json!(group);
        self
    }

    fn router(self) -> Router {
        let body = self.0.to_string();
        Router::new().route("/v1/connections", get(async move || body))
    }
}

/// Serves each on an address of its own, all at one port, as in a cluster.
pub(in crate::kubernetes) async fn serve<const N: usize>(peers: [Peer; N]) -> (u16, Vec<String>) {
    serve_all(peers.into_iter().map(Peer::router)).await
}

async fn serve_all(routers: impl Iterator<Item = Router>) -> (u16, Vec<String>) {
    let routers: Vec<_> = routers.collect();
    let ips: Vec<_> = (1..=routers.len()).map(|n| format!("127.0.7.{n}")).collect();
    loop {
        let first = TcpListener::bind((ips[0].as_str(), 0)).await.expect("a port");
        let port = first.local_addr().expect("an address").port();
        let mut listeners = vec![first];
        for ip in &ips[1..] {
            listeners.extend(TcpListener::bind((ip.as_str(), port)).await);
        }
        // Another test may have it there.
        if listeners.len() < ips.len() {
            continue;
        }
        for (listener, router) in listeners.into_iter().zip(routers) {
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        return (port, ips);
    }
}

fn pod(name: &str, ip: &str) -> PodView {
    let ip = ip.parse().ok();
    let (name, uid) = (name.to_owned(), String::new());
    PodView { name, uid, ip, is_ready: true, is_over: false, cost: None }
}

#[tokio::test]
async fn pods_are_asked_and_believed_if_it_is_them() {
    let text = |text: String| Router::new().route("/v1/connections", get(async move || text));
    let routers = [
        Peer::new("one", 7).in_group("g").router(),
        Peer::new("two", 0).router(),
        Peer::new("another", 1).router(),
        text("not JSON".to_owned()),
        text(json!({"pod": "long", "total": 1, "x": "x".repeat(MOST_BYTES)}).to_string()),
        Router::new(),
        Router::new().route("/v1/connections", get(async || pending::<String>().await)),
    ];
    let (port, ips) = serve_all(routers.into_iter()).await;
    let names = ["one", "two", "three", "four", "long", "six", "mute"];
    let mut pods: Vec<_> = names.iter().zip(&ips).map(|(name, ip)| pod(name, ip)).collect();
    pods.push(pod("nowhere", "no address"));
    let answers = Peers::new(port).expect("a client").ask(pods.iter()).await;
    let answer = |pod: &str, total, group: Option<&str>| {
        (pod.to_owned(), Answer { pod: pod.to_owned(), total, group: group.map(str::to_owned) })
    };
    assert_eq!(answers, HashMap::from([answer("one", 7, Some("g")), answer("two", 0, None)]));
}
