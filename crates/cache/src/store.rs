//! Where the edge's cached responses are: in memory, bounded by bytes, shared by all threads, and below it (`tiers`).
//!
//! What is admitted and what goes is decided by the crate `quick_cache` (Clock-PRO: what is asked for once does not drive out
//! what is asked for often). Purges by prefix and tag walk over everything: they are rare, and indices would cost every response.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::disk::DiskCounts;
use crate::flight::Flights;
use crate::object::Object;
use crate::settings::StoreConfig;
use crate::shared::SharedCounts;

/// Responses of one address that are kept, for different requests.
const VARIANTS_MAX: usize = 32;
/// Locks for changes of one address; far more than threads.
const LOCKS: usize = 64;
/// What an address weighs beside its responses, bytes.
const ENTRY: usize = 256;

/// Responses of one address, the newest first.
#[derive(Debug, Default)]
struct Entry {
    objects: Vec<Arc<Object>>,
    /// What was not stored, and until when that is taken for granted.
    passes: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Bytes;

impl Weighter<Arc<str>, Arc<Entry>> for Bytes {
    fn weight(&self, address: &Arc<str>, entry: &Arc<Entry>) -> u64 {
        let objects: usize = entry.objects.iter().map(|object| object.size()).sum();
        (objects + address.len() + ENTRY) as u64
    }
}

/// Counts what has to make room.
#[derive(Clone, Debug, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Arc<str>, Arc<Entry>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Arc<str>, _: Arc<Entry>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is found for a request.
#[derive(Debug)]
pub enum Found {
    /// A response for it.
    Object(Arc<Object>),
    /// Responses for other requests.
    Others,
    /// Its answer was not stored a moment ago, and will not be.
    Pass,
    /// Nothing.
    Nothing,
}

/// Which responses a purge means.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purge {
    /// Of one address, normalised, whatever its requests.
    Address(String),
    /// Whose address begins so.
    Prefix(String),
    /// With this tag.
    Tag(String),
    /// All.
    All,
}

/// What the cache did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Requests that a stored response answered.
    pub hits: u64,
    /// Requests for which nothing usable was stored.
    pub misses: u64,
    /// Requests that were answered with a stale response.
    pub stale: u64,
    /// Requests that waited for another one's answer.
    pub collapsed: u64,
    /// Responses stored.
    pub stored: u64,
    /// Requests for which something was found on the disk.
    pub disk_hits: u64,
    /// Requests that did not wait for the disk any longer.
    pub disk_slow: u64,
    /// Fetches for which the shield did not answer.
    pub shield_down: u64,
    /// Addresses that had to make room in memory.
    pub evicted: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be used.
    pub bytes_max: u64,
    /// Addresses with responses.
    pub addresses: u64,
    /// The same of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskCounts>,
    /// The same of Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<SharedCounts>,
}

/// What happened, to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A stored response answered.
    Hit,
    /// Nothing usable was stored.
    Miss,
    /// A stale response answered.
    Stale,
    /// A request waited for another one's answer.
    Collapsed,
    /// A response was stored.
    Stored,
    /// Something was found on the disk.
    DiskHit,
    /// The disk was too slow.
    DiskSlow,
    /// The shield did not answer.
    ShieldDown,
}

/// Kinds of events.
const EVENTS: usize = 8;

/// All cached responses.
#[derive(Debug)]
pub struct Store {
    cache: Cache<Arc<str>, Arc<Entry>, Bytes, DefaultHashBuilder, Evictions>,
    locks: Vec<Mutex<()>>,
    object_bytes: u64,
    /// Fetches under way.
    pub flights: Flights,
    events: [AtomicU64; EVENTS],
    evictions: Evictions,
    below: tiers::Below,
}

impl Store {
    /// An empty one, in memory only.
    pub fn new(config: &StoreConfig) -> Self {
        // Each shard has its part of the memory, in which the largest response must have room among others.
        let shards = (config.memory_bytes / config.object_bytes.max(1) / 8).clamp(1, 64);
        let shards = 1_usize << shards.ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity((config.memory_bytes / 32_768).clamp(128, 65_536) as usize)
            .weight_capacity(config.memory_bytes)
            .build();
        let evictions = Evictions::default();
        let cache = match options {
            Ok(options) => {
                Cache::with_options(options, Bytes, DefaultHashBuilder::default(), evictions.clone())
            }
            Err(_) => {
                let hash = DefaultHashBuilder::default();
                Cache::with(128, config.memory_bytes, Bytes, hash, evictions.clone())
            }
        };
        Self {
            cache,
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            object_bytes: config.object_bytes,
            flights: Flights::default(),
            events: Default::default(),
            evictions,
            below: tiers::Below::default(),
        }
    }

    /// The largest body that is stored in memory, bytes.
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// What there is for a request.
    pub fn find(&self, address: &str, scope: u64, request: &HeaderMap, now: u64) -> Found {
        let Some(entry) = self.cache.get(address) else { return Found::Nothing };
        if let Some(object) = entry.objects.iter().find(|object| object.variant.matches(scope, request)) {
            return Found::Object(object.clone());
        }
        if entry.passes.iter().any(|(of, until)| *of == scope && *until > now) {
            return Found::Pass;
        }
        if entry.objects.is_empty() { Found::Nothing } else { Found::Others }
    }

    /// Takes a response into memory, in place of the one for the same requests. False where it is too large.
    fn take_in(&self, object: &Arc<Object>) -> bool {
        if object.body.len() > self.object_bytes {
            return false;
        }
        let address = object.address.clone();
        self.change(&address, |entry| {
            entry.objects.retain(|old| old.variant != object.variant);
            entry.objects.truncate(VARIANTS_MAX - 1);
            entry.passes.retain(|(scope, _)| *scope != object.variant.scope);
            entry.objects.insert(0, object.clone());
        });
        true
    }

    /// Remembers for a while that answers are not stored, so that requests need not wait for each other.
    pub fn pass(&self, address: &Arc<str>, scope: u64, until: u64, now: u64) {
        self.change(address, |entry| {
            entry.passes.retain(|(of, until)| *of != scope && *until > now);
            entry.passes.truncate(VARIANTS_MAX);
            entry.passes.push((scope, until));
        });
    }

    fn change(&self, address: &Arc<str>, change: impl FnOnce(&mut Entry)) {
        let _changing = self.locks[lock_of(address)].lock();
        let mut entry = match self.cache.peek(&**address) {
            Some(old) => Entry { objects: old.objects.clone(), passes: old.passes.clone() },
            None => Entry::default(),
        };
        change(&mut entry);
        self.cache.insert(address.clone(), Arc::new(entry));
    }

    /// Takes out of memory one response, if it is still there.
    fn take_out(&self, object: &Arc<Object>) {
        self.change(&object.address, |entry| entry.objects.retain(|other| !Arc::ptr_eq(other, object)));
    }

    /// Answers that are on their way are not stored.
    fn purge_flights(&self, purge: &Purge) {
        self.flights.purge(|address| match purge {
            Purge::Address(meant) => address == meant,
            Purge::Prefix(prefix) => address.starts_with(&**prefix),
            // Which tags an answer will have is not known yet.
            Purge::Tag(_) | Purge::All => true,
        });
    }

    fn purge_memory(&self, purge: &Purge, soft: bool) -> u64 {
        if let Purge::Address(address) = purge {
            let Some(entry) = self.cache.peek(&**address) else { return 0 };
            if soft {
                entry.objects.iter().for_each(|object| object.expire());
            } else {
                let _changing = self.locks[lock_of(address)].lock();
                self.cache.remove(&**address);
            }
            return entry.objects.len() as u64;
        }
        let count = Cell::new(0);
        let cut = RefCell::new(Vec::new());
        self.cache.retain(|_, entry| {
            let meant = |object: &Arc<Object>| match purge {
                Purge::Prefix(prefix) => object.address.starts_with(&**prefix),
                Purge::Tag(tag) => object.tags.iter().any(|own| **own == **tag),
                Purge::Address(_) | Purge::All => true,
            };
            let found = entry.objects.iter().filter(|object| meant(object)).count();
            count.set(count.get() + found as u64);
            if found == 0 {
                return true;
            }
            if soft {
                entry.objects.iter().filter(|object| meant(object)).for_each(|object| object.expire());
                return true;
            }
            if found < entry.objects.len() {
                cut.borrow_mut().extend(entry.objects.iter().filter(|object| meant(object)).cloned());
                return true;
            }
            false
        });
        cut.into_inner().iter().for_each(|object| self.take_out(object));
        count.get()
    }

    /// Takes note.
    pub fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        let [hits, misses, stale, collapsed, stored, disk_hits, disk_slow, shield_down] =
            std::array::from_fn(|n| self.events[n].load(Ordering::Relaxed));
        Counts {
            hits,
            misses,
            stale,
            collapsed,
            stored,
            disk_hits,
            disk_slow,
            shield_down,
            evicted: self.evictions.0.load(Ordering::Relaxed),
            bytes: self.cache.weight(),
            bytes_max: self.cache.capacity(),
            addresses: self.cache.len() as u64,
            disk: self.below.disk.as_ref().map(|disk| disk.counts()),
            redis: self.below.shared.as_ref().map(|shared| shared.counts()),
        }
    }
}

fn lock_of(address: &str) -> usize {
    // Which addresses share a lock is of no use to anybody: any spread will do.
    let sum = address.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    sum as usize % LOCKS
}

mod tiers;

#[cfg(test)]
mod tests;
