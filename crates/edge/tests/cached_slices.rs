//! Large answers that are fetched and stored in slices, and origins that change under way.
#![allow(missing_docs, reason = "a test crate")]

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use origin::Origin;
use selvedge_edge::Purge;
use support::{Reply, Server, read_head_reply, start_sites};

const TOTAL: usize = 1_000_000;
const SLICE: usize = 65_536;

/// A state of the file, whose bytes differ from those of any other.
fn file(version: usize) -> Vec<u8> {
    (0..TOTAL).map(|n| (n / 7 + n / 3000 + version * 101) as u8).collect()
}

/// An origin that gives parts, and whose file changes when it is told.
fn origin() -> (Origin, Arc<AtomicUsize>) {
    let version = Arc::new(AtomicUsize::new(1));
    let now = version.clone();
    let origin = Origin::start(move |connection| {
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let field = |name: &str| {
                let line =
                    request.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
                line.map(|line| line[name.len() + 2..].to_owned())
            };
            let version = now.load(Ordering::SeqCst);
            let tag = match path.as_str() {
                "/weak" => format!("W/\"{version}\""),
                _ => format!("\"{version}\""),
            };
            let whole = match path.as_str() {
                "/small" => b"small".to_vec(),
                "/empty" => Vec::new(),
                _ => file(version),
            };
            let fields = format!(
                "etag: {tag}\r\ncache-control: max-age=3600\r\ncache-tag: film\r\nx-selvedge-slices: 1 2 3\r\n"
            );
            if field("if-none-match") == Some(tag.clone()) {
                connection.send(format!("HTTP/1.1 304 Same\r\n{fields}\r\n"));
                continue;
            }
            let range =
                field("range").filter(|_| path != "/whole" && field("if-range").is_none_or(|of| of == tag));
            let range = range.map(|range| {
                let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let first: usize = first.parse().unwrap();
                first..last.parse().map_or(whole.len(), |last: usize| (last + 1).min(whole.len()))
            });
            match range {
                Some(range) if range.start >= whole.len() => connection.send(format!(
                    "HTTP/1.1 416 No\r\ncontent-range: bytes */{}\r\ncontent-length: 0\r\n\r\n",
                    whole.len()
                )),
                Some(range) => {
                    let (first, last) = (range.start, range.end - 1);
                    // It lies about which part it gives.
                    let first = if path == "/shifted" { first + 1 } else { first };
                    connection.send(format!(
                        "HTTP/1.1 206 Part\r\n{fields}content-range: bytes {first}-{last}/{}\r\ncontent-length: {}\r\n\r\n",
                        whole.len(),
                        range.len()
                    ));
                    if path == "/cut" && range.start > 0 {
                        connection.send(&whole[range.start..range.start + 100]);
                        return connection.close();
                    }
                    connection.send(&whole[range]);
                }
                None => {
                    connection
                        .send(format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n", whole.len()));
                    connection.send(&whole);
                }
            }
        }
    });
    (origin, version)
}

fn start() -> (Server, Origin, Arc<AtomicUsize>) {
    let (origin, version) = origin();
    (serve(&origin, "", ""), origin, version)
}

/// With more settings of the cache, and of the route's.
fn serve(origin: &Origin, more: &str, of_route: &str) -> Server {
    start_sites(&format!(
        "[edge.cache]\nmemory_bytes = 32000000\nobject_bytes = 2000000\n{more}[[sites]]\nhosts = [\"*\"]\n\
         [[sites.routes]]\npath = \"/*\"\ncache = {{ slice_bytes = {SLICE}{of_route} }}\nproxy = {{ to = [\"http://{}\"] }}\n",
        origin.address
    ))
}

fn ask(server: &Server, path: &str, fields: &str) -> Reply {
    server.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"))
}

/// All that comes, also of an answer that breaks off: its body.
fn ask_to_the_end(server: &Server, path: &str) -> Vec<u8> {
    let mut stream = server.connect();
    let head = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    all.split_off(head)
}

#[test]
fn parts_cost_only_the_slices_they_need() {
    let (server, origin, _) = start();
    let whole = file(1);
    let part = ask(&server, "/film", "range: bytes=200000-200099\r\n");
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 200000-200099/1000000")));
    assert!(part.body == whole[200_000..200_100]);
    assert!(
        part.header("cache-status").unwrap().contains("fwd=uri-miss; fwd-status=206; stored"),
        "{part:?}"
    );
    assert_eq!(part.header("x-selvedge-slices"), None);
    assert!(origin.last().contains("range: bytes=196608-262143\r\n"), "{}", origin.last());
    let again = ask(&server, "/film", "range: bytes=196608-262143\r\n");
    assert!(again.header("cache-status").unwrap().contains("; hit") && again.body == whole[196_608..262_144]);
    assert_eq!(origin.count(), 1);
    // Over the edges of slices: two more of them.
    let wide = ask(&server, "/film", "range: bytes=190000-300000\r\n");
    assert!(wide.body == whole[190_000..=300_000]);
    assert_eq!(origin.count(), 3);
    assert!(origin.last().contains("if-range: \"1\""), "{}", origin.last());
    let all = ask(&server, "/film", "");
    assert!(all.status == 200 && all.body == whole && all.header("content-length") == Some("1000000"));
    assert_eq!(origin.count(), TOTAL.div_ceil(SLICE));
    let last = ask(&server, "/film", "range: bytes=-5\r\n");
    assert_eq!((last.status, last.body), (206, whole[TOTAL - 5..].to_vec()));
    assert_eq!(ask(&server, "/film", "range: bytes=1000000-\r\n").status, 416);
    let mut stream = server.connect();
    stream.write_all(b"HEAD /film HTTP/1.1\r\nhost: a.example\r\n\r\n").unwrap();
    assert_eq!(read_head_reply(&mut stream).header("content-length"), Some("1000000"));
    let mut stream = server.connect();
    stream.write_all(b"GET /film HTTP/1.1\r\nhost: a.example\r\nif-none-match: \"1\"\r\n\r\n").unwrap();
    assert_eq!(read_head_reply(&mut stream).status, 304);
    assert_eq!(origin.count(), TOTAL.div_ceil(SLICE));
}

#[test]
fn what_has_no_slices_is_passed_on_right() {
    let (server, origin, _) = start();
    for _ in 0..2 {
        assert_eq!(ask(&server, "/small", "").text(), "small");
        assert_eq!(ask(&server, "/empty", "").text(), "");
        // Whole whatever is asked for; it is stored whole.
        let part = ask(&server, "/whole", "range: bytes=5-9\r\n");
        assert_eq!((part.status, part.body), (206, file(1)[5..10].to_vec()));
        for path in ["/weak", "/shifted"] {
            let part = ask(&server, path, "range: bytes=300000-300009\r\n");
            assert_eq!(part.status, 206, "{path}");
            assert!(part.body == file(1)[300_000..300_010], "{path}");
        }
    }
    assert!(ask(&server, "/weak", "").body == file(1));
    let asked =
        origin.requests.lock().unwrap().iter().filter(|request| request.contains("GET /whole ")).count();
    assert_eq!(asked, 1);
}

#[test]
fn a_file_that_changes_is_never_mixed() {
    let (server, origin, version) = start();
    ask(&server, "/film", "range: bytes=0-9\r\n");
    ask(&server, "/film", "range: bytes=900000-900009\r\n");
    version.store(2, Ordering::SeqCst);
    // Begun with what is stored: it breaks off where the file is another one.
    let body = ask_to_the_end(&server, "/film");
    assert!(body.len() < TOTAL && file(1).starts_with(&body), "{}", body.len());
    // From then on it is the new one, the old end of which is stored under nobody's name.
    let body = ask_to_the_end(&server, "/film");
    assert!(body == file(2));
    // Where the first slice that is needed shows it, nothing was sent yet.
    server.edge.cache().purge(&Purge::All, false);
    ask(&server, "/film", "range: bytes=0-9\r\n");
    version.store(3, Ordering::SeqCst);
    let part = ask(&server, "/film", "range: bytes=500000-500009\r\n");
    assert_eq!(part.body, file(3)[500_000..500_010].to_vec());
    // Under load, with a change at any moment.
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..10).map(|_| ask_to_the_end(&server, "/film")).collect::<Vec<_>>()))
            .collect();
        for next in 4..30 {
            version.store(next, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(10));
            server.edge.cache().purge(&Purge::Tag("film".into()), next % 2 == 0);
        }
        for body in clients.into_iter().flat_map(|client| client.join().unwrap()) {
            assert!(
                (3..30).any(|version| file(version).starts_with(&body)),
                "{} bytes of several",
                body.len()
            );
        }
    });
    assert!(origin.count() > 20);
}

#[test]
fn purged_slices_are_gone_and_softly_purged_ones_are_kept_where_nothing_changed() {
    let (server, origin, _) = start();
    for (purge, soft, again) in [
        (Purge::Address("http://a.example/film".into()), false, 2),
        (Purge::Tag("film".into()), false, 2),
        (Purge::Address("http://a.example/film".into()), true, 1),
    ] {
        assert!(ask(&server, "/film", "range: bytes=60000-70000\r\n").body == file(1)[60_000..=70_000]);
        let before = origin.count();
        server.edge.cache().purge(&purge, soft);
        assert!(ask(&server, "/film", "range: bytes=60000-70000\r\n").body == file(1)[60_000..=70_000]);
        assert_eq!(origin.count() - before, again, "{purge:?} {soft}");
    }
}

#[test]
fn an_origin_that_breaks_off_breaks_off_the_answer_only() {
    let (server, ..) = start();
    let body = ask_to_the_end(&server, "/cut");
    assert!(body == file(1)[..SLICE], "{}", body.len());
    assert_eq!(ask(&server, "/cut", "range: bytes=0-9\r\n").body, file(1)[..10].to_vec());
}

#[test]
fn slices_are_on_the_disk_and_behind_shields() {
    let (origin, _) = origin();
    let dir = tempfile::tempdir().unwrap();
    let disk =
        format!("[edge.cache.disk]\npath = {:?}\nbytes = 64000000\nobject_bytes = 2000000\n", dir.path());
    let first = serve(&origin, &disk, "");
    assert!(ask(&first, "/film", "range: bytes=60000-140000\r\n").body == file(1)[60_000..=140_000]);
    let count = origin.count();
    first.shutdown(std::time::Duration::from_secs(5));
    let second = serve(&origin, &disk, "");
    while second.edge.cache().counts().disk.unwrap().objects < 4 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let part = ask(&second, "/film", "range: bytes=60000-140000\r\n");
    assert!(part.body == file(1)[60_000..=140_000] && part.head.contains("; hit"), "{}", part.head);
    assert_eq!(origin.count(), count);
    // Its slices come from the shield, whose slices come from the origin.
    let edge = serve(&origin, "", &format!(", shield = [\"http://{}\"]", second.address));
    assert!(ask(&edge, "/film", "range: bytes=60000-200000\r\n").body == file(1)[60_000..=200_000]);
    assert_eq!(origin.count(), count + 1);
}
