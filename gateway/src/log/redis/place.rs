//! Where this pod is in one stream, and what a look at the stream says of that.

use redis::Value;

use super::entry::offset;
use super::link::{items, number, text, unexpected};
use crate::cursor::{Offset, Shard};

/// What a look at a stream found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Looked {
    /// The oldest entry.
    first: Option<Offset>,
    /// The last id that was ever given; 0 in a stream that never had an entry.
    last: Offset,
    /// How many entries it ever had, if Redis says.
    added: Option<u64>,
    /// How many it has.
    length: u64,
    /// The last entry that is older than was asked for.
    before: Option<Offset>,
    /// Whether the entry that this pod read last is there.
    has_read: bool,
}

/// What has become of the place that this pod had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Reading goes on there.
    Holds,
    /// What came next may have been trimmed away.
    Trimmed,
    /// The end of the stream is not what it was: an older copy has been put in its place.
    Lost,
}

impl Looked {
    /// Reads one item of what `look.lua` returns.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let [first, last, added, length, before, has_read] = items(value)? else {
            return Err(unexpected(value));
        };
        let id = |value: &Value| match text(value)? {
            "" => Ok(None),
            id => offset(id).map(Some).ok_or_else(|| unexpected(value)),
        };
        let count = |value: &Value| Ok::<_, String>(u64::try_from(number(value)?).ok());
        Ok(Self {
            first: id(first)?,
            last: id(last)?.unwrap_or_default(),
            added: count(added)?,
            length: count(length)?.unwrap_or_default(),
            before: id(before)?,
            has_read: number(has_read)? == 1,
        })
    }

    /// The first place from which on nothing is missing.
    pub(super) fn start(&self) -> Offset {
        // Every entry that there ever was is there.
        let whole = self.last == Offset(0) || self.added == Some(self.length);
        match self.first {
            _ if whole => Offset(0),
            Some(first) => first,
            None => self.last.next(),
        }
    }

    /// Where to begin, so that all entries of the age that was asked for are read. Just after the
    /// entry before them, so that a reader that has seen it missed nothing.
    pub(super) fn begin(&self) -> Offset {
        self.before.map_or(self.start(), Offset::next)
    }

    /// Whether it has entries that are older than was asked for.
    pub(super) fn has_older(&self) -> bool {
        self.before.is_some()
    }

    /// The place after the last entry.
    pub(super) fn end(&self) -> Offset {
        if self.last == Offset(0) { Offset(0) } else { self.last.next() }
    }
}

/// This pod's place in one stream.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shard: Shard,
    pub(super) key: String,
    /// The next place to read.
    pub(super) next: Offset,
    /// The entry that was read last.
    pub(super) read: Option<Offset>,
    /// What has to be read before the pod has caught up.
    pub(super) end: Offset,
    /// How many entries the stream had ever had at `next`, once that is known.
    passed: Option<u64>,
    /// The last entry and the number of all entries, at a look from before that was reached.
    ahead: Option<(Offset, u64)>,
}

impl Place {
    /// A place at `next`.
    pub(super) fn new(shard: Shard, key: String, next: Offset, looked: &Looked) -> Self {
        let end = looked.end();
        Self { shard, key, next, read: None, end, passed: None, ahead: None }
    }

    /// Moves past an entry.
    pub(super) fn pass(&mut self, entry: Offset) {
        self.next = entry.next();
        self.read = Some(entry);
        match (&mut self.passed, self.ahead) {
            (Some(passed), _) => *passed += 1,
            (None, Some((last, added))) if entry == last => self.passed = Some(added),
            _ => {}
        }
    }

    /// Whether this place is still one of the stream.
    pub(super) fn verdict(&self, looked: &Looked) -> Verdict {
        let Some(read) = self.read else { return Verdict::Holds };
        if looked.has_read {
            return Verdict::Holds;
        }
        let trimmed = match looked.first {
            Some(first) => first > read,
            None => looked.last >= read,
        };
        if trimmed { Verdict::Trimmed } else { Verdict::Lost }
    }

    /// How many entries are in the stream and were not read, as far as Redis says.
    pub(super) fn lag(&mut self, looked: &Looked) -> Option<u64> {
        if self.next >= looked.end() {
            self.passed = looked.added;
            return Some(0);
        }
        let added = looked.added?;
        match self.passed {
            Some(passed) => Some(added.saturating_sub(passed)),
            None => {
                self.ahead = self.ahead.or(Some((looked.last, added)));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::SourceId;

    fn at(ms: u64) -> Offset {
        Offset(u128::from(ms) << 64)
    }

    fn looked(first: Option<u64>, last: u64, added: u64, length: u64) -> Looked {
        let first = first.map(at);
        Looked { first, last: at(last), added: Some(added), length, ..Looked::default() }
    }

    fn place(read: Option<u64>) -> Place {
        let shard = Shard { source: SourceId(1), index: 0 };
        let mut place = Place::new(shard, String::new(), Offset(0), &Looked::default());
        if let Some(ms) = read {
            place.pass(at(ms));
        }
        place
    }

    #[test]
    fn a_stream_begins_where_nothing_is_missing() {
        assert_eq!(Looked::default().start(), Offset(0), "no entry yet");
        assert_eq!(looked(Some(5), 9, 3, 3).start(), Offset(0), "nothing was ever trimmed");
        assert_eq!(looked(Some(5), 9, 7, 3).start(), at(5));
        assert_eq!(looked(None, 9, 7, 0).start(), at(9).next(), "all was trimmed");
        let old = Looked { added: None, ..looked(Some(5), 9, 0, 3) };
        assert_eq!(old.start(), at(5), "a Redis that does not say");
    }

    #[test]
    fn reading_begins_after_the_last_entry_that_is_too_old() {
        let with = Looked { before: Some(at(6)), ..looked(Some(5), 9, 7, 3) };
        assert_eq!(with.begin(), at(6).next());
        assert_eq!(looked(Some(5), 9, 7, 3).begin(), at(5));
    }

    #[test]
    fn a_place_is_judged_by_the_entry_that_was_read_last() {
        let there = Looked { has_read: true, ..looked(Some(5), 9, 7, 3) };
        let gone = looked(Some(5), 9, 7, 3);
        for (read, looked, verdict) in [
            (None, gone, Verdict::Holds),
            (Some(7), there, Verdict::Holds),
            (Some(4), gone, Verdict::Trimmed),
            (Some(9), looked(None, 9, 7, 0), Verdict::Trimmed),
            (Some(7), gone, Verdict::Lost),
            (Some(12), gone, Verdict::Lost),
            (Some(12), Looked::default(), Verdict::Lost),
        ] {
            assert_eq!(place(read).verdict(&looked), verdict, "{read:?} {looked:?}");
        }
    }

    #[test]
    fn the_lag_is_what_was_added_and_not_read() {
        let mut place = place(Some(5));
        assert_eq!(place.lag(&looked(Some(1), 5, 40, 10)), Some(0));
        assert_eq!(place.lag(&looked(Some(1), 9, 43, 13)), Some(3));
        place.pass(at(7));
        assert_eq!(place.lag(&looked(Some(1), 9, 43, 13)), Some(2));
    }

    #[test]
    fn the_lag_of_a_place_in_the_middle_is_known_once_a_known_entry_is_reached() {
        let mut place = place(Some(5));
        assert_eq!(place.lag(&looked(Some(1), 9, 43, 13)), None);
        place.pass(at(8));
        assert_eq!(place.lag(&looked(Some(1), 11, 45, 15)), None);
        place.pass(at(9));
        assert_eq!(place.lag(&looked(Some(1), 11, 45, 15)), Some(2));
        let silent = Looked { added: None, ..looked(Some(1), 11, 0, 15) };
        assert_eq!(place.lag(&silent), None, "a Redis that does not say");
    }
}
