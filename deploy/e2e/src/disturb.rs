//! Something happens to the cluster while readers count.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidegate_faults::load::Load;
use tidegate_faults::plan::Plan;
use tidegate_faults::report::Outcome;
use tidegate_swarm::sequence::Faults;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::kube::until;
use crate::notes::Notes;
use crate::site::Site;

/// Events that every reader gets before it happens, and after it.
const CALM: u64 = 5;
/// How long that may take: readers come back first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Padding of an event.
const BYTES: usize = 300;
/// How many surprises are written down.
const SHOWN: usize = 5;

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disturbance {
    /// What it is called in the report.
    pub(crate) name: &'static str,
    /// A pod goes without notice: the proxy may send somebody to it once more, and say 502 to 504. That
    /// ends a browser's `EventSource`, and no gateway can help it.
    pub(crate) is_without_notice: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Disturbed {
    pub(crate) name: &'static str,
    pub(crate) readers: usize,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
    /// The most readers that came back within any one second.
    pub(crate) peak: usize,
    /// From the first reader that came back to the last.
    pub(crate) spread: Duration,
}

/// Puts a load on the main release, through its Ingress and its HTTPRoute, lets `act` do something,
/// and notes what came of it.
///
/// # Errors
/// What `act` says, or that readers were not let in. What readers missed is in the notes.
pub(crate) async fn under_load(
    site: &Site,
    notes: &mut Notes,
    what: Disturbance,
    act: impl AsyncFnOnce(&Load, &mut Notes) -> Result<()>,
) -> Result<()> {
    let (ids, copies) = (usize::from(site.cli.ids), usize::from(site.cli.copies));
    let plan = Plan::new(&site.prefix(), ids, site.cli.rate, copies);
    let readers = plan.readers.len();
    let (began, never) = (Instant::now(), watch::Sender::new(false));
    let mut load =
        Load::start(plan, Arc::clone(&site.doors), &never, BYTES, rand::random()).await?;
    all_hear(&load, CALM).await?;
    let from = Instant::now();
    let acted = act(&load, notes).await;
    let took = from.elapsed();
    let acted = acted.and(all_settle(site, &load).await);
    let unfinished = load.finish().await;
    let mut outcome = Outcome::of(&load, began, Vec::new());
    outcome.surprises.extend(unfinished);
    drop(load);

    let Faults { lost, doubled, out_of_order, .. } = outcome.faults;
    let name = what.name;
    let whole = [lost, doubled, out_of_order] == [0; 3] && outcome.gaps.is_empty();
    if !whole || outcome.acknowledged == 0 {
        notes.wrongs.push(format!("{name}: {outcome}"));
    }
    for surprise in outcome.surprises.iter().take(SHOWN) {
        notes.wrongs.push(format!("{name}: {surprise}"));
    }
    if !outcome.turned_away.is_empty() && !what.is_without_notice {
        let away = &outcome.turned_away;
        notes.wrongs.push(format!("{name}: the proxy had no pod for readers: {away:?}"));
    }
    let back = &outcome.reconnects_at;
    let (peak, first) = (peak(back), back.first().copied().unwrap_or_default());
    let spread = back.last().copied().unwrap_or_default() - first;
    notes.disturbed.push(Disturbed { name, readers, took, outcome, peak, spread });
    acted
}

/// Waits until every reader is served by a pod that is there, and goes on. One that was deleted with
/// force serves on for a while.
async fn all_settle(site: &Site, load: &Load) -> Result<()> {
    let pods = site.main.pods().await?;
    let is_there = |name: &String| pods.iter().any(|pod| pod.name == *name && !pod.is_leaving);
    until("every reader is served by a living pod", PATIENCE, async || {
        Ok(load.books().all(|book| book.pod.as_ref().is_some_and(is_there)).then_some(()))
    })
    .await?;
    all_hear(load, CALM).await
}

/// Waits until every reader has had so many events more.
///
/// # Errors
/// One of them has not.
pub(crate) async fn all_hear(load: &Load, more: u64) -> Result<()> {
    let wanted: Vec<u64> = load.books().map(|book| book.delivered + more).collect();
    until("every reader gets events", PATIENCE, async || {
        let all = load.books().zip(&wanted).all(|(book, wanted)| book.delivered >= *wanted);
        Ok(all.then_some(()))
    })
    .await
}

/// The most moments within one second.
fn peak(moments: &[Duration]) -> usize {
    let (mut last_second, mut most) = (VecDeque::new(), 0);
    for &moment in moments {
        last_second.push_back(moment);
        while last_second.front().is_some_and(|&first| first + Duration::from_secs(1) <= moment) {
            last_second.pop_front();
        }
        most = most.max(last_second.len());
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_of_any_second_and_not_of_the_clocks() {
        let at =
            |ms: &[u64]| peak(&ms.iter().copied().map(Duration::from_millis).collect::<Vec<_>>());
        assert_eq!(at(&[]), 0);
        assert_eq!(at(&[0, 1_000, 2_000]), 1);
        assert_eq!(at(&[100, 900, 1_050, 1_099, 1_100, 5_000]), 4);
    }
}
