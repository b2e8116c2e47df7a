//! Pages of history: what a stream would have been written, as far as the window has it. What it
//! has not is read back from the log by `replay`.
//!
//! A page is a reader without a seat. It goes over its rooms' records in the order of their routing
//! with a vector of its own, as a resuming stream does, so each event's cursor resumes right after
//! it, on any pod, and pages that follow one another are one reading.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::facts::Facts;
use super::item::Item;
use super::resume::{self, Gap, Planned, Start};
use super::wanted::{feeds, is_for};
use super::{Hub, NotReady, State, Unopened, subscription};
use crate::cursor::Cursor;
use crate::event::{Event, Pattern, User};

/// The most bytes of records in a page, unless one event alone has more.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The most records that are looked at under the hub's lock: nobody is routed to meanwhile.
const STEP: usize = 1024;

/// A page of history.
#[derive(Debug, Default)]
pub struct Page {
    /// The events in order, each with the cursor that resumes just after it. None: the end.
    pub events: Vec<(Event, Cursor)>,
    /// Where the next page begins.
    pub next: Cursor,
    /// What is missing before the first event.
    pub gap: Option<Gap>,
    bytes: usize,
}

impl Page {
    /// Puts an event at the end, with the cursor that resumes just after it. What turns out to be
    /// none is left out.
    pub fn push(&mut self, item: &Item, cursor: Cursor) {
        match item.event() {
            Ok(event) => self.events.push((event, cursor)),
            Err(error) => tracing::debug!(
                shard = item.shard().index,
                offset = %item.offset(),
                %error,
                "a record is no event and is not in history"
            ),
        }
    }
}

/// What one look at the window gave.
struct Step {
    items: Vec<(Arc<Item>, Cursor)>,
    then: Then,
}

/// What follows a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// More records.
    More,
    /// More records, for the next page.
    Full,
    /// A hole, or what the window does not have, for the next page.
    Hole,
    /// Nothing that was routed yet.
    End,
}

impl Hub {
    /// The events of `pattern` from `start` on, broadcasts among them, without those for others
    /// than `user`: `limit` of them, or fewer if they are large. [`Start::Live`] is the end.
    /// `None` if the window does not have what comes first.
    ///
    /// # Errors
    /// [`Unopened`] if the log has not been reached since the start.
    pub fn history(
        &self,
        pattern: &Pattern,
        user: Option<&User>,
        mut start: Start,
        limit: usize,
        facts: &Facts,
    ) -> Result<Option<Page>, Unopened> {
        let mut page = Page::default();
        let requested = match &start {
            Start::Resume(cursor) => Some(cursor.clone()),
            Start::Live | Start::From(_) | Start::Unusable => None,
        };
        loop {
            let is_first = page.next == Cursor::default();
            let Some(step) = self.step(pattern, user, &start, limit, facts, &mut page)? else {
                // What was found so far is a page of its own.
                return Ok((!is_first).then_some(page));
            };
            // Without the lock: a value is parsed here.
            for (item, cursor) in step.items {
                page.push(&item, cursor);
            }
            let goes_on = match step.then {
                Then::More => true,
                // None of what filled it was an event; an empty page would be the end.
                Then::Full => page.events.is_empty(),
                Then::Hole | Then::End => false,
            };
            if !goes_on {
                if let Some(gap) = &mut page.gap {
                    gap.requested = requested;
                }
                return Ok(Some(page));
            }
            // Looked up anew: what follows may have left the window meanwhile.
            start = Start::Resume(page.next.clone());
        }
    }

    /// Looks at up to [`STEP`] records from `start` on and moves the page's `next` past them.
    fn step(
        &self,
        pattern: &Pattern,
        user: Option<&User>,
        start: &Start,
        limit: usize,
        facts: &Facts,
        page: &mut Page,
    ) -> Result<Option<Step>, Unopened> {
        let patterns = std::slice::from_ref(pattern);
        let mut guard = self.state.lock();
        let Planned::Plan(plan) = guard.plan(patterns, start, facts)? else {
            return Ok(None);
        };
        if !plan.behind.is_empty() {
            return Ok(None);
        }
        let State { positions, window, .. } = &mut *guard;
        let head = positions.vector(&pattern.id).ok_or(NotReady)?;
        let (mut own, gap) = (plan.own, plan.gap);
        if let Some(gap) = gap {
            if !page.events.is_empty() {
                return Ok(Some(Step { items: Vec::new(), then: Then::Hole }));
            }
            page.gap = Some(gap);
        }
        let chains = self.chains(patterns);
        let mut items: Vec<(Arc<Item>, Cursor)> = Vec::new();
        let mut last = None;
        let mut then = Then::End;
        let records = window.oldest_first(&chains, window.oldest_of(&own));
        for (looked_at, (seq, record, item)) in records.enumerate() {
            if looked_at == STEP {
                then = Then::More;
                break;
            }
            let count = page.events.len() + items.len();
            if count == limit || (count > 0 && page.bytes + record.bytes() > PAGE_BYTES) {
                then = Then::Full;
                break;
            }
            last = Some(seq);
            if own.get(record.shard).is_none_or(|p| record.offset < p.next) {
                continue;
            }
            let item = match item {
                Some(item) => Arc::clone(item),
                // Not kept, unlike a resuming stream's: who leafs through all of the window must
                // not make it shorter.
                None => match self.read_back(positions, seq, record.clone()) {
                    Some(item) => item,
                    None => continue,
                },
            };
            if feeds(patterns, &item.head)
                && subscription::pass(&mut own, &item)
                && is_for(&item.head, user)
            {
                resume::advance_to(positions, window, &mut own, seq);
                page.bytes += record.bytes();
                let is_final = item.head.is_final;
                items.push((item, own.clone().flagged(is_final)));
            }
        }
        if then == Then::End {
            own.advance_all(&head);
        } else if let Some(seq) = last {
            resume::advance_to(positions, window, &mut own, seq);
        }
        page.next = own.flagged(false);
        Ok(Some(Step { items, then }))
    }
}
