//! Counting in this process, for all of its threads together.

use super::bucket::Bucket;
use super::table::Table;
use super::window::Window;
use super::{Algorithm, Key, RateLimit, Verdict};

/// A limit that this process counts for itself.
pub struct LocalLimiter(Kind);

enum Kind {
    Bucket(Table<Bucket>),
    Window(Table<Window>),
}

impl std::fmt::Debug for LocalLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalLimiter").finish_non_exhaustive()
    }
}

impl LocalLimiter {
    /// # Errors
    /// As [`RateLimit::terms`].
    pub fn new(limit: &RateLimit) -> Result<Self, String> {
        let terms = limit.terms()?;
        Ok(Self(match terms.algorithm {
            Algorithm::Bucket => Kind::Bucket(Table::new(terms, limit.keys_max)),
            Algorithm::Window => Kind::Window(Table::new(terms, limit.keys_max)),
        }))
    }

    /// Counts a request. `now` is nanoseconds of any clock that does not run backwards.
    pub fn take(&self, key: &Key, now: u64) -> Verdict {
        match &self.0 {
            Kind::Bucket(table) => table.take(key.bytes(), now),
            Kind::Window(table) => table.take(key.bytes(), now),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::span::Span;

    const SECOND: u64 = 1_000_000_000;

    fn limit(requests: u64, burst: Option<u64>, algorithm: Algorithm) -> RateLimit {
        RateLimit {
            requests,
            per: Span::seconds(1),
            burst,
            algorithm,
            keys_max: 1000,
            ..RateLimit::default()
        }
    }

    fn key(name: impl AsRef<[u8]>) -> Key {
        let mut key = Key::default();
        key.push(name.as_ref());
        key
    }

    proptest! {
        #[test]
        fn a_bucket_never_lets_more_through_than_burst_and_rate(
            requests in 1u64..50, burst in 1u64..20, pauses in proptest::collection::vec(0u64..200_000_000, 1..400),
        ) {
            let limiter = LocalLimiter::new(&limit(requests, Some(burst), Algorithm::Bucket)).unwrap();
            let (mut now, mut passed) = (5 * SECOND, Vec::new());
            for pause in pauses {
                now += pause;
                let verdict = limiter.take(&key("k"), now);
                if verdict.allowed {
                    passed.push(now);
                } else {
                    prop_assert!(verdict.wait > 0);
                    prop_assert!(!limiter.take(&key("k"), now + verdict.wait - 1).allowed, "not before its time");
                }
            }
            for (first, start) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let most = burst as f64 + (end - start) as f64 * requests as f64 / SECOND as f64;
                    prop_assert!(((last - first + 1) as f64) <= most + 1e-6);
                }
            }
        }

        #[test]
        fn a_window_never_holds_more_than_its_quota(
            requests in 1u64..30, pauses in proptest::collection::vec(0u64..150_000_000, 1..400),
        ) {
            let limiter = LocalLimiter::new(&limit(requests, None, Algorithm::Window)).unwrap();
            let (mut now, mut passed) = (5 * SECOND, Vec::new());
            for pause in pauses {
                now += pause;
                let verdict = limiter.take(&key("k"), now);
                if verdict.allowed {
                    passed.push(now);
                }
                prop_assert_eq!(verdict.wait == 0, verdict.remaining > 0);
            }
            for (first, start) in passed.iter().enumerate() {
                let inside = passed[first..].iter().take_while(|at| **at - start < SECOND).count();
                prop_assert!(inside as u64 <= requests);
            }
        }

        #[test]
        fn waiting_as_told_is_enough(requests in 1u64..30, window: bool, tries in 1usize..100) {
            let algorithm = if window { Algorithm::Window } else { Algorithm::Bucket };
            let limiter = LocalLimiter::new(&limit(requests, None, algorithm)).unwrap();
            let mut now = 5 * SECOND;
            for _ in 0..tries {
                let verdict = limiter.take(&key("k"), now);
                if !verdict.allowed {
                    now += verdict.wait;
                    prop_assert!(limiter.take(&key("k"), now).allowed);
                }
            }
            let reset = limiter.take(&key("k"), now).reset;
            let fresh = limiter.take(&key("k"), now + reset);
            prop_assert_eq!((fresh.allowed, fresh.remaining), (true, requests - 1));
        }
    }

    #[test]
    fn quotas_are_used_up_and_come_back() {
        for algorithm in [Algorithm::Bucket, Algorithm::Window] {
            let limiter = LocalLimiter::new(&limit(3, None, algorithm)).unwrap();
            let take = |name: &str, now| limiter.take(&key(name), now);
            for left in [2, 1, 0] {
                assert_eq!(take("a", SECOND).remaining, left, "{algorithm:?}");
            }
            assert!(!take("a", SECOND).allowed);
            assert!(take("b", SECOND).allowed, "others are not concerned");
            assert!(take("a", 3 * SECOND).allowed);
        }
    }

    #[test]
    fn a_flood_of_keys_does_not_free_a_limited_one() {
        for algorithm in [Algorithm::Bucket, Algorithm::Window] {
            let limiter = LocalLimiter::new(&limit(5, None, algorithm)).unwrap();
            while limiter.take(&key("limited"), SECOND).allowed {}
            for n in 0..1_000_000u32 {
                limiter.take(&key(n.to_le_bytes()), SECOND);
            }
            assert!(!limiter.take(&key("limited"), SECOND).allowed, "{algorithm:?}");
        }
    }

    #[test]
    fn memory_is_what_was_asked_for() {
        for keys in [1, 16, 17, 1000, 100_000] {
            let table = Table::<Bucket>::new(limit(1, None, Algorithm::Bucket).terms().unwrap(), keys);
            assert!(table.capacity() >= keys && table.capacity() < 2 * keys + 16, "{keys}");
        }
    }

    #[test]
    fn threads_share_a_quota() {
        let limiter = LocalLimiter::new(&limit(1000, None, Algorithm::Bucket)).unwrap();
        let allowed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..1000).filter(|_| limiter.take(&key("k"), SECOND).allowed).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 1000);
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing_away() {
        for algorithm in [Algorithm::Bucket, Algorithm::Window] {
            let limiter = LocalLimiter::new(&limit(2, None, algorithm)).unwrap();
            let taken =
                [9, 8, 9, 7, 9].iter().filter(|s| limiter.take(&key("k"), **s * SECOND).allowed).count();
            assert_eq!(taken, 2, "{algorithm:?}");
        }
    }
}
