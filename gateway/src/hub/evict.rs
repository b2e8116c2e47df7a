//! What the window lets go of, and the rings with it.

use std::sync::Arc;

use parking_lot::MutexGuard;
use tokio::time::Instant;

use super::item::Item;
use super::{Hub, IdRooms, State};
use crate::cursor::Offset;
use crate::event::Audience;

impl Hub {
    /// Lets go of what is too much or too old. `about` is how many records that may be.
    pub(super) fn evict(&self, state: &mut State, now: Instant, mut about: usize) {
        let routed_before = now.checked_sub(self.bounds.window_age);
        loop {
            let State { window, positions, .. } = state;
            let gone = |shard, offset: Offset, latest| {
                positions.uncover(shard, offset.next(), latest);
            };
            let item = window.evict(self.bounds.window_bytes, routed_before, about, gone);
            let Some(item) = item else { return };
            // Its rings let go of it now, or its frames would take the window's other records along.
            if Arc::strong_count(&item) > 1 {
                match item.seq < state.looked[0] {
                    true => state.trim_rings(&item),
                    false => state.rings_lag = true,
                }
            }
            about = 0;
        }
    }

    /// Lets go of what is too much: readers encode what they are written, and that counts, too.
    /// Called several times a second. What was routed since the last call but one stays in the rings
    /// whatever it takes up, or readers who are up to date would not get it.
    pub fn keep_to_budget(&self) {
        let mut state = self.state.lock();
        state.looked = [state.looked[1], state.window.next_seq()];
        if self.window_bytes() <= self.bounds.window_bytes {
            return;
        }
        self.evict(&mut state, Instant::now(), 0);
        if self.window_bytes() > self.bounds.window_bytes {
            let before = state.trimmed_before();
            trim_all(state, before);
        }
    }

    /// Lets go of what has grown too old. Called once a second or so.
    pub fn sweep(&self) {
        let mut state = self.state.lock();
        self.evict(&mut state, Instant::now(), 0);
        state.positions.forget_old();
        let before = state.window.first_seq();
        trim_all(state, before);
    }
}

/// Lets all rings go of events below `before`, where some were too young for that when they left the
/// window. Nobody is held up for it: to look at ten thousand rings takes tens of milliseconds.
fn trim_all(mut state: MutexGuard<'_, State>, before: u64) {
    if !state.rings_lag {
        return;
    }
    state.rings_lag = before < state.window.first_seq();
    let rooms: Vec<_> = state.rooms.values().flat_map(|rooms| rooms.0.iter().cloned()).collect();
    drop(state);
    rooms.iter().for_each(|room| room.trim(before));
}

impl State {
    /// Events with a lower number have left the window and were there long enough to be taken.
    fn trimmed_before(&self) -> u64 {
        self.window.first_seq().min(self.looked[0])
    }

    /// Lets the rings that have `item` go of what has left the window.
    fn trim_rings(&self, item: &Item) {
        let first_seq = self.trimmed_before();
        let trim = |rooms: &IdRooms| rooms.0.iter().for_each(|room| room.trim(first_seq));
        match &item.head.audience {
            Audience::Broadcast(_) => self.rooms.values().for_each(trim),
            Audience::Room(room) => self.rooms.get(&room.id).into_iter().for_each(trim),
        }
    }
}
