use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::kubernetes::api_server::{ApiServer, Mood};
use crate::kubernetes::eventually;

const SECOND: Duration = Duration::from_secs(1);
/// Within this somebody leads, if nothing is in the way.
const SOON: Duration = Duration::from_secs(9);

/// A pod that stands for election, and its own way to the API server.
struct Pod {
    server: ApiServer,
    led: watch::Receiver<bool>,
    leaving: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Pod {
    fn start(server: &ApiServer, name: &str) -> Self {
        let server = server.another_way();
        let (leading, led) = watch::channel(false);
        let leaving = CancellationToken::new();
        let cluster = Cluster::of(Client::new(server.router(), "ns"));
        let identity = format!("{name}_0123abcd");
        let election = Election::new(cluster, "lease", identity, leading);
        let task = AbortOnDropHandle::new(tokio::spawn(election.run(leaving.clone())));
        Self { server, led, leaving, task }
    }

    fn leads(&self) -> bool {
        *self.led.borrow()
    }

    async fn comes_to_lead(&self, within: Duration) {
        eventually(within, || self.leads()).await;
        assert!(self.leads());
    }

    async fn leave(self) {
        self.leaving.cancel();
        self.task.await.expect("it ends");
    }
}

fn lease(server: &ApiServer) -> serde_json::Value {
    server.get("leases", "lease").expect("a Lease")["spec"].clone()
}

#[tokio::test(start_paused = true)]
async fn one_pod_leads_and_the_next_one_when_it_leaves() {
    let server = ApiServer::default();
    let one = Pod::start(&server, "one");
    one.comes_to_lead(SECOND).await;
    let other = Pod::start(&server, "other");
    tokio::time::sleep(SECOND * 600).await;
    assert!(one.leads() && !other.leads());
    let held = lease(&server);
    assert_eq!(held["holderIdentity"], "one_0123abcd");
    assert_eq!((&held["leaseDurationSeconds"], &held["leaseTransitions"]), (&json!(30), &json!(1)));

    one.leave().await;
    assert_eq!(lease(&server).get("holderIdentity"), None, "given back");
    other.comes_to_lead(SOON).await;
    assert_eq!(lease(&server)["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_gone_without_a_word_is_waited_for() {
    let server = ApiServer::default();
    let one = Pod::start(&server, "one");
    one.comes_to_lead(SECOND).await;
    let other = Pod::start(&server, "other");
    tokio::time::sleep(SECOND).await;
    drop(one);
    let began = Instant::now();
    other.comes_to_lead(SECOND * 60).await;
    let waited = began.elapsed();
    assert!(waited >= LEASE_DURATION - EVERY.mul_f64(1.5) && waited < LEASE_DURATION + SOON);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_gives_up_before_anybody_follows() {
    for mood in [Mood::Silent, Mood::Refuses(403, "leases"), Mood::Refuses(500, "PUT")] {
        let server = ApiServer::default();
        let one = Pod::start(&server, "one");
        one.comes_to_lead(SECOND).await;
        one.server.is(mood);
        let began = Instant::now();
        eventually(SECOND * 60, || !one.leads()).await;
        assert!(began.elapsed() <= RENEW_DEADLINE, "{mood:?}: {:?}", began.elapsed());
        assert!(began.elapsed() >= RENEW_DEADLINE / 2, "{mood:?}: {:?}", began.elapsed());
        one.server.is(Mood::Fine);
        one.comes_to_lead(SECOND * 60).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_rights_nobody_leads_until_there_are_some() {
    for what in ["GET leases", "POST leases"] {
        let server = ApiServer::default();
        let one = Pod::start(&server, "one");
        one.server.is(Mood::Refuses(403, what));
        tokio::time::sleep(SECOND * 300).await;
        assert!(!one.leads());
        let asked = server.asked().len();
        assert!(asked < 50, "{what}: asked {asked} times in 300 s");
        one.server.is(Mood::Fine);
        one.comes_to_lead(SECOND * 60).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_there_need_not_be_made() {
    let server = ApiServer::default();
    server.put("leases", "lease", json!({"metadata": {"labels": {"of": "the chart"}}}));
    let one = Pod::start(&server, "one");
    one.server.is(Mood::Refuses(403, "POST"));
    one.comes_to_lead(SECOND).await;
    let object = server.get("leases", "lease").expect("a Lease");
    assert_eq!(object["metadata"]["labels"]["of"], "the chart", "what others wrote is kept");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_others_write_to_is_still_held() {
    let server = ApiServer::default();
    let one = Pod::start(&server, "one");
    one.comes_to_lead(SECOND).await;
    for n in 0..50 {
        let mut object = server.get("leases", "lease").expect("a Lease");
        object["metadata"]["annotations"] = json!({"n": n.to_string()});
        server.put("leases", "lease", object);
        tokio::time::sleep(SECOND).await;
        assert!(one.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_is_not_left_behind_by_a_release_that_goes() {
    let server = ApiServer::default();
    let one = Pod::start(&server, "one");
    one.comes_to_lead(SECOND).await;
    server.delete("leases", "lease");
    eventually(SOON, || !one.leads()).await;
    assert!(!one.leads());
    tokio::time::sleep(LEASE_DURATION / 2).await;
    assert_eq!(server.get("leases", "lease"), None);
    one.comes_to_lead(LEASE_DURATION + SOON).await;

    server.delete("leases", "lease");
    one.leave().await;
    assert_eq!(server.get("leases", "lease"), None);
}

#[tokio::test(start_paused = true)]
async fn leaving_is_short_when_nobody_answers() {
    let server = ApiServer::default();
    let one = Pod::start(&server, "one");
    one.comes_to_lead(SECOND).await;
    one.server.is(Mood::Silent);
    let began = Instant::now();
    let led = one.led.clone();
    one.leave().await;
    assert!(!*led.borrow());
    assert!(began.elapsed() <= crate::kubernetes::cluster::REQUEST_TIMEOUT);
}

/// However the ways to the API server fail and come back: never two lead at once, and one does when
/// all is well again.
#[tokio::test(start_paused = true)]
async fn two_never_lead_at_once() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let server = ApiServer::default();
        let pods: Vec<_> = ["a", "b", "c"].map(|name| Pod::start(&server, name)).into();
        let moods = [
            Mood::Fine,
            Mood::Fine,
            Mood::Silent,
            Mood::Refuses(500, "PUT"),
            Mood::Refuses(409, "PUT"),
        ];
        let mut led = 0;
        for _ in 0..200 {
            let pod = &pods[rng.random_range(0..pods.len())];
            pod.server.is(moods[rng.random_range(0..moods.len())]);
            for _ in 0..rng.random_range(1..40) {
                tokio::time::sleep(SECOND / 2).await;
                let leaders = pods.iter().filter(|pod| pod.leads()).count();
                assert!(leaders <= 1, "seed {seed}: {leaders} lead");
                led += leaders;
            }
        }
        assert!(led > 0, "seed {seed}: nobody ever led");
        pods.iter().for_each(|pod| pod.server.is(Mood::Fine));
        eventually(LEASE_DURATION + SECOND * 60, || pods.iter().any(Pod::leads)).await;
        assert!(pods.iter().any(Pod::leads), "seed {seed}");
    }
}
