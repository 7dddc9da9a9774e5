//! Where responses are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// What is counted for a response besides its body and fields, bytes.
const OVERHEAD: usize = 512;
/// Variants of one address (by `Vary`) that are kept.
const VARIANTS_MAX: usize = 32;

/// What a response is found by: whose cache, its name, and the address with scheme and host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Owner; caches of two never meet.
    pub owner: String,
    /// Name of the cache.
    pub cache: String,
    /// Absolute address without a fragment.
    pub url: String,
}

/// A stored response.
#[derive(Debug)]
pub struct Stored {
    /// Status.
    pub status: StatusCode,
    /// Fields as they were stored.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    stored_at: SystemTime,
    expires_at: SystemTime,
    /// Fields of the request that the response depends on, with their values.
    varies: Vec<(String, Option<HeaderValue>)>,
    /// What all of it takes, bytes.
    size: usize,
}

impl Stored {
    /// Time since it was stored, and its age then.
    pub fn age(&self, now: SystemTime) -> Duration {
        let before =
            self.headers.get(header::AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
        Duration::from_secs(before) + now.duration_since(self.stored_at).unwrap_or_default()
    }

    fn matches(&self, request: &HeaderMap) -> bool {
        self.varies.iter().all(|(name, value)| request.get(name.as_str()) == value.as_ref())
    }
}

/// A cache in memory, shared by threads.
#[derive(Debug)]
pub struct Cache {
    bytes_max: usize,
    entry_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
    /// What is not found any more, but is still being sent to somebody.
    leaving: Vec<Weak<Stored>>,
}

#[derive(Debug)]
struct Entry {
    variants: Vec<Arc<Stored>>,
    bytes: usize,
    used: u64,
}

impl Cache {
    /// A cache of so many bytes, one response at most `entry_max` of them.
    pub fn new(bytes_max: usize, entry_max: usize) -> Self {
        Self { bytes_max, entry_max: entry_max.min(bytes_max), inner: Mutex::default() }
    }

    /// Bytes of the largest body that can be stored.
    pub fn entry_max(&self) -> usize {
        self.entry_max.saturating_sub(OVERHEAD)
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// The fresh response for a request with these fields.
    pub fn get(&self, key: &Key, request: &HeaderMap, now: SystemTime) -> Option<Arc<Stored>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let entry = inner.entries.get_mut(key)?;
        let found =
            entry.variants.iter().find(|stored| stored.expires_at > now && stored.matches(request))?.clone();
        inner.order.remove(&entry.used);
        inner.clock += 1;
        entry.used = inner.clock;
        inner.order.insert(inner.clock, key.clone());
        Some(found)
    }

    /// Stores a response that answered a request with these fields; false when it is too large, or when too much of what was
    /// stored before is still being sent.
    pub fn put(
        &self,
        key: Key,
        request: &HeaderMap,
        response: (StatusCode, HeaderMap, Bytes),
        fresh: Duration,
        now: SystemTime,
    ) -> bool {
        let (status, headers, body) = response;
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        let varies = headers.get_all(header::VARY).into_iter().filter_map(|value| value.to_str().ok());
        let varies = varies.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
        let varies: Vec<_> = varies
            .filter(|name| !name.is_empty())
            .map(|name| {
                let value = request.get(name.as_str()).cloned();
                (name, value)
            })
            .collect();
        let depends = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let depends: usize = varies.iter().map(|(name, value)| name.len() + depends(value) + 96).sum();
        let size = body.len() + fields + depends + key.url.len() * 2 + OVERHEAD;
        if size > self.entry_max {
            return false;
        }
        let stored = Stored { status, headers, body, stored_at: now, expires_at: now + fresh, varies, size };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let leaving = inner.leaving();
        if leaving + size > self.bytes_max {
            return false;
        }
        let mut entry = inner.take(&key).unwrap_or(Entry { variants: Vec::new(), bytes: 0, used: 0 });
        // What is stale goes, and what this one replaces.
        let (mut stay, mut go): (Vec<_>, Vec<_>) =
            entry.variants.into_iter().partition(|old| old.expires_at > now && !old.matches(request));
        go.extend(stay.drain((VARIANTS_MAX - 1).min(stay.len())..));
        inner.leave(go);
        stay.insert(0, Arc::new(stored));
        entry.bytes = stay.iter().map(|stored| stored.size).sum();
        entry.variants = stay;
        inner.insert(key, entry);
        while inner.bytes + leaving > self.bytes_max
            && let Some((_, oldest)) = inner.order.pop_first()
        {
            let taken = inner.take(&oldest);
            inner.leave(taken.map(|entry| entry.variants).unwrap_or_default());
        }
        true
    }

    /// Removes what is stored for an address; false when nothing was.
    pub fn delete(&self, key: &Key) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = inner.take(key) else { return false };
        inner.leave(entry.variants);
        true
    }
}

impl Inner {
    fn take(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.used);
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Takes note of those that somebody still holds.
    fn leave(&mut self, variants: Vec<Arc<Stored>>) {
        let held = variants.iter().filter(|stored| Arc::strong_count(stored) > 1);
        self.leaving.extend(held.map(Arc::downgrade));
    }

    /// Bytes of what is not found any more, but still there.
    fn leaving(&mut self) -> usize {
        let mut bytes = 0;
        self.leaving.retain(|stored| {
            let held = stored.upgrade();
            bytes += held.as_ref().map_or(0, |stored| stored.size);
            held.is_some()
        });
        bytes
    }

    fn insert(&mut self, key: Key, mut entry: Entry) {
        self.clock += 1;
        entry.used = self.clock;
        self.bytes += entry.bytes;
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn key(owner: &str, url: &str) -> Key {
        Key { owner: owner.into(), cache: "default".into(), url: url.into() }
    }

    fn put(
        cache: &Cache,
        key: Key,
        request: &HeaderMap,
        headers: &[(&'static str, &'static str)],
        body: usize,
    ) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let response = (StatusCode::OK, headers, Bytes::from(vec![0; body]));
        cache.put(key, request, response, Duration::from_secs(10), START)
    }

    #[test]
    fn a_response_is_found_while_it_is_fresh() {
        let cache = Cache::new(1 << 20, 1 << 16);
        let none = HeaderMap::new();
        assert!(put(&cache, key("a", "u"), &none, &[("age", "5")], 3));
        let found = cache.get(&key("a", "u"), &none, START + Duration::from_secs(9)).unwrap();
        assert_eq!(found.age(START + Duration::from_secs(9)).as_secs(), 14);
        assert!(cache.get(&key("a", "u"), &none, START + Duration::from_secs(10)).is_none());
        assert!(cache.get(&key("b", "u"), &none, START).is_none());
        assert!(cache.delete(&key("a", "u")));
        assert!(!cache.delete(&key("a", "u")));
        assert_eq!(cache.bytes(), 0);
        assert!(!put(&cache, key("a", "u"), &none, &[], 1 << 16));
    }

    #[test]
    fn variants_are_told_apart() {
        let cache = Cache::new(1 << 20, 1 << 16);
        let language =
            |value| HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(value))]);
        put(&cache, key("a", "u"), &language("de"), &[("vary", "Accept-Language")], 1);
        put(&cache, key("a", "u"), &language("en"), &[("vary", "Accept-Language")], 2);
        let length =
            |request: &HeaderMap| cache.get(&key("a", "u"), request, START).map(|found| found.body.len());
        assert_eq!((length(&language("de")), length(&language("en"))), (Some(1), Some(2)));
        assert_eq!((length(&language("fr")), length(&HeaderMap::new())), (None, None));
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let cache = Cache::new(10_000, 5_000);
        let none = HeaderMap::new();
        for url in ["1", "2", "3"] {
            put(&cache, key("a", url), &none, &[], 2_500);
        }
        cache.get(&key("a", "1"), &none, START);
        put(&cache, key("a", "4"), &none, &[], 2_500);
        let there: Vec<_> =
            ["1", "2", "3", "4"].map(|url| cache.get(&key("a", url), &none, START).is_some()).into();
        assert_eq!(there, [true, false, true, true]);
    }

    /// Whoever reads slowly what is replaced meanwhile does not get more memory than the cache has.
    #[test]
    fn what_is_still_being_sent_counts() {
        let cache = Cache::new(10_000, 5_000);
        let none = HeaderMap::new();
        let mut held = Vec::new();
        for _ in 0..10 {
            if put(&cache, key("a", "u"), &none, &[], 2_500) {
                held.push(cache.get(&key("a", "u"), &none, START).unwrap());
                cache.delete(&key("a", "u"));
            }
        }
        assert_eq!(held.len(), 3);
        assert!(put(&cache, key("a", "small"), &none, &[], 10));
        held.clear();
        assert!(put(&cache, key("a", "u"), &none, &[], 2_500));
    }

    /// All that an entry takes is counted, whatever it consists of.
    #[test]
    fn fields_that_responses_depend_on_count() {
        let cache = Cache::new(100_000, 50_000);
        let long: &'static str = "x".repeat(20_000).leak();
        for n in 0..20 {
            let request = HeaderMap::from_iter([(
                header::ACCEPT,
                HeaderValue::from_str(&format!("{long}{n}")).unwrap(),
            )]);
            assert!(put(&cache, key("a", "u"), &request, &[("vary", "accept")], 1));
            let kept =
                cache.inner.lock().unwrap().entries.values().map(|entry| entry.variants.len()).sum::<usize>();
            assert!(kept <= 4, "{kept} variants of 20 kB in 100 kB");
        }
        let names: &'static str = "a,".repeat(2_000).leak();
        assert!(!put(&cache, key("a", "v"), &HeaderMap::new(), &[("vary", names)], 1));
    }

    proptest! {
        #[test]
        fn bytes_are_kept_within_bounds(steps in proptest::collection::vec((0u8..3, 0u8..8, 0usize..6_000), 0..100)) {
            let cache = Cache::new(20_000, 5_000);
            let none = HeaderMap::new();
            for (what, url, size) in steps {
                let key = key("a", &url.to_string());
                match what {
                    0 => drop(put(&cache, key, &none, &[], size)),
                    1 => drop(cache.get(&key, &none, START)),
                    _ => drop(cache.delete(&key)),
                }
                prop_assert!(cache.bytes() <= 20_000);
            }
        }
    }
}
