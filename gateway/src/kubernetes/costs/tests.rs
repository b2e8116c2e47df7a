use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::kubernetes::api_server::{ApiServer, Mood};
use crate::kubernetes::peers::tests::{Peer, serve};

fn pod(name: &str, is_ready: bool, cost: Option<&str>) -> PodView {
    let cost = cost.map(str::to_owned);
    let uid = format!("uid-{name}");
    PodView { name: name.into(), uid, ip: None, is_ready, is_over: false, cost }
}

fn of(streams: &[(&str, usize)]) -> HashMap<String, usize> {
    streams.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

#[test]
fn a_cost_is_written_when_it_has_changed_enough() {
    for (written, wanted, off) in [
        (None, 0, None),
        (None, 1, Some(1)),
        (Some("0"), 0, None),
        (Some("3"), 4, Some(1)),
        (Some("4"), 3, Some(1)),
        (Some("100"), 110, None),
        (Some("100"), 112, Some(12)),
        (Some("100"), 90, None),
        (Some("100"), 89, Some(11)),
        (Some("7"), 0, Some(7)),
        (Some("-5"), 0, Some(5)),
        (Some("2147483647"), 2_147_483_647, None),
        (Some("-2147483648"), 2_147_483_647, Some(4_294_967_295)),
        (Some("2147483648"), 5, Some(u64::MAX)),
        (Some(""), 0, Some(u64::MAX)),
        (Some("many"), 5, Some(u64::MAX)),
    ] {
        assert_eq!(off_by(written, wanted), off, "{written:?} {wanted}");
    }
}

#[test]
fn only_ready_pods_that_answered_are_changed_the_most_wrong_first() {
    let pods = [
        pod("right", true, Some("50")),
        pod("little", true, Some("10")),
        pod("far", true, None),
        pod("mute", true, Some("5")),
        pod("unready", false, Some("5")),
        pod("huge", true, None),
    ];
    let streams =
        of(&[("right", 50), ("little", 12), ("far", 400), ("unready", 100), ("huge", usize::MAX)]);
    let changes = changes(&pods, &streams);
    let costs: Vec<_> = changes.iter().map(|c| (c.pod.as_str(), c.cost)).collect();
    assert_eq!(costs, [("huge", i32::MAX), ("far", 400), ("little", 12)]);
    assert_eq!(changes[0].uid, "uid-huge");
}

proptest! {
    /// Written round by round, every pod comes within the tolerance, and is then left alone.
    #[test]
    fn all_costs_come_right_in_bounded_rounds(
        pods in prop::collection::vec((prop::option::of(any::<i32>()), 0..100_000_usize), 0..200),
    ) {
        let streams: HashMap<String, usize> =
            pods.iter().enumerate().map(|(n, (_, streams))| (n.to_string(), *streams)).collect();
        let mut views: Vec<_> = pods
            .iter()
            .enumerate()
            .map(|(n, (cost, _))| pod(&n.to_string(), true, cost.map(|c| c.to_string()).as_deref()))
            .collect();
        for round in 0.. {
            let changes = changes(&views, &streams);
            prop_assert!(changes.len() <= MOST_CHANGES);
            prop_assert!(round * MOST_CHANGES <= pods.len() + MOST_CHANGES);
            if changes.is_empty() {
                break;
            }
            for change in changes {
                let view = views.iter_mut().find(|view| view.name == change.pod).expect("it");
                view.cost = Some(change.cost.to_string());
            }
        }
        for view in views {
            let cost: i64 = view.cost.map_or(0, |cost| cost.parse().expect("a number"));
            let wanted = streams[&view.name] as i64;
            prop_assert!((cost - wanted).abs() * 10 <= cost.max(wanted), "{cost} {wanted}");
        }
    }
}

/// A pod of the release as the API server has it.
fn put(server: &ApiServer, name: &str, ip: &str, ready: bool, leaving: bool) {
    let mut pod = json!({
        "metadata": {"uid": format!("uid-{name}"), "annotations": {"other": "stays"}},
        "status": {"podIP": ip, "conditions": [
            {"type": "Ready", "status": if ready { "True" } else { "False" }},
        ]},
    });
    if leaving {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    server.put("pods", name, pod);
}

fn cost(server: &ApiServer, name: &str) -> Option<String> {
    let pod = server.get("pods", name).expect("a pod");
    assert_eq!(pod["metadata"]["annotations"]["other"], "stays");
    pod["metadata"]["annotations"].get(COST).and_then(Value::as_str).map(str::to_owned)
}

#[tokio::test]
async fn every_ready_pod_gets_the_number_of_its_streams() {
    let peers =
        [Peer::new("one", 7), Peer::new("two", 0), Peer::new("new", 3), Peer::new("gone", 9)];
    let (port, ips) = serve(peers).await;
    let server = ApiServer::default();
    put(&server, "one", &ips[0], true, false);
    put(&server, "two", &ips[1], true, false);
    put(&server, "unready", &ips[2], false, false);
    put(&server, "leaving", &ips[3], true, true);
    // Its address has gone to another pod by now.
    put(&server, "old", &ips[2], true, false);
    // Nobody is there.
    put(&server, "away", "127.0.9.9", true, false);
    let cluster = Cluster::of(kube::Client::new(server.router(), "ns"));
    let peers = Peers::new(port).expect("a client");
    let costs = Costs { cluster, peers, selector: "a=b".to_owned() };
    costs.round().await.expect("a round");
    assert_eq!(cost(&server, "one").as_deref(), Some("7"));
    for other in ["two", "unready", "leaving", "old", "away"] {
        assert_eq!(cost(&server, other), None, "{other}");
    }
    let patches = |server: &ApiServer| {
        server.asked().iter().filter(|asked| asked.starts_with("PATCH")).count()
    };
    costs.round().await.expect("a round");
    assert_eq!(patches(&server), 1, "what is right is not written again");

    server.is(Mood::Refuses(403, "PATCH pods"));
    put(&server, "one", &ips[0], true, false);
    let refusal = costs.round().await.expect_err("refused").to_string();
    assert!(refusal.contains("patch of pods") && refusal.contains("namespace ns"), "{refusal}");
    // Gone, or another of its name, between the list and the change.
    for code in [404, 409, 422] {
        server.is(Mood::Refuses(code, "PATCH pods"));
        costs.round().await.expect("nothing to say");
    }
}
