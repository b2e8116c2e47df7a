//! One scenario after the other, each within its time; whatever becomes of them, all is removed.

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::cli::Cli;
use crate::notes::{Notes, seconds};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::site::Site;

/// What became of a scenario.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) scenario: Scenario,
    pub(crate) notes: Notes,
    pub(crate) took: Duration,
}

/// Runs what the command line says; says whether all was well.
///
/// # Errors
/// Nothing could be tried, or the report could not be written.
pub(crate) async fn run(cli: Cli) -> Result<bool> {
    let frames = cli.without.iter().any(|one| one.is_frame());
    ensure!(!frames, "install and uninstall cannot be left out");
    let scenarios = Scenario::of_run(&cli.scenarios);
    let (report, keep) = (cli.report.clone(), cli.keep);
    let mut interrupted = Box::pin(interruption()?);
    let site = Site::start(cli).await?;
    let about = Report::about(&site).await;
    let (mut done, mut is_cut_off) = (Vec::<Done>::new(), false);
    for scenario in scenarios {
        tell(&format!("{} …", scenario.name()));
        let one = tokio::select! {
            biased;
            () = &mut interrupted => {
                is_cut_off = true;
                break;
            }
            one = attempt(scenario, &site) => one,
        };
        tell(&summary(&one));
        let is_over = scenario == Scenario::Install && !one.notes.is_clean();
        done.push(one);
        if is_over {
            break;
        }
    }
    let whole = done.last().is_some_and(|one| one.scenario == Scenario::Uninstall);
    let clean = whole && done.iter().all(|one| one.notes.is_clean());
    let page = Report { about, done, whole }.to_string();
    let _ = writeln!(std::io::stdout(), "{page}");
    if let Some(file) = report {
        std::fs::write(&file, &page).with_context(|| file.display().to_string())?;
    }
    if is_cut_off {
        // Who ends us does not wait for pods that drain.
        drop(site);
    } else {
        site.end(keep && !clean).await.context("the end")?;
    }
    Ok(clean)
}

async fn attempt(scenario: Scenario, site: &Site) -> Done {
    let (began, mut notes) = (Instant::now(), Notes::default());
    if site.cli.without.contains(&scenario) {
        notes.is_left_out = true;
        return Done { scenario, notes, took: Duration::ZERO };
    }
    let work = AssertUnwindSafe(scenario.run(site, &mut notes)).catch_unwind();
    let wrong = match timeout(scenario.limit(), work).await {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(error))) => Some(format!("{error:#}")),
        // What it says is on standard error.
        Ok(Err(_)) => Some("it panicked".to_owned()),
        Err(_) => Some(format!("it was not done after {}", seconds(scenario.limit()))),
    };
    notes.wrongs.extend(wrong);
    Done { scenario, notes, took: began.elapsed() }
}

fn summary(one: &Done) -> String {
    let Notes { facts, wrongs, is_left_out, .. } = &one.notes;
    if *is_left_out {
        return format!("{} NOT TRIED: --without", one.scenario.name());
    }
    let mut lines = vec![format!("{} took {}", one.scenario.name(), seconds(one.took))];
    lines.extend(facts.iter().map(|fact| format!("  {fact}")));
    lines.extend(wrongs.iter().map(|wrong| format!("  ! {wrong}")));
    lines.join("\n")
}

/// Ends when somebody wants us to end.
fn interruption() -> Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn tell(line: &str) {
    // Whoever does not want to read it closes it.
    let _ = writeln!(std::io::stderr(), "{line}");
}
