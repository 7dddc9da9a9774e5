//! A table of keys that never grows: sets of places, each of which a key may take in its set only.
//!
//! A new key in a full set takes the place of the one that has used the least of its quota. Somebody who asks from
//! millions of addresses thereby pushes out their own addresses: to free a key that has reached its limit, others in the
//! same set would have to use as much first, and which keys share a set depends on a secret of the process.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use super::{Terms, Verdict};

/// What is remembered of one key. The default is that of a key never seen.
pub(super) trait State: Copy + Default + Send {
    /// Counts a request if it fits.
    fn take(&mut self, terms: &Terms, now: u64) -> Verdict;
    /// How much forgetting it would give away; 0 when it is as good as never seen.
    fn worth(&self, terms: &Terms, now: u64) -> u64;
}

/// Places in a set.
const WAYS: usize = 16;
/// Locks, so that threads seldom meet.
const SHARDS_MAX: usize = 64;

#[derive(Clone, Copy)]
struct Place<S> {
    /// Hash of the key; 0 is free.
    key: u64,
    state: S,
}

type Places<S> = Box<[Place<S>]>;

pub(super) struct Table<S> {
    terms: Terms,
    hasher: RandomState,
    /// Each has as many sets as the others.
    shards: Box<[Mutex<Places<S>>]>,
    sets: usize,
}

impl<S: State> Table<S> {
    /// For `keys` keys, rounded up to whole sets.
    pub(super) fn new(terms: Terms, keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).next_power_of_two();
        let shards = sets.min(SHARDS_MAX);
        let sets = sets / shards;
        let shard =
            || Mutex::new(vec![Place { key: 0, state: S::default() }; sets * WAYS].into_boxed_slice());
        let shards = std::iter::repeat_with(shard).take(shards).collect();
        Self { terms, hasher: RandomState::new(), shards, sets }
    }

    /// Counts a request of a key at a time, nanoseconds.
    pub(super) fn take(&self, key: &[u8], now: u64) -> Verdict {
        let hash = self.hasher.hash_one(key).max(1);
        let shard = hash as usize % self.shards.len();
        let set = (hash >> 16) as usize % self.sets;
        // A panic cannot happen while it is held.
        let mut places = self.shards[shard].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let places = &mut places[set * WAYS..][..WAYS];
        let terms = &self.terms;
        if let Some(place) = places.iter_mut().find(|place| place.key == hash) {
            return place.state.take(terms, now);
        }
        let mut state = S::default();
        let verdict = state.take(terms, now);
        let least = places.iter_mut().min_by_key(|place| match place.key {
            0 => 0,
            _ => place.state.worth(terms, now),
        });
        if let Some(place) = least {
            *place = Place { key: hash, state };
        }
        verdict
    }

    /// Keys that fit.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.shards.len() * self.sets * WAYS
    }
}
