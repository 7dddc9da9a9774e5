//! Servers that share what they cached, and their purges, through a real Redis.
#![allow(missing_docs, reason = "a test crate")]

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use origin::Origin;
use selvedge_edge::Purge;
use support::{Reply, Server, runtime, start_sites};

/// A Redis of the test's own.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())
    }

    fn start_at(port: u16) -> Self {
        let run = || {
            Command::new("redis-server")
                .args([
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--port",
                    &port.to_string(),
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
        let redis = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    fn command(&self, words: &[&str]) -> String {
        let out =
            Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts its answers.
fn origin() -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |connection| {
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let count = count.fetch_add(1, Ordering::SeqCst);
            let body = match path.as_str() {
                "/big" => "x".repeat(100_000),
                _ => format!("answer {count}"),
            };
            connection.send(format!(
                "HTTP/1.1 200 OK\r\ncache-control: max-age=3600\r\nvary: x-kind\r\netag: \"{count}\"\r\ncache-tag: red\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

fn start(origin: &Origin, redis: u16, more: &str) -> Server {
    let server = start_sites(&format!(
        "[edge.cache]\nmemory_bytes = 16000000\nobject_bytes = 1000000\n{more}\n\
         [edge.cache.redis]\nurl = \"redis://127.0.0.1:{redis}\"\nobject_bytes = 50000\ntimeout_ms = 5000\n\
         [[sites]]\nhosts = [\"*\"]\n[[sites.routes]]\npath = \"/*\"\ncache = true\n\
         proxy = {{ to = [\"http://{}\"] }}\n",
        origin.address
    ));
    until(|| server.edge.cache().generation().is_some());
    server
}

fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not come about");
}

fn ask(server: &Server, path: &str, fields: &str) -> Reply {
    server.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"))
}

fn shared(server: &Server) -> selvedge_cache::shared::SharedCounts {
    server.edge.cache().counts().redis.unwrap()
}

fn purge(server: &Server, purge: &Purge, soft: bool) -> bool {
    let cache = server.edge.cache();
    let told = runtime().block_on(cache.announce(purge, soft)).unwrap().is_ok();
    cache.purge(purge, soft);
    told
}

/// A server has heard of as many purges as another.
fn heard(server: &Server, count: u64) {
    until(|| server.edge.cache().generation() == Some(count));
}

#[test]
fn servers_share_what_they_have() {
    let (redis, origin) = (Redis::start(), origin());
    let (one, two) = (start(&origin, redis.port, ""), start(&origin, redis.port, ""));
    for (n, fields) in ["", "x-kind: a\r\n", "x-kind: b\r\n"].into_iter().enumerate() {
        let first = ask(&one, "/a?token=secret", fields);
        assert!(first.header("cache-status").unwrap().contains("stored"));
        until(|| shared(&one).stored == n as u64 + 1);
        let second = ask(&two, "/a?token=secret", fields);
        assert_eq!(second.text(), first.text());
        assert!(second.header("cache-status").unwrap().contains("; hit"), "{second:?}");
    }
    assert_eq!((origin.count(), shared(&two).hits), (3, 3));
    // In memory it is from now on.
    ask(&two, "/a?token=secret", "");
    assert_eq!(shared(&two).hits, 3);
    // What is too large stays with who has it.
    ask(&one, "/big", "");
    assert!(ask(&two, "/big", "").header("cache-status").unwrap().contains("fwd=uri-miss"));
    let keys = redis.command(&["KEYS", "*"]);
    assert!(keys.contains("selvedge:cache:") && !keys.contains("secret"), "{keys}");
    for key in keys.lines().filter(|key| key.contains(":object:") || key.contains(":address:")) {
        assert!(redis.command(&["PTTL", key]).trim().parse::<i64>().unwrap() > 0, "{key}");
    }
}

#[test]
fn purges_reach_all_servers() {
    let (redis, origin) = (Redis::start(), origin());
    let (one, two) = (start(&origin, redis.port, ""), start(&origin, redis.port, ""));
    let purges = [
        Purge::Address("http://a.example/a".into()),
        Purge::Prefix("http://a.example/".into()),
        Purge::Tag("red".into()),
        Purge::All,
    ];
    for (n, what) in purges.iter().enumerate() {
        let before = origin.count();
        ask(&one, "/a", "");
        until(|| shared(&one).stored == n as u64 + 1);
        ask(&two, "/a", "");
        assert_eq!(origin.count(), before + 1);
        assert!(purge(&one, what, false), "{what:?}");
        heard(&two, n as u64 + 1);
        heard(&one, n as u64 + 1);
        // Two has it neither in memory nor from Redis, and what one fetches anew is shared again.
        let anew = ask(&two, "/a", "");
        assert!(anew.header("cache-status").unwrap().contains("fwd=uri-miss"), "{what:?} {anew:?}");
        assert_eq!(origin.count(), before + 2, "{what:?}");
        until(|| shared(&two).stored == n as u64 + 1);
        assert_eq!(ask(&one, "/a", "").text(), anew.text());
        assert_eq!(origin.count(), before + 2);
        one.edge.cache().purge(&Purge::All, false);
        two.edge.cache().purge(&Purge::All, false);
        redis.command(&[
            "EVAL",
            "for _, key in ipairs(redis.call('KEYS', '*:address:*')) do redis.call('DEL', key) end",
            "0",
        ]);
        redis.command(&[
            "EVAL",
            "for _, key in ipairs(redis.call('KEYS', '*:object:*')) do redis.call('DEL', key) end",
            "0",
        ]);
    }
    // Softly: it is asked about.
    ask(&one, "/soft", "");
    until(|| shared(&one).stored == 5);
    ask(&two, "/soft", "");
    purge(&one, &Purge::Tag("red".into()), true);
    heard(&two, 5);
    assert!(ask(&two, "/soft", "").header("cache-status").unwrap().contains("fwd=stale"));
    // A request that may change something.
    ask(&one, "/changed", "");
    until(|| shared(&one).stored == 6);
    one.send("POST /changed HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n");
    assert!(ask(&two, "/changed", "").header("cache-status").unwrap().contains("fwd=uri-miss"));
}

#[test]
fn a_server_that_was_away_hears_of_purges() {
    let (redis, origin, dir) = (Redis::start(), origin(), tempfile::tempdir().unwrap());
    let disk =
        |path: &Path| format!("disk = {{ path = {path:?}, bytes = 16000000, object_bytes = 1000000 }}");
    let (one, two) = (start(&origin, redis.port, ""), start(&origin, redis.port, &disk(dir.path())));
    ask(&two, "/a", "");
    ask(&two, "/b", "");
    purge(&one, &Purge::Tag("other".into()), false);
    heard(&two, 1);
    two.shutdown(Duration::from_secs(5));
    purge(&one, &Purge::Address("http://a.example/a".into()), false);
    let two = start(&origin, redis.port, &disk(dir.path()));
    heard(&two, 2);
    let before = origin.count();
    assert!(ask(&two, "/b", "").header("cache-status").unwrap().contains("; hit"));
    assert!(ask(&two, "/a", "").header("cache-status").unwrap().contains("fwd=uri-miss"));
    assert_eq!(origin.count(), before + 1);
}

#[test]
fn without_redis_serving_goes_on_and_purges_wait() {
    let (redis, origin) = (Redis::start(), origin());
    let (one, two) = (start(&origin, redis.port, ""), start(&origin, redis.port, ""));
    ask(&one, "/a", "");
    until(|| shared(&one).stored == 1);
    ask(&two, "/a", "");
    let port = redis.port;
    drop(redis);
    for n in 0..50 {
        assert_eq!(ask(&one, &format!("/{n}"), "").status, 200);
    }
    assert!(ask(&one, "/7", "").header("cache-status").unwrap().contains("; hit"), "memory goes on");
    for n in 0..3 {
        let request = format!("POST /{n} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(one.send(request).status, 200);
    }
    assert_eq!(shared(&one).pending, 1, "all that Redis has, once");
    assert!(!purge(&one, &Purge::Tag("red".into()), false));
    assert!(ask(&two, "/a", "").header("cache-status").unwrap().contains("; hit"), "it cannot know");
    assert_eq!(shared(&one).pending, 2);
    let _redis = Redis::start_at(port);
    until(|| shared(&one).pending == 0);
    until(|| {
        !ask(&two, "/a", "").header("cache-status").unwrap().contains("; hit") || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }
    });
}

#[test]
fn a_redis_that_is_silent_is_not_waited_for_again_and_again() {
    let (silent, origin) = (TcpListener::bind("127.0.0.1:0").unwrap(), origin());
    let server = start_sites(&format!(
        "[edge.cache.redis]\nurl = \"redis://{}\"\n[[sites]]\nhosts = [\"*\"]\n\
         [[sites.routes]]\npath = \"/*\"\ncache = true\nproxy = {{ to = [\"http://{}\"] }}\n",
        silent.local_addr().unwrap(),
        origin.address
    ));
    for n in 0..200 {
        assert_eq!(ask(&server, &format!("/{n}"), "").status, 200);
    }
    assert_eq!(server.edge.cache().generation(), None);
}

#[test]
fn a_redis_that_falls_silent_is_given_up_for_a_while() {
    let (redis, origin) = (Redis::start(), origin());
    let server = start(&origin, redis.port, "");
    ask(&server, "/a", "");
    until(|| shared(&server).stored == 1);
    // It is stopped, not gone: connections stay and nothing answers.
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &redis.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    server.edge.cache().purge(&Purge::All, false);
    for n in 0..100 {
        assert_eq!(ask(&server, &format!("/{n}"), "").status, 200);
    }
    assert!(shared(&server).errors < 50, "{:?}", shared(&server));
    signal("-CONT");
    until(|| {
        server.edge.cache().purge(&Purge::All, false);
        let hits = shared(&server).hits;
        ask(&server, "/a", "");
        shared(&server).hits > hits
    });
}

#[test]
fn what_others_wrote_into_redis_does_no_harm() {
    let (redis, origin) = (Redis::start(), origin());
    let server = start(&origin, redis.port, "");
    ask(&server, "/a", "");
    until(|| shared(&server).stored == 1);
    let keys = redis.command(&["KEYS", "*:object:*"]);
    let key = keys.trim();
    for wrong in ["", "x", "0000000000000000000000000000000000000000000000"] {
        redis.command(&["SET", key, wrong]);
        server.edge.cache().purge(&Purge::All, false);
        assert!(ask(&server, "/a", "").text().starts_with("answer"), "{wrong}");
        until(|| redis.command(&["STRLEN", key]).trim().parse::<u64>().unwrap() > 100);
    }
    // Of another type than it should be, and a purge that nobody can read: taken for one of everything.
    let addresses = redis.command(&["KEYS", "*:address:*"]);
    redis.command(&["SET", addresses.trim(), "text"]);
    server.edge.cache().purge(&Purge::All, false);
    assert_eq!(ask(&server, "/a", "").status, 200);
    redis.command(&["INCR", "selvedge:cache:generation"]);
    redis.command(&["XADD", "selvedge:cache:purges", "1-0", "note", "{"]);
    heard(&server, 1);
    assert!(ask(&server, "/a", "").header("cache-status").unwrap().contains("fwd=uri-miss"));
}
