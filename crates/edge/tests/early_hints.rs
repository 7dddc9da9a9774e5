//! 103 Early Hints: of servers behind the edge, and a route's own.

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};

use origin::{Origin, ok};
use support::{Reply, Server, read_head_reply, read_reply, start_sites};

const NAVIGATE: &str = "sec-fetch-mode: navigate\r\n";
const HINT: &str =
    "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload; as=style\r\nset-cookie: a=b\r\n\r\n";

/// A site whose routes ask `origin`.
fn proxy(origin: &Origin, settings: &str) -> Server {
    start_sites(&format!(
        "[edge]\nthreads = 1\n{settings}\n[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\n\
         proxy = {{ to = [\"{}\"], retry = {{ attempts = 0 }} }}",
        origin.url()
    ))
}

fn request(method: &str, fields: &str) -> String {
    format!("{method} / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n")
}

/// Interim responses, and the one that follows.
fn replies(server: &Server, request: &str) -> (Vec<Reply>, Reply) {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    let mut interim = Vec::new();
    loop {
        // How a response goes on shows in its first line.
        let mut start = [0; 12];
        while stream.peek(&mut start).unwrap() < start.len() {}
        if &start[9..10] != b"1" {
            return (interim, read_reply(&mut stream));
        }
        interim.push(read_head_reply(&mut stream));
    }
}

#[test]
fn browsers_are_told_before_the_server_has_answered() {
    let (answer, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |connection| {
        while connection.request().is_some() {
            connection.send(HINT);
            // Not before the client has the hint.
            let _ = told.lock().unwrap().recv();
            connection.send(ok("page"));
        }
    });
    let server = proxy(&origin, "");
    let mut stream = server.connect();
    for _ in 0..2 {
        stream.write_all(request("GET", NAVIGATE).as_bytes()).unwrap();
        let hint = read_head_reply(&mut stream);
        assert_eq!((hint.status, hint.header("link")), (103, Some("</a.css>; rel=preload; as=style")));
        assert_eq!(hint.head.lines().count(), 3, "hints only: {}", hint.head);
        answer.send(()).unwrap();
        let page = read_reply(&mut stream);
        assert_eq!((page.status, page.text()), (200, "page"), "and the connection goes on");
    }
}

#[test]
fn who_may_not_understand_is_not_told() {
    let hinting = || {
        Origin::start(|connection| {
            while connection.request().is_some() {
                connection.send(HINT);
                connection.send(ok("page"));
            }
        })
    };
    let origin = hinting();
    let server = proxy(&origin, "");
    let interim = |request: &str| replies(&server, request).0.len();
    assert_eq!(interim(&request("GET", NAVIGATE)), 1);
    assert_eq!(interim(&request("GET", "")), 0);
    assert_eq!(interim(&request("GET", "sec-fetch-mode: cors\r\n")), 0);
    assert_eq!(interim(&request("POST", &format!("{NAVIGATE}content-length: 0\r\n"))), 0);
    assert_eq!(interim(&format!("GET / HTTP/1.0\r\nhost: a.test\r\n{NAVIGATE}\r\n")), 0);
    let server = proxy(&origin, "early_hints = \"always\"");
    assert_eq!(replies(&server, &request("GET", "")).0.len(), 1);
    assert_eq!(replies(&server, &format!("GET / HTTP/1.0\r\nhost: a.test\r\n{NAVIGATE}\r\n")).0.len(), 0);
    let server = proxy(&origin, "early_hints = \"off\"");
    assert_eq!(replies(&server, &request("GET", NAVIGATE)).0.len(), 0);
}

#[test]
fn clients_of_http2_are_told() {
    support_install("curl");
    let origin = Origin::start(|connection| {
        while connection.request().is_some() {
            connection.send(HINT);
            connection.send("HTTP/1.1 102 Processing\r\n\r\n");
            connection.send(ok("page"));
        }
    });
    let server = proxy(&origin, "");
    let address = format!("http://{}/", server.address);
    let output = Command::new("curl")
        .args(["-sv", "--http2-prior-knowledge", "--max-time", "30", "-H", "host: a.test", &address])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let statuses: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("< HTTP/2 ")).collect();
    assert_eq!(statuses.iter().map(|status| status.trim()).collect::<Vec<_>>(), ["103", "200"]);
    assert_eq!(said.matches("< link: </a.css>; rel=preload; as=style").count(), 1, "{said}");
    assert!(!said.contains("set-cookie"), "{said}");
    assert_eq!(output.stdout, b"page");
}

#[test]
fn servers_of_http2_may_hint_too() {
    let node = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/hints.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut node = node.unwrap_or_else(|error| panic!("Node.js is needed: {error}"));
    let mut port = String::new();
    BufReader::new(node.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let server = start_sites(&format!(
        "[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\n\
         proxy = {{ to = [\"h2c://127.0.0.1:{}\"], retry = {{ attempts = 0 }} }}",
        port.trim()
    ));
    let of = |times: u32| replies(&server, &request("GET", &format!("{NAVIGATE}x-times: {times}\r\n")));
    let (interim, last) = of(3);
    assert_eq!((interim.len(), last.status, last.text()), (2, 200, "page"));
    assert_eq!(interim[0].header("link"), Some("</0.css>; rel=preload"));
    assert_eq!(interim[0].head.lines().count(), 3, "{}", interim[0].head);
    let (interim, last) = of(1000);
    assert!(interim.len() <= 16, "{}", interim.len());
    assert_eq!((last.status, last.code().as_str()), (502, "upstream_bad_response"));
    assert_eq!(of(1).1.status, 200, "others are served");
    drop(node.stdin.take());
    node.wait().unwrap();
}

fn support_install(program: &str) {
    if Command::new(program).arg("--version").output().is_err() {
        let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
            .arg(program)
            .output();
        assert!(installed.is_ok_and(|done| done.status.success()), "{program} can be installed");
    }
}

#[test]
fn servers_that_hint_without_end_are_given_up() {
    let origin = Origin::start(|connection| {
        while let Some(request) = connection.request() {
            let times = request.lines().find_map(|line| line.strip_prefix("x-times: ")).unwrap();
            for _ in 0..times.parse().unwrap() {
                connection.send(HINT);
            }
            connection.send(ok("page"));
        }
    });
    let server = proxy(&origin, "");
    let of = |times: u32| replies(&server, &request("GET", &format!("{NAVIGATE}x-times: {times}\r\n")));
    let (interim, last) = of(16);
    assert_eq!((interim.len(), last.status), (16, 200));
    let (interim, last) = of(100_000);
    assert!(interim.len() <= 16, "{}", interim.len());
    assert_eq!((last.status, last.code().as_str()), (502, "upstream_bad_response"));
}

#[test]
fn hints_of_a_request_have_a_bound() {
    let origin = Origin::start(|connection| {
        while connection.request().is_some() {
            for _ in 0..10 {
                connection.send(format!("HTTP/1.1 103 Early Hints\r\nlink: <{}>\r\n\r\n", "a".repeat(3000)));
            }
            connection.send(ok("page"));
        }
    });
    let (interim, last) = replies(&proxy(&origin, ""), &request("GET", NAVIGATE));
    assert_eq!((interim.len(), last.status), (2, 200));
}

#[test]
fn hints_go_with_a_body_that_waits_to_be_wanted() {
    let origin = Origin::start(|connection| {
        while let Some(head) = connection.head() {
            assert!(head.contains("expect: 100-continue"), "{head}");
            connection.send(HINT);
            connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            let mut body = connection.take_ahead();
            while body.len() < 4 {
                let mut more = [0; 4];
                let count = connection.stream.read(&mut more).unwrap();
                assert!(count > 0);
                body.extend_from_slice(&more[..count]);
            }
            connection.send(ok("page"));
        }
    });
    let server = proxy(&origin, "");
    let mut stream = server.connect();
    let fields = format!("{NAVIGATE}expect: 100-continue\r\ncontent-length: 4\r\n");
    stream.write_all(request("GET", &fields).as_bytes()).unwrap();
    let mut statuses = vec![read_head_reply(&mut stream).status, read_head_reply(&mut stream).status];
    statuses.sort_unstable();
    assert_eq!(statuses, [100, 103]);
    stream.write_all(b"body").unwrap();
    assert_eq!(read_reply(&mut stream).text(), "page");
}

#[test]
fn routes_have_hints_of_their_own() {
    let server = start_sites(
        "[middleware.wall.ip]\ndeny = [\"127.0.0.0/8\"]\n\
         [[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/\"\n\
         early_hints = [\"</a.css>; rel=preload; as=style\", \"<https://cdn.test>; rel=preconnect\"]\n\
         respond = { body = \"page\" }\n\
         [[sites.routes]]\npath = \"/secret\"\nuse = [\"wall\"]\nearly_hints = [\"</secret.css>; rel=preload\"]\n\
         respond = { body = \"page\" }",
    );
    let (interim, last) = replies(&server, &request("GET", NAVIGATE));
    assert_eq!((interim.len(), last.status), (1, 200));
    let links = interim[0].head.lines().filter(|line| line.starts_with("link: ")).count();
    assert_eq!(links, 2, "{}", interim[0].head);
    let (interim, last) = replies(&server, &request("GET", NAVIGATE).replace("GET /", "GET /secret"));
    assert_eq!((interim.len(), last.status), (0, 403), "middleware comes first");
    let bad = "[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\nearly_hints = [\"/a.css\"]\nrespond = { body = \"\" }";
    let problems = support::sites(bad).unwrap_err();
    assert_eq!(problems[0].setting, "sites.0.routes.0.early_hints");
}
