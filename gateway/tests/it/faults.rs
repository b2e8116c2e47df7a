//! Gateways, their log and their clients' connections fail, and nobody misses an event. More of it,
//! and for longer: `loadtest/faults`.

use tidegate_faults::cluster::{Setup, Wants};
use tidegate_faults::fault::Fault;
use tidegate_faults::load::Volume;
use tidegate_faults::run::{Run, Schedule};
use tidegate_faults::store::LogKind;

async fn nobody_misses_an_event_on(log: LogKind) {
    let faults = vec![
        Fault::GatewayKilled,
        Fault::ClientRst,
        Fault::LogRestarted,
        Fault::ClientFin,
        Fault::LogRst,
        Fault::GatewayDrained,
        Fault::LogKilled,
    ];
    let run = Run {
        setup: Setup {
            binary: env!("CARGO_BIN_EXE_tidegate").into(),
            log,
            gateways: 2,
            wants: Wants::default(),
            flags: Vec::new(),
        },
        volume: Volume { ids: 2, rate: 60.0, copies: 1, bytes: 200 },
        schedule: Schedule::Each(faults.clone()),
        seed: 5,
        keep: false,
    };
    let mut said = Vec::new();
    let outcome = run.run(|line| said.push(line)).await.expect("it can be started");
    assert!(outcome.is_clean(), "{outcome}\n{}", said.join("\n"));
    assert_eq!(outcome.episodes.len(), faults.len());
    assert!(outcome.acknowledged > 0 && outcome.reconnects > 0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_an_event_on_kafka() {
    nobody_misses_an_event_on(LogKind::Kafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_an_event_on_redis() {
    nobody_misses_an_event_on(LogKind::Redis).await;
}
