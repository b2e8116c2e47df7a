//! How long events take, by several ways at once: from the publisher's request to the reader.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tidegate_faults::door::Doors;
use tidegate_swarm::clock;
use tidegate_swarm::stats::Times;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::stream::{Stream, publish_on};

/// The least that counts as a delay, at half of the events and at nine in ten: what a busy machine does
/// to any way. The slowest in a hundred say more about the machine than about the way.
const NOTHING: (f64, f64) = (20.0, 100.0);
/// How long streams may take to stand. One that a proxy holds back does not, until it is full.
const STANDING: Duration = Duration::from_secs(5);
/// How long what has not come is waited for.
const AFTER: Duration = Duration::from_secs(2);

/// A way to a gateway.
#[derive(Debug)]
pub(crate) struct Way {
    /// What it is called in the report.
    pub(crate) name: String,
    /// Its only door.
    pub(crate) doors: Doors,
}

/// How long events took by one way.
#[derive(Debug)]
pub(crate) struct Delay {
    pub(crate) name: String,
    pub(crate) times: Times,
    pub(crate) events: u64,
    /// Events that had not come [`AFTER`] the last was published.
    pub(crate) missing: u64,
    /// Why its stream ended.
    pub(crate) ended: Option<String>,
}

impl Delay {
    /// Of a way by which all has come.
    pub(crate) fn of_all(name: String, times: Times, events: u64) -> Self {
        Self { name, times, events, missing: 0, ended: None }
    }

    /// Half of the events took at most so many milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        self.times.ms(0.5)
    }

    /// Nine in ten events took at most so many milliseconds.
    pub(crate) fn p90(&self) -> f64 {
        self.times.ms(0.9)
    }

    /// 99 of 100 events took at most so many milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.times.ms(0.99)
    }

    /// Why events do not come at once, when `own` is how long they take from a pod's own port.
    pub(crate) fn is_late(&self, own: &Self) -> Option<String> {
        let p50 = self.p50() > own.p50() + NOTHING.0;
        let p90 = self.p90() > own.p90() + NOTHING.1;
        (self.missing > 0 || p50 || p90).then(|| {
            let (p50, p90, missing, all) = (self.p50(), self.p90(), self.missing, self.events);
            let ended = self.ended.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
            format!("p50 {p50:.1} ms, p90 {p90:.1} ms, {missing} of {all} events missing{ended}")
        })
    }
}

/// Publishes so many events through one door, and reads them by all ways.
///
/// # Errors
/// A publish failed.
pub(crate) async fn measure(
    ways: Vec<Way>,
    publisher: &Doors,
    id: &str,
    events: u64,
    every: Duration,
) -> Result<Vec<Delay>> {
    let over = watch::Sender::new(false);
    let (stands, mut standing) = mpsc::channel(ways.len());
    let mut readers = JoinSet::new();
    let all = ways.len();
    for (n, way) in ways.into_iter().enumerate() {
        let (id, stands, over) = (id.to_owned(), stands.clone(), over.subscribe());
        readers.spawn(async move { (n, read(way, &id, events, stands, over).await) });
    }
    let stand = async {
        for _ in 0..all {
            standing.recv().await;
        }
    };
    // Whoever is late gets what comes from then on.
    let _ = timeout(STANDING, stand).await;
    let mut wire = publisher.connect(0).await?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0..events {
        ticks.tick().await;
        let data = json!({"n": n, "t": clock::now(), "pad": "x".repeat(200)});
        publish_on(&mut wire, publisher, 0, (id, "Timed"), &data).await?;
    }
    // Those who have all are done before.
    let _ = timeout(AFTER, over.closed()).await;
    over.send_replace(true);
    let mut delays = readers.join_all().await;
    delays.sort_by_key(|(n, _)| *n);
    Ok(delays.into_iter().map(|(_, delay)| delay).collect())
}

async fn read(
    way: Way,
    id: &str,
    events: u64,
    stands: mpsc::Sender<()>,
    mut over: watch::Receiver<bool>,
) -> Delay {
    let mut delay = Delay { missing: events, ..Delay::of_all(way.name, Times::default(), events) };
    let reading = async {
        let mut stream = Stream::connect(&way.doors, 0, id, "Timed").await?;
        let _ = stands.send(()).await;
        while delay.missing > 0 {
            let data = stream.event().await?;
            delay.times.record_between(data["t"].as_u64().unwrap_or(0), clock::now());
            delay.missing -= 1;
        }
        Ok::<_, anyhow::Error>(())
    };
    let ended = tokio::select! {
        biased;
        _ = over.wait_for(|over| *over) => None,
        read = reading => read.err(),
    };
    delay.ended = ended.map(|error| format!("its stream ended: {error:#}"));
    delay
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(ms: &[u64], missing: u64) -> Delay {
        let mut times = Times::default();
        ms.iter().for_each(|ms| times.record(ms * 1_000_000));
        Delay { missing, ..Delay::of_all(String::new(), times, 100) }
    }

    #[test]
    fn a_way_is_late_beside_the_pods_own_port() {
        let own = delay(&[2, 2, 3], 0);
        assert_eq!(delay(&[3, 4, 20], 0).is_late(&own), None);
        assert!(delay(&[200, 400, 500], 0).is_late(&own).is_some());
        assert!(delay(&[2, 2, 400], 0).is_late(&own).is_some());
        let one_in_a_hundred = [[2; 99].as_slice(), &[400]].concat();
        assert_eq!(delay(&one_in_a_hundred, 0).is_late(&own), None);
        assert!(delay(&[2, 2, 3], 1).is_late(&own).is_some());
        assert!(delay(&[], 100).is_late(&own).is_some());
    }
}
