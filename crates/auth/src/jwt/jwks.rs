//! Keys of an issuer, fetched from its server, kept, and fetched again: before they are old, and when a token names one
//! that is not among them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Uri, header};
use tokio::sync::watch;

use super::algorithm::Algorithm;
use super::{JwtConfig, KEYS_TIMEOUT, KeySet};
use crate::fetch::{FetchError, Fetcher};

/// Least and most of what a server may say about how long its keys are good.
const AGE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
/// How long old keys are used while their server does not answer.
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// Between two fetches when one has failed.
const RETRY: Duration = Duration::from_secs(5);

/// The keys of an issuer.
pub struct Jwks {
    url: Uri,
    algorithms: Vec<Algorithm>,
    max_age: Duration,
    min_interval: Duration,
    fetcher: Fetcher,
    state: Mutex<State>,
    /// Grows when keys change; read without the lock.
    generation: AtomicU64,
    fetching: AtomicBool,
    /// Milliseconds after `born` when keys want to be fetched again; read without the lock.
    due_ms: AtomicU64,
    born: Instant,
    /// Counts fetches that ended, well or not.
    ended: watch::Sender<u64>,
}

struct State {
    keys: Option<Arc<KeySet>>,
    /// After this they are used only when the server does not answer.
    fresh_until: Instant,
    /// After this they are not used.
    usable_until: Instant,
    /// The earliest time of a fetch for an unknown key.
    next_unknown: Instant,
    /// The earliest time of any fetch, after one failed.
    next_try: Instant,
}

impl Jwks {
    /// Of the keys at an address. Fetches nothing yet.
    pub fn new(
        url: &str,
        algorithms: &[Algorithm],
        config: &JwtConfig,
        fetcher: Fetcher,
    ) -> Result<Self, FetchError> {
        let url = Fetcher::address(url, config.insecure_http)?;
        let now = Instant::now();
        Ok(Self {
            url,
            algorithms: algorithms.to_vec(),
            max_age: Duration::from_secs(config.jwks_max_age_s).max(Duration::from_secs(1)),
            min_interval: Duration::from_secs(config.jwks_min_interval_s),
            fetcher,
            state: Mutex::new(State {
                keys: None,
                fresh_until: now,
                usable_until: now,
                next_unknown: now,
                next_try: now,
            }),
            generation: AtomicU64::new(0),
            fetching: AtomicBool::new(false),
            due_ms: AtomicU64::new(0),
            born: now,
            ended: watch::Sender::new(0),
        })
    }

    /// Grows when keys change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Keys and their generation. Waits when there are none, or only old ones; old ones are better than none.
    pub(crate) async fn keys(self: &Arc<Self>) -> Option<(Arc<KeySet>, u64)> {
        self.refresh_when_due();
        if let Some(found) = self.current(Instant::now(), false) {
            return Some(found);
        }
        self.fetch_and_wait().await;
        self.current(Instant::now(), true)
    }

    fn current(&self, now: Instant, old_too: bool) -> Option<(Arc<KeySet>, u64)> {
        let state = self.lock();
        let until = if old_too { state.usable_until } else { state.fresh_until };
        let keys = state.keys.as_ref().filter(|_| now < until)?;
        Some((Arc::clone(keys), self.generation()))
    }

    /// Fetches in the background when keys are three quarters of their way to being old.
    pub(crate) fn refresh_when_due(self: &Arc<Self>) {
        if self.born.elapsed().as_millis() as u64 >= self.due_ms.load(Ordering::Relaxed) {
            self.start();
        }
    }

    /// Fetches because of an unknown key, unless that was done a short while ago. True when there was a fetch to wait for.
    pub(crate) async fn refresh_for_unknown(self: &Arc<Self>) -> bool {
        {
            let now = Instant::now();
            let mut state = self.lock();
            // Whoever comes while a fetch is under way waits for it.
            if now < state.next_unknown && !self.fetching.load(Ordering::Acquire) {
                return false;
            }
            state.next_unknown = now + self.min_interval;
        }
        self.fetch_and_wait().await;
        true
    }

    async fn fetch_and_wait(self: &Arc<Self>) {
        let mut ended = self.ended.subscribe();
        if self.start() {
            let _ = tokio::time::timeout(KEYS_TIMEOUT, ended.changed()).await;
        }
    }

    /// Starts a fetch unless one is under way. False when the last one failed a moment ago.
    fn start(self: &Arc<Self>) -> bool {
        if self.fetching.swap(true, Ordering::AcqRel) {
            return true;
        }
        if Instant::now() < self.lock().next_try {
            self.fetching.store(false, Ordering::Release);
            return false;
        }
        // The fetch ends even when whoever wanted it leaves.
        let fetching = Fetching(Arc::clone(self));
        tokio::spawn(async move { fetching.0.fetch().await });
        true
    }

    async fn fetch(self: &Arc<Self>) {
        let fetched = self.fetcher.get(&self.url, KEYS_TIMEOUT).await;
        let outcome = fetched.map_err(|error| error.to_string()).and_then(|response| {
            let age =
                max_age(response.headers()).unwrap_or(self.max_age.clamp(Duration::from_secs(1), AGE.1));
            let keys =
                KeySet::from_jwks(response.body(), &self.algorithms).map_err(|error| error.to_string())?;
            Ok((keys, age))
        });
        let now = Instant::now();
        let mut state = self.lock();
        let due = match outcome {
            Ok((keys, age)) => {
                if state.keys.as_deref() != Some(&keys) {
                    state.keys = Some(Arc::new(keys));
                    self.generation.fetch_add(1, Ordering::AcqRel);
                }
                state.fresh_until = now + age;
                state.usable_until = now + age.max(KEEP);
                state.next_try = now;
                now + age.mul_f32(0.75)
            }
            Err(error) => {
                tracing::warn!(url = %self.url, error, "keys of tokens cannot be fetched");
                state.next_try = now + RETRY;
                state.next_try
            }
        };
        self.due_ms.store(due.duration_since(self.born).as_millis() as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch; when it ends, even by its runtime's end, others may start one and those who wait go on.
struct Fetching(Arc<Jwks>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.fetching.store(false, Ordering::Release);
        self.0.ended.send_modify(|count| *count += 1);
    }
}

/// `max-age` of the answer, within bounds.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())?;
    Some(Duration::from_secs(seconds).clamp(AGE.0, AGE.1))
}
