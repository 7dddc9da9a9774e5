//! The cache in front of what answers: hits, conditions, ranges, one fetch for many, purges.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use selvedge_edge::Purge;
use support::{Reply, Server, read_head_reply, read_reply, start_sites};

/// An origin: counts requests, and holds answers to `/held…` back until it is told.
#[derive(Default)]
struct Origin {
    asked: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
    failing: Mutex<bool>,
}

impl Origin {
    fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let origin = Arc::new(Self::default());
        let serving = origin.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let origin = serving.clone();
                std::thread::spawn(move || origin.answer(stream));
            }
        });
        (origin, address)
    }

    fn answer(&self, mut stream: std::net::TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let (mut line, mut head, mut length) = (String::new(), Vec::new(), 0);
        while lines.read_line(&mut line).is_ok() && !line.trim().is_empty() {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push(std::mem::take(&mut line).trim().to_owned());
        }
        let _ = lines.read_exact(&mut vec![0; length]);
        let Some(request) = head.first().cloned() else { return };
        let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
        let count = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if path.starts_with("/held") {
            let mut open = self.open.lock().unwrap();
            while !*open {
                open = self.opened.wait(open).unwrap();
            }
        }
        let head = head.join("\n").to_ascii_lowercase();
        let (status, fields, body) = match path.as_str() {
            _ if *self.failing.lock().unwrap() => ("500 No", "", "broken".to_owned()),
            "/tagged" if head.contains("if-none-match: \"1\"") => {
                ("304 Same", "etag: \"1\"\r\ncache-control: max-age=60\r\n", String::new())
            }
            "/tagged" => (
                "200 OK",
                "etag: \"1\"\r\ncache-control: max-age=60, stale-if-error=60\r\ncache-tag: red, blue\r\n",
                "0123456789".to_owned(),
            ),
            "/mine" => ("200 OK", "cache-control: private, max-age=60\r\n", format!("answer {count}")),
            "/account/x.css" => (
                "200 OK",
                "cache-control: max-age=60\r\ncontent-type: text/html\r\n",
                format!("answer {count}"),
            ),
            "/cookie" => {
                ("200 OK", "cache-control: max-age=60\r\nset-cookie: a=b\r\n", format!("answer {count}"))
            }
            "/host" => ("200 OK", "cache-control: max-age=60\r\n", format!("{}", head.contains("evil"))),
            "/cut" => {
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 100\r\n\r\nshort",
                );
                return;
            }
            "/large" => ("200 OK", "cache-control: max-age=60\r\n", "x".repeat(3 << 20)),
            _ => ("200 OK", "cache-control: max-age=60\r\nvary: x-kind\r\n", format!("answer {count}")),
        };
        let length = if status.starts_with("304") {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let answer = format!("HTTP/1.1 {status}\r\n{fields}{length}connection: close\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

fn start() -> (Server, Arc<Origin>) {
    let (origin, address) = Origin::start();
    let server = start_sites(&format!(
        "[edge.cache]\nmemory_bytes = 16000000\nobject_bytes = 1000000\n[[sites]]\nhosts = [\"*\"]\n\
         [[sites.routes]]\npath = \"/*\"\ncache = {{ client_directives = true }}\nproxy = {{ to = [\"http://{address}\"] }}\n"
    ));
    (server, origin)
}

fn ask(server: &Server, line: &str, fields: &str) -> Reply {
    server.send(format!("{line} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"))
}

#[test]
fn stored_answers_are_given_as_asked() {
    let (server, origin) = start();
    let first = ask(&server, "GET /tagged", "");
    assert_eq!((first.status, first.text()), (200, "0123456789"));
    assert!(
        first.header("cache-status").unwrap().contains("fwd=uri-miss; fwd-status=200; stored"),
        "{first:?}"
    );
    let hit = ask(&server, "GET /tagged", "");
    assert_eq!((hit.text(), hit.header("age")), ("0123456789", Some("0")));
    assert!(hit.header("cache-status").unwrap().starts_with("Selvedge; hit; ttl="), "{hit:?}");
    let mut stream = server.connect();
    stream.write_all(b"GET /tagged HTTP/1.1\r\nhost: a.example\r\nif-none-match: W/\"1\"\r\n\r\n").unwrap();
    assert_eq!(read_head_reply(&mut stream).status, 304);
    let part = ask(&server, "GET /tagged", "range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "234", Some("bytes 2-4/10")));
    let none = ask(&server, "GET /tagged", "range: bytes=10-\r\n");
    assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */10")));
    let mut stream = server.connect();
    stream.write_all(b"HEAD /tagged HTTP/1.1\r\nhost: a.example\r\n\r\n").unwrap();
    assert_eq!(read_head_reply(&mut stream).header("content-length"), Some("10"));
    assert_eq!(origin.asked(), 1);
    // Hosts never share.
    server.send("GET /tagged HTTP/1.1\r\nhost: b.example\r\n\r\n");
    assert_eq!(origin.asked(), 2);
}

#[test]
fn some_answers_are_for_one_client() {
    let (server, origin) = start();
    for path in ["/mine", "/cookie", "/account/x.css"] {
        let before = origin.asked();
        let (one, two) = (ask(&server, &format!("GET {path}"), ""), ask(&server, &format!("GET {path}"), ""));
        assert_ne!(one.text(), two.text(), "{path}");
        assert_eq!(origin.asked(), before + 2, "{path}");
        assert!(two.header("cache-status").unwrap().contains("detail="), "{two:?}");
    }
    // What no key holds does not reach the origin.
    assert_eq!(
        ask(&server, "GET /host", "x-forwarded-host: evil\r\nx-original-url: /evil\r\n").text(),
        "false"
    );
}

#[test]
fn many_who_ask_are_one_fetch_that_outlives_the_first() {
    let (server, origin) = start();
    let request = "GET /held HTTP/1.1\r\nhost: a.example\r\n\r\n";
    let mut first = server.connect();
    first.write_all(request.as_bytes()).unwrap();
    while origin.asked() == 0 {
        std::thread::yield_now();
    }
    let mut others: Vec<_> = (0..10).map(|_| server.connect()).collect();
    others.iter_mut().for_each(|stream| stream.write_all(request.as_bytes()).unwrap());
    // One of another kind has to wait, and then asks itself.
    let mut kind = server.connect();
    kind.write_all(request.replace("\r\n\r\n", "\r\nx-kind: b\r\n\r\n").as_bytes()).unwrap();
    drop(first);
    origin.open();
    for stream in &mut others {
        assert_eq!(read_reply(stream).text(), "answer 1");
    }
    assert_eq!(read_reply(&mut kind).text(), "answer 2");
    assert_eq!(origin.asked(), 2);
}

#[test]
fn purges_and_changes_take_effect() {
    let (server, origin) = start();
    let cache = server.edge.cache().clone();
    ask(&server, "GET /tagged", "");
    assert_eq!(cache.purge(&Purge::Tag("blue".into()), true), 1);
    // Softly: its origin is asked, and says that it still holds.
    let asked = ask(&server, "GET /tagged", "");
    assert_eq!(asked.text(), "0123456789");
    assert!(asked.header("cache-status").unwrap().contains("fwd=stale; fwd-status=304"), "{asked:?}");
    assert_eq!(origin.asked(), 2);
    assert_eq!(cache.purge(&Purge::Prefix("http://a.example/".into()), false), 1);
    ask(&server, "GET /tagged", "");
    assert_eq!(origin.asked(), 3);
    // A request that may change something.
    ask(&server, "POST /tagged", "content-length: 0\r\n");
    ask(&server, "GET /tagged", "");
    assert_eq!(origin.asked(), 5);
    assert_eq!(ask(&server, "GET /never", "cache-control: only-if-cached\r\n").code(), "not_cached");
}

#[test]
fn stale_is_better_than_broken() {
    let (server, origin) = start();
    ask(&server, "GET /tagged", "");
    *origin.failing.lock().unwrap() = true;
    server.edge.cache().purge(&Purge::All, true);
    let reply = ask(&server, "GET /tagged", "");
    assert_eq!((reply.status, reply.text()), (200, "0123456789"));
    assert_eq!(ask(&server, "GET /other", "").status, 500);
}

#[test]
fn what_is_cut_or_too_large_is_not_stored() {
    let (server, origin) = start();
    for _ in 0..2 {
        let reply = ask(&server, "GET /large", "");
        assert_eq!(reply.body.len(), 3 << 20);
    }
    assert_eq!(origin.asked(), 2);
    for _ in 0..2 {
        let mut stream = server.connect();
        stream.write_all(b"GET /cut HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").unwrap();
        let mut all = String::new();
        let _ = stream.read_to_string(&mut all);
        assert!(all.ends_with("short") || all.contains(" 502 "), "{all}");
    }
    assert!(origin.asked() >= 4);
}
