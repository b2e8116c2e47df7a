//! What the process really takes up: the window's budget is its memory, and streams give theirs back.

use std::net::SocketAddr;
use std::time::Duration;

use super::support::eventually;
use super::support::gateway::Gateway;
use super::support::stream::Stream;

const MIB: f64 = 1_048_576.0;
const PATIENCE: Duration = Duration::from_secs(30);

async fn resident(gateway: &Gateway) -> f64 {
    gateway.metric("process_resident_memory_bytes", "").await
}

/// Opens as many streams and closes them all.
async fn come_and_go(gateway: &Gateway, to: SocketAddr, streams: usize, query: &str) {
    let mut open = Vec::with_capacity(streams);
    for number in 0..streams {
        let path = format!("/v1/subscribe/events/room-{}/types/t{query}", number % 50);
        open.push(Stream::connect(to, &path, &[]).await.0);
    }
    drop(open);
    eventually("the streams are gone", PATIENCE, async || {
        gateway.metric("tidegate_connections", "").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn streams_that_come_and_go_leave_nothing_behind() {
    let gateway = Gateway::ready(&[]).await;
    let to = gateway.public();
    // The first ones pay for what all share.
    for _ in 0..2 {
        come_and_go(&gateway, to, 200, "").await;
    }
    let before = resident(&gateway).await;
    for _ in 0..10 {
        come_and_go(&gateway, to, 200, "").await;
    }
    let grown = resident(&gateway).await - before;
    // 2,000 streams at 2 KiB each would be 4 MiB.
    assert!(grown < 3.0 * MIB, "{:.1} MiB more", grown / MIB);
}

#[tokio::test]
async fn large_events_of_many_rooms_in_every_spelling_stay_within_the_budget() {
    const BUDGET: f64 = 32.0;
    let flags = ["--log-window-bytes", "32MiB", "--memory-max-bytes", "8MiB"];
    let gateway = Gateway::ready(&flags).await;
    let to = gateway.public();
    let mut readers = Vec::new();
    for number in 0..20 {
        let query = if number % 2 == 0 { "?compress=lz4" } else { "" };
        let path = format!("/v1/subscribe/events/room-{}/types/t{query}", number / 2);
        readers.push(Stream::connect(to, &path, &[]).await.0);
    }
    let reading = readers
        .into_iter()
        .map(|mut reader| tokio::spawn(async move { while reader.block().await.is_some() {} }));
    let reading: Vec<_> = reading.collect();
    let before = resident(&gateway).await;
    let mut noise = 1_u64;
    let mut most = 0.0_f64;
    // Five times the budget, one in two of it wanted, each in two spellings.
    for number in 0..800 {
        let mut data = String::with_capacity(200_000);
        while data.len() < 200_000 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            data.push_str(&format!("{noise:016x}"));
        }
        let room = format!("room-{}", number % 20);
        let published = gateway.publish(&room, "t", &format!(r#"{{"data":"{data}"}}"#)).await;
        assert_eq!(published.status, 200);
        if number % 40 == 0 {
            most = most.max(resident(&gateway).await - before);
        }
    }
    assert!(gateway.metric("tidegate_window_bytes", "").await <= (BUDGET + 8.0) * MIB);
    // The embedded log's own 8 MiB, what is between two looks at the budget, and the allocator.
    assert!(most <= (BUDGET + 8.0 + 32.0) * MIB, "{:.1} MiB more", most / MIB);
    for reader in reading {
        reader.abort();
    }
}
