//! What is promised and not known to be kept: events with a time to be delivered in, until they
//! were written to a stream somewhere or their time is over. Pure state.

use std::collections::{BTreeSet, HashMap};

use crate::cursor::{Offset, Shard};

/// Where an event lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Its shard.
    pub shard: Shard,
    /// Its offset there.
    pub offset: Offset,
}

/// The promises that this pod knows of.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Their deadlines, in milliseconds since the Unix epoch.
    open: HashMap<At, i64>,
    due: BTreeSet<(i64, At)>,
    /// Events of which it is known what became of them, and until when that is remembered: pods
    /// are apart, and one may hear of the end before it reads of the beginning.
    settled: HashMap<At, i64>,
    forgotten: BTreeSet<(i64, At)>,
    most: usize,
    /// How long after its deadline an event may still be read anew.
    remembered_ms: i64,
}

/// There are too many promises already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Ledger {
    /// At most `most` promises, and as many ends remembered until `remembered_ms` after their
    /// deadline.
    pub(super) fn new(most: usize, remembered_ms: i64) -> Self {
        Self {
            open: HashMap::new(),
            due: BTreeSet::new(),
            settled: HashMap::new(),
            forgotten: BTreeSet::new(),
            most,
            remembered_ms,
        }
    }

    /// Takes note of a promise, unless it is known what became of it.
    pub(super) fn promise(&mut self, at: At, deadline: i64) -> Result<(), Full> {
        if self.settled.contains_key(&at) || self.open.contains_key(&at) {
            return Ok(());
        }
        if self.open.len() >= self.most {
            return Err(Full);
        }
        self.open.insert(at, deadline);
        self.due.insert((deadline, at));
        Ok(())
    }

    /// The event was written to a stream, or found undelivered. Returns its deadline if it was
    /// open.
    pub(super) fn settle(&mut self, at: At, deadline: i64) -> Option<i64> {
        let open = self.open.remove(&at);
        if let Some(deadline) = open {
            self.due.remove(&(deadline, at));
        }
        let until = open.unwrap_or(deadline).saturating_add(self.remembered_ms);
        if let Some(before) = self.settled.insert(at, until) {
            self.forgotten.remove(&(before, at));
        }
        self.forgotten.insert((until, at));
        while self.settled.len() > self.most
            && let Some((_, at)) = self.forgotten.pop_first()
        {
            self.settled.remove(&at);
        }
        open
    }

    /// The deadline of an open promise.
    pub(super) fn deadline(&self, at: At) -> Option<i64> {
        self.open.get(&at).copied()
    }

    /// The earliest deadline.
    pub(super) fn earliest(&self) -> Option<i64> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    /// The promises whose deadline was before `time`, the oldest first, at most `most`.
    pub(super) fn overdue(&self, time: i64, most: usize) -> Vec<(At, i64)> {
        let before = self.due.iter().take_while(|(deadline, _)| *deadline < time);
        before.map(|&(deadline, at)| (at, deadline)).take(most).collect()
    }

    /// Forgets ends that nobody can ask for any more.
    pub(super) fn forget(&mut self, now: i64) {
        while let Some(&(until, at)) = self.forgotten.first()
            && until < now
        {
            self.forgotten.pop_first();
            self.settled.remove(&at);
        }
    }

    /// How many promises are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cursor::SourceId;

    fn at(n: u128) -> At {
        At { shard: Shard { source: SourceId(1), index: 0 }, offset: Offset(n) }
    }

    #[test]
    fn what_was_written_before_it_was_read_of_is_no_promise() {
        let mut ledger = Ledger::new(10, 1_000);
        assert_eq!(ledger.settle(at(1), 500), None);
        ledger.promise(at(1), 500).expect("room");
        assert_eq!(ledger.overdue(9_999, 10), []);
        ledger.forget(1_500);
        assert_eq!(ledger.deadline(at(1)), None);
        ledger.promise(at(1), 500).expect("room");
        assert_eq!(ledger.open(), 0, "still known");
        ledger.forget(1_501);
        ledger.promise(at(1), 500).expect("room");
        assert_eq!(ledger.open(), 1);
    }

    #[test]
    fn a_full_ledger_says_so() {
        let mut ledger = Ledger::new(2, 1_000);
        ledger.promise(at(1), 5).expect("room");
        ledger.promise(at(2), 5).expect("room");
        assert_eq!(ledger.promise(at(3), 5), Err(Full));
        ledger.promise(at(2), 5).expect("known");
        assert_eq!(ledger.settle(at(1), 5), Some(5));
        ledger.promise(at(3), 5).expect("room again");
    }

    proptest! {
        #[test]
        fn each_promise_is_due_once_unless_it_was_kept(
            steps in proptest::collection::vec((0..3u8, 0..20u128, 0..100i64), 0..200),
        ) {
            let mut ledger = Ledger::new(1_000, 1_000_000);
            let mut kept = std::collections::HashSet::new();
            let mut open: HashMap<u128, i64> = HashMap::new();
            let mut now = 0;
            for (step, n, time) in steps {
                match step {
                    0 => {
                        ledger.promise(at(n), time).expect("room");
                        if !kept.contains(&n) {
                            open.entry(n).or_insert(time);
                        }
                    }
                    1 => {
                        let was_open = ledger.settle(at(n), time);
                        prop_assert_eq!(was_open, open.remove(&n));
                        kept.insert(n);
                    }
                    _ => {
                        now = time.max(now);
                        let mut due: Vec<_> =
                            open.iter().filter(|(_, d)| **d < now).map(|(n, d)| (*d, at(*n))).collect();
                        due.sort();
                        let overdue: Vec<_> =
                            ledger.overdue(now, 100).into_iter().map(|(at, d)| (d, at)).collect();
                        prop_assert_eq!(overdue, due);
                    }
                }
                prop_assert_eq!(ledger.open(), open.len());
                prop_assert_eq!(ledger.earliest(), open.values().min().copied());
            }
        }
    }
}
