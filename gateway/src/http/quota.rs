//! How many places one key has taken, of a bounded number: an address's streams, a user's.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

/// A table is made smaller when it has this many times the room it needs.
const SHRINK_AT: usize = 4;
/// The room that is never given back.
const LEAST_ROOM: usize = 1024;

/// Counts by key. It knows only keys that have a place: as many as there are streams, at most.
#[derive(Debug)]
pub struct Quota<K: Eq + Hash> {
    most: Option<usize>,
    taken: Mutex<HashMap<K, usize, RandomState>>,
}

/// A place of a key, given back when dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    quota: Arc<Quota<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Quota<K> {
    /// `most` places for each key; without a limit nothing is counted.
    #[must_use]
    pub fn new(most: Option<usize>) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// Takes a place for `key`.
    ///
    /// # Errors
    /// All places of the key are taken. Without a limit there is no share, and no error.
    pub fn take(self: &Arc<Self>, key: K) -> Result<Option<Share<K>>, Full> {
        let Some(most) = self.most else { return Ok(None) };
        let mut taken = self.taken.lock();
        let count = taken.entry(key.clone()).or_insert(0);
        if *count >= most {
            return Err(Full);
        }
        *count += 1;
        Ok(Some(Share { quota: Arc::clone(self), key }))
    }
}

/// A key has all the places that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.quota.taken.lock();
        // By reference: the key is moved into an entry only where there is none.
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
        if taken.capacity() > LEAST_ROOM && taken.len() < taken.capacity() / SHRINK_AT {
            let room = taken.len() * 2;
            taken.shrink_to(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_places_and_no_others() {
        let quota = Quota::new(Some(2));
        let one = quota.take("a").expect("free");
        let two = quota.take("a").expect("free");
        assert_eq!(quota.take("a").expect_err("taken"), Full);
        let other = quota.take("b").expect("another's");
        drop(one);
        let again = quota.take("a").expect("given back");
        assert_eq!(quota.take("a").expect_err("taken"), Full);
        drop((two, other, again));
        assert!(quota.taken.lock().is_empty(), "what nobody has is not kept");
        let unlimited = Quota::new(None);
        assert!((0..1000).all(|_| matches!(unlimited.take("a"), Ok(None))));
    }

    #[test]
    fn the_table_shrinks_when_its_keys_have_gone() {
        let quota = Quota::new(Some(1));
        let mut shares: Vec<_> = (0..50_000).map(|n| quota.take(n).expect("free")).collect();
        let grown = quota.taken.lock().capacity();
        shares.truncate(100);
        let shrunk = quota.taken.lock().capacity();
        assert!(grown >= 50_000 && shrunk < 2 * LEAST_ROOM, "{grown} -> {shrunk}");
        assert!((0..100).all(|n| quota.take(n).is_err()), "the others are still counted");
    }
}
