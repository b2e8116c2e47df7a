//! Where a stream begins: what a cursor still means on this pod, and what it cannot have any more.

use crate::cursor::{Cursor, Offset, Position, Shard, Tag};
use crate::event::Pattern;
use crate::log::Role;
use crate::wire::GapReason;

use super::positions::{Positions, ShardState};
use super::window::Window;

/// How many records ahead of this pod a cursor may be before it is taken for another log's: pods
/// of one log are milliseconds apart.
const MOST_AHEAD: u128 = 1_000_000;

/// What a stream asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// What comes next.
    Live,
    /// What comes after a cursor.
    Resume(Cursor),
    /// History.
    From(Since),
    /// What comes after something that is no cursor.
    Unusable,
}

/// Where history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With the first event that there is.
    Earliest,
    /// With the first event of each shard whose time is this or later, in milliseconds since the
    /// Unix epoch. The times are the log's.
    Time(i64),
}

/// A hole, to be said in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// What was asked for.
    pub requested: Option<Cursor>,
    /// Where the stream goes on.
    pub resumed_at: Cursor,
}

/// Where a reader that does not begin at the head begins in each shard.
#[derive(Debug)]
pub(super) struct Plan {
    /// Before everything that was asked for, as far as that can be said: the first block's `id:`.
    pub(super) asked: Cursor,
    /// The reader's own vector: everything at or past it is to be written, nothing before.
    pub(super) own: Cursor,
    pub(super) gap: Option<Gap>,
}

/// Decides for each shard that can feed `patterns` where a reader with `cursor` goes on.
/// `head` is the rooms' vector.
pub(super) fn plan(
    positions: &Positions,
    window: &Window,
    patterns: &[Pattern],
    cursor: &Cursor,
    head: &Cursor,
) -> Plan {
    let mut own = Cursor::default();
    let mut worst: Option<GapReason> = None;
    let extra = cursor
        .components()
        .iter()
        .map(|c| c.0)
        .filter(|shard| head.get(*shard).is_none() && may_feed(positions, *shard, patterns));
    let shards: Vec<Shard> = head.components().iter().map(|c| c.0).chain(extra).collect();
    for shard in shards {
        let Some(state) = positions.get(shard) else { continue };
        let (position, reason) = place(window, cursor, shard, state);
        own.set(shard, position);
        worst = worst.max_by_severity(reason);
    }
    let gap = worst.map(|reason| Gap {
        reason,
        requested: Some(cursor.clone()),
        resumed_at: own.clone(),
    });
    // A reader that is told its room is complete does not come back, and this one has just begun.
    Plan { asked: cursor.clone().flagged(false), own, gap }
}

/// Decides for each shard of `head`, the rooms' vector, where a reader begins that asks for what
/// is there `since` then.
///
/// What the log has and the window has not is a hole: `too_far`, and it goes on with all that the
/// window has. `asked` is then before the hole, or a client whose connection breaks before it has
/// read of the hole would come back and never hear of it.
pub(super) fn plan_since(
    positions: &Positions,
    window: &Window,
    since: Since,
    head: &Cursor,
) -> Plan {
    let mut plan = Plan { asked: Cursor::default(), own: Cursor::default(), gap: None };
    let mut too_far = false;
    for &(shard, end) in head.components() {
        let Some(state) = positions.get(shard) else { continue };
        let (next, covered) = match since {
            Since::Earliest => (state.covered_from, state.is_whole()),
            Since::Time(time) if state.covers_since(time) => {
                (window.offset_since(shard, time).unwrap_or(end.next), true)
            }
            Since::Time(_) => (state.covered_from, false),
        };
        let own = position(window, shard, next, end);
        plan.own.set(shard, own);
        plan.asked.set(shard, if covered { own } else { at(state.log_start, end) });
        too_far |= !covered;
    }
    plan.gap = too_far.then(|| Gap {
        reason: GapReason::TooFar,
        requested: None,
        resumed_at: plan.own.clone(),
    });
    plan
}

/// Moves `own`, in every shard that it names, past all that was routed up to the number `seq`: a
/// reader that has considered all that keeps a young position in shards that say nothing to it.
pub(super) fn advance_to(positions: &Positions, window: &Window, own: &mut Cursor, seq: u64) {
    let shards: Vec<Shard> = own.components().iter().map(|c| c.0).collect();
    for shard in shards {
        let Some(state) = positions.get(shard) else { continue };
        let next = window.offset_after(shard, seq).unwrap_or(state.position.next);
        own.advance(shard, position(window, shard, next, state.position));
    }
}

/// Whether a shard that is not in the rooms' vector may stand in a cursor for them: any partition
/// of a keyed source may, since records are filtered by room (a room may have moved).
fn may_feed(positions: &Positions, shard: Shard, patterns: &[Pattern]) -> bool {
    !patterns.is_empty()
        && positions.get(shard).is_some()
        && positions.source_of(shard).is_some_and(|s| s.role == Role::Events)
}

/// Where the reader goes on in one shard, and which hole that leaves.
fn place(
    window: &Window,
    cursor: &Cursor,
    shard: Shard,
    state: &ShardState,
) -> (Position, Option<GapReason>) {
    let head = state.position;
    let Some(asked) = cursor.get(shard) else {
        if !cursor.names_source(shard.source) {
            // A source that was added since: the cursor says nothing of it, nothing was missed.
            return (head, None);
        }
        // A shard that was added since, or the room moved to it: from the log's start.
        return if state.is_whole() {
            (at(state.log_start, head), None)
        } else {
            (head, Some(GapReason::Repartitioned))
        };
    };
    if is_of_another_log(window, shard, asked, state) {
        let position = if state.is_whole() { at(state.log_start, head) } else { head };
        return (position, Some(GapReason::Recreated));
    }
    if asked.next > head.next {
        // From a pod that is further: skip what the reader has. Farther than any pod can be: the
        // log is another one. Where the tag is the log's, that has been looked at; and its offsets
        // may be times, of which a stream that was silent for days is days behind the next.
        return if head.tag.is_epoch() || asked.next.0 - head.next.0 <= MOST_AHEAD {
            (asked, None)
        } else {
            (head, Some(GapReason::Recreated))
        };
    }
    if asked.next >= state.covered_from {
        return (asked, None);
    }
    if asked.next < state.log_start {
        let from = state.log_start.max(state.covered_from);
        return (at(from, head), Some(GapReason::Expired));
    }
    (head, Some(GapReason::TooFar))
}

/// A position without a known record before it, in the log that `head` is of.
fn at(next: Offset, head: Position) -> Position {
    let tag = if head.tag.is_epoch() || next == head.next { head.tag } else { Default::default() };
    Position { next, tag }
}

/// The position at `next` with the tag of the record before it, if that is in the window.
fn position(window: &Window, shard: Shard, next: Offset, head: Position) -> Position {
    let mut position = at(next, head);
    if position.tag == Tag::UNKNOWN
        && let Some(before) = next.0.checked_sub(1)
    {
        position.tag = window.tag_at(shard, Offset(before)).unwrap_or_default();
    }
    position
}

/// Whether the cursor's tag says that it is not of the log that this pod reads.
fn is_of_another_log(window: &Window, shard: Shard, asked: Position, state: &ShardState) -> bool {
    let head = state.position;
    if head.tag.is_epoch() || asked.tag.is_epoch() {
        return asked.tag != head.tag;
    }
    let here = if asked.next == head.next {
        Some(head.tag)
    } else {
        asked.next.0.checked_sub(1).and_then(|before| window.tag_at(shard, Offset(before)))
    };
    here.is_some_and(|tag| !tag.agrees(asked.tag))
}

trait Severity {
    fn max_by_severity(self, other: Self) -> Self;
}

impl Severity for Option<GapReason> {
    /// Of two holes the one that says more about the log. One event says both.
    fn max_by_severity(self, other: Self) -> Self {
        fn rank(reason: GapReason) -> u8 {
            match reason {
                GapReason::Overflow => 0,
                GapReason::TooFar => 1,
                GapReason::Repartitioned => 2,
                GapReason::Expired => 3,
                GapReason::Recreated => 4,
                GapReason::Invalid => 5,
            }
        }
        match (self, other) {
            (Some(a), Some(b)) => Some(if rank(b) > rank(a) { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::cursor::Tag;
    use crate::log::Source;

    /// What becomes of a cursor that is so much ahead of a pod whose position has this tag.
    fn ahead(by: u128, tag: Tag, asked_tag: Tag) -> Option<GapReason> {
        let source = Source::new("events", Role::Events, 1);
        let shard = Shard { source: source.id, index: 0 };
        let mut positions = Positions::default();
        positions.set_sources(&[source], Duration::ZERO);
        let next = Offset(1 << 100);
        positions.start(shard, Position { next, tag }, Offset(0));
        let state = *positions.get(shard).expect("begun");
        let asked = Position { next: Offset(next.0 + by), tag: asked_tag };
        let cursor = Cursor::new([(shard, asked)]);
        let window = Window::new(Arc::default());
        let (position, gap) = place(&window, &cursor, shard, &state);
        assert_eq!(position, if gap.is_none() { asked } else { state.position });
        gap
    }

    #[test]
    fn a_cursor_of_a_pod_that_is_further_is_taken_as_it_is() {
        assert_eq!(ahead(5, Tag(7), Tag::UNKNOWN), None);
        assert_eq!(ahead(MOST_AHEAD + 1, Tag(7), Tag::UNKNOWN), Some(GapReason::Recreated));
        let (this, other) = (Tag::of_epoch(1), Tag::of_epoch(2));
        // A day, where offsets are times.
        assert_eq!(ahead(86_400_000 << 64, this, this), None);
        assert_eq!(ahead(5, this, other), Some(GapReason::Recreated));
    }
}
