//! `selvedge cache`, on the real executable.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Selvedge, eventually};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

fn start(files: &TempDir, more: &str) -> Selvedge {
    Selvedge::configured(&format!(
        "{more}\n[[sites]]\nhosts = [\"shop.example\"]\n[[sites.routes]]\npath = \"/*\"\n\
         cache = {{ heuristic_max_ms = 0, ttl_ms = 3600000 }}\nfiles = {{ root = {:?} }}\n\
         [[sites.routes]]\npath = \"/live\"\nrespond = {{ body = \"live\" }}\n",
        files.path()
    ))
}

fn files() -> TempDir {
    let files = tempfile::tempdir().unwrap();
    for name in ["one.txt", "two.txt"] {
        fs::write(files.path().join(name), name).unwrap();
    }
    let map = |kind: &str, item: &str, places: &[&str]| {
        let items: String =
            places.iter().map(|place| format!("<{item}><loc>{place}</loc></{item}>")).collect();
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><{kind} xmlns=\"x\">{items}</{kind}>")
    };
    let index = map("sitemapindex", "sitemap", &["http://shop.example/pages.xml"]);
    fs::write(files.path().join("sitemap.xml"), index).unwrap();
    let pages = map(
        "urlset",
        "url",
        &["http://shop.example/one.txt", "http://shop.example/two.txt", "http://shop.example/live"],
    );
    fs::write(files.path().join("pages.xml"), pages).unwrap();
    files
}

#[test]
fn warming_fills_the_cache_of_the_running_server() {
    let files = files();
    let selvedge = start(&files, "");
    let sitemap = ["cache", "warm", "--sitemap", "http://shop.example/sitemap.xml", "--concurrency", "2"];
    assert_eq!(selvedge.json(&sitemap), json!({ "stored": 2, "hits": 0, "passed": 1 }));
    assert_eq!(selvedge.json(&sitemap), json!({ "stored": 0, "hits": 2, "passed": 1 }));
    let list = files.path().join("list");
    fs::write(&list, "# comment\nhttp://shop.example/one.txt\n\nhttp://shop.example/one.txt\n").unwrap();
    let warm = ["cache", "warm", "--list", list.to_str().unwrap()];
    assert_eq!(selvedge.json(&warm), json!({ "stored": 0, "hits": 1, "passed": 0 }));
    fs::write(
        &list,
        "http://shop.example/one.txt\nhttp://shop.example/none\nhttps://shop.example/\nnonsense\n",
    )
    .unwrap();
    let (error, _) = selvedge.refused(&warm);
    assert_eq!(error["code"], "warm_failed");
    let message = error["message"].as_str().unwrap();
    for part in ["3 of 4", "/none: status 404", "no listener with TLS", "nonsense: is no address"] {
        assert!(message.contains(part), "{message}");
    }
    fs::write(&list, "# nothing\n").unwrap();
    assert_eq!(selvedge.refused(&warm).0["code"], "nothing_to_warm");
    let broken = ["cache", "warm", "--sitemap", "http://shop.example/one.txt"];
    assert_eq!(selvedge.refused(&broken).0["code"], "sitemap");
}

#[test]
fn purges_that_do_not_reach_everybody_fail_and_say_whom() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!(
        "[edge.cache.disk]\nbytes = 16000000\nobject_bytes = 1000000\n[[edge.cache.purge_targets]]\nkind = \"fastly\"\n\
         service = \"abc\"\ntoken = \"hidden\"\nurl = \"http://{nobody}\""
    );
    let files = files();
    let selvedge = start(&files, &more);
    selvedge.json(&["cache", "warm", "--sitemap", "http://shop.example/sitemap.xml"]);
    let (error, _) = selvedge.refused(&["cache", "purge", "--url", "http://shop.example/one.txt"]);
    assert_eq!(error["code"], "purge_incomplete");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("fastly abc: it cannot be reached") && !message.contains("hidden"), "{message}");
    let list = selvedge.data().join("list");
    fs::write(&list, "http://shop.example/one.txt\nhttp://shop.example/two.txt\n").unwrap();
    let warmed = selvedge.json(&["cache", "warm", "--list", list.to_str().unwrap()]);
    assert_eq!(warmed, json!({ "stored": 1, "hits": 1, "passed": 0 }));
    let status = selvedge.json(&["cache", "status"]);
    assert_eq!(status["disk"]["errors"], 0);
    assert!(selvedge.data().join("cache/index.sqlite").exists());
}

/// All that comes of an answer.
fn fetch(selvedge: &Selvedge, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(selvedge.http).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    // The process may be killed under way.
    let _ = stream.read_to_end(&mut all);
    let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { return Default::default() };
    let body = all.split_off(end + 4);
    (String::from_utf8(all).unwrap(), body)
}

#[test]
fn a_process_that_is_killed_leaves_no_half_answers() {
    let files = files();
    let large =
        |n: usize| -> Vec<u8> { (0..4_000_000).map(|at| (at / 3 + at / 1000 * 7 + n * 31) as u8).collect() };
    for n in 0..6 {
        fs::write(files.path().join(format!("large{n}")), large(n)).unwrap();
    }
    let mut selvedge = start(
        &files,
        "[edge.cache]\nmemory_bytes = 16000000\nobject_bytes = 1000000\n[edge.cache.disk]\nbytes = 80000000\nobject_bytes = 10000000",
    );
    let paths: Vec<String> =
        (0..6).map(|n| format!("/large{n}")).chain(["/one.txt".into(), "/two.txt".into()]).collect();
    let truth = |path: &str| fs::read(files.path().join(&path[1..])).unwrap();
    for round in 0..8_u64 {
        std::thread::scope(|scope| {
            for path in &paths {
                let selvedge = &selvedge;
                scope.spawn(move || fetch(selvedge, path));
            }
            // Somewhere in the midst of it.
            std::thread::sleep(Duration::from_millis(round * 12));
            selvedge.signal(Signal::KILL);
        });
        selvedge = Selvedge::start_in(selvedge.ended());
        for path in &paths {
            let (head, body) = fetch(&selvedge, path);
            assert!(
                head.starts_with("HTTP/1.1 200") && body == truth(path),
                "{round} {path}: {} {head}",
                body.len()
            );
        }
    }
    // All of it is on the disk in the end, and is there after a last kill.
    let kept =
        |selvedge: &Selvedge| selvedge.json(&["cache", "status"])["disk"]["objects"].as_u64() >= Some(8);
    eventually("all to be kept", || kept(&selvedge).then_some(()));
    selvedge.signal(Signal::KILL);
    let selvedge = Selvedge::start_in(selvedge.ended());
    eventually("the disk", || kept(&selvedge).then_some(()));
    for path in &paths {
        let (head, body) = fetch(&selvedge, path);
        assert!(head.contains("; hit") && body == truth(path), "{path}: {head}");
    }
}
