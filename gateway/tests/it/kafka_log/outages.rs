//! What becomes of events while the broker is away.

use super::*;

/// What became of the events of a publisher that never stops.
#[derive(Default)]
struct Outcomes {
    accepted: Vec<(NewEvent, Receipt)>,
    not_accepted: Vec<(NewEvent, String)>,
    unknown: Vec<NewEvent>,
    slowest: Duration,
}

impl Outcomes {
    /// Publishes, several at a time, while `meanwhile` happens.
    async fn during(pod: &Pod, meanwhile: impl Future<Output = ()>) -> Self {
        let mut outcomes = Self::default();
        let mut meanwhile = std::pin::pin!(meanwhile);
        let mut n = 0;
        loop {
            let events: Vec<NewEvent> = (0..5)
                .map(|room| {
                    n += 1;
                    event(&format!("room-{room}"), &n.to_string())
                })
                .collect();
            let began = Instant::now();
            let mut over = false;
            let results = {
                let publishing = events.iter().map(|event| pod.try_publish(event));
                let mut publishing = std::pin::pin!(futures_util::future::join_all(publishing));
                tokio::select! {
                    results = &mut publishing => results,
                    () = &mut meanwhile => {
                        over = true;
                        publishing.await
                    }
                }
            };
            outcomes.slowest = outcomes.slowest.max(began.elapsed());
            for (event, result) in events.into_iter().zip(results) {
                match result {
                    Ok(receipt) => outcomes.accepted.push((event, receipt)),
                    Err(PublishError::NotAccepted(why)) => outcomes.not_accepted.push((event, why)),
                    Err(PublishError::OutcomeUnknown(_)) => outcomes.unknown.push(event),
                    Err(error) => panic!("{error}"),
                }
            }
            if over {
                return outcomes;
            }
        }
    }

    /// That what was said is what is in the log.
    async fn assert_true(&self, pod: &Pod) {
        eventually("all that were accepted are seen", SOON, async || {
            pod.seen.told(|told| self.accepted.iter().all(|(event, _)| told.times(&id(event)) == 1))
        })
        .await;
        pod.seen.told(|told| {
            told.assert_in_order();
            for (event, _) in &self.accepted {
                assert_eq!(told.times(&id(event)), 1, "accepted");
            }
            for (event, why) in &self.not_accepted {
                assert_eq!(told.times(&id(event)), 0, "not accepted: {why}");
            }
            for event in &self.unknown {
                assert!(told.times(&id(event)) <= 1, "unknown");
            }
        });
    }
}

fn id(event: &NewEvent) -> String {
    event.message_id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_told_the_truth_through_outages() {
    let kafka = Kafka::start().await;
    let config = settings(&kafka);
    let pod = Pod::ready(&config).await;
    let patience = config.publish.timeout + Duration::from_secs(1);
    // So that the producer has its id: without one nothing is sent at all.
    pod.publish("before", "0").await;

    let frozen = Outcomes::during(&pod, async {
        kafka.freeze().await;
        eventually("the outage is told", SOON, async || pod.seen.told(|t| !t.is_reachable())).await;
        kafka.thaw().await;
        eventually("reachable again", SOON, async || pod.seen.told(|told| told.is_reachable()))
            .await;
    })
    .await;
    assert!(!frozen.unknown.is_empty(), "sent, and nobody answered");
    assert!(frozen.slowest < patience, "{:?}", frozen.slowest);

    let killed = Outcomes::during(&pod, async {
        kafka.kill().await;
        eventually("the outage is told", SOON, async || pod.seen.told(|t| !t.is_reachable())).await;
        let certain = |told: &Result<_, _>| matches!(told, Err(PublishError::NotAccepted(_)));
        while !certain(&pod.try_publish(&event("probe", "0")).await) {}
        kafka.restart().await;
        eventually("reachable again", SOON, async || pod.seen.told(|told| told.is_reachable()))
            .await;
    })
    .await;
    assert!(!killed.not_accepted.is_empty(), "never sent, and so certain");
    assert!(killed.slowest < patience, "{:?}", killed.slowest);

    let restarted = Outcomes::during(&pod, async {
        kafka.stop().await;
        kafka.restart().await;
        eventually("reachable again", SOON, async || pod.seen.told(|told| told.is_reachable()))
            .await;
    })
    .await;

    // All goes on by itself.
    pod.publish("after", "0").await;
    pod.sees("after", &numbers(0..1)).await;
    for outcomes in [frozen, killed, restarted] {
        outcomes.assert_true(&pod).await;
    }
    pod.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_may_come_late_and_go_early() {
    let kafka = Kafka::stopped(&[]).await;
    let config = settings(&kafka);
    let pod = Pod::open(&config);
    eventually("told why", SOON, async || pod.seen.told(|told| told.unreachable().is_some())).await;
    let began = Instant::now();
    let refused = pod.try_publish(&event("room", "0")).await;
    assert!(matches!(refused, Err(PublishError::NotAccepted(_))), "never sent: {refused:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    kafka.restart().await;
    eventually("caught up", SOON, async || pod.seen.told(|told| told.caught_up.is_some())).await;
    pod.publish("room", "1").await;
    pod.sees("room", &["1".to_owned()]).await;

    let third = Pod::ready(&config).await;
    kafka.freeze().await;
    let began = Instant::now();
    third.log.close(Instant::now() + Duration::from_secs(2)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    kafka.thaw().await;

    let other = Pod::ready(&config).await;
    kafka.kill().await;
    // One that has noticed, and one that may not have.
    let began = Instant::now();
    other.log.close(Instant::now() + Duration::from_secs(3)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    eventually("the outage is told", SOON, async || pod.seen.told(|told| !told.is_reachable()))
        .await;
    let began = Instant::now();
    pod.log.close(Instant::now() + Duration::from_secs(3)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
