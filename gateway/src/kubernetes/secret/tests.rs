use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::auth::{Keys, Rules, Verifier};
use crate::kubernetes::api_server::{ApiServer, Mood};
use crate::kubernetes::eventually;

const SECOND: Duration = Duration::from_secs(1);

/// A pod that follows the Secret `keys`, beside a key of its settings.
struct Pod {
    verifier: Arc<Verifier>,
    ring: Arc<Keyring>,
    _task: AbortOnDropHandle<()>,
}

impl Pod {
    fn follow(server: &ApiServer) -> Self {
        let fixed = Keys::parse("fixed:zero").expect("keys");
        let verifier = Arc::new(Verifier::new(Rules::SIGNED, fixed.clone()));
        let ring = Arc::new(Keyring::new(Arc::clone(&verifier), fixed));
        let cluster = Cluster::of(Client::new(server.router(), "ns"));
        let followed = Arc::clone(&ring);
        let task =
            tokio::spawn(async move { Follower::new(cluster, "keys", &followed).run().await });
        Self { verifier, ring, _task: AbortOnDropHandle::new(task) }
    }

    fn kids(&self) -> String {
        let keys = self.verifier.keys();
        keys.iter().map(|key| key.kid()).collect::<Vec<_>>().join(" ")
    }

    /// Waits until its keys are these.
    async fn has(&self, kids: &str, within: Duration) {
        eventually(within, || self.kids() == kids).await;
        assert_eq!(self.kids(), kids);
    }
}

fn data(key: &str, bytes: &[u8]) -> Value {
    json!({"data": {key: STANDARD.encode(bytes)}})
}

fn write(server: &ApiServer, keys: &str) {
    server.put("secrets", "keys", data("keys", keys.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_takes_a_moment_and_both_keys_count_meanwhile() {
    let server = ApiServer::default();
    write(&server, "a:one");
    let pod = Pod::follow(&server);
    pod.has("fixed a", SECOND).await;
    for (keys, kids) in [("a:one\nb:two", "fixed a b"), ("b:two", "fixed b")] {
        write(&server, keys);
        pod.has(kids, SECOND).await;
        // A Secret of somebody else is none of ours.
        server.put("secrets", "others", data("keys", b"x:y"));
    }
    // Long after the first watch was over.
    tokio::time::sleep(WATCH_FOR * 10).await;
    write(&server, "c:three");
    pod.has("fixed c", SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_leaves_the_last_good_keys() {
    let server = ApiServer::default();
    write(&server, "a:one");
    let pod = Pod::follow(&server);
    pod.has("fixed a", SECOND).await;
    for bad in [
        data("other", b"b:two"),
        data("keys", b""),
        data("keys", b"b"),
        data("keys", b"\xFF"),
        data("keys", b"fixed:other"),
        json!({}),
    ] {
        server.put("secrets", "keys", bad);
        tokio::time::sleep(WATCH_FOR * 2).await;
        assert_eq!(pod.kids(), "fixed a");
    }
    server.delete("secrets", "keys");
    tokio::time::sleep(WATCH_FOR * 2).await;
    assert_eq!(pod.kids(), "fixed a");
    write(&server, "c:three");
    pod.has("fixed c", SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_made_later_is_taken_then() {
    let server = ApiServer::default();
    let pod = Pod::follow(&server);
    tokio::time::sleep(SECOND * 20).await;
    assert_eq!(pod.kids(), "fixed");
    write(&server, "a:one");
    pod.has("fixed a", SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_until_it_is_none() {
    for mood in [
        Mood::Refuses(403, "secrets"),
        Mood::Refuses(401, "secrets"),
        Mood::Refuses(500, "secrets"),
        Mood::Refuses(404, "secrets"),
        Mood::Silent,
    ] {
        let server = ApiServer::default();
        server.is(mood);
        write(&server, "a:one");
        let pod = Pod::follow(&server);
        tokio::time::sleep(SECOND * 100).await;
        assert_eq!(pod.kids(), "fixed", "{mood:?}");
        let asked = server.asked().len();
        assert!((4..20).contains(&asked), "{mood:?}: asked {asked} times in 100 s");
        server.is(Mood::Fine);
        pod.has("fixed a", SECOND * 51).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_forgotten_begins_anew() {
    let server = ApiServer::default();
    write(&server, "a:one");
    let pod = Pod::follow(&server);
    pod.has("fixed a", SECOND).await;
    server.is(Mood::Forgetful);
    write(&server, "b:two");
    pod.has("fixed b", SECOND * 2).await;
    let before = server.asked().len();
    tokio::time::sleep(SECOND * 100).await;
    let asked = server.asked().len() - before;
    assert!((4..40).contains(&asked), "asked {asked} times in 100 s");
    server.is(Mood::Fine);
    write(&server, "c:three");
    pod.has("fixed c", SECOND * 51).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_dead_is_found_out_and_the_file_takes_over() {
    let server = ApiServer::default();
    write(&server, "a:one");
    let pod = Pod::follow(&server);
    pod.has("fixed a", SECOND).await;
    let file = |keys: &str| {
        let fixed = pod.ring.fixed().clone();
        pod.ring.file_has(fixed.join(Keys::parse(keys).expect("keys")).expect("no clash"));
    };
    file("a:one");
    server.is(Mood::Silent);
    // It is the kubelet that still hears of changes.
    tokio::time::sleep(WATCH_FOR * 2).await;
    file("b:two");
    assert_eq!(pod.kids(), "fixed a", "it may be an old copy, for all that is known");
    tokio::time::sleep(crate::auth::keyring::COPY_LAG).await;
    file("b:two");
    assert_eq!(pod.kids(), "fixed b");
    server.is(Mood::Fine);
    write(&server, "c:three");
    pod.has("fixed c", SECOND * 51).await;
}

#[tokio::test(start_paused = true)]
async fn who_may_not_watch_is_told_by_the_lists() {
    let server = ApiServer::default();
    server.is(Mood::Refuses(403, "WATCH"));
    write(&server, "a:one");
    let pod = Pod::follow(&server);
    for (keys, kids) in [("b:two", "fixed b"), ("c:three", "fixed c")] {
        write(&server, keys);
        pod.has(kids, SECOND * 51).await;
        tokio::time::sleep(SECOND * 100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_not_understood_is_no_end() {
    let server = ApiServer::default();
    write(&server, "a:one");
    let pod = Pod::follow(&server);
    pod.has("fixed a", SECOND).await;
    server.put("secrets", "keys", json!({"data": {"keys": "this is not base64"}}));
    tokio::time::sleep(SECOND * 100).await;
    assert_eq!(pod.kids(), "fixed a");
    write(&server, "b:two");
    pod.has("fixed b", SECOND * 51).await;
}
