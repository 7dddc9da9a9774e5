//! Limits counted in a real Redis.
#![allow(missing_docs, clippy::print_stderr)]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use selvedge_limit::rate::{Algorithm, Key, LocalLimiter, RateLimit, SharedLimiter, SharedStore};
use selvedge_limit::span::Span;

/// A Redis of the test's own.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_at(port)
    }

    fn start_at(port: u16) -> Self {
        let run = || {
            Command::new("redis-server")
                .args([
                    "--port",
                    &port.to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .stdout(Stdio::null())
                .spawn()
        };
        let child = run().unwrap_or_else(|_| {
            let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
                .arg("redis-server")
                .output();
            assert!(
                installed.is_ok_and(|output| output.status.success()),
                "redis-server cannot be installed"
            );
            run().unwrap()
        });
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }

    fn store(&self) -> SharedStore {
        store(&format!("redis://127.0.0.1:{}", self.port))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn store(url: &str) -> SharedStore {
    let mut store: SharedStore = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
    // What is tested is not how fast a busy machine is.
    store.timeout = Span::seconds(20);
    store
}

fn limit(requests: u64, algorithm: Algorithm) -> RateLimit {
    RateLimit { requests, per: Span::seconds(3600), algorithm, ..RateLimit::default() }
}

fn key(name: &str) -> Key {
    let mut key = Key::default();
    key.push(name.as_bytes());
    key
}

#[tokio::test]
async fn redis_counts_as_this_process_does() {
    let redis = Redis::start();
    for algorithm in [Algorithm::Bucket, Algorithm::Window] {
        let limit = RateLimit { requests: 7, per: Span::seconds(10), algorithm, ..RateLimit::default() };
        let (shared, local) =
            (SharedLimiter::new(&limit, &redis.store()).unwrap(), LocalLimiter::new(&limit).unwrap());
        let mut now = 1_800_000_000_000_000;
        for n in 0..300u64 {
            now += n * 7_919_000 % 3_000_000;
            let key = key(if n % 5 == 0 { "a" } else { "b" });
            let (there, here) = (shared.take(&key, Some(now)).await.unwrap(), local.take(&key, now * 1000));
            assert_eq!((there.allowed, there.remaining), (here.allowed, here.remaining), "{algorithm:?} {n}");
            assert!(
                there.reset.abs_diff(here.reset) < 10_000 && there.wait.abs_diff(here.wait) < 10_000,
                "{n}"
            );
        }
    }
}

#[tokio::test]
async fn servers_share_a_quota_exactly() {
    let redis = Redis::start();
    for (algorithm, name) in [(Algorithm::Bucket, "bucket"), (Algorithm::Window, "window")] {
        let servers: Vec<_> = (0..4)
            .map(|_| {
                let limiter = SharedLimiter::new(&limit(50, algorithm), &redis.store()).unwrap();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let mut allowed = 0;
                        for _ in 0..40 {
                            allowed += usize::from(limiter.take(&key(name), None).await.unwrap().allowed);
                        }
                        allowed
                    })
                })
            })
            .collect();
        let allowed: usize = servers.into_iter().map(|server| server.join().unwrap()).sum();
        assert_eq!(allowed, 50, "{algorithm:?}");
    }
}

#[tokio::test]
async fn keys_expire_and_do_not_show_what_they_count() {
    let redis = Redis::start();
    for algorithm in [Algorithm::Bucket, Algorithm::Window] {
        let limiter = SharedLimiter::new(&limit(5, algorithm), &redis.store()).unwrap();
        limiter.take(&key("secret-key"), None).await.unwrap();
    }
    let mut connection =
        redis::Client::open(redis.store().url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert_eq!(names.len(), 2, "limits that differ do not count together");
    for name in names {
        assert!(name.starts_with("selvedge:rate:") && !name.contains("secret"));
        let left: i64 = redis::cmd("PTTL").arg(&name).query_async(&mut connection).await.unwrap();
        assert!(left > 0, "{left}");
    }
}

#[tokio::test]
async fn a_redis_that_forgot_the_script_or_went_away_is_used_again() {
    let redis = Redis::start();
    let limiter = SharedLimiter::new(&limit(5, Algorithm::Bucket), &redis.store()).unwrap();
    assert_eq!(limiter.take(&key("k"), None).await.unwrap().remaining, 4);
    let port = redis.port;
    drop(redis);
    assert!(limiter.take(&key("k"), None).await.is_err());
    // A new process knows neither script nor counts.
    let _redis = Redis::start_at(port);
    let verdict = loop {
        if let Ok(verdict) = limiter.take(&key("k"), None).await {
            break verdict;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(verdict.remaining, 4);
}

#[tokio::test]
async fn a_redis_that_is_silent_is_not_waited_for_again_and_again() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut store = store(&format!("redis://{}", silent.local_addr().unwrap()));
    store.timeout = Span::millis(20);
    let limiter = SharedLimiter::new(&limit(5, Algorithm::Bucket), &store).unwrap();
    for _ in 0..1000 {
        assert!(limiter.take(&key("k"), None).await.is_err());
    }
    assert!(SharedLimiter::new(&limit(5, Algorithm::Bucket), &self::store("http://x")).is_err());
}
