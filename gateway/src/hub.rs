//! The hub: rooms, their readers, and the recent window. No I/O, no await.
//!
//! Records come in from the consumer, one batch at a time, and get a number in the order of their
//! routing. Those of rooms with readers become [`Item`]s and are pushed to the rooms' rings.
//! Everything is bounded by one budget of bytes (`log.window_bytes`) and one of time.

mod batch;
mod evict;
pub mod facts;
mod fallen;
mod gathering;
mod history;
pub mod item;
mod lanes;
mod opening;
mod overflow;
pub mod positions;
mod resume;
mod room;
mod row;
mod subscription;
#[cfg(test)]
mod tests;
pub(crate) mod wanted;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use batch::BYTES as BATCH_BYTES;
pub use history::Page;
pub use item::{Budget, Item, Spelling};
pub use opening::{Opened, Partly, Subscribed};
pub use resume::{Behind, Gap, Plan, Planned, Since, Start};
pub use room::Lagged;
pub use row::{Manner, Unparked};
pub(crate) use subscription::pass as passes;
pub use subscription::{Delivery, Subscription};

use crate::cursor::{Cursor, LONGEST_CHARS, Offset, Position, Shard};
use crate::event::{Audience, EventId, Pattern};
use crate::log::Source;
use crate::log::decode::{self, Malformed};
use crate::log::letter::Outbox;
use crate::log::record::Record;
use crate::telemetry::traces::Reach;
use gathering::Gathering;
use item::{After, Shared};
use lanes::{Lanes, Woken};
use positions::Positions;
use room::{Room, Seat};
use window::{Chain, Window};

/// The hub's bounds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What window, frames and codings may take up, in bytes.
    pub window_bytes: usize,
    /// How long a record stays in the window.
    pub window_age: Duration,
    /// How far a reader may lag, in bytes.
    pub queue_bytes: usize,
    /// The most bytes of an event's value. A larger one is malformed.
    pub value_bytes: usize,
    /// How events are spelled.
    pub spelling: Spelling,
    /// How many threads run a lane each; 0: whoever routes writes to all parked readers.
    pub lanes: usize,
}

/// The log has not said yet where its shards are: nobody can be given a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has not been reached yet")]
pub struct NotReady;

/// Why a stream cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// The log has not been reached yet.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// So many rooms have no cursor of [`LONGEST_CHARS`].
    #[error("the cursor of these rooms would be longer than {LONGEST_CHARS} characters")]
    TooManyRooms,
}

/// What is to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes into the window and to the rooms that want it.
    Route,
    /// The same, and [`Routed::followed`] says whom it reached.
    Follow,
    /// An earlier one was delivered in its place: it is passed over.
    Duplicate,
    /// It lies before the window and was read for its key.
    KeyOnly,
}

/// What became of one batch.
#[derive(Debug, Default)]
pub struct Routed {
    /// Events that at least one room wanted.
    pub matched: usize,
    /// Records that are no events, and why.
    pub malformed: Vec<(Record, Malformed)>,
    /// Events that are to be delivered by a time, in milliseconds since the Unix epoch.
    pub promised: Vec<(Shard, Offset, i64)>,
    /// Whom the followed ones reached.
    pub followed: Vec<((Shard, Offset), Reach)>,
}

/// The rooms of one id.
#[derive(Debug, Default)]
struct IdRooms(Vec<Arc<Room>>);

#[derive(Debug)]
struct State {
    positions: Positions,
    window: Window,
    rooms: HashMap<EventId, IdRooms, foldhash::fast::RandomState>,
    touched: Vec<Arc<Room>>,
    gathering: Gathering,
    woken: Woken,
    /// The numbers that came next at the last two looks at the budget, the earlier one first.
    looked: [u64; 2],
    /// An event has left the window that was too young for the rings to let go of.
    rings_lag: bool,
}

/// The hub of a pod.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Events with a lower number are in the rings of all their rooms: those of several rooms are
    /// merged as far as this. Beside the lock, so that such readers do not take it at every look.
    settled: AtomicU64,
    gathers: Notify,
    lanes: Lanes,
    items: Arc<Shared>,
    bounds: Bounds,
    hasher: foldhash::fast::FixedState,
}

/// The chain of broadcasts. A room whose hash is the same walks a few records more.
const BROADCASTS: Chain = Chain(0);

impl Hub {
    /// An empty hub. What turns out to be no event when it is encoded goes to `letters`.
    #[must_use]
    pub fn new(bounds: Bounds, letters: Outbox) -> Arc<Self> {
        let budget = Arc::new(Budget::default());
        let spelling = bounds.spelling;
        Arc::new(Self {
            state: Mutex::new(State {
                positions: Positions::default(),
                window: Window::new(Arc::clone(&budget)),
                rooms: HashMap::default(),
                touched: Vec::new(),
                gathering: Gathering::default(),
                woken: Woken::default(),
                looked: [0; 2],
                rings_lag: false,
            }),
            settled: AtomicU64::new(0),
            gathers: Notify::new(),
            lanes: Lanes::new(bounds.lanes),
            items: Arc::new(Shared { spelling, budget, letters }),
            bounds,
            hasher: foldhash::fast::FixedState::default(),
        })
    }

    fn chain(&self, id: &str) -> Chain {
        use std::hash::BuildHasher as _;
        Chain(self.hasher.hash_one(id))
    }

    /// The chains that can feed these rooms, each once.
    fn chains(&self, patterns: &[Pattern]) -> Vec<Chain> {
        let mut chains: Vec<Chain> = patterns.iter().map(|p| self.chain(p.id.as_str())).collect();
        chains.push(BROADCASTS);
        chains.sort_unstable_by_key(|c| c.0);
        chains.dedup();
        chains
    }

    /// Takes the sources as the log has them now.
    pub fn set_sources(&self, sources: &[Source]) {
        self.state.lock().positions.set_sources(sources, self.bounds.window_age);
    }

    /// Begins a shard, anew where its log was replaced. Readers of rooms that it feeds are cut if it
    /// begins elsewhere than it was: they come back with their cursors and are told of the hole.
    pub fn start(&self, shard: Shard, from: Position, log_start: Offset) {
        let mut guard = self.state.lock();
        let State { positions, window, rooms, woken, .. } = &mut *guard;
        let before = positions.get(shard).map(|state| state.position);
        window.forget(shard);
        positions.start(shard, from, log_start);
        if before.is_some_and(|before| before.next != from.next || !before.tag.agrees(from.tag)) {
            let fed = |id: &EventId| positions.shards_for(id).any(|s| s == shard);
            for room in rooms.iter().filter(|(id, _)| fed(id)).flat_map(|(_, rooms)| &rooms.0) {
                room.cut();
                room.wake(woken);
            }
        }
        let mut woken = std::mem::take(woken);
        drop(guard);
        self.lanes.wake(&mut woken);
    }

    /// What lies before the place where `shard` began is older than `time`, in milliseconds since
    /// the Unix epoch.
    pub fn older(&self, shard: Shard, time: i64) {
        self.state.lock().positions.older(shard, time);
    }

    /// Routes a batch: into the window, and to the rooms that want it. Readers are woken.
    pub fn route(&self, batch: impl IntoIterator<Item = (Record, Fate)>) -> Routed {
        let mut routed = Routed::default();
        let now = Instant::now();
        let mut woken = {
            let mut state = self.state.lock();
            let mut count = 0;
            for (record, fate) in batch {
                count += 1;
                if !state.positions.pass(&record) {
                    continue;
                }
                match fate {
                    Fate::Route | Fate::Follow => {
                        self.route_one(&mut state, record, fate, now, &mut routed);
                        self.settled.store(state.window.next_seq(), Ordering::Release);
                    }
                    Fate::Duplicate => {}
                    Fate::KeyOnly => state.positions.uncover(
                        record.shard,
                        record.offset.next(),
                        record.timestamp,
                    ),
                }
            }
            state.window.count_pushed();
            self.evict(&mut state, now, count);
            let State { touched, gathering, woken, .. } = &mut *state;
            for room in touched.drain(..) {
                if gathering.wake(room, now, woken) {
                    self.gathers.notify_one();
                }
            }
            std::mem::take(woken)
        };
        // Without the lock: a woken reader's first step is to take it.
        self.lanes.wake(&mut woken);
        // The buffers go back, so that a batch for a large room does not grow new ones.
        self.state.lock().woken = woken;
        routed
    }

    /// Makes ready for a batch of records that may come in bulk. See `Window::touch`.
    pub fn expect(&self, batch: &[Record]) {
        let chains = batch.iter().filter_map(|record| {
            let key = std::str::from_utf8(record.key()?).ok()?;
            Some(self.chain(key))
        });
        self.state.lock().window.touch(chains);
    }

    fn route_one(
        &self,
        state: &mut State,
        record: Record,
        fate: Fate,
        now: Instant,
        routed: &mut Routed,
    ) {
        let Some(source) = state.positions.source_of(record.shard) else { return };
        let glance = match self.glance(&record, source) {
            Ok(glance) => glance,
            Err(error) => {
                routed.malformed.push((record, error));
                return;
            }
        };
        if let Some(deadline) = glance.deadline() {
            routed.promised.push((record.shard, record.offset, deadline));
        }
        let (chain, rooms) = match glance.room() {
            None => (BROADCASTS, state.rooms.values().flat_map(|r| r.0.iter().cloned()).collect()),
            Some((id, kind)) => {
                if state.positions.note_stray(id, record.shard, self.bounds.window_age) {
                    let source = state.positions.source_of(record.shard);
                    tracing::warn!(
                        source = source.map(|s| &*s.name),
                        shard = record.shard.index,
                        "a room's record lies on another partition than its key's; order holds within each partition only"
                    );
                }
                (self.chain(id), state.takers(id, kind))
            }
        };
        if fate == Fate::Follow {
            let readers = rooms.iter().map(|room| room.readers()).sum();
            let reach = Reach { rooms: rooms.len(), readers };
            routed.followed.push(((record.shard, record.offset), reach));
        }
        if rooms.is_empty() {
            state.window.push(record, chain, now);
            return;
        }
        // Checked at the glance.
        let Ok(head) = glance.into_head() else { return };
        let after = match &head.audience {
            Audience::Broadcast(_) => After::Broadcast(Arc::new(state.positions.clone())),
            // Only the final event's own id says that nothing follows.
            Audience::Room(room) => {
                After::Room(state.positions.vector_so_far(&room.id).flagged(head.is_final))
            }
        };
        let Some(source) = state.positions.source_of(record.shard).cloned() else { return };
        let seq = state.window.push(record.clone(), chain, now);
        let item = self.item(seq, record, head, after, source);
        state.window.set_item(seq, Arc::clone(&item));
        let first_seq = state.window.first_seq();
        for room in rooms {
            room.push(Arc::clone(&item), self.bounds.queue_bytes, first_seq);
            // Rooms of one batch mostly repeat; a room listed twice is merely looked at twice.
            if !state.touched.last().is_some_and(|last| Arc::ptr_eq(last, &room)) {
                state.touched.push(room);
            }
        }
        routed.matched += 1;
    }

    fn item(
        &self,
        seq: u64,
        record: Record,
        head: decode::Head,
        after: After,
        source: Source,
    ) -> Arc<Item> {
        Arc::new(Item::new(seq, record, head, after, source, Arc::clone(&self.items)))
    }

    /// Reads whom a record of `source` reaches.
    ///
    /// # Errors
    /// [`Malformed`] if it is no event, or larger than one may be.
    pub fn head(&self, record: &Record, source: &Source) -> Result<decode::Head, Malformed> {
        decode::size(record, self.bounds.value_bytes)?;
        decode::head(record, source)
    }

    /// The same without copying anything of it.
    fn glance<'r>(
        &self,
        record: &'r Record,
        source: &Source,
    ) -> Result<decode::Glance<'r>, Malformed> {
        decode::size(record, self.bounds.value_bytes)?;
        decode::glance(record, source)
    }

    /// Makes an item of a record that nobody had wanted before.
    fn read_back(&self, positions: &Positions, seq: u64, record: Record) -> Option<Arc<Item>> {
        let source = positions.source_of(record.shard)?;
        let head = self.head(&record, source).ok()?;
        Some(self.item(seq, record, head, After::Unknown, source.clone()))
    }

    /// Whether the log has said which sources it has.
    #[must_use]
    pub fn knows_sources(&self) -> bool {
        !self.state.lock().positions.sources().is_empty()
    }

    /// The source that `shard` is of, as the log has it now.
    #[must_use]
    pub fn source_of(&self, shard: Shard) -> Option<Source> {
        self.state.lock().positions.source_of(shard).cloned()
    }

    /// The position of `shard` at `offset`, of the log that this pod reads.
    #[must_use]
    pub fn position_at(&self, shard: Shard, offset: Offset) -> Position {
        let state = self.state.lock();
        let head = state.positions.get(shard).map(|known| known.position).unwrap_or_default();
        resume::at(offset, head)
    }

    /// An event that was read back from the log: shared by the readers that it is read for, and not
    /// kept. `head` is the record's.
    #[must_use]
    pub fn read_for(&self, record: Record, head: decode::Head, source: &Source) -> Arc<Item> {
        let item = self.item(0, record, head, After::Unknown, source.clone());
        item.count_record();
        item
    }

    /// The rooms' vector, if none of `seats` has anything pending.
    fn head_if_drained(&self, seats: &[Seat]) -> Option<Cursor> {
        let state = self.state.lock();
        let mut head = Cursor::default();
        for seat in seats {
            if !seat.is_drained() {
                return None;
            }
            head.advance_all(&state.positions.vector(&seat.room.pattern.id)?);
        }
        Some(head)
    }

    /// Whether `cursor` names a shard that has not begun here.
    fn knows_less_than(&self, cursor: &Cursor) -> bool {
        let state = self.state.lock();
        cursor.components().iter().any(|c| state.positions.get(c.0).is_none())
    }

    /// Takes out of `cursor` what has not begun here.
    fn keep_known(&self, cursor: &mut Cursor) {
        let state = self.state.lock();
        cursor.retain(|shard| state.positions.get(shard).is_some());
    }

    /// Events with a lower number are in the rings of all their rooms.
    fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// Waits until what is being routed is in the rings.
    fn settle(&self) {
        drop(self.state.lock());
    }

    /// Gives seats up; rooms that nobody reads any more go.
    fn leave(&self, seats: Vec<Seat>) {
        let rooms: Vec<_> = seats.iter().map(|seat| Arc::clone(&seat.room)).collect();
        // Before the lock is taken: a seat drops a waker, and that may drop another reader.
        drop(seats);
        let mut state = self.state.lock();
        for room in rooms {
            if room.readers() == 0 {
                state.remove(&room);
            }
        }
    }

    /// The cursor that resumes just after a record of `audience` at `shard`, as its receipt says.
    #[must_use]
    pub fn cursor_after(&self, audience: &Audience, shard: Shard, after: Position) -> Cursor {
        let state = self.state.lock();
        let mut cursor = match audience {
            Audience::Room(room) => state.positions.vector(&room.id).unwrap_or_default(),
            Audience::Broadcast(_) => Cursor::default(),
        };
        cursor.set(shard, after);
        cursor
    }

    /// The rooms with the most readers, largest first, and how many rooms there are.
    #[must_use]
    pub fn largest_rooms(&self, limit: usize) -> (Vec<(Pattern, usize)>, usize) {
        let state = self.state.lock();
        let mut rooms: Vec<_> = state
            .rooms
            .values()
            .flat_map(|r| &r.0)
            .map(|room| (room.pattern.clone(), room.readers()))
            .collect();
        drop(state);
        let total = rooms.len();
        rooms.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        rooms.truncate(limit);
        (rooms, total)
    }

    /// How many rooms have readers.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.state.lock().rooms.values().map(|r| r.0.len()).sum()
    }

    /// Whether this pod has read the record at this place.
    #[must_use]
    pub fn has_read(&self, shard: Shard, offset: Offset) -> bool {
        self.state.lock().positions.get(shard).is_some_and(|s| s.position.next > offset)
    }

    /// What the window takes up, in bytes.
    #[must_use]
    pub fn window_bytes(&self) -> usize {
        self.items.budget.used()
    }
}

impl State {
    /// The room of `pattern`, made if nobody reads it yet.
    fn room(&mut self, pattern: &Pattern) -> Arc<Room> {
        let rooms = self.rooms.entry(pattern.id.clone()).or_default();
        if let Some(room) = rooms.0.iter().find(|r| r.pattern == *pattern) {
            return Arc::clone(room);
        }
        let room = Arc::new(Room::new(pattern.clone()));
        rooms.0.push(Arc::clone(&room));
        room
    }

    /// The rooms that an event of this id and type is for.
    fn takers(&self, id: &str, kind: &str) -> Vec<Arc<Room>> {
        let Some(rooms) = self.rooms.get(id) else { return Vec::new() };
        rooms.0.iter().filter(|r| r.pattern.takes(kind)).cloned().collect()
    }

    fn remove(&mut self, room: &Arc<Room>) {
        let Some(rooms) = self.rooms.get_mut(&room.pattern.id) else { return };
        rooms.0.retain(|r| !Arc::ptr_eq(r, room));
        if rooms.0.is_empty() {
            self.rooms.remove(&room.pattern.id);
        }
    }
}
