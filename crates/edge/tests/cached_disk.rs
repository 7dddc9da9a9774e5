//! The cache's disk: large answers, restarts, purges, damage, and disks that are full.
#![allow(missing_docs, reason = "a test crate")]

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use origin::Origin;
use selvedge_edge::Purge;
use support::{Reply, Server, read_head_reply, start_sites};

/// More than memory takes.
const LARGE: usize = 5_000_000;

/// Bytes that differ from place to place, and from one address to the other.
fn body(path: &str) -> Vec<u8> {
    let length = if path.starts_with("/large") { LARGE } else { 3000 };
    let mut line = path.bytes().cycle();
    (0..length).map(|n| line.next().unwrap() ^ (n / 251) as u8).collect()
}

fn origin() -> Origin {
    Origin::start(|connection| {
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let body = body(&path);
            let tags = if path.ends_with("red") { "cache-tag: red\r\n" } else { "" };
            let length = match path.contains("unannounced") {
                true => "connection: close\r\n".to_owned(),
                false => format!("content-length: {}\r\n", body.len()),
            };
            connection.send(format!(
                "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncache-control: max-age=3600\r\n{tags}{length}\r\n"
            ));
            connection.send(&body);
            if path.contains("unannounced") {
                return connection.close();
            }
        }
    })
}

fn start(origin: &Origin, disk: &Path, bytes: u64) -> Server {
    start_sites(&format!(
        "[edge.cache]\nmemory_bytes = 16000000\nobject_bytes = 1000000\n\
         [edge.cache.disk]\npath = {disk:?}\nbytes = {bytes}\nobject_bytes = {}\n[[sites]]\nhosts = [\"*\"]\n\
         [[sites.routes]]\npath = \"/*\"\ncache = true\nproxy = {{ to = [\"http://{}\"] }}\n",
        bytes / 8,
        origin.address
    ))
}

fn ask(server: &Server, path: &str, fields: &str) -> Reply {
    server.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"))
}

fn is_hit(reply: &Reply) -> bool {
    reply.header("cache-status").unwrap().contains("; hit")
}

/// Asks until what was asked for is on the disk.
fn kept(server: &Server, count: u64) {
    while server.edge.cache().counts().disk.unwrap().objects < count {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(path.join("bodies")).unwrap().flatten();
    folders
        .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten())
        .map(|file| file.path())
        .collect()
}

#[test]
fn large_answers_come_from_the_disk() {
    let (origin, dir) = (origin(), tempfile::tempdir().unwrap());
    let server = start(&origin, dir.path(), 1 << 30);
    for (n, path) in ["/large", "/large/unannounced"].into_iter().enumerate() {
        // A body whose length nobody announced ends with the connection.
        let first = server.send(format!("GET {path} HTTP/1.0\r\nhost: a.example\r\n\r\n"));
        assert!(first.body == body(path), "{path}");
        kept(&server, n as u64 + 1);
        let second = ask(&server, path, "");
        assert!(is_hit(&second) && second.body == body(path), "{path} {}", second.head);
        assert_eq!(second.header("content-length"), Some("5000000"));
        let part = ask(&server, path, "range: bytes=1234567-2345678\r\n");
        assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 1234567-2345678/5000000")));
        assert!(part.body == body(path)[1_234_567..=2_345_678]);
        let mut stream = server.connect();
        let head = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nif-none-match: \"1\"\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_head_reply(&mut stream).status, 304);
    }
    assert_eq!(origin.requests.lock().unwrap().len(), 2);
    assert_eq!(server.edge.cache().counts().addresses, 0, "nothing of it is in memory");
}

#[test]
fn what_was_cached_is_there_after_a_restart_and_what_was_purged_is_not() {
    let (origin, dir) = (origin(), tempfile::tempdir().unwrap());
    let paths = ["/a", "/b/red", "/large", "/large/red", "/c/1", "/d"];
    let server = start(&origin, dir.path(), 1 << 30);
    paths.iter().for_each(|path| drop(ask(&server, path, "")));
    kept(&server, 6);
    server.shutdown(Duration::from_secs(5));
    let server = start(&origin, dir.path(), 1 << 30);
    kept(&server, 6);
    for path in paths {
        let reply = ask(&server, path, "");
        assert!(is_hit(&reply) && reply.body == body(path), "{path}");
    }
    assert_eq!(origin.requests.lock().unwrap().len(), 6);
    let cache = server.edge.cache().clone();
    assert_eq!(cache.purge(&Purge::Tag("red".into()), false), 2);
    assert_eq!(cache.purge(&Purge::Prefix("http://a.example/c/".into()), false), 1);
    assert_eq!(cache.purge(&Purge::Address("http://a.example/a".into()), true), 1);
    // A request that may change something.
    server.send("POST /d HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n");
    drop(cache);
    server.shutdown(Duration::from_secs(5));
    let server = start(&origin, dir.path(), 1 << 30);
    kept(&server, 2);
    let before = origin.requests.lock().unwrap().len();
    let hits = paths.map(|path| {
        let reply = ask(&server, path, "");
        assert!(reply.body == body(path), "{path}");
        is_hit(&reply)
    });
    assert_eq!(hits, [false, false, true, false, false, false]);
    let asked = origin.requests.lock().unwrap()[before..].to_vec();
    assert_eq!(asked.len(), 5);
    assert!(asked[0].starts_with("GET /a ") && asked[0].contains("if-none-match: \"1\""), "{}", asked[0]);
}

#[test]
fn damage_under_load_is_never_served() {
    let (origin, dir) = (origin(), tempfile::tempdir().unwrap());
    let server = start(&origin, dir.path(), 1 << 30);
    let right = body("/large");
    for damage in 0..6 {
        ask(&server, "/large", "");
        while files(dir.path()).is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        let mut stream = server.connect();
                        let request = "GET /large HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
                        stream.write_all(request.as_bytes()).unwrap();
                        let mut all = Vec::new();
                        // An answer that breaks off may reset the connection.
                        let _ = stream.read_to_end(&mut all);
                        all
                    })
                })
                .collect();
            for file in files(dir.path()) {
                let mut bytes = std::fs::read(&file).unwrap_or_default();
                match damage % 3 {
                    0 if !bytes.is_empty() => bytes.iter_mut().step_by(1000).for_each(|byte| *byte ^= 1),
                    1 => bytes.truncate(LARGE / 2),
                    _ => {}
                }
                let _ = match damage % 3 {
                    2 => std::fs::remove_file(&file),
                    _ => std::fs::write(&file, &bytes),
                };
            }
            for client in clients {
                let all = client.join().unwrap();
                let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                assert!(right.starts_with(&all[head..]), "{damage}: what came is right as far as it came");
            }
        });
        let mut tries = 0;
        while !is_hit(&ask(&server, "/large", "")) {
            tries += 1;
            assert!(tries < 1000);
        }
        assert!(ask(&server, "/large", "").body == right, "{damage}");
        server.edge.cache().purge(&Purge::All, false);
    }
}

/// A file system in memory, which is soon full.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(dir.path()).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "mounting takes the rights of an administrator"
        );
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_does_not_stop_serving() {
    let (origin, small) = (origin(), Small::mount());
    let server = start(&origin, small.0.path(), 1 << 30);
    for n in 0..12 {
        let path = format!("/large/{n}");
        assert!(ask(&server, &path, "").body == body(&path));
        let path = format!("/small/{n}");
        assert!(ask(&server, &path, "").body == body(&path));
    }
    let mut registry = selvedge_telemetry::Registry::default();
    server.edge.register(&mut registry);
    let metrics = selvedge_telemetry::openmetrics(&registry).unwrap();
    let failed =
        metrics.lines().find(|line| line.starts_with("selvedge_cache_disk_errors_total{kind=\"failed\"}"));
    let failed: u64 = failed.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(failed > 0, "{metrics}");
    assert!(is_hit(&ask(&server, "/small/11", "")), "memory goes on");
    // Purges are heard nevertheless.
    server.edge.cache().purge(&Purge::All, false);
    assert!((0..12).all(|n| !is_hit(&ask(&server, &format!("/large/{n}"), ""))));
}
