//! A pod that is kept at a rate for minutes: does it stay near the log's end?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use rdkafka::consumer::BaseConsumer;
use tidegate_rig::kafka::Kafka;
use tokio::time::{Instant, sleep_until};

use crate::fill::{self, Filler, PARTITIONS};
use crate::pod::Pod;
use crate::rounds::Plan;

const TOPIC: &str = "tidegate.ingest-sustained";
/// How often the lag is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How much is written at once.
const SLICE: Duration = Duration::from_millis(5);
/// The most of it: a log that takes less than the rate must not hold up the end.
const MOST_AT_ONCE: u64 = 20_000;
/// How long records are gathered, in milliseconds.
const LINGER_MS: u32 = 10;
/// How long the pod may take for what is left at the end.
const REST: Duration = Duration::from_secs(30);

/// What it came to.
#[derive(Debug, Clone)]
pub struct Sustained {
    /// Records that were to be written, a second.
    pub wanted: f64,
    /// Records that the log took, a second.
    pub rate: f64,
    /// For how many seconds.
    pub seconds: f64,
    /// Each look's lag, in records that the log had and the pod had not read.
    pub lags: Vec<u64>,
    /// The most that the pod's own gauge said.
    pub gauge_most: u64,
    /// How long it took for what was left when nothing was written any more.
    pub rest: Duration,
    /// The gateway's CPU time, in seconds.
    pub cpu: f64,
    /// The largest resident size that was seen, in bytes.
    pub rss_most: u64,
}

/// Writes `rate` records a second for `time` and watches a pod that reads them.
///
/// # Errors
/// When the log does not take them, or the pod does not read what is left at the end.
pub async fn run(plan: &Plan, kafka: &Kafka, rate: f64, time: Duration) -> Result<Sustained> {
    // Minutes of records are more than a disk may have to spare: all but the last ones go.
    let bounds = [
        ("segment.bytes", "67108864"),
        ("retention.bytes", "134217728"),
        ("file.delete.delay.ms", "1000"),
    ];
    kafka.create_topic_with(TOPIC, PARTITIONS, &bounds).await;
    let pod = Pod::start(&plan.bin, &kafka.brokers(), TOPIC).await?;
    pod.ready().await?;
    let mut filler = Filler::new(kafka.client(), plan.load(TOPIC)?, LINGER_MS)?;
    let client: Arc<BaseConsumer> = Arc::new(kafka.client().create()?);
    let ask = async || {
        let client = Arc::clone(&client);
        tokio::task::spawn_blocking(move || fill::written(&client, TOPIC)).await?
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let mut written = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * rate) as u64;
            let records = (due - written).min(MOST_AT_ONCE);
            filler.write(records)?;
            written += records;
            filler.wait_until(Instant::now() + SLICE);
        }
        filler.finish()
    });

    let began = Instant::now();
    let cpu = |pod: &Pod| anyhow::Ok(pod.server().cpu()?.map_or(0.0, |cpu| cpu.total()));
    let cpu_before = cpu(&pod)?;
    let (mut lags, mut gauge_most, mut rss_most) = (Vec::new(), 0, 0);
    while began.elapsed() < time {
        sleep_until(began + EVERY * (lags.len() as u32 + 1)).await;
        // In this order: what comes in between is no lag.
        let there = ask().await?;
        let read = pod.consumed().await;
        lags.push(there.saturating_sub(read));
        gauge_most = gauge_most.max(pod.matched_and_lag().await?.1);
        rss_most = rss_most.max(pod.memory()?.rss);
    }
    let seconds = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    writer.await??;
    let ended = Instant::now();
    let all = ask().await?;
    while pod.consumed().await < all {
        ensure!(ended.elapsed() < REST, "the pod does not read the rest");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rest = ended.elapsed();
    let cpu = cpu(&pod)? - cpu_before;
    pod.end().await;
    kafka.delete_topic(TOPIC).await;
    Ok(Sustained {
        wanted: rate,
        rate: all as f64 / seconds,
        seconds,
        lags,
        gauge_most,
        rest,
        cpu,
        rss_most,
    })
}
