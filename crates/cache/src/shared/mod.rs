//! Cached responses in a Redis that several servers share, and the purges that each tells the others.
//!
//! Purges are numbered, and Redis keeps the last of them in a stream, which each server follows (`follow`). A response says which purge
//! was the last when it was asked for: those that came after it are looked through when it is found. So nothing in Redis has to be
//! looked for by tag or prefix, and a server that was away for a while misses none. A lookup learns the number of the last purge along
//! with what it finds; who has not heard of it yet takes nothing from Redis.

mod follow;
mod purges;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::HeaderMap;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use thread_local::ThreadLocal;
use tokio::sync::Semaphore;

use crate::object::Object;
use crate::record;
use crate::settings::RedisConfig;
use crate::store::{Purge, Store};
use crate::variant::Variant;
use purges::{PURGES_MAX, Purges, Verdict};
use wire::{Names, Note};

/// How long Redis is left alone after it failed or was too slow.
const PAUSE: Duration = Duration::from_secs(1);
/// Requests of one thread that wait for Redis at most; more are as if it did not answer.
const WAITING_MAX: usize = 1024;
/// Responses that are being written to Redis at the same time; more are not written.
const WRITES_MAX: usize = 64;
/// For writing one.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// For a purge, for which an operator waits.
const PURGE_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries of telling of a purge: a connection may have died unnoticed.
const TELLINGS: usize = 2;
/// Responses of one address in Redis; with more, all are forgotten.
const VARIANTS_MAX: usize = 32;
/// Purges that wait for Redis to answer again; more become one of everything.
const PENDING_MAX: usize = 256;
/// How long a response stays that can only be asked about, milliseconds.
const ASKABLE_MS: u64 = 60_000;

/// Redis does not answer, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis does not answer; the other servers hear of it when it does")]
pub struct Unavailable;

/// Responses in Redis. Shared by threads; each has a connection of its own.
pub struct Shared {
    config: RedisConfig,
    client: Client,
    put: Script,
    announce: Script,
    connections: ThreadLocal<tokio::sync::Mutex<Option<MultiplexedConnection>>>,
    /// Redis is not asked before this.
    resumes: Mutex<Option<Instant>>,
    /// What is known of purges; nothing before the stream was read.
    purges: Mutex<Option<Purges>>,
    /// Purges that Redis has not heard of. Until it has, nothing is taken from it.
    pending: Mutex<VecDeque<Note>>,
    writes: Arc<Semaphore>,
    /// This server among others.
    name: u64,
    hits: AtomicU64,
    stored: AtomicU64,
    errors: AtomicU64,
}

/// How Redis does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SharedCounts {
    /// Requests for which something was found.
    pub hits: u64,
    /// Responses written.
    pub stored: u64,
    /// Times that it failed or was too slow.
    pub errors: u64,
    /// Purges of this server that the others have not heard of.
    pub pending: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether Redis answers is seen later. The error is a sentence.
    pub fn new(config: &RedisConfig) -> Result<Self, String> {
        // Redis' own words could repeat the password.
        let client = Client::open(config.url.0.as_str())
            .map_err(|_| "`url` is no address of a Redis, such as redis://127.0.0.1:6379".to_owned())?;
        Ok(Self {
            config: config.clone(),
            client,
            put: Script::new(
                "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
                if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then redis.call('DEL', KEYS[1]) end
                redis.call('HSET', KEYS[1], ARGV[1], '')
                if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end",
            ),
            announce: Script::new(
                "local number = redis.call('INCR', KEYS[1])
                redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[1], number .. '-0', 'note', ARGV[2])
                if KEYS[3] then redis.call('DEL', KEYS[3]) end
                return number",
            ),
            connections: ThreadLocal::new(),
            resumes: Mutex::new(None),
            purges: Mutex::new(None),
            pending: Mutex::default(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            name: fastrand::u64(1..),
            hits: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        })
    }

    /// Hears of the purges of all servers, for as long as the store lives.
    pub(crate) fn follow(self: &Arc<Self>, store: &Arc<Store>) -> std::io::Result<()> {
        follow::start(self, store)
    }

    fn names(&self) -> Names<'_> {
        Names(&self.config.prefix)
    }

    /// The last purge that this server knows of, for what is asked for now.
    pub fn generation(&self) -> Option<u64> {
        self.purges.lock().as_ref().map(|purges| purges.seen)
    }

    /// What there is for a request. Takes no longer than the settings allow.
    pub async fn find(&self, address: &str, scope: u64, request: &HeaderMap) -> Option<Arc<Object>> {
        if !self.pending.lock().is_empty() || self.generation().is_none() {
            return None;
        }
        let asked = self.ask(self.config.timeout(), self.look(address, scope, request)).await.ok()??;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(asked)
    }

    async fn look(
        &self,
        address: &str,
        scope: u64,
        request: &HeaderMap,
    ) -> redis::RedisResult<Option<Arc<Object>>> {
        let mut connection = self.connection().await?;
        let names = self.names();
        // Most addresses have one response for all: it comes at once.
        let (last, plain, variants): (Option<u64>, Option<Vec<u8>>, Vec<Vec<u8>>) = redis::pipe()
            .get(names.generation())
            .get(names.plain(address, scope))
            .hkeys(names.address(address))
            .query_async(&mut connection)
            .await?;
        let plain_name = record::write_variant(&Variant::all(scope));
        let matching = variants.into_iter().find(|variant| {
            record::read_variant(variant).is_some_and(|variant| variant.matches(scope, request))
        });
        let found = match matching {
            None => None,
            Some(variant) if variant == plain_name => plain,
            Some(variant) => connection_get(&mut connection, names.object(address, &variant)).await?,
        };
        let found = found
            .and_then(wire::read)
            .filter(|(_, object)| *object.address == *address && object.variant.matches(scope, request));
        let Some((generation, object)) = found else { return Ok(None) };
        let purges = self.purges.lock();
        let Some(purges) = purges.as_ref().filter(|purges| purges.seen == last.unwrap_or(0)) else {
            return Ok(None);
        };
        match purges.verdict(generation, &object) {
            Verdict::Gone => return Ok(None),
            Verdict::Expired => object.expire(),
            Verdict::Stays => {}
        }
        Ok(Some(Arc::new(object)))
    }

    /// Writes a response, soon; `generation` is the last purge that was known when it was asked for.
    pub fn keep(self: &Arc<Self>, object: &Arc<Object>, generation: Option<u64>) {
        let Some(generation) = generation else { return };
        if object.body.len() > self.config.object_bytes || object.body.file().is_some() || self.is_paused() {
            return;
        }
        let freshness = &object.freshness;
        let left = freshness.lifetime.saturating_sub(freshness.initial_age);
        let stays = left.saturating_add(freshness.while_revalidate.max(freshness.if_error));
        let stays = stays.saturating_add(ASKABLE_MS).min(self.config.ttl_max_ms).max(1);
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let (shared, object) = (self.clone(), object.clone());
        tokio::spawn(async move {
            let write = shared.write(&object, generation, stays);
            if shared.ask(WRITE_TIMEOUT, write).await.is_ok() {
                shared.stored.fetch_add(1, Ordering::Relaxed);
            }
            drop(permit);
        });
    }

    async fn write(&self, object: &Object, generation: u64, stays: u64) -> redis::RedisResult<()> {
        let mut connection = self.connection().await?;
        let variant = record::write_variant(&object.variant);
        let names = self.names();
        self.put
            .key(names.address(&object.address))
            .key(names.object(&object.address, &variant))
            .arg(&variant)
            .arg(wire::write(object, generation))
            .arg(stays)
            .arg(VARIANTS_MAX)
            .invoke_async(&mut connection)
            .await
    }

    /// A request may have changed what is at an address.
    pub async fn forget(&self, address: &str) {
        let forget = async {
            let mut connection = self.connection().await?;
            redis::cmd("DEL").arg(self.names().address(address)).query_async::<()>(&mut connection).await
        };
        if self.ask(self.config.timeout(), forget).await.is_err() {
            // Which addresses these are is not remembered: there may be many by the time Redis answers.
            self.remember(Note { purge: None, soft: false, from: self.name });
        }
    }

    /// Tells all servers of a purge.
    ///
    /// # Errors
    /// Redis does not answer. It is told when it does.
    pub async fn announce(&self, purge: &Purge, soft: bool) -> Result<(), Unavailable> {
        let note = Note { purge: Some(purge.clone()), soft, from: self.name };
        for _ in 0..TELLINGS {
            // An operator waits: it is tried even where it failed a moment ago.
            *self.resumes.lock() = None;
            let tell = async {
                let mut connection = self.connection().await?;
                self.telling(&note).invoke_async::<u64>(&mut connection).await
            };
            if self.ask(PURGE_TIMEOUT, tell).await.is_ok() {
                return Ok(());
            }
        }
        self.remember(note);
        Err(Unavailable)
    }

    fn telling(&self, note: &Note) -> redis::ScriptInvocation<'_> {
        let names = self.names();
        let mut telling = self.announce.prepare_invoke();
        telling.key(names.generation()).key(names.purges());
        if let Some(Purge::Address(address)) = &note.purge {
            telling.key(names.address(address));
        }
        // Notes are made of texts and numbers.
        telling.arg(PURGES_MAX).arg(serde_json::to_string(note).unwrap_or_default());
        telling
    }

    fn remember(&self, note: Note) {
        let mut pending = self.pending.lock();
        if pending.len() >= PENDING_MAX {
            pending.clear();
            pending.push_back(Note { purge: Some(Purge::All), soft: false, from: self.name });
        } else if !pending.contains(&note) {
            pending.push_back(note);
        }
    }

    fn is_paused(&self) -> bool {
        self.resumes.lock().is_some_and(|resumes| Instant::now() < resumes)
    }

    /// Asks Redis something, for so long; not at all where it failed a moment ago.
    async fn ask<T>(
        &self,
        patience: Duration,
        question: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Unavailable> {
        if self.is_paused() {
            return Err(Unavailable);
        }
        if let Ok(Ok(answer)) = tokio::time::timeout(patience, question).await {
            return Ok(answer);
        }
        self.errors.fetch_add(1, Ordering::Relaxed);
        *self.resumes.lock() = Some(Instant::now() + PAUSE);
        if let Ok(mut connection) = self.connections.get_or_default().try_lock() {
            *connection = None;
        }
        Err(Unavailable)
    }

    /// This thread's connection. Who comes while it is being made waits for it.
    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut place = self.connections.get_or_default().lock().await;
        if let Some(connection) = &*place {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PURGE_TIMEOUT))
            .set_response_timeout(Some(PURGE_TIMEOUT))
            .set_concurrency_limit(WAITING_MAX);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// How it does.
    pub fn counts(&self) -> SharedCounts {
        let [hits, stored, errors] =
            [&self.hits, &self.stored, &self.errors].map(|number| number.load(Ordering::Relaxed));
        SharedCounts { hits, stored, errors, pending: self.pending.lock().len() as u64 }
    }
}

async fn connection_get(
    connection: &mut MultiplexedConnection,
    name: String,
) -> redis::RedisResult<Option<Vec<u8>>> {
    redis::cmd("GET").arg(name).query_async(connection).await
}
