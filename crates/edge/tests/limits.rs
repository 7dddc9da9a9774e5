//! Who may ask, and how often.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use support::{Reply, Server, read_reply, sites, start_sites};

/// A site with one route for each path, whose middleware is of the same name.
fn site(middleware: &str, names: &[&str]) -> String {
    let routes: String = names
        .iter()
        .map(|name| {
            format!(
                "[[sites.routes]]\npath = \"/{name}/*\"\nuse = [\"{name}\"]\nrespond = {{ body = \"in\" }}\n"
            )
        })
        .collect();
    format!("{middleware}\n[[sites]]\nhosts = [\"*\"]\n{routes}")
}

fn ask(server: &Server, path: &str, fields: &str) -> Reply {
    server.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"))
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let server = start_sites(&site(
        "[middleware.bucket.rate_limit]\nrequests = 3\nper = \"1h\"\n\
         [middleware.window.rate_limit]\nrequests = 3\nper = \"1h\"\nalgorithm = \"window\"\nname = \"w\"",
        &["bucket", "window"],
    ));
    for (path, name) in [("/bucket/", "bucket"), ("/window/", "w")] {
        for left in [2, 1, 0] {
            let reply = ask(&server, path, "");
            assert_eq!((reply.status, reply.text()), (200, "in"));
            assert_eq!(reply.header("ratelimit-policy").unwrap(), format!("\"{name}\";q=3;w=3600"));
            assert!(reply.header("ratelimit").unwrap().starts_with(&format!("\"{name}\";r={left};t=")));
            assert_eq!(reply.header("retry-after"), None);
        }
        // An address that the client only claims to have is no other client.
        let reply = ask(&server, path, "x-forwarded-for: 192.0.2.1\r\nforwarded: for=192.0.2.2\r\n");
        assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
        assert!(reply.header("ratelimit").unwrap().starts_with(&format!("\"{name}\";r=0;t=")));
        let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
        // A window lets go of requests by the tenth of its length.
        assert!((1..=3960).contains(&seconds), "{seconds}");
    }
}

#[test]
fn keys_are_counted_apart() {
    let server = start_sites(&site(
        "[middleware.key.rate_limit]\nrequests = 1\nper = \"1h\"\nkey = \"header:x-api-key\"\nfields = false\n\
         [middleware.cookie.rate_limit]\nrequests = 1\nper = \"1h\"\nkey = [\"cookie:id\", \"host\"]\n\
         [middleware.route.rate_limit]\nrequests = 1\nper = \"1h\"\nkey = [\"route\"]",
        &["key", "cookie", "route"],
    ));
    let status = |path: &str, fields: &str| ask(&server, path, fields).status;
    assert_eq!(status("/key/", "x-api-key: a\r\n"), 200);
    assert_eq!(status("/key/", "x-api-key: a\r\n"), 429);
    assert_eq!(status("/key/", "x-api-key: b\r\n"), 200);
    assert_eq!(status("/key/", ""), 200, "who has none is counted by address");
    assert_eq!(status("/key/", ""), 429);
    assert_eq!(ask(&server, "/key/", "x-api-key: c\r\n").header("ratelimit"), None);
    assert_eq!(status("/cookie/", "cookie: x=1; id=7\r\n"), 200);
    assert_eq!(status("/cookie/", "cookie: x=2\r\ncookie: id=7\r\n"), 429);
    assert_eq!(status("/cookie/", "cookie: xid=7\r\n"), 200);
    assert_eq!(status("/route/1", ""), 200);
    assert_eq!(status("/route/2", ""), 429);
    // Fields of any size and number are keys of the same size.
    for n in 0..200 {
        assert_eq!(status("/key/", &format!("x-api-key: {n}{}\r\n", "k".repeat(4000))), 200);
    }
}

#[test]
fn all_threads_and_connections_count_together() {
    let server = start_sites(&site("[middleware.a.rate_limit]\nrequests = 50\nper = \"1h\"", &["a"]));
    let allowed: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = server.connect();
                    let mut allowed = 0;
                    for _ in 0..30 {
                        stream.write_all(b"GET /a/ HTTP/1.1\r\nhost: a.example\r\n\r\n").unwrap();
                        allowed += usize::from(read_reply(&mut stream).status == 200);
                    }
                    allowed
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(allowed, 50);
}

struct Redis(Child, u16);

impl Redis {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let run = || {
            Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
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
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self(child, port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn servers_count_together_in_redis_and_go_on_without_it() {
    let redis = Redis::start();
    let settings = |fallback: &str| {
        format!(
            "[middleware.{fallback}.rate_limit]\nrequests = 3\nper = \"1h\"\n\
             redis = {{ url = \"redis://127.0.0.1:{}\", timeout = \"20s\", fallback = \"{fallback}\" }}\n",
            redis.1
        )
    };
    let text = ["local", "open", "closed"].map(settings).concat();
    let text = site(&text, &["local", "open", "closed"]);
    let (one, two) = (start_sites(&text), start_sites(&text));
    for path in ["/local/", "/open/", "/closed/"] {
        let replies = [&one, &two, &one, &two, &one].map(|server| ask(server, path, "").status);
        assert_eq!(replies, [200, 200, 200, 429, 429], "{path}");
    }
    drop(redis);
    let replies = [0; 5].map(|_| ask(&one, "/local/", "").status);
    assert_eq!(replies, [200, 200, 200, 429, 429], "it counts for itself");
    assert_eq!([0; 5].map(|_| ask(&one, "/open/", "").status), [200; 5]);
    let reply = ask(&one, "/closed/", "");
    assert_eq!((reply.status, reply.code().as_str()), (503, "limit_unavailable"));
}

#[test]
fn addresses_are_let_in_or_kept_out() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# nobody yet\n").unwrap();
    let server = start_sites(&site(
        &format!(
            "[middleware.allowed.ip]\nallow = [\"127.0.0.0/8\"]\n[middleware.denied.ip]\ndeny = [\"::/0\", \"127.0.0.1\"]\n\
             [middleware.others.ip]\nallow = [\"10.0.0.0/8\"]\n[middleware.file.ip]\ndeny_file = {:?}",
            file.path()
        ),
        &["allowed", "denied", "others", "file"],
    ));
    assert_eq!(ask(&server, "/allowed/", "").status, 200);
    for path in ["/denied/", "/others/"] {
        let reply = ask(&server, path, "x-forwarded-for: 10.0.0.1\r\nx-real-ip: 10.0.0.1\r\n");
        assert_eq!((reply.status, reply.code().as_str()), (403, "address_denied"), "{path}");
    }
    assert_eq!(ask(&server, "/file/", "").status, 200);
    std::fs::write(file.path(), "127.0.0.1 # now\n").unwrap();
    while ask(&server, "/file/", "").status != 403 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // A file that cannot be read changes nothing; one that can does.
    std::fs::write(file.path(), "rubbish, of some length\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    for _ in 0..3 {
        assert_eq!(ask(&server, "/file/", "").status, 403);
    }
    std::fs::write(file.path(), "").unwrap();
    while ask(&server, "/file/", "").status != 200 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn mistakes_are_named() {
    for (settings, part) in [
        ("[middleware.a.rate_limit]\nrequests = 0", "at least 1"),
        ("[middleware.a.rate_limit]\nrequests = 1\nredis = { url = \"nowhere\" }", "redis.url"),
        ("[middleware.a.ip]\nallow = [\"10.0.0.0/40\"]", "10.0.0.0/40"),
        ("[middleware.a.ip]\ndeny_file = \"/nowhere/list\"", "/nowhere/list"),
    ] {
        let problems = sites(settings).unwrap_err();
        assert_eq!(problems[0].setting, "middleware.a");
        assert!(problems[0].message.contains(part), "{problems:?}");
    }
}
