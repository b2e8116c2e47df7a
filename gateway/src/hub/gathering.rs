//! When the readers of a room are woken: at once, unless they were woken just now and are many.
//!
//! Every write to a socket costs the same, whatever it carries. A round of writes to all readers of a
//! large room takes milliseconds; an event that comes while a round goes on waits for the round's
//! time to be over, and whatever else comes meanwhile leaves in the same write. A lone event leaves
//! at once, and so does everything in a room whose round is too short to be worth a timer, and what
//! fills a write.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Hub;
use super::lanes::Woken;
use super::room::Room;

/// What a round takes for each reader: a write to a socket on one core, about.
const WRITE: Duration = Duration::from_micros(5);
/// Rounds that are shorter than this are not waited for: 200 readers.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest that an event waits for others.
const LONGEST: Duration = Duration::from_millis(10);
/// How many bytes are worth a write of their own.
const FULL: usize = 32 * 1024;

/// A room's rounds.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// When the last one began.
    began: Option<Instant>,
    /// The next one is due at a time of its own, and its room is among those that are waited for.
    is_due: bool,
    /// How many bytes came since the last one began.
    bytes: usize,
    /// That is as much as may be gathered.
    is_full: bool,
}

/// What is to be done for a room that has something new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wake its readers.
    Wake,
    /// Wake them then.
    Later(Instant),
    /// They will be woken.
    Due,
}

impl Rounds {
    /// So many bytes came into a ring that holds `most`.
    pub(super) fn gather(&mut self, bytes: usize, most: usize) {
        self.bytes += bytes;
        // A part of the ring: who waits for a round must not fall off its tail meanwhile.
        self.is_full = self.bytes >= FULL.min(most / 4);
    }

    /// Something new came at `now` for so many readers.
    pub(super) fn next(&mut self, readers: usize, now: Instant) -> Next {
        if self.is_full {
            // If a round is due as well, it comes to whatever follows this one.
            self.start(now);
            return Next::Wake;
        }
        if self.is_due {
            return Next::Due;
        }
        let readers = u32::try_from(readers).unwrap_or(u32::MAX);
        let round = WRITE.saturating_mul(readers).min(LONGEST);
        match self.began {
            // One that begins just now takes this along.
            Some(began) if round >= SHORTEST && began < now && now < began + round => {
                self.is_due = true;
                Next::Later(began + round)
            }
            _ => {
                self.start(now);
                Next::Wake
            }
        }
    }

    /// A round that was due begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.is_due = false;
        self.start(now);
    }

    fn start(&mut self, now: Instant) {
        self.began = Some(now);
        self.bytes = 0;
        self.is_full = false;
    }
}

/// Rooms whose next round is due at a time of its own; each is there once.
#[derive(Debug, Default)]
pub(super) struct Gathering(Vec<(Instant, Arc<Room>)>);

impl Gathering {
    /// Wakes the readers of `room`, or sees to it that they are. True if somebody has to look
    /// earlier than was known.
    pub(super) fn wake(&mut self, room: Arc<Room>, now: Instant, woken: &mut Woken) -> bool {
        match room.next_round(now, woken) {
            Next::Later(at) => {
                let is_earlier = self.0.iter().all(|(due, _)| at < *due);
                self.0.push((at, room));
                is_earlier
            }
            Next::Wake | Next::Due => false,
        }
    }
}

impl Hub {
    /// Begins the rounds that are due, and says when the next one is.
    pub fn wake_gathered(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut woken = Woken::default();
        let next = {
            let mut state = self.state.lock();
            let waiting = &mut state.gathering.0;
            for (_, room) in waiting.extract_if(.., |(due, _)| *due <= now) {
                room.begin_round(now, &mut woken);
            }
            waiting.iter().map(|(due, _)| *due).min()
        };
        self.lanes.wake(&mut woken);
        next
    }

    /// Told when a round is due earlier than was known.
    pub fn gathering(&self) -> &tokio::sync::Notify {
        &self.gathers
    }
}

#[cfg(test)]
mod tests;
