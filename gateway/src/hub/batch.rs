//! What is pending at one place of a room's ring, as one piece of bytes: made once, written to every
//! parked reader at that place.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::item::Item;
use super::room::Room;
use crate::wire::Variant;
use crate::wire::checksum::Piece;
use crate::wire::chunk::Framing;
use crate::wire::encoder::Encoder;

/// How many bytes of events are written to a reader at once.
pub const BYTES: usize = 64 * 1024;
/// How many events are taken for one at once.
pub(super) const EVENTS: usize = 64;

/// Events that follow each other.
#[derive(Debug)]
pub(super) struct Batch {
    /// Their chunks.
    pub(super) bytes: Bytes,
    /// What they are to the sum of a stream in their coding.
    pub(super) piece: Piece,
    /// How many events that is.
    pub(super) events: u64,
    /// How many bytes their blocks have.
    pub(super) block_bytes: u64,
    /// The place behind them.
    pub(super) end: u64,
    /// The number behind the last one's.
    pub(super) next_seq: u64,
    /// There is nothing behind them.
    pub(super) is_all: bool,
    /// How many were published when, in milliseconds since the Unix epoch.
    pub(super) published: Vec<(i64, u64)>,
}

/// What is pending for a parked reader.
#[derive(Debug)]
pub(super) enum Pending {
    /// Nothing.
    Nothing,
    /// What all readers at its place get.
    Batch(Batch),
    /// What only its task can tell: an event that is for some, or ends a stream, or is noted when it
    /// was written; a place that is not in the ring any more.
    ForTask,
}

impl Pending {
    /// What a reader at `place` gets of `taken`, which follows it; `end` is the ring's.
    pub(super) fn of(
        taken: &[(Arc<Item>, Option<Bytes>)],
        place: u64,
        end: u64,
        variant: Variant,
    ) -> Self {
        let Some((first, _)) = taken.first() else { return Self::Nothing };
        if !is_for_all(first) {
            return Self::ForTask;
        }
        let mut pieces = VecDeque::new();
        let mut encoder = Encoder::new(variant.coding, Framing::Chunks);
        let mut batch = Batch {
            bytes: Bytes::new(),
            piece: Piece::EMPTY,
            events: 0,
            block_bytes: 0,
            end: place,
            next_seq: first.seq,
            is_all: false,
            published: Vec::new(),
        };
        let mut bytes = 0;
        for (item, id_line) in taken.iter().take_while(|(item, _)| is_for_all(item)) {
            if bytes >= BYTES {
                break;
            }
            bytes += item.size();
            batch.end += 1;
            batch.next_seq = item.seq + 1;
            let Some(frame) = item.frame(variant) else { continue };
            let block = encoder.put_frame(frame, id_line.as_ref(), &mut pieces);
            batch.block_bytes += block as u64;
            batch.events += 1;
            let published_at = item.published_at();
            match batch.published.last_mut() {
                Some((at, events)) if *at == published_at => *events += 1,
                _ => batch.published.push((published_at, 1)),
            }
        }
        batch.is_all = batch.end == end;
        batch.piece = encoder.piece();
        batch.bytes = joined(pieces);
        Self::Batch(batch)
    }
}

/// Whether every reader of the room gets `item`, as the same bytes and with nothing to do after.
fn is_for_all(item: &Item) -> bool {
    item.head.to_user.is_none() && !item.head.is_final && item.head.deadline.is_none()
}

fn joined(mut pieces: VecDeque<Bytes>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop_front().unwrap_or_default();
    }
    let mut bytes = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes.freeze()
}

/// What is pending in the room that was written to last.
#[derive(Debug, Default)]
pub(super) struct Batches {
    room: Option<Arc<Room>>,
    /// The ring's end when they were made.
    end: u64,
    made: Vec<(u64, Variant, Pending)>,
}

impl Batches {
    /// What is pending in `room` for a reader at `place`, up to the ring's end at this moment.
    pub(super) fn get(&mut self, room: &Arc<Room>, place: u64, variant: Variant) -> &Pending {
        let end = room.end();
        if end == place {
            return &Pending::Nothing;
        }
        if self.end != end || !self.room.as_ref().is_some_and(|own| Arc::ptr_eq(own, room)) {
            self.made.clear();
            self.room = Some(Arc::clone(room));
            self.end = end;
        }
        let known = self.made.iter().position(|(at, of, _)| (*at, *of) == (place, variant));
        let at = known.unwrap_or_else(|| {
            self.made.push((place, variant, room.pending(place, variant)));
            self.made.len() - 1
        });
        &self.made[at].2
    }

    /// Lets go of the room and of what is pending there.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
