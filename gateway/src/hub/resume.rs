//! Where a stream begins: what a cursor still means on this pod, and what it cannot have any more.

use crate::cursor::{Cursor, Offset, Position, Shard, Tag};
use crate::event::Pattern;
use crate::log::Role;
use crate::wire::GapReason;

use super::facts::{Facts, Question};
use super::positions::{Positions, ShardState};
use super::window::Window;

/// How many components of a cursor are kept that this pod does not know: as many as sources that
/// are not keyed may have partitions.
const MOST_UNKNOWN: usize = 64;

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

/// A part of a shard that the window no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// The shard.
    pub shard: Shard,
    /// Where the reader is in it.
    pub from: Position,
    /// From here on the window has it.
    pub until: Offset,
}

/// Where a reader that does not begin at the head begins in each shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Before everything that was asked for, as far as that can be said: the first block's `id:`.
    pub asked: Cursor,
    /// The reader's own vector: everything at or past it is to be written, nothing before.
    pub own: Cursor,
    /// The hole that leaves.
    pub gap: Option<Gap>,
    /// What has to be read back from the log before the window goes on. Empty: nothing.
    pub behind: Vec<Behind>,
    /// What the hole is called if that is more than a replay may cost.
    pub excess: GapReason,
}

/// Where a reader begins, or what has to be asked of the log to say that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// It is known.
    Plan(Plan),
    /// It depends on what the log has.
    Ask(Vec<Question>),
}

/// Decides for each shard that can feed `patterns` where a reader with `cursor` goes on.
/// `head` is the rooms' vector.
pub(super) fn plan(
    positions: &Positions,
    window: &Window,
    patterns: &[Pattern],
    cursor: &Cursor,
    head: &Cursor,
    facts: &Facts,
) -> Planned {
    let mut own = Cursor::default();
    let mut worst: Option<GapReason> = None;
    let mut behind = Vec::new();
    let mut questions = Vec::new();
    let mut excess = GapReason::TooFar;
    let extra = cursor
        .components()
        .iter()
        .map(|c| c.0)
        .filter(|shard| head.get(*shard).is_none() && may_feed(positions, *shard, patterns));
    let shards: Vec<Shard> = head.components().iter().map(|c| c.0).chain(extra).collect();
    for shard in shards {
        let Some(state) = positions.get(shard) else { continue };
        let (position, reason) = match place(window, cursor, shard, state, facts) {
            Ok(placed) => placed,
            Err(question) => {
                questions.push(question);
                continue;
            }
        };
        own.set(shard, position);
        worst = worst.max_by_severity(reason);
        if position.next < state.covered_from {
            behind.push(Behind { shard, from: position, until: state.covered_from });
            if cursor.get(shard).is_none() {
                excess = GapReason::Repartitioned;
            }
        }
    }
    if !questions.is_empty() {
        return Planned::Ask(questions);
    }
    // Another pod found a topic or a partition first. When this one begins it, at its start, the
    // reader has had what lies before.
    let unknown = cursor.components().iter().filter(|c| positions.get(c.0).is_none());
    for &(shard, position) in unknown.take(MOST_UNKNOWN) {
        own.set(shard, position);
    }
    let gap = worst.map(|reason| Gap {
        reason,
        requested: Some(cursor.clone()),
        resumed_at: own.clone(),
    });
    // A reader that is told its room is complete does not come back, and this one has just begun.
    Planned::Plan(Plan { asked: cursor.clone().flagged(false), own, gap, behind, excess })
}

/// Decides for each shard of `head`, the rooms' vector, where a reader begins that asks for what
/// is there `since` then.
pub(super) fn plan_since(
    positions: &Positions,
    window: &Window,
    since: Since,
    head: &Cursor,
    facts: &Facts,
) -> Planned {
    let mut own = Cursor::default();
    let mut behind = Vec::new();
    let mut questions = Vec::new();
    for &(shard, end) in head.components() {
        let Some(state) = positions.get(shard) else { continue };
        let next = match since {
            Since::Earliest if state.is_whole() => state.covered_from,
            // The log's start has moved since this pod began.
            Since::Earliest => match facts.reach(shard) {
                Some(reach) => reach.log_start.min(end.next),
                None => {
                    questions.push(Question::Reach { shard, next: Offset(0) });
                    continue;
                }
            },
            Since::Time(time) if state.covers_since(time) => {
                window.offset_since(shard, time).unwrap_or(end.next)
            }
            Since::Time(time) => match facts.time(shard, time) {
                Some(offset) => offset.min(end.next),
                None => {
                    questions.push(Question::Time { shard, time });
                    continue;
                }
            },
        };
        let position = position(window, shard, next, end);
        own.set(shard, position);
        if position.next < state.covered_from {
            behind.push(Behind { shard, from: position, until: state.covered_from });
        }
    }
    if !questions.is_empty() {
        return Planned::Ask(questions);
    }
    let asked = own.clone();
    Planned::Plan(Plan { asked, own, gap: None, behind, excess: GapReason::TooFar })
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
    facts: &Facts,
) -> Result<(Position, Option<GapReason>), Question> {
    let head = state.position;
    let Some(asked) = cursor.get(shard) else {
        if !cursor.names_source(shard.source) {
            // A source that was added since: the cursor says nothing of it, nothing was missed.
            return Ok((head, None));
        }
        // A shard that was added since, or the room moved to it: from the log's start.
        return Ok((at(state.log_start, head), None));
    };
    if is_of_another_log(window, shard, asked, state) {
        return Ok((at(state.log_start, head), Some(GapReason::Recreated)));
    }
    if asked.next > head.next {
        // From a pod that is further: skip what the reader has. Or made up: the log says whether it
        // ever had that record, or such a reader would wait in silence.
        let question = Question::Reach { shard, next: asked.next };
        let reach = facts.reach_at(shard, asked.next).ok_or(question)?;
        return Ok(if asked.next <= reach.end && reach.before.agrees(asked.tag) {
            (asked, None)
        } else {
            (at(reach.log_start, head), Some(GapReason::Recreated))
        });
    }
    if asked.next < state.log_start {
        return Ok((at(state.log_start, head), Some(GapReason::Expired)));
    }
    Ok((asked, None))
}

/// A position without a known record before it, in the log that `head` is of.
pub(super) fn at(next: Offset, head: Position) -> Position {
    let tag = if head.tag.is_epoch() || next == head.next { head.tag } else { Default::default() };
    Position { next, tag }
}

/// The position at `next` with the tag of the record before it, if that is in the window.
pub(super) fn position(window: &Window, shard: Shard, next: Offset, head: Position) -> Position {
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
    use crate::hub::facts::Reach;
    use crate::log::Source;

    /// What becomes of a cursor that is so much ahead of a pod whose position has this tag, with
    /// what the log says of it.
    fn ahead(
        by: u128,
        tag: Tag,
        asked_tag: Tag,
        reach: Option<Reach>,
    ) -> Result<Option<GapReason>, Question> {
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
        let mut facts = Facts::default();
        if let Some(reach) = reach {
            facts.learn_reach(shard, asked.next, reach);
        }
        let (position, gap) = place(&window, &cursor, shard, &state, &facts)?;
        assert_eq!(position.next, if gap.is_none() { asked.next } else { state.log_start });
        Ok(gap)
    }

    #[test]
    fn a_cursor_of_a_pod_that_is_further_is_taken_as_it_is_if_the_log_has_it() {
        let end = Offset((1 << 100) + 5);
        let reach = |end, before| Some(Reach { log_start: Offset(0), end, before });
        let unknown = Tag::UNKNOWN;
        assert!(ahead(5, Tag(7), unknown, None).is_err(), "the log is asked");
        assert_eq!(ahead(5, Tag(7), unknown, reach(end, Tag(1))), Ok(None));
        assert_eq!(ahead(5, Tag(7), Tag(1), reach(end, Tag(1))), Ok(None));
        let recreated = Ok(Some(GapReason::Recreated));
        assert_eq!(ahead(5, Tag(7), Tag(2), reach(end, Tag(1))), recreated, "another record");
        assert_eq!(ahead(6, Tag(7), unknown, reach(end, unknown)), recreated, "never there");
        let (this, other) = (Tag::of_epoch(1), Tag::of_epoch(2));
        let epoch = |end| Some(Reach { log_start: Offset(0), end, before: this });
        // A day, where offsets are times.
        let day = 86_400_000 << 64;
        let end = Offset((1 << 100) + day);
        assert_eq!(ahead(day, this, this, epoch(end)), Ok(None));
        assert_eq!(ahead(day + 1, this, this, epoch(end)), recreated);
        assert_eq!(ahead(5, this, other, None), recreated);
    }
}
