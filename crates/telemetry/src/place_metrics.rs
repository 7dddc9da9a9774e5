//! Durations of requests by what answered them: a site's route, or a worker. The number of places is bounded; what comes
//! later is counted together.

use std::array;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;

use crate::exposition::{Exemplar, escaped, write_buckets, write_head};
use crate::http_metrics::{BOUNDS_US, CLASSES, bucket};

/// Places that are counted on their own.
const PLACES_MAX: usize = 500;
/// Sets of counters of one place; threads share them evenly.
const SHARDS: usize = 8;
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// What answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The site's first host; nothing for workers without a site.
    pub site: String,
    /// The path of the route as it was written, or `account/script`.
    pub route: String,
}

/// The counters of all places.
#[derive(Clone, Debug, Default)]
pub struct PlaceMetrics(Arc<Mutex<BTreeMap<Place, Arc<PlaceCounters>>>>);

/// What is counted of one place.
#[derive(Debug, Default)]
pub struct PlaceCounters {
    shards: [OnceLock<Box<[ClassCounters; CLASSES.len()]>>; SHARDS],
    /// The last that was traced, by class and bucket.
    exemplars: Mutex<BTreeMap<(usize, usize), Exemplar>>,
}

/// Of one status class, and some threads.
#[derive(Debug)]
#[repr(align(128))]
struct ClassCounters {
    buckets: [AtomicU64; BUCKETS],
    us: AtomicU64,
}

/// What was counted of one place since the start.
#[derive(Clone, Debug, Serialize)]
pub struct PlaceStats {
    /// What answered.
    #[serde(flatten)]
    pub place: Place,
    /// Requests by status class, from 1xx to 5xx.
    pub classes: [u64; CLASSES.len()],
    /// Requests by duration; the last bucket has no bound.
    pub buckets: [u64; BUCKETS],
}

impl PlaceCounters {
    /// Counts a request that a thread has answered.
    #[inline]
    pub fn request(&self, thread: usize, status: u16, duration_us: u64) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let bucket = bucket(duration_us);
        let shard = self.shards[thread % SHARDS].get_or_init(|| {
            Box::new(array::from_fn(|_| ClassCounters {
                buckets: array::from_fn(|_| AtomicU64::new(0)),
                us: AtomicU64::new(0),
            }))
        });
        shard[class].buckets[bucket].fetch_add(1, Ordering::Relaxed);
        shard[class].us.fetch_add(duration_us, Ordering::Relaxed);
    }

    /// Remembers that a request which was counted has a trace.
    pub fn exemplar(&self, status: u16, exemplar: Exemplar) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.exemplars().insert((class, bucket(exemplar.duration_us)), exemplar);
    }

    fn exemplars(&self) -> MutexGuard<'_, BTreeMap<(usize, usize), Exemplar>> {
        self.exemplars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum(&self, number: impl Fn(&[ClassCounters; CLASSES.len()]) -> &AtomicU64) -> u64 {
        let shards = self.shards.iter().filter_map(OnceLock::get);
        shards.map(|shard| number(shard).load(Ordering::Relaxed)).sum()
    }
}

impl PlaceMetrics {
    /// The counters of a place. Beyond the bound they are those of all others.
    pub fn place(&self, place: Place) -> Arc<PlaceCounters> {
        let mut places = self.lock();
        let place = match places.len() < PLACES_MAX || places.contains_key(&place) {
            true => place,
            false => Place { site: String::new(), route: "other".into() },
        };
        places.entry(place).or_default().clone()
    }

    /// Appends `selvedge_http_route_duration_seconds` in OpenMetrics.
    pub(crate) fn write_histograms(&self, out: &mut String) -> fmt::Result {
        let name = "selvedge_http_route_duration_seconds";
        write_head(out, name, "From a request's head to the end of its response's body, by what answered")?;
        for (place, counters) in self.lock().iter() {
            let exemplars = counters.exemplars().clone();
            for (c, class) in CLASSES.iter().enumerate() {
                let counts: [u64; BUCKETS] =
                    array::from_fn(|b| counters.sum(|classes| &classes[c].buckets[b]));
                if counts.iter().all(|count| *count == 0) {
                    continue;
                }
                let (site, route) = (escaped(&place.site), escaped(&place.route));
                let labels = format!("site=\"{site}\",route=\"{route}\",status=\"{class}\",");
                let us = counters.sum(|classes| &classes[c].us);
                let buckets = counts.iter().enumerate();
                let buckets = buckets.map(|(b, count)| (*count, exemplars.get(&(c, b)).copied()));
                write_buckets(out, name, &labels, us, buckets)?;
            }
        }
        Ok(())
    }

    /// What was counted since the start, of all places.
    pub fn stats(&self) -> Vec<PlaceStats> {
        let of = |(place, counters): (&Place, &Arc<PlaceCounters>)| PlaceStats {
            place: place.clone(),
            classes: array::from_fn(|c| {
                (0..BUCKETS).map(|b| counters.sum(|classes| &classes[c].buckets[b])).sum()
            }),
            buckets: array::from_fn(|b| {
                (0..CLASSES.len()).map(|c| counters.sum(|classes| &classes[c].buckets[b])).sum()
            }),
        };
        self.lock().iter().map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Arc<PlaceCounters>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_by_their_names_and_have_a_bound() {
        let metrics = PlaceMetrics::default();
        let place = |n: usize| Place { site: "a\"\n".into(), route: format!("/{n}") };
        metrics.place(place(0)).request(0, 200, 90);
        metrics.place(place(0)).request(9, 200, 90);
        metrics.place(place(0)).request(9, 503, u64::MAX / 2);
        for n in 0..PLACES_MAX * 2 {
            metrics.place(place(n)).request(n, 404, 1);
        }
        metrics.place(place(0)).exemplar(200, Exemplar { trace_id: 7, duration_us: 90, at_ms: 0 });
        let mut text = String::new();
        metrics.write_histograms(&mut text).unwrap();
        let line = |start: &str| {
            text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"))
        };
        let name = "selvedge_http_route_duration_seconds";
        line(&format!("{name}_bucket{{le=\"0.0001\",site=\"a\\\"\\n\",route=\"/0\",status=\"2xx\"}} 2"));
        assert!(text.contains("route=\"other\""));
        let stats = metrics.stats();
        assert_eq!(stats.len(), PLACES_MAX + 1);
        let zero = stats.iter().find(|stats| stats.place.route == "/0").unwrap();
        assert_eq!((zero.classes, zero.buckets[0], zero.buckets[BUCKETS - 1]), ([0, 2, 0, 1, 1], 3, 1));
    }
}
