//! The real binary in a cluster: with an API server that refuses, or is not there, with one that
//! rotates its keys, and as the pod that leads.

mod janitor;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;
use tidegate::auth::{Action, Claim, Keys};
use tidegate::clock::now_ms;
use tokio::net::TcpListener;

use crate::support::api_server::{ApiServer, Mood};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http;

/// How long anything may take that takes a second or two on an idle machine. On one that is not, a
/// request to the API server may fail for its time, and is tried again half a minute later.
const SOON: Duration = Duration::from_secs(120);
const LEASE: &[&str] = &["--kubernetes-lease", "tidegate"];
/// A drain that waits for nobody.
const AT_ONCE: &[&str] = &["--drain-grace", "0", "--drain-window", "0", "--drain-deadline", "10s"];

/// A cluster of which only the API server is there, and the way to it.
struct Cluster {
    server: ApiServer,
    dir: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        Self::serve(ApiServer::default()).await
    }

    /// The same cluster, by a way of its own.
    async fn another_way(&self) -> Self {
        Self::serve(self.server.another_way()).await
    }

    async fn serve(server: ApiServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = server.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self::at(server, address)
    }

    /// One whose API server is at an address where nobody listens.
    fn away() -> Self {
        let [port] = tidegate_rig::free_ports();
        Self::at(ApiServer::default(), SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn at(server: ApiServer, address: SocketAddr) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "test", "user": {"token": "of-the-test"}}],
            "contexts": [{
                "name": "test", "context": {"cluster": "test", "user": "test", "namespace": "ns"},
            }],
        });
        fs::write(dir.path().join("kubeconfig"), config.to_string()).expect("written");
        Self { server, dir }
    }

    async fn gateway(&self, flags: &[&[&str]]) -> Gateway {
        let kubeconfig = self.dir.path().join("kubeconfig");
        let variables = [("KUBECONFIG", kubeconfig.to_str().expect("UTF-8"))];
        let gateway = Gateway::spawn_with(&flags.concat(), &variables).await;
        gateway.until_ready().await;
        gateway
    }

    fn write_keys(&self, keys: &str) {
        self.server.put("secrets", "keys", json!({"data": {"keys": STANDARD.encode(keys)}}));
    }

    fn holder(&self) -> Option<String> {
        let lease = self.server.get("leases", "tidegate")?;
        Some(lease["spec"]["holderIdentity"].as_str()?.to_owned())
    }
}

/// Whether an event that is signed with the key `kid`, as `keys` has it, is taken.
async fn takes(gateway: &Gateway, keys: &str, kid: &str) -> bool {
    let expires_at = u64::try_from(now_ms() / 1000).expect("after 1970") + 600;
    let action = Action::Publish;
    let claim = Claim { action, id: "a", kind: "t", user: "", expires_at, body_hash: None };
    let keys = Keys::parse(keys).expect("keys");
    let signature = claim.sign(keys.get(kid).expect("a key"));
    let headers = [("content-type", "application/json"), ("x-signature", &*signature)];
    let path = "/v1/sse/events/a/types/t";
    let answer = http::post(gateway.public(), path, &headers, br#"{"data":1}"#).await;
    assert!([200, 401].contains(&answer.status), "{}", answer.text());
    answer.status == 200
}

/// How many lines of the log have this text.
fn said(gateway: &Gateway, text: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(text)).count()
}

#[tokio::test]
async fn a_pod_starts_serves_and_ends_without_an_api_server() {
    let selector = "app.kubernetes.io/name=tidegate";
    let all = [
        LEASE,
        AT_ONCE,
        &["--kubernetes-secret", "keys", "--kubernetes-selector", selector],
        &["--kubernetes-deletion-cost", "--kubernetes-janitor"],
    ];
    let away = Cluster::away();
    let refusing = Cluster::start().await;
    refusing.server.is(Mood::Refuses(403, ""));
    let silent = Cluster::start().await;
    silent.server.is(Mood::Silent);
    for (cluster, why) in [
        (&away, "the API server does not answer"),
        (&refusing, "the Role of the pod's service account needs"),
        (&silent, "the API server does not answer"),
    ] {
        let gateway = cluster.gateway(&all).await;
        assert_eq!(gateway.publish("a", "t", r#"{"data": 1}"#).await.status, 200);
        let failures = "tidegate_kubernetes_failures_total";
        for task in ["secret", "lease"] {
            eventually("it is tried again", SOON, async || {
                gateway.metric(failures, &format!("\"{task}\"")).await >= 2.0
            })
            .await;
            let line = format!(r#""task":"{task}""#);
            let lines = gateway.log();
            let lines: Vec<_> = lines.lines().filter(|text| text.contains(&line)).collect();
            assert!(lines.len() == 1 && lines[0].contains(why), "said once, and why: {lines:?}");
        }
        assert_eq!(gateway.metric("tidegate_leader", "").await, 0.0);
        assert_eq!(gateway.admin_get("/readyz").await.status, 200);
        assert!(gateway.terminate().await.success());
    }
}

#[tokio::test]
async fn a_pod_that_is_told_of_no_cluster_asks_none() {
    let cluster = Cluster::start().await;
    let gateway = cluster.gateway(&[AT_ONCE]).await;
    assert!(gateway.terminate().await.success());
    assert_eq!(cluster.server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn outside_of_any_cluster_it_is_said_what_is_missing() {
    let variables = [("KUBECONFIG", "/nowhere/kubeconfig"), ("KUBERNETES_SERVICE_HOST", "")];
    let gateway = Gateway::spawn_with(&[LEASE, AT_ONCE].concat(), &variables).await;
    gateway.until_ready().await;
    eventually("it is said", SOON, async || said(&gateway, "no API server is known") == 1).await;
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn a_rotated_key_counts_at_once_whatever_the_mounted_copy_says() {
    const KEYS: &str = "k1:a-first-secret\nk2:a-second-secret";
    let cluster = Cluster::start().await;
    let copy = cluster.dir.path().join("keys");
    fs::write(&copy, "k1:a-first-secret").expect("written");
    let file = copy.to_str().expect("UTF-8");
    let settings = ["--auth-mode", "hmac", "--auth-keys-file", file, "--kubernetes-secret", "keys"];
    let gateway = cluster.gateway(&[&settings]).await;
    assert!(takes(&gateway, KEYS, "k1").await, "by the copy alone");
    assert!(!takes(&gateway, KEYS, "k2").await);

    cluster.write_keys(KEYS);
    eventually("the new key counts", SOON, async || takes(&gateway, KEYS, "k2").await).await;
    assert!(takes(&gateway, KEYS, "k1").await, "while both are listed");
    cluster.write_keys("k2:a-second-secret");
    eventually("the old key is over", SOON, async || !takes(&gateway, KEYS, "k1").await).await;
    // The copy still has it, and so it has when it is seen to be read again.
    for lagging in [KEYS, "k1:a-first-secret"] {
        let before = said(&gateway, "file can be used again");
        fs::write(&copy, "").expect("written");
        eventually("the file is read", SOON, async || {
            said(&gateway, "the keys' file cannot be used") > before
        })
        .await;
        fs::write(&copy, lagging).expect("written");
        eventually("and once more", SOON, async || {
            said(&gateway, "the keys' file can be used again") > before
        })
        .await;
        assert!(!takes(&gateway, KEYS, "k1").await && takes(&gateway, KEYS, "k2").await);
    }
    cluster.write_keys("k2:a-second-secret:no-date");
    let complaint = "the Secret with the keys cannot be used";
    eventually("it is said", SOON, async || said(&gateway, complaint) == 1).await;
    cluster.server.delete("secrets", "keys");
    eventually("it is said", SOON, async || said(&gateway, complaint) == 2).await;
    assert!(takes(&gateway, KEYS, "k2").await && !takes(&gateway, KEYS, "k1").await);
    cluster.server.is(Mood::Forgetful);
    cluster.write_keys(KEYS);
    eventually("both count again", SOON, async || takes(&gateway, KEYS, "k1").await).await;
    assert!(!gateway.log().contains("second-secret"), "no secret is in the log");
}

#[tokio::test]
async fn the_pod_that_leads_gives_the_lease_back_when_it_drains() {
    let cluster = Cluster::start().await;
    let one = cluster.gateway(&[LEASE, AT_ONCE, &["--pod-name", "one"]]).await;
    eventually("it leads", SOON, async || one.metric("tidegate_leader", "").await == 1.0).await;
    assert!(cluster.holder().is_some_and(|holder| holder.starts_with("one_")));
    let way_of_two = cluster.another_way().await;
    let two = way_of_two.gateway(&[LEASE, AT_ONCE, &["--pod-name", "two"]]).await;
    assert_eq!(two.metric("tidegate_leader", "").await, 0.0);
    assert!(one.terminate().await.success());
    eventually("the other one leads", SOON, async || {
        two.metric("tidegate_leader", "").await == 1.0
    })
    .await;
    assert!(cluster.holder().is_some_and(|holder| holder.starts_with("two_")));
    assert!(two.terminate().await.success());
    assert_eq!(cluster.holder(), None);
}
