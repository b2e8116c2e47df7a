//! A stream's opening: what it begins with, from the recent window or from before it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::facts::{Facts, Question};
use super::item::Item;
use super::resume::{self, Gap, Plan, Planned, Start};
use super::wanted::{feeds, is_for};
use super::{Hub, NotReady, State, Subscription, Unopened};
use crate::cursor::{Cursor, LONGEST_CHARS};
use crate::event::{Pattern, User};
use crate::log::record::Record;
use crate::wire::GapReason;

/// The most records that are looked at for one opening under the hub's lock: nobody is routed to
/// meanwhile. A longer replay is written in parts.
const STEP_RECORDS: usize = 1024;
/// The most bytes of records that an opening holds on to; one record always is.
const STEP_BYTES: usize = 1024 * 1024;

/// A stream that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its reader.
    pub subscription: Subscription,
    /// What the first block's `id:` says; `None` after something that is no cursor.
    pub connected_at: Option<Cursor>,
    /// The hole to say before anything else.
    pub gap: Option<Gap>,
    /// How many events the replay has.
    pub replayed: usize,
}

/// A reader that cannot be given a seat yet: it is too far behind.
#[derive(Debug)]
pub struct Partly {
    /// Where it begins, and what the log has to be read for. If that is nothing, `items` goes on.
    pub plan: Plan,
    /// The first events that the window has for it.
    pub items: Vec<Arc<Item>>,
    /// Where the reader is once it was written them.
    pub after: Cursor,
}

/// What came of an attempt to open a stream.
#[derive(Debug)]
pub enum Subscribed {
    /// It is open.
    Opened(Box<Opened>),
    /// Something has to be written before.
    Partly(Box<Partly>),
    /// The log has to be asked before.
    Ask(Vec<Question>),
}

/// What the window holds for a reader.
enum Collected {
    All(VecDeque<Arc<Item>>),
    /// The first of it, and the number of the last record that was looked at.
    Some(Vec<Arc<Item>>, Option<u64>),
}

impl Hub {
    /// Opens a reader of `patterns`, if the window has all that it asks for.
    ///
    /// # Errors
    /// [`Unopened`] if the log has not been reached since the start, or several rooms are too many.
    pub fn subscribe(
        self: &Arc<Self>,
        patterns: &[Pattern],
        user: Option<&User>,
        start: &Start,
        facts: &Facts,
    ) -> Result<Subscribed, Unopened> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let plan = match state.plan(patterns, start, facts)? {
            Planned::Ask(questions) => return Ok(Subscribed::Ask(questions)),
            Planned::Plan(plan) => plan,
        };
        let (replay, own, connected_at) = match start {
            // In step with the rooms, unless there are several.
            Start::Live => (VecDeque::new(), None, Some(plan.asked)),
            Start::Unusable => (VecDeque::new(), None, None),
            Start::Resume(_) | Start::From(_) => {
                let collected = if plan.behind.is_empty() {
                    self.collect(state, patterns, &plan.own, user)
                } else {
                    Collected::Some(Vec::new(), None)
                };
                match collected {
                    Collected::All(replay) => (replay, Some(plan.own.clone()), Some(plan.asked)),
                    Collected::Some(items, last) => {
                        let mut after = plan.own.clone();
                        if let Some(last) = last {
                            let State { positions, window, .. } = &*state;
                            resume::advance_to(positions, window, &mut after, last);
                        }
                        return Ok(Subscribed::Partly(Box::new(Partly { plan, items, after })));
                    }
                }
            }
        };
        let own = own.or_else(|| (patterns.len() > 1).then_some(plan.own));
        let gap = plan.gap;
        // Under the same lock as the replay was collected, or an event routed in between would
        // reach nobody.
        let next_seq = state.window.next_seq();
        let seats = patterns.iter().map(|p| state.room(p).sit(next_seq)).collect();
        drop(guard);
        let replayed = replay.len();
        let user = user.cloned();
        let subscription = Subscription::new(Arc::clone(self), seats, user, replay, own);
        let opened = Opened { subscription, connected_at, gap, replayed };
        Ok(Subscribed::Opened(Box::new(opened)))
    }

    /// What the window holds at or after `own` for these rooms, in order.
    fn collect(
        &self,
        state: &mut State,
        patterns: &[Pattern],
        own: &Cursor,
        user: Option<&User>,
    ) -> Collected {
        let chains = self.chains(patterns);
        let oldest = state.window.oldest_of(own);
        let mut wanted: Vec<(u64, Option<Arc<Item>>, Record)> = Vec::new();
        let mut bytes = 0;
        let mut last = None;
        let mut is_all = true;
        for (looked_at, (seq, record, item)) in
            state.window.oldest_first(&chains, oldest).enumerate()
        {
            if looked_at >= STEP_RECORDS || bytes >= STEP_BYTES {
                is_all = false;
                break;
            }
            last = Some(seq);
            if own.get(record.shard).is_none_or(|p| record.offset < p.next) {
                continue;
            }
            bytes += record.bytes();
            wanted.push((seq, item.cloned(), record.clone()));
        }
        let mut replay = VecDeque::with_capacity(wanted.len());
        for (seq, item, record) in wanted {
            let item = match item {
                Some(item) => item,
                None => {
                    let Some(item) = self.read_back(&state.positions, seq, record) else {
                        continue;
                    };
                    state.window.set_item(seq, Arc::clone(&item));
                    item
                }
            };
            if feeds(patterns, &item.head) && is_for(&item.head, user) {
                replay.push_back(item);
            }
        }
        if is_all { Collected::All(replay) } else { Collected::Some(replay.into(), last) }
    }

    /// Where a reader of `patterns` begins that asks for `start`; at the head if it asks for
    /// nothing else.
    ///
    /// # Errors
    /// [`Unopened`] if the log has not been reached since the start, or several rooms are too many.
    pub fn plan(
        &self,
        patterns: &[Pattern],
        start: &Start,
        facts: &Facts,
    ) -> Result<Planned, Unopened> {
        self.state.lock().plan(patterns, start, facts)
    }
}

impl State {
    pub(super) fn plan(
        &self,
        patterns: &[Pattern],
        start: &Start,
        facts: &Facts,
    ) -> Result<Planned, Unopened> {
        let State { positions, window, .. } = self;
        let mut head = Cursor::default();
        for pattern in patterns {
            head.advance_all(&positions.vector(&pattern.id).ok_or(NotReady)?);
        }
        if patterns.len() > 1 && head.grown_chars() > LONGEST_CHARS {
            return Err(Unopened::TooManyRooms);
        }
        Ok(match start {
            Start::Live | Start::Unusable => {
                let gap = (*start == Start::Unusable).then(|| Gap {
                    reason: GapReason::Invalid,
                    requested: None,
                    resumed_at: head.clone(),
                });
                Planned::Plan(Plan {
                    asked: head.clone(),
                    own: head,
                    gap,
                    behind: Vec::new(),
                    excess: GapReason::TooFar,
                })
            }
            Start::Resume(cursor) => {
                resume::plan(positions, window, patterns, cursor, &head, facts)
            }
            Start::From(since) => resume::plan_since(positions, window, *since, &head, facts),
        })
    }
}
