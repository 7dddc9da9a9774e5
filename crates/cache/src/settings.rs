//! Settings of the edge's cache: of all of it, and of one route.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::targets::PurgeTarget;

/// Where cached responses are kept, for all routes: `[edge.cache]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Memory for cached responses, bytes.
    pub memory_bytes: u64,
    /// The largest response that is cached, bytes. At most an eighth of the memory.
    pub object_bytes: u64,
    /// Keeps responses on a disk as well: those for which memory has no room, and all over a restart.
    pub disk: Option<DiskConfig>,
    /// Shares responses with other servers, and tells them of purges.
    pub redis: Option<RedisConfig>,
    /// Networks in front of this server that are told of purges, too.
    pub purge_targets: Vec<PurgeTarget>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            object_bytes: 16 << 20,
            disk: None,
            redis: None,
            purge_targets: Vec::new(),
        }
    }
}

/// Cached responses on a disk: `[edge.cache.disk]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiskConfig {
    /// A directory of its own; without one it is `cache` in the data directory. What is in it may be thrown away.
    pub path: PathBuf,
    /// Room on the disk, bytes.
    pub bytes: u64,
    /// The largest response that is kept, bytes. At most an eighth of the room.
    pub object_bytes: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { path: PathBuf::new(), bytes: 10 << 30, object_bytes: 1 << 30 }
    }
}

impl DiskConfig {
    fn problem(&self) -> Option<String> {
        if self.bytes < 1 << 20 {
            return Some("disk: bytes must be at least 1048576".into());
        }
        (self.object_bytes > self.bytes / 8)
            .then(|| "disk: object_bytes must be at most an eighth of bytes".into())
    }
}

impl StoreConfig {
    /// What is wrong, in words.
    pub fn problem(&self) -> Option<String> {
        if self.memory_bytes < 1 << 20 {
            return Some("memory_bytes must be at least 1048576".into());
        }
        if self.object_bytes > self.memory_bytes / 8 {
            return Some("object_bytes must be at most an eighth of memory_bytes".into());
        }
        let disk = self.disk.as_ref().and_then(DiskConfig::problem);
        let redis = self.redis.as_ref().and_then(RedisConfig::problem);
        let target = |(at, target): (usize, &PurgeTarget)| {
            target.problem().map(|problem| format!("purge_targets.{at}: {problem}"))
        };
        disk.or(redis).or_else(|| self.purge_targets.iter().enumerate().find_map(target))
    }
}

/// Cached responses in a Redis that several servers share: `[edge.cache.redis]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://` with TLS, or `redis+unix:///path/to/socket`.
    pub url: Secret,
    /// Before the names of all keys. Servers with the same one share.
    pub prefix: String,
    /// How long a request waits for Redis, milliseconds.
    pub timeout_ms: u64,
    /// The largest body that is shared, bytes.
    pub object_bytes: u64,
    /// How long a response stays in Redis at most, milliseconds.
    pub ttl_max_ms: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            prefix: "selvedge:cache:".into(),
            timeout_ms: 50,
            object_bytes: 1 << 20,
            ttl_max_ms: 86_400_000,
        }
    }
}

impl RedisConfig {
    /// How long a request waits.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn problem(&self) -> Option<String> {
        if self.url.0.is_empty() {
            return Some("redis: name its `url`, such as redis://127.0.0.1:6379".into());
        }
        (!(1..=10_000).contains(&self.timeout_ms) || self.ttl_max_ms == 0)
            .then(|| "redis: timeout_ms must be between 1 and 10000, and ttl_max_ms at least 1".into())
    }
}

/// Text that is not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// `cache = true`, or a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CacheSwitch {
    /// On with what is usual, or off.
    On(bool),
    /// On, with these settings.
    With(Box<CacheConfig>),
}

/// How the responses of a route are cached. What responses say themselves (`Cache-Control`, `CDN-Cache-Control`) counts first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Fields of responses that speak to caches like this one, and count instead of `Cache-Control`; the first that is there.
    pub targeted: Vec<String>,
    /// How long responses are fresh that say nothing about it, milliseconds. None: by their `Last-Modified`, or not cached.
    pub ttl_ms: Option<u64>,
    /// The longest that a response is fresh by a tenth of the time since its `Last-Modified`, milliseconds; 0 turns that off.
    pub heuristic_max_ms: u64,
    /// Learns how long responses that say nothing are fresh: longer each time they are found unchanged, shorter when they change.
    pub adaptive: Option<AdaptiveConfig>,
    /// How long answers with status 404, 405, 410, 414 and 501 are fresh that say nothing about it, milliseconds. None: not cached.
    pub negative_ttl_ms: Option<u64>,
    /// The longest that an answer with status 400 or above is fresh, whatever it says, milliseconds.
    pub negative_max_ms: u64,
    /// May be used stale for so long while a new one is fetched, where the response does not say, milliseconds.
    pub stale_while_revalidate_ms: u64,
    /// May be used stale for so long when what answers fails, where the response does not say, milliseconds.
    pub stale_if_error_ms: u64,
    /// Does what a client's `Cache-Control` asks for. Off, clients cannot have the origin asked more often.
    pub client_directives: bool,
    /// What becomes of responses that set cookies.
    pub set_cookie: SetCookie,
    /// Requests with a cookie of one of these names are not answered from the cache, and their answers are not stored.
    pub bypass_cookies: Vec<String>,
    /// What of the query tells addresses apart.
    pub query: QueryKey,
    /// Fields of requests that tell responses apart, beside those that `Vary` names.
    pub key_headers: Vec<String>,
    /// Cookies of requests that tell responses apart.
    pub key_cookies: Vec<String>,
    /// Fields of requests that are not passed on when an answer is fetched that others may get: many servers change
    /// their answer by them without saying so.
    pub unkeyed: Vec<String>,
    /// Does not store a page under a name that promises a file (`/account/x.css`), which would show one client's page to others.
    pub deception_guard: bool,
    /// Requests for the same wait so long for the first one's answer, milliseconds, then ask themselves.
    pub coalesce_ms: u64,
    /// Fetches and stores in slices of so many bytes, for large files of which clients ask for parts. None: whole.
    pub slice_bytes: Option<u64>,
    /// Other Selvedges that are asked instead of what answers the route, such as `https://shield.example`. Where none of them can be
    /// reached, what answers the route is asked.
    pub shield: Vec<String>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            targeted: list(&["CDN-Cache-Control", "Surrogate-Control"]),
            ttl_ms: None,
            heuristic_max_ms: 86_400_000,
            adaptive: None,
            negative_ttl_ms: None,
            negative_max_ms: 600_000,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
            client_directives: false,
            set_cookie: SetCookie::Pass,
            bypass_cookies: Vec::new(),
            query: QueryKey::default(),
            key_headers: Vec::new(),
            key_cookies: Vec::new(),
            unkeyed: list(&[
                "x-forwarded-host",
                "x-forwarded-scheme",
                "x-forwarded-proto",
                "x-forwarded-port",
                "x-forwarded-prefix",
                "x-forwarded-server",
                "x-host",
                "x-original-url",
                "x-original-host",
                "x-rewrite-url",
                "x-http-method-override",
                "x-http-method",
                "x-method-override",
                "forwarded",
            ]),
            deception_guard: true,
            coalesce_ms: 5_000,
            slice_bytes: None,
            shield: Vec::new(),
        }
    }
}

/// Bounds of a learned lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveConfig {
    /// The shortest, and the first, milliseconds.
    pub min_ms: u64,
    /// The longest, milliseconds.
    pub max_ms: u64,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self { min_ms: 10_000, max_ms: 3_600_000 }
    }
}

/// What becomes of responses that set cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetCookie {
    /// They are not stored.
    #[default]
    Pass,
    /// They are stored without the field, and sent without it.
    Strip,
    /// They are stored as they are where they say how long they are fresh, as RFC 9111 has it: all clients get the cookie.
    Keep,
}

/// What of the query tells addresses apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryKey {
    /// Nothing of it.
    pub ignore: bool,
    /// Only parameters of these names; none means all.
    pub only: Vec<String>,
    /// Parameters of these names do not. A name may end with `*`: `utm_*`.
    pub except: Vec<String>,
    /// In any order.
    pub sort: bool,
}
