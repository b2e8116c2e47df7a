//! A source that one pod finds before another: whoever moves between them is told nothing twice.

use super::*;

impl Pod {
    /// One that has not found the last source yet.
    fn unaware() -> Self {
        let mut pod = Self::without_sources(bounds());
        pod.find(sources().len() - 1);
        pod
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_source_that_one_pod_finds_later_is_never_told_twice(
        steps in steps(),
        found_at in proptest::array::uniform2(0..120usize),
    ) {
        let mut log = TestLog::default();
        let mut pods = [Pod::unaware(), Pod::unaware()];
        let mut published = Vec::new();
        let mut clients: Vec<Client> =
            (0..4).map(|n| Client::connect(&pods[n % 2], &patterns_of(n))).collect();
        for (nth, step) in steps.into_iter().enumerate() {
            for (pod, at) in pods.iter_mut().zip(found_at) {
                if at == nth {
                    pod.find(sources().len());
                }
            }
            match step {
                Step::Publish(what) => {
                    log.publish(&what);
                    published.push(what);
                }
                Step::Consume { pod, shard, most } => pods[pod].consume(&log, shard, most),
                Step::Poll { client } => { clients[client].poll(usize::MAX); }
                Step::Heartbeat { client } => clients[client].heartbeat(),
                Step::Leaf { .. } => {}
                Step::Cut { client, most, pod } => {
                    clients[client].poll(most);
                    clients[client].reconnect(&pods[pod]);
                }
            }
        }
        for pod in &mut pods {
            pod.find(sources().len());
            pod.consume_all(&log);
        }
        for client in &mut clients {
            while client.poll(usize::MAX) > 0 {}
            let mut got: Vec<String> = client.got.iter().map(|g| g.2.clone()).collect();
            got.sort();
            let count = got.len();
            got.dedup();
            prop_assert_eq!(got.len(), count, "none twice");
            // Of the source that was found, what came before is not owed to everybody.
            for (n, what) in published.iter().enumerate() {
                let is_owed = client.wants(what) && !matches!(what, Publish::Loose { .. });
                prop_assert!(!is_owed || got.binary_search(&n.to_string()).is_ok(), "{n} is lost");
            }
        }
    }
}

#[test]
fn what_a_cursor_names_and_the_pod_does_not_find_is_let_go_of_after_a_while() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let _clock = runtime.enter();
    let (mut pod, mut log) = (Pod::unaware(), TestLog::default());
    let mut client = Client::connect(&pod, &[Pattern::new("a", "s").expect("pattern")]);
    let [.., loose] = sources();
    let shard = Shard { source: loose.id, index: 1 };
    client.last_id.set(shard, Position { next: Offset(5), tag: Tag::UNKNOWN });
    client.reconnect(&pod);
    let mut publish = |client: &mut Client| {
        log.publish(&Publish::Room { id: 0, kind: 0, to: None });
        pod.consume_all(&log);
        assert_eq!(client.poll(usize::MAX), 1);
        client.last_id.get(shard).map(|position| position.next)
    };
    assert_eq!(publish(&mut client), Some(Offset(5)));
    runtime.block_on(tokio::time::advance(bounds().window_age));
    assert_eq!(publish(&mut client), None);
}
