//! One coarse clock for all streams of a pod: heartbeats, ends and deadlines of writes.
//!
//! A timer of its own for each stream would be a hundred bytes and a place in a tree that every
//! event looks at. Here a stream is an entry in the list of its slot; whoever is due in a slot is
//! woken together. A slot is [`TICK`] wide, and an entry that lies more than one turn ahead is
//! passed over until its turn has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How late an alarm may be.
pub const TICK: Duration = Duration::from_millis(50);
/// How many slots a turn has: 25.6 s.
const SLOTS: usize = 512;
/// Where a list ends.
const NONE: u32 = u32::MAX;

/// The clock.
#[derive(Debug)]
pub struct Wheel {
    began: Instant,
    state: Mutex<State>,
    /// Everything before this tick was rung. Written under the lock; beside it, so that a stream
    /// whose alarm is set already does not take it.
    rung: AtomicU64,
    /// Told when an alarm is set that is earlier than what is waited for.
    earlier: Notify,
}

#[derive(Debug)]
struct State {
    /// The first entry of each slot.
    slots: Box<[u32]>,
    entries: Vec<Entry>,
    /// The first entry that is not used.
    free: u32,
    /// Which tick is waited for.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    /// `None` if it is not used, or was rung.
    waker: Option<Waker>,
    tick: u64,
    before: u32,
    after: u32,
}

/// A stream's alarm; gone when dropped.
#[derive(Debug)]
pub struct Alarm {
    wheel: Arc<Wheel>,
    entry: u32,
    /// The tick in which it rings; 0: it was never set.
    tick: u64,
    /// Whom it wakes, beside the lock.
    waker: Option<Waker>,
}

impl Wheel {
    /// A clock that somebody has to [`Wheel::run`].
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            state: Mutex::new(State {
                slots: vec![NONE; SLOTS].into(),
                entries: Vec::new(),
                free: NONE,
                next: u64::MAX,
            }),
            rung: AtomicU64::new(0),
            earlier: Notify::new(),
        })
    }

    /// Wakes whoever is due, for ever; drop it to stop.
    pub async fn run(self: Arc<Self>) {
        let mut due = Vec::new();
        loop {
            let next = self.ring(self.tick_before(Instant::now()), &mut due);
            due.drain(..).for_each(Waker::wake);
            match next {
                None => self.earlier.notified().await,
                Some(tick) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(self.time_of(tick)) => {}
                        () = self.earlier.notified() => {}
                    }
                }
            }
        }
    }

    /// Wakes every stream, so that each looks at what ends streams. Their alarms stay.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> =
            self.state.lock().entries.iter().filter_map(|entry| entry.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes the wakers of all alarms up to `now` and returns the tick at which to look again.
    fn ring(&self, now: u64, due: &mut Vec<Waker>) -> Option<u64> {
        let mut state = self.state.lock();
        let next = state.ring(self.rung.load(Ordering::Relaxed), now, due);
        self.rung.store(now + 1, Ordering::Relaxed);
        next
    }

    /// The last tick that is over at `at`.
    fn tick_before(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.began).as_nanos();
        // Nobody waits for 584 years.
        u64::try_from(nanos).unwrap_or(u64::MAX) / TICK.as_nanos() as u64
    }

    fn time_of(&self, tick: u64) -> Instant {
        let ticks = u32::try_from(tick).unwrap_or(u32::MAX);
        self.began + TICK.saturating_mul(ticks)
    }
}

impl State {
    /// See [`Wheel::ring`]; everything before `rung` was rung.
    fn ring(&mut self, rung: u64, now: u64, due: &mut Vec<Waker>) -> Option<u64> {
        // After a turn without a look every slot is looked at, but none twice.
        let from = rung.max((now + 1).saturating_sub(SLOTS as u64));
        for tick in from..=now {
            let mut at = self.slots[slot(tick)];
            while at != NONE {
                let Entry { tick, after, .. } = self.entries[at as usize];
                if tick <= now {
                    self.unlink(at);
                    due.extend(self.entries[at as usize].waker.take());
                }
                at = after;
            }
        }
        let next = (now + 1..=now + SLOTS as u64).find(|tick| self.slots[slot(*tick)] != NONE);
        self.next = next.unwrap_or(u64::MAX);
        next
    }

    fn link(&mut self, at: u32, tick: u64) {
        let first = std::mem::replace(&mut self.slots[slot(tick)], at);
        if let Some(first) = self.entries.get_mut(first as usize) {
            first.before = at;
        }
        let entry = &mut self.entries[at as usize];
        entry.tick = tick;
        entry.before = NONE;
        entry.after = first;
    }

    fn unlink(&mut self, at: u32) {
        let Entry { tick, before, after, .. } = self.entries[at as usize];
        match self.entries.get_mut(before as usize) {
            Some(before) => before.after = after,
            None => self.slots[slot(tick)] = after,
        }
        if let Some(after) = self.entries.get_mut(after as usize) {
            after.before = before;
        }
    }

    /// An entry that is in no list.
    fn take_free(&mut self) -> u32 {
        let at = self.free;
        if let Some(entry) = self.entries.get_mut(at as usize) {
            self.free = entry.after;
            return at;
        }
        self.entries.push(Entry { waker: None, tick: 0, before: NONE, after: NONE });
        u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
    }
}

fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

impl Alarm {
    /// One of `wheel`, not set yet.
    #[must_use]
    pub fn new(wheel: Arc<Wheel>) -> Self {
        let entry = wheel.state.lock().take_free();
        Self { wheel, entry, tick: 0, waker: None }
    }

    /// Wakes who waits in `cx` at `at`, or up to [`TICK`] later, and not for anything before.
    ///
    /// True if it was not set for that yet: then who is told by [`Wheel::wake_all`] has to look
    /// once more at what that tells of, since it may have come too early for this waker.
    #[must_use = "what came before is not told again"]
    pub fn set(&mut self, at: Instant, cx: &Context<'_>) -> bool {
        let waker = cx.waker();
        let due = self.wheel.tick_before(at) + 1;
        let is_own = self.waker.as_ref().is_some_and(|own| own.will_wake(waker));
        if is_own && self.tick == due.max(self.wheel.rung.load(Ordering::Relaxed)) {
            // If it rings just now, who waits is woken.
            return false;
        }
        self.waker = Some(waker.clone());
        let mut state = self.wheel.state.lock();
        // What should have rung rings next.
        let tick = due.max(self.wheel.rung.load(Ordering::Relaxed));
        self.tick = tick;
        if state.entries[self.entry as usize].waker.is_some() {
            state.unlink(self.entry);
        }
        let old = state.entries[self.entry as usize].waker.replace(waker.clone());
        state.link(self.entry, tick);
        let is_earlier = tick < state.next;
        if is_earlier {
            state.next = tick;
        }
        drop(state);
        // Outside of the lock: the last waker of a task drops the task, and with it an alarm.
        drop(old);
        if is_earlier {
            self.wheel.earlier.notify_one();
        }
        true
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut state = self.wheel.state.lock();
        let old = state.entries[self.entry as usize].waker.take();
        if old.is_some() {
            state.unlink(self.entry);
        }
        let free = std::mem::replace(&mut state.free, self.entry);
        state.entries[self.entry as usize].after = free;
        drop(state);
        drop(old);
    }
}

#[cfg(test)]
mod tests;
