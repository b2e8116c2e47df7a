//! The embedded log's dead letters: a ring, bounded in bytes.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;

use crate::cursor::Offset;
use crate::log::letter::{Entry, Found, Place, Purge, Spot};
use crate::log::{Kept, PublishError};

/// What an entry takes up beside its letter's record, in bytes.
const ENTRY_BYTES: usize = 512;
/// How many entries are read at once.
const BATCH: usize = 64;

#[derive(Debug)]
struct Slot {
    entry: Entry,
    bytes: usize,
    /// The log's time, in milliseconds since the Unix epoch.
    at: i64,
}

/// The letters and markers, oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    /// Those of which there is a letter.
    places: HashSet<Place>,
    bytes: usize,
    most_bytes: usize,
}

impl Ring {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { slots: VecDeque::new(), first: 0, places: HashSet::new(), bytes: 0, most_bytes }
    }

    /// Keeps an entry, a letter only once, and lets go of as many of the oldest as it takes.
    pub(super) fn keep(&mut self, entry: Entry, at: i64) -> Result<Kept, PublishError> {
        let mut bytes = ENTRY_BYTES;
        if let Entry::Letter(letter) = &entry {
            if self.places.contains(&letter.place) {
                return Ok(Kept::Known);
            }
            bytes += letter.bytes();
        }
        if bytes > self.most_bytes {
            let why = format!("with {bytes} bytes it is larger than memory.dead_letters_bytes");
            return Err(PublishError::TooLarge(why));
        }
        while self.bytes + bytes > self.most_bytes && self.let_go() {}
        if let Entry::Letter(letter) = &entry {
            self.places.insert(letter.place.clone());
        }
        self.bytes += bytes;
        self.slots.push_back(Slot { entry, bytes, at });
        Ok(Kept::Written)
    }

    /// Lets go of the oldest; false if there is none.
    fn let_go(&mut self) -> bool {
        let Some(slot) = self.slots.pop_front() else { return false };
        self.first += 1;
        self.bytes -= slot.bytes;
        if let Entry::Letter(letter) = &slot.entry {
            self.places.remove(&letter.place);
        }
        true
    }

    pub(super) fn purge(&mut self, purge: Purge) -> u64 {
        let first = self.first;
        let goes = |slot: &Slot| match purge {
            Purge::All => true,
            Purge::Before(time) => slot.at < time,
        };
        while self.slots.front().is_some_and(goes) {
            self.let_go();
        }
        self.first - first
    }
}

/// A reading of the ring; what is let go of meanwhile is missed.
#[derive(Debug)]
pub struct LetterScan<'l> {
    ring: &'l Mutex<Ring>,
    next: u64,
    end: u64,
}

impl<'l> LetterScan<'l> {
    pub(super) fn new(ring: &'l Mutex<Ring>) -> Self {
        let end = {
            let ring = ring.lock();
            ring.first + ring.slots.len() as u64
        };
        Self { ring, next: 0, end }
    }

    /// The next ones; `None` at the end.
    pub(in crate::log) fn next(&mut self) -> Option<Vec<Found>> {
        let ring = self.ring.lock();
        self.next = self.next.max(ring.first);
        let skip = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
        let left = usize::try_from(self.end.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let slots = ring.slots.iter().skip(skip).take(left.min(BATCH));
        let found: Vec<_> = (self.next..)
            .zip(slots)
            .map(|(number, slot)| Found {
                spot: Spot { shard: 0, offset: Offset(number.into()) },
                entry: Ok(slot.entry.clone()),
            })
            .collect();
        self.next += found.len() as u64;
        (!found.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::MessageId;
    use crate::log::letter::{Letter, Original, Replay};
    use crate::telemetry::metrics::DeadLetter;

    fn letter(n: u32) -> Letter {
        let value = Some(Bytes::from(vec![0; 1000]));
        Letter {
            place: Place::new("t", 0, &n.to_string()),
            reason: DeadLetter::Malformed.into(),
            detail: "".into(),
            pod: "p".into(),
            at: 0,
            record: Original { value, ..Original::default() },
        }
    }

    fn offsets(ring: Ring) -> Vec<String> {
        let ring = Mutex::new(ring);
        let mut scan = LetterScan::new(&ring);
        let batches = std::iter::from_fn(|| scan.next()).flatten();
        batches.map(|found| found.entry.expect("kept").place().offset().to_owned()).collect()
    }

    #[test]
    fn the_newest_letters_are_kept_each_once() {
        let mut ring = Ring::new(100 * (1000 + ENTRY_BYTES));
        for n in 0..250 {
            assert_eq!(ring.keep(Entry::Letter(letter(n)), n.into()), Ok(Kept::Written));
            assert_eq!(ring.keep(Entry::Letter(letter(n)), n.into()), Ok(Kept::Known));
        }
        assert!(ring.bytes <= ring.most_bytes && ring.places.len() == 100);
        let kept: Vec<_> = (150..250).map(|n| n.to_string()).collect();
        assert_eq!(offsets(ring), kept);
    }

    #[test]
    fn a_letter_that_is_larger_than_the_ring_is_refused() {
        let mut ring = Ring::new(1000);
        let kept = ring.keep(Entry::Letter(letter(0)), 0);
        assert!(matches!(kept, Err(PublishError::TooLarge(_))));
    }

    #[test]
    fn what_was_purged_is_gone_with_its_markers() {
        let mut ring = Ring::new(1 << 20);
        for n in 0..4 {
            ring.keep(Entry::Letter(letter(n)), n.into()).expect("kept");
        }
        let replay = Replay { message_id: MessageId::fresh(), pod: "p".into(), at: 0 };
        ring.keep(Entry::Replayed(letter(0).place, replay), 4).expect("kept");
        assert_eq!(ring.purge(Purge::Before(2)), 2);
        assert_eq!(ring.keep(Entry::Letter(letter(0)), 5), Ok(Kept::Written), "it may come back");
        assert_eq!(ring.purge(Purge::All), 4);
        assert_eq!((ring.bytes, ring.places.len()), (0, 0));
        assert!(offsets(ring).is_empty());
    }
}
