//! A cache of what was verified, by digest of the credentials: bounded, shared by all threads, cheap to ask.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::sync::{Mutex, PoisonError};

/// A SHA-256 or HMAC of credentials.
pub type Digest = [u8; 32];

/// Threads seldom meet in one of so many parts.
const SHARDS: usize = 16;

/// Values until a time each. When a part is full, all that was not asked for since it was half full goes.
pub struct Bounded<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    /// Of the young half of a part.
    half: usize,
}

struct Shard<V> {
    young: Half<V>,
    old: Half<V>,
}

type Half<V> = HashMap<Digest, (u64, V), BuildHasherDefault<First8>>;

impl<V: Clone> Bounded<V> {
    /// At most about `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        let shard = || Mutex::new(Shard { young: Half::default(), old: Half::default() });
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Self { shards, half: capacity.div_ceil(2 * SHARDS).max(1) }
    }

    /// What was kept for `key`, when its time (seconds since 1970) is not over.
    pub fn get(&self, key: &Digest, now: u64) -> Option<V> {
        let mut shard = self.shard(key);
        if let Some((until, value)) = shard.young.get(key) {
            return (now < *until).then(|| value.clone());
        }
        let (until, value) = shard.old.remove(key)?;
        if now >= until {
            return None;
        }
        shard.put(self.half, *key, until, value.clone());
        Some(value)
    }

    /// Keeps `value` until a time, seconds since 1970.
    pub fn put(&self, key: Digest, until: u64, value: V) {
        self.shard(&key).put(self.half, key, until, value);
    }

    /// What is kept for `key`; else what `make` makes, kept until a time.
    pub fn get_or_put(&self, key: Digest, now: u64, until: u64, make: impl FnOnce() -> V) -> V {
        let mut shard = self.shard(&key);
        let there = shard.young.get(&key).or_else(|| shard.old.get(&key));
        if let Some((_, value)) = there.filter(|(until, _)| now < *until) {
            return value.clone();
        }
        let value = make();
        shard.put(self.half, key, until, value.clone());
        value
    }

    /// Entries.
    pub fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard<V>>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: &Digest) -> std::sync::MutexGuard<'_, Shard<V>> {
        let shard = &self.shards[usize::from(key[31]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Shard<V> {
    fn put(&mut self, half: usize, key: Digest, until: u64, value: V) {
        if self.young.len() >= half && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, (until, value));
    }
}

impl<V> std::fmt::Debug for Bounded<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").finish_non_exhaustive()
    }
}

/// Digests are as good as random: their first bytes are their hash.
#[derive(Default)]
struct First8(u64);

impl Hasher for First8 {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Digest {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_le_bytes());
        key[31] = n as u8;
        key
    }

    #[test]
    fn entries_end() {
        let cache = Bounded::new(100);
        cache.put(key(1), 10, "a");
        assert_eq!(cache.get(&key(1), 9), Some("a"));
        assert_eq!(cache.get(&key(1), 10), None);
        assert_eq!(cache.get(&key(2), 0), None);
    }

    #[test]
    fn floods_do_not_grow_it_and_what_is_used_stays() {
        let cache = Bounded::new(320);
        cache.put(key(0), u64::MAX, 0);
        for n in 1..10_000 {
            cache.put(key(n), u64::MAX, n);
            assert!(cache.len() <= 320);
            assert_eq!(cache.get(&key(0), 0), Some(0), "after {n}");
        }
        assert_eq!(cache.get(&key(5), 0), None);
    }
}
