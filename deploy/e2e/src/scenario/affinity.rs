//! All readers leave and come back, several times, to whatever pod they are sent to.

use std::time::Duration;

use anyhow::Result;

use crate::disturb::{Disturbance, all_hear, under_load};
use crate::kube::until;
use crate::notes::Notes;
use crate::site::Site;

const ROUNDS: u64 = 4;
/// How long they may take to be back. They wait for their `retry:` first.
const BACK: Duration = Duration::from_secs(30);

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "all readers leave, 4 times", is_without_notice: false };
    under_load(site, notes, what, async |load, _| {
        for round in 1..=ROUNDS {
            load.leave();
            until("all readers are back", BACK, async || {
                Ok(load.books().all(|book| book.resumes >= round).then_some(()))
            })
            .await?;
            all_hear(load, 1).await?;
        }
        Ok(())
    })
    .await?;
    let Some(last) = notes.disturbed.last() else { return Ok(()) };
    let (all, elsewhere) = (last.outcome.resumes, last.outcome.resumed_elsewhere);
    // Of three pods two are others: a third of that would be enough to show that nobody is kept.
    notes.check(elsewhere * 3 > all, format!("{elsewhere} of {all} resumes went to another pod"));
    Ok(())
}
