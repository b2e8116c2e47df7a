//! Pages of history that begin before the recent window.

use std::sync::Arc;

use tokio::time::Instant;

use super::{ASK, NotBegun, Reading, Replays, Step};
use crate::cursor::Cursor;
use crate::event::{Pattern, User};
use crate::hub::facts::Facts;
use crate::hub::{Item, Page, Partly, Planned, Start};
use crate::log::Unread;

impl Replays {
    /// The events of `pattern` from `start` on, as a stream would be written them: `limit` of them,
    /// or fewer where the log has to be read back. [`Start::Live`] is the end.
    ///
    /// # Errors
    /// [`NotBegun`], also if the log cannot be read back in time.
    pub async fn history(
        self: &Arc<Self>,
        pattern: &Pattern,
        user: Option<&User>,
        start: Start,
        limit: usize,
    ) -> Result<Page, NotBegun> {
        let deadline = Instant::now() + self.limits.wait.min(ASK);
        let patterns = std::slice::from_ref(pattern);
        let mut facts = Facts::default();
        loop {
            let plan = match self.hub.plan(patterns, &start, &facts)? {
                Planned::Ask(questions) => {
                    self.ask(&questions, &mut facts, deadline).await?;
                    continue;
                }
                Planned::Plan(plan) => plan,
            };
            if !plan.behind.is_empty() {
                let requested = match &start {
                    Start::Resume(cursor) => Some(cursor.clone()),
                    Start::Live | Start::From(_) | Start::Unusable => None,
                };
                let gap = plan.gap.clone();
                let after = plan.own.clone();
                let partly = Partly { plan, items: Vec::new(), after };
                let reading = Reading::new(self, patterns, user, requested, partly);
                let mut page = Page::default();
                page.gap = gap;
                return self.older(reading, page, pattern, user, limit).await;
            }
            if let Some(page) = self.hub.history(pattern, user, start.clone(), limit, &facts)? {
                return Ok(page);
            }
            // The window has let go of it just now.
        }
    }

    /// The first events that `reading` finds.
    async fn older(
        &self,
        mut reading: Reading,
        mut page: Page,
        pattern: &Pattern,
        user: Option<&User>,
        limit: usize,
    ) -> Result<Page, NotBegun> {
        loop {
            match reading.step().await {
                Step::Events(events, after) => {
                    page.next = fill(&mut page, events, limit).unwrap_or(after);
                    // An empty page would be the end.
                    if !page.events.is_empty() {
                        return Ok(page);
                    }
                }
                Step::Gap(gap) => page.gap = Some(gap),
                Step::Live(opened) => {
                    if let Some(gap) = opened.gap {
                        page.next = gap.resumed_at.clone();
                        page.gap = Some(gap);
                        return Ok(page);
                    }
                    let start = Start::Resume(reading.own.clone());
                    let rest = self.hub.history(pattern, user, start, limit, &reading.facts)?;
                    if let Some(mut rest) = rest {
                        rest.gap = page.gap.or(rest.gap);
                        return Ok(rest);
                    }
                }
                Step::Later => {
                    let why = "reading it back took too long; try again".to_owned();
                    return Err(Unread::Unreachable(why).into());
                }
            }
        }
    }
}

/// Fills a page; where the next one begins, if there were more than fit.
fn fill(page: &mut Page, events: Vec<(Arc<Item>, Cursor)>, limit: usize) -> Option<Cursor> {
    let mut last = None;
    for (item, cursor) in events {
        if page.events.len() == limit {
            return last;
        }
        last = Some(cursor.clone().flagged(false));
        page.push(&item, cursor);
    }
    None
}
