//! Counting in a Redis that several servers share, in one script and one round trip.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use thread_local::ThreadLocal;

use super::{Algorithm, Key, RateLimit, SharedStore, Terms, Verdict, window};

/// How long Redis is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Requests of one connection that wait for an answer at most; more are as if Redis did not answer.
const WAITING_MAX: usize = 4096;

/// Redis does not answer, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared store of the rate limit does not answer")]
pub struct Unavailable;

/// A limit that is counted in Redis. Shared by threads; each has a connection of its own.
pub struct SharedLimiter {
    terms: Terms,
    store: SharedStore,
    client: Client,
    script: Script,
    scope: String,
    connections: ThreadLocal<tokio::sync::Mutex<Option<MultiplexedConnection>>>,
    /// Redis is not asked before this.
    resumes: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for SharedLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedLimiter").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl SharedLimiter {
    /// # Errors
    /// As [`RateLimit::terms`], and when the store's address cannot be understood. Whether it answers is seen later.
    pub fn new(limit: &RateLimit, store: &SharedStore) -> Result<Self, String> {
        // Redis' own words could repeat the password.
        let client = Client::open(store.url.as_str())
            .map_err(|_| "`redis.url` is no address of a Redis, such as redis://127.0.0.1:6379".to_owned())?;
        let terms = limit.terms()?;
        let name = limit.name.as_deref().unwrap_or_default();
        Ok(Self {
            terms,
            scope: format!("{} {name} {:?} {} {} ", name.len(), terms.algorithm, terms.quota, terms.step),
            store: store.clone(),
            client,
            script: Script::new(include_str!("shared.lua")),
            connections: ThreadLocal::new(),
            resumes: Mutex::new(None),
        })
    }

    /// Counts a request, by Redis' clock or at a time in microseconds.
    ///
    /// # Errors
    /// Redis does not answer in time, or did not a moment ago.
    pub async fn take(&self, key: &Key, now: Option<u64>) -> Result<Verdict, Unavailable> {
        if self.resumes().is_some_and(|resumes| Instant::now() < resumes) {
            return Err(Unavailable);
        }
        match tokio::time::timeout(self.store.timeout.0, self.ask(key, now)).await {
            Ok(Ok(verdict)) => Ok(verdict),
            Ok(Err(_)) | Err(_) => {
                *self.resumes() = Some(Instant::now() + PAUSE);
                if let Ok(mut connection) = self.connections.get_or_default().try_lock() {
                    *connection = None;
                }
                Err(Unavailable)
            }
        }
    }

    fn resumes(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.resumes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn ask(&self, key: &Key, now: Option<u64>) -> redis::RedisResult<Verdict> {
        let mut connection = self.connection().await?;
        let algorithm = match self.terms.algorithm {
            Algorithm::Bucket => "bucket",
            Algorithm::Window => "window",
        };
        let (allowed, remaining, reset, wait): (bool, u64, u64, u64) = self
            .script
            .key(self.name(key))
            .arg(algorithm)
            .arg(self.terms.quota)
            .arg(self.terms.step as f64 / 1000.0)
            .arg(window::SLOTS)
            .arg(now.map_or_else(String::new, |now| now.to_string()))
            .invoke_async(&mut connection)
            .await?;
        Ok(Verdict { allowed, remaining, reset: reset.saturating_mul(1000), wait: wait.saturating_mul(1000) })
    }

    /// This thread's connection. Who comes while it is being made waits for it.
    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut place = self.connections.get_or_default().lock().await;
        if let Some(connection) = &*place {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.store.timeout.0))
            .set_response_timeout(Some(self.store.timeout.0))
            .set_concurrency_limit(WAITING_MAX);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// The key's name in Redis: a digest, since keys may hold secrets and be of any length. Limits that differ in name
    /// or terms do not count together.
    fn name(&self, key: &Key) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.scope.as_bytes());
        context.update(key.bytes());
        let digest = context.finish();
        let mut name = self.store.prefix.clone();
        for byte in &digest.as_ref()[..16] {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}
