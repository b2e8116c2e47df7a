//! The report, as Markdown.

use std::fmt;

use serde_json::Value;
use tidegate_swarm::sequence::Faults;

use crate::disturb::Disturbed;
use crate::kube;
use crate::notes::{Notes, seconds};
use crate::site::Site;
use crate::suite::Done;

/// All that was seen.
#[derive(Debug)]
pub(crate) struct Report {
    /// On what.
    pub(crate) about: String,
    /// The scenarios, in order.
    pub(crate) done: Vec<Done>,
    /// It came to its end.
    pub(crate) whole: bool,
}

impl Report {
    /// What a run was made on: the cluster, the image, the load.
    pub(crate) async fn about(site: &Site) -> String {
        let version = kube::run("kubectl", &["version", "--output", "json"], None).await;
        let version: Value = serde_json::from_str(&version.unwrap_or_default()).unwrap_or_default();
        let kubernetes = version["serverVersion"]["gitVersion"].as_str().unwrap_or("unknown");
        let nodes = kube::run("kubectl", &["get", "nodes", "--output", "name"], None).await;
        let nodes = nodes.map_or(0, |nodes| nodes.lines().count());
        let (image, cli) = (&site.cli.image, &site.cli);
        let readers = usize::from(cli.ids) * usize::from(cli.copies) * 5;
        format!(
            "Kubernetes {kubernetes}, {nodes} node(s), image `{image}`, a real Kafka beside the cluster. \
             {readers} readers, half by Ingress and half by HTTPRoute, and {} events a second.",
            cli.rate
        )
    }

    fn all<'a, T>(&'a self, of: impl Fn(&'a Notes) -> &'a [T]) -> Vec<&'a T> {
        self.done.iter().flat_map(|one| of(&one.notes)).collect()
    }

    fn delays(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delays = self.all(|notes| &notes.delays);
        if delays.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n## Publish to receive\n")?;
        writeln!(f, "| by | events | p50 | p99 | missing |\n| --- | --- | --- | --- | --- |")?;
        for delay in delays {
            let (p50, p99, events) = (delay.p50(), delay.p99(), delay.events);
            let (name, missing) = (&delay.name, delay.missing);
            writeln!(f, "| {name} | {events} | {p50:.1} ms | {p99:.1} ms | {missing} |")?;
        }
        Ok(())
    }

    fn disturbances(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all(|notes| &notes.disturbed);
        if all.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n## Disturbances\n\nReaders come back as browsers do: after the last `retry:`, with the last id. \
             *Elsewhere*: resumes on another pod than the one before. *At most*: readers that came back \
             within one second. *Turned away*: answers 502 to 504 to readers. *Retried*: requests of publishers, \
             which a key makes harmless.\n\n\
             | disturbance | took | acknowledged | delivered | lost | doubled | out of order | gaps \
             | reconnects | at most | elsewhere | longest silence | longest delay | goodbyes | turned away \
             | retried |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        )?;
        all.into_iter().try_for_each(|one| row(f, one))
    }

    fn scenarios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## Scenarios")?;
        for Done { scenario, notes, took } in &self.done {
            if notes.is_left_out {
                continue;
            }
            let said = if notes.is_clean() { "passed" } else { "FAILED" };
            writeln!(f, "\n**{}**: {said}, {}\n", scenario.name(), seconds(*took))?;
            for fact in &notes.facts {
                writeln!(f, "- {fact}")?;
            }
            for wrong in &notes.wrongs {
                writeln!(f, "- **wrong**: {wrong}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# On a real cluster\n\n{}\n", self.about)?;
        let first = self.done.iter().find_map(|one| one.notes.first_event);
        let first = first.map_or_else(|| "never".to_owned(), seconds);
        writeln!(
            f,
            "From `helm install` to the first event received through the Ingress: {first}.\n"
        )?;
        match self.done.iter().find_map(|one| one.notes.left.as_ref()) {
            Some(left) if left.is_empty() => {
                writeln!(f, "Left after `helm uninstall`: nothing, consumer groups included.")?;
            }
            Some(left) => writeln!(f, "Left after `helm uninstall`: {}.", left.join(", "))?,
            None => writeln!(f, "Left after `helm uninstall`: nobody looked.")?,
        }
        for Done { scenario, notes, .. } in &self.done {
            if notes.is_left_out {
                let name = scenario.name();
                writeln!(f, "\n**NOT TRIED: {name}** (`--without {name}`).")?;
            }
        }
        self.disturbances(f)?;
        self.delays(f)?;
        self.scenarios(f)?;
        let tried = || self.done.iter().filter(|one| !one.notes.is_left_out);
        let passed = tried().filter(|one| one.notes.is_clean()).count();
        let failed = tried().count() - passed;
        let not_tried = self.done.len() - tried().count();
        if !self.whole {
            writeln!(f, "\nIt did not come to its end.")?;
        }
        write!(f, "\n{passed} passed, {failed} failed, {not_tried} not tried")
    }
}

fn row(f: &mut fmt::Formatter<'_>, one: &Disturbed) -> fmt::Result {
    let Disturbed { name, readers, took, outcome, peak, spread } = one;
    let Faults { lost, doubled, out_of_order, .. } = outcome.faults;
    let (acknowledged, delivered) = (outcome.acknowledged, outcome.delivered);
    let (gaps, reconnects) = (outcome.gaps.len(), outcome.reconnects);
    let spread = seconds(*spread);
    let elsewhere = format!("{} of {}", outcome.resumed_elsewhere, outcome.resumes);
    let goodbyes: Vec<String> =
        outcome.goodbyes.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let away: Vec<String> =
        outcome.turned_away.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    let retried: Vec<String> =
        outcome.retried().map(|(why, count)| format!("{count} {why}")).collect();
    writeln!(
        f,
        "| {name} | {} | {acknowledged} | {delivered} | {lost} | {doubled} | {out_of_order} | {gaps} \
         | {reconnects} in {spread} | {peak} of {readers} | {elsewhere} | {} | {} | {} | {} | {} |",
        seconds(*took),
        seconds(outcome.silence),
        seconds(outcome.delay),
        goodbyes.join(", "),
        away.join(", "),
        retried.join(", "),
    )
}
