//! Events come at once through the ingress controller: beside the pod's own port, and beside a proxy
//! that buffers, which has to be noticed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tidegate_faults::door::Doors;

use crate::batch::{Http, line_by_line};
use crate::delay::{Delay, Way, measure};
use crate::nginx::Nginx;
use crate::notes::Notes;
use crate::site::{BY_INGRESS, BY_ROUTE, Site};

const EVENTS: u64 = 500;
const EVERY: Duration = Duration::from_millis(20);
/// Lines of a batch, and how long the answer to half of them may take, in milliseconds.
const LINES: u64 = 100;
const ANSWER_MS: f64 = 250.0;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let pods = site.main.settled(3).await?;
    let direct = |n: usize| Doors::direct([pods[n].public()]).signed(site.key());
    let nginx = Nginx::start(site.ingress).await?;
    let by = |door: usize| Doors::new(vec![site.doors.door(door).clone()]).signed(site.key());
    let through = |at| Nginx::door(at, site.doors.door(BY_INGRESS)).signed(site.key());
    let ways = [
        ("the publishing pod's own port", direct(0)),
        ("another pod's own port", direct(1)),
        ("Ingress", by(BY_INGRESS)),
        ("HTTPRoute", by(BY_ROUTE)),
        ("nginx as it comes (`proxy_buffering on`), before the Ingress", through(nginx.heeding)),
        ("control: the same, deaf to `X-Accel-Buffering`", through(nginx.buffering)),
    ];
    let ways = ways.map(|(name, doors)| Way { name: name.to_owned(), doors });
    let id = site.prefix();
    let delays = measure(ways.into(), &direct(0), &id, EVENTS, EVERY).await?;
    notes.delays = delays;
    let (own, rest) = notes.delays.split_at(2);
    let own = own.iter().max_by(|a, b| a.p90().total_cmp(&b.p90())).context("two")?;
    let (control, ways) = rest.split_last().context("four")?;
    let late: Vec<(String, Option<String>)> =
        ways.iter().map(|way| (way.name.clone(), way.is_late(own))).collect();
    let caught = control.is_late(own);
    for (name, late) in late {
        let why = late.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        notes.check(late.is_none(), format!("events come at once by {name}{why}"));
    }
    let why = caught.clone().unwrap_or_default();
    notes.check(caught.is_some(), format!("a proxy that buffers is caught: {why}"));
    for (name, doors, door) in [
        ("a pod's own port", &direct(0), 0),
        ("the Ingress", &*site.doors, BY_INGRESS),
        ("the HTTPRoute", &*site.doors, BY_ROUTE),
    ] {
        batch(notes, name, doors, door, &id).await;
    }
    Ok(())
}

/// Lines of a batch are answered while it is open, by HTTP/1.1 or, where a proxy does not begin to
/// answer before it has all of the request, by HTTP/2.
async fn batch(notes: &mut Notes, name: &str, doors: &Doors, door: usize, id: &str) {
    let mut refused = Vec::new();
    for http in [Http::One, Http::Two] {
        match line_by_line(doors, door, http, id, LINES).await {
            Ok(times) => {
                let (p50, p99, http) = (times.ms(0.5), times.ms(0.99), http.name());
                notes.check(
                    p50 < ANSWER_MS,
                    format!(
                        "an open batch through {name} is answered line by line over {http}: p50 {p50:.1} ms, \
                         p99 {p99:.1} ms{}",
                        refused.concat()
                    ),
                );
                let name = format!("batch line to its receipt, {name}, {http}");
                return notes.delays.push(Delay::of_all(name, times, LINES));
            }
            Err(error) => refused.push(format!("; not over {} ({error:#})", http.name())),
        }
    }
    notes
        .wrongs
        .push(format!("no line of an open batch through {name} is answered{}", refused.concat()));
}
