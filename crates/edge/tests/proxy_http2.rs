//! Servers of HTTP/2 behind the edge, spoken by Node.js: large bodies, early answers, refusals, and connections that end.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use support::{Reply, Server, read_head_reply, read_reply, start_sites};

/// Node's server, ended with this value.
struct Origin {
    node: Child,
    input: Option<ChildStdin>,
    port: u16,
}

impl Origin {
    fn start() -> Self {
        let node = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/origin.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut node = node.unwrap_or_else(|error| panic!("Node.js is needed: {error}"));
        let mut port = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let input = node.stdin.take();
        Self { node, input, port: port.trim().parse().unwrap() }
    }

    /// An edge with one thread, so that there is one connection.
    fn behind(&self, settings: &str) -> Server {
        start_sites(&format!(
            "[edge]\nthreads = 1\n[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\n\
             proxy = {{ to = [\"h2c://127.0.0.1:{}\"], {settings} }}",
            self.port
        ))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.node.wait();
    }
}

fn head(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n")
}

fn ask(server: &Server, method: &str, path: &str, fields: &str) -> Reply {
    server.send(head(method, path, fields))
}

fn seen(server: &Server) -> Value {
    serde_json::from_slice(&ask(server, "GET", "/seen", "").body).unwrap()
}

#[test]
fn bodies_of_any_size_pass_both_ways() {
    let origin = Origin::start();
    let server = origin.behind("");
    let body: Vec<u8> = (0..3 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut stream = server.connect();
    let mut sending = stream.try_clone().unwrap();
    let upload = body.clone();
    let writer = std::thread::spawn(move || {
        let head = head("POST", "/echo", &format!("content-length: {}\r\n", upload.len()));
        sending.write_all(head.as_bytes()).unwrap();
        sending.write_all(&upload).unwrap();
    });
    let reply = read_reply(&mut stream);
    writer.join().unwrap();
    assert!(reply.status == 200 && reply.body == body);
    assert_eq!(ask(&server, "GET", "/large", "").body.len(), 5 << 20);
    let empty = ask(&server, "POST", "/echo", "content-length: 0\r\n");
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    assert_eq!(ask(&server, "GET", "/nothing", "connection: close\r\n").status, 204);
    let mut stream = server.connect();
    stream.write_all(head("HEAD", "/", "").as_bytes()).unwrap();
    let reply = read_head_reply(&mut stream);
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("5")));
    let told = |method: &str, fields: &str| -> Value {
        serde_json::from_slice::<Value>(&ask(&server, method, "/seen", fields).body).unwrap()["length"]
            .clone()
    };
    assert_eq!(told("GET", ""), Value::Null, "no length where no body is expected");
    assert_eq!(told("POST", "content-length: 0\r\n"), "0");
    assert_eq!(told("PUT", "content-length: 2\r\n\r\nok"), "2");
    assert_eq!(seen(&server)["sessions"], 1);
}

#[test]
fn requests_wait_for_their_turn_where_the_server_takes_few() {
    let origin = Origin::start();
    let server = origin.behind("");
    // Its bound is known after the first.
    assert_eq!(ask(&server, "GET", "/", "").text(), "hello");
    let mut streams: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(head("GET", "/slow", "").as_bytes()).unwrap();
    }
    for stream in &mut streams {
        assert_eq!(read_reply(stream).text(), "slow");
    }
    let seen = seen(&server);
    assert_eq!((seen["sessions"].as_u64(), seen["most"].as_u64()), (Some(1), Some(4)));
}

#[test]
fn trailers_pass_as_far_as_they_may() {
    let origin = Origin::start();
    let server = origin.behind("");
    // To HTTP/1.1, and to HTTP/2.
    let mut stream = server.connect();
    let fields = "te: trailers\r\nconnection: te, close\r\n";
    stream.write_all(head("GET", "/trailers", fields).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n"), "{text}");
    let output = Command::new("curl")
        .args([
            "-s",
            "--http2-prior-knowledge",
            "--max-time",
            "30",
            "--dump-header",
            "-",
            "-H",
            "host: a.test",
        ])
        .args(["-H", "te: trailers", &format!("http://{}/trailers", server.address)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("x-sum: 1") && said.contains("body"), "{said}");
    assert!(!said.contains("set-cookie") && !said.contains("text/x"), "{said}");
}

#[test]
fn early_answers_end_uploads() {
    let origin = Origin::start();
    let server = origin.behind("");
    let mut stream = server.connect();
    let head = head("POST", "/early", "content-length: 100000000\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[0; 1000]).unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!((reply.status, reply.text()), (413, "big"));
    assert_eq!(ask(&server, "GET", "/", "").text(), "hello");
}

#[test]
fn what_was_refused_is_sent_again_and_what_was_not_is_not() {
    let origin = Origin::start();
    let server = origin.behind("");
    assert_eq!(ask(&server, "POST", "/refuse", "content-length: 0\r\n").text(), "POST");
    let reply = ask(&server, "POST", "/reset", "content-length: 0\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_closed"));
    assert_eq!(ask(&server, "GET", "/", "").text(), "hello");
    assert_eq!(seen(&server)["sessions"], 1, "streams fail alone");
}

#[test]
fn connections_that_end_are_made_anew() {
    let origin = Origin::start();
    let server = origin.behind("");
    for _ in 0..3 {
        assert_eq!(ask(&server, "POST", "/goaway", "content-length: 0\r\n").text(), "bye");
    }
    assert_eq!(seen(&server)["sessions"], 4);
}

#[test]
fn responses_that_break_off_break_off_for_the_client() {
    let origin = Origin::start();
    let server = origin.behind("retry = { attempts = 0 }");
    for path in ["/die", "/cut"] {
        let mut stream = server.connect();
        stream.write_all(head("GET", path, "").as_bytes()).unwrap();
        let reply = read_head_reply(&mut stream);
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("100")));
        let mut body = Vec::new();
        let _ = stream.read_to_end(&mut body);
        assert_eq!(body, b"0123456789", "{path}");
    }
    assert_eq!(ask(&server, "GET", "/", "").text(), "hello");
}

#[test]
fn clients_that_leave_and_servers_that_are_silent_are_given_up() {
    let origin = Origin::start();
    let server = origin.behind("response_timeout_ms = 300, retry = { attempts = 0 }");
    let reply = ask(&server, "GET", "/never", "");
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"));
    let mut stream = server.connect();
    stream.write_all(head("POST", "/never", "content-length: 10\r\n").as_bytes()).unwrap();
    stream.write_all(b"abc").unwrap();
    drop(stream);
    for _ in 0..500 {
        if seen(&server)["aborted"].as_u64() >= Some(2) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the server never learned of it: {}", seen(&server));
}
