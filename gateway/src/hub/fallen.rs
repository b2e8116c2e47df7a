//! What `slow=latest` needs of a ring beyond its tail: the newest event of each kind that fell off.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::item::Item;

/// The newest event of each audience and user that fell off a ring's tail and is still in the
/// window: at most as many as that holds, and references only.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    newest: HashTable<(u64, Arc<Item>)>,
    hasher: RandomState,
    /// How many seats need it; without any it is not kept.
    pub(super) seats: usize,
}

impl Fallen {
    /// Takes note of the event that fell off from `place`.
    pub(super) fn note(&mut self, place: u64, item: Arc<Item>) {
        let Self { newest, hasher, .. } = self;
        let hash = |item: &Item| hasher.hash_one((&item.head.audience, &item.head.to_user));
        let same = |other: &Item| {
            item.head.audience == other.head.audience && item.head.to_user == other.head.to_user
        };
        newest
            .entry(hash(&item), |(_, other)| same(other), |(_, other)| hash(other))
            .insert((place, item));
    }

    /// Those that fell off at or after `place`, in no order.
    pub(super) fn since(&self, place: u64) -> impl Iterator<Item = &Arc<Item>> {
        self.newest.iter().filter(move |fallen| fallen.0 >= place).map(|fallen| &fallen.1)
    }

    /// Lets go of what has left the window.
    pub(super) fn trim(&mut self, first_seq: u64) {
        self.newest.retain(|(_, item)| item.seq >= first_seq);
        if self.newest.len() < self.newest.capacity() / 4 {
            let Self { newest, hasher, .. } = self;
            newest.shrink_to_fit(|(_, item)| {
                hasher.hash_one((&item.head.audience, &item.head.to_user))
            });
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.newest = HashTable::new();
    }
}
