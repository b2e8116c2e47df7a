//! Whether a reader got every event of its room, once and in order.

/// How many holes are remembered. When there are more, an event that comes late into a forgotten
/// hole counts as lost and doubled instead of out of order: wrong either way, and bounded.
const HOLES: usize = 64;

/// What a checker found wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Numbers that never came.
    pub lost: u64,
    /// Numbers that came again.
    pub doubled: u64,
    /// Numbers that came after a higher one.
    pub out_of_order: u64,
    /// Numbers that never came where the server had said that something is missing.
    pub missed: u64,
}

impl Faults {
    /// Adds another reader's.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.missed += other.missed;
    }
}

/// Follows the numbers of one reader in one room.
#[derive(Debug, Default)]
pub struct Checker {
    /// The next number in order; `None` until the first one of a reader that came late.
    next: Option<u64>,
    /// Numbers that were skipped, `[from, to)`. Allocates nothing as long as nothing is wrong.
    holes: Vec<(u64, u64)>,
    /// The server has said that something is missing before the next number.
    told: bool,
    faults: Faults,
}

impl Checker {
    /// For a reader that was there before the first event: it owes every number from this one.
    #[must_use]
    pub fn from(next: u64) -> Self {
        Self { next: Some(next), ..Self::default() }
    }

    /// For a reader that comes in the middle: it owes every number from the first it sees.
    #[must_use]
    pub fn from_first_seen() -> Self {
        Self::default()
    }

    /// The server says that something is missing: a hole before the next number is no loss.
    pub fn gap(&mut self) {
        self.told = true;
    }

    /// Takes a number. `false` if it had come before.
    pub fn take(&mut self, seq: u64) -> bool {
        let next = self.next.unwrap_or(seq);
        let told = std::mem::take(&mut self.told);
        if seq == next {
            self.next = Some(next + 1);
            return true;
        }
        if seq > next && told {
            self.faults.missed += seq - next;
            self.next = Some(seq + 1);
            return true;
        }
        if seq > next {
            self.faults.lost += seq - next;
            if self.holes.len() >= HOLES {
                self.holes.remove(0);
            }
            self.holes.push((next, seq));
            self.next = Some(seq + 1);
            return true;
        }
        match self.holes.iter().position(|&(from, to)| (from..to).contains(&seq)) {
            Some(at) => {
                self.faults.lost -= 1;
                self.faults.out_of_order += 1;
                let (from, to) = self.holes.remove(at);
                for (from, to) in [(seq + 1, to), (from, seq)] {
                    if from < to {
                        self.holes.insert(at, (from, to));
                    }
                }
                true
            }
            None => {
                self.faults.doubled += 1;
                false
            }
        }
    }

    /// The next number in order, once there was one.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        self.next
    }

    /// What was wrong so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// What was wrong, if the room's numbers ended before `end`.
    #[must_use]
    pub fn finish(&self, end: u64) -> Faults {
        let mut faults = self.faults;
        let rest = self.next.map_or(0, |next| end.saturating_sub(next));
        if self.told {
            faults.missed += rest;
        } else {
            faults.lost += rest;
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut checker: Checker, seqs: &[u64], end: u64) -> (u64, u64, u64) {
        for &seq in seqs {
            checker.take(seq);
        }
        let Faults { lost, doubled, out_of_order, .. } = checker.finish(end);
        (lost, doubled, out_of_order)
    }

    #[test]
    fn lost_doubled_and_late_numbers_are_told_apart() {
        for (seqs, end, expected) in [
            (&[0, 1, 2, 3][..], 4, (0, 0, 0)),
            (&[], 3, (3, 0, 0)),
            (&[0, 1], 4, (2, 0, 0)),
            (&[0, 3, 4], 5, (2, 0, 0)),
            (&[2], 3, (2, 0, 0)),
            (&[0, 1, 1, 0, 2], 3, (0, 2, 0)),
            (&[1, 0, 2], 3, (0, 0, 1)),
            (&[0, 5, 3, 1, 2, 4], 6, (0, 0, 4)),
            (&[0, 5, 3, 3], 6, (3, 1, 1)),
        ] {
            assert_eq!(check(Checker::from(0), seqs, end), expected, "{seqs:?}");
        }
    }

    #[test]
    fn a_late_reader_owes_nothing_from_before_its_first_event() {
        assert_eq!(check(Checker::from_first_seen(), &[7, 8, 10], 11), (1, 0, 0));
        assert_eq!(check(Checker::from_first_seen(), &[], 11), (0, 0, 0));
    }

    #[test]
    fn what_the_server_says_is_missing_is_not_lost() {
        let mut checker = Checker::from(0);
        checker.take(0);
        checker.gap();
        checker.take(3);
        checker.take(5);
        let faults = Faults { lost: 1, missed: 2, ..Faults::default() };
        assert_eq!(checker.finish(6), faults);
        checker.gap();
        assert_eq!(checker.finish(8), Faults { missed: 4, ..faults });
        checker.take(6);
        assert_eq!(checker.finish(8), Faults { lost: 2, ..faults }, "a gap hides one hole");
    }

    #[test]
    fn holes_beyond_the_bound_stay_counted_as_lost() {
        let seqs: Vec<u64> = (0..1_000).map(|n| n * 2).collect();
        let mut checker = Checker::from(0);
        for &seq in &seqs {
            checker.take(seq);
        }
        assert_eq!(checker.holes.len(), HOLES);
        assert_eq!(checker.faults().lost, 999);
    }
}
