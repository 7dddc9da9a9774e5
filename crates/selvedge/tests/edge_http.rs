//! Malformed, oversized, slow and broken-off HTTP, sent to the real thing; meanwhile others are served.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::client::Client;
use common::{Answer, Selvedge, eventually};
use serde_json::json;

const ECHO: &str = "\
export default {
  async fetch(request) {
    const text = await request.text();
    return new Response(`${request.method} ${text.length} ${[...request.headers].length}`);
  },
};";

/// Short timeouts, so that slow clients are found out soon.
const SETTINGS: &str = "[edge]\nheader_timeout_ms = 500\nidle_timeout_ms = 500\nstall_timeout_ms = 500\n";

/// A Selvedge with a worker, and a client that asks it all the time.
fn scene() -> (Selvedge, Client) {
    let selvedge = Selvedge::configured(SETTINGS);
    selvedge.deploy_limited("w", ECHO, json!({}));
    let client = Client::start(&selvedge, "w");
    client.more(1);
    (selvedge, client)
}

fn connect(selvedge: &Selvedge) -> TcpStream {
    let stream = TcpStream::connect(selvedge.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Sends bytes; what comes back until the connection ends.
fn exchange(selvedge: &Selvedge, request: &[u8]) -> String {
    let mut stream = connect(selvedge);
    // The server may answer and close before it has taken everything.
    let _ = stream.write_all(request);
    rest(stream)
}

fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn malformed_requests_are_refused() {
    let (selvedge, client) = scene();
    let long = "x".repeat(40 << 10);
    let many: String = (0..200).map(|index| format!("x-{index}: y\r\n")).collect();
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost: w.localhost\r\nhost: x.localhost\r\n\r\n".into(), 400),
        ("GET / HTTP/9.9\r\nhost: w.localhost\r\n\r\n".into(), 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03 a TLS hello\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost: w.localhost\r\nx y: z\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost: w.localhost\r\n folded: z\r\n\r\n".into(), 400),
        (
            "POST / HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc"
                .into(),
            400,
        ),
        ("POST / HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: -1\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: 99999999999999999999\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\nhost: w.localhost\r\nx: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nhost: w.localhost\r\n{many}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: w.localhost\r\n\r\n", "x".repeat(10 << 10)), 414),
        ("CONNECT w.localhost:80 HTTP/1.1\r\nhost: w.localhost\r\n\r\n".into(), 405),
        ("GET / HTTP/1.1\r\nhost: nobody.localhost\r\nconnection: close\r\n\r\n".into(), 404),
        ("GET / HTTP/1.1\r\nhost: w.localhost\0.evil\r\n\r\n".into(), 400),
    ];
    for (request, expected) in cases {
        let answer = exchange(&selvedge, String::as_bytes(&request));
        let shown: String = request.chars().take(120).collect();
        assert_eq!(status(&answer), expected, "{shown:?}: {answer}");
    }
    client.finish();
}

#[test]
fn a_smuggled_request_is_not_served() {
    let (selvedge, client) = scene();
    let request = "POST / HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
                   0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: w.localhost\r\n\r\n";
    let answer = exchange(&selvedge, request.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    client.finish();
}

#[test]
fn slow_heads_and_bodies_are_given_up() {
    let (selvedge, client) = scene();
    // A byte now and then keeps nobody waiting for ever.
    let mut slow = connect(&selvedge);
    let mut sent = 0;
    eventually("a slow head is given up", || {
        std::thread::sleep(Duration::from_millis(100));
        let head = b"GET / HTTP/1.1\r\nhost: w.localhost\r\nx: ";
        let byte = head.get(sent).copied().unwrap_or(b'y');
        sent += 1;
        slow.write_all(&[byte]).is_err().then_some(())
    });
    let head = "POST / HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: 1000\r\n\r\nonly this";
    let mut stalled = connect(&selvedge);
    stalled.write_all(head.as_bytes()).unwrap();
    assert_eq!(status(&rest(stalled)), 408);
    assert_eq!(rest(connect(&selvedge)), "", "a connection on which nothing is said is closed");
    client.finish();
}

#[test]
fn bodies_that_are_cut_off_are_no_requests() {
    let (selvedge, client) = scene();
    for head in ["content-length: 1000\r\n\r\npart", "transfer-encoding: chunked\r\n\r\n5\r\npa"] {
        let mut stream = connect(&selvedge);
        stream.write_all(format!("POST / HTTP/1.1\r\nhost: w.localhost\r\n{head}").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = rest(stream);
        assert_ne!(status(&answer), 200, "{answer}");
    }
    let bad_chunk =
        "POST / HTTP/1.1\r\nhost: w.localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n";
    assert_ne!(status(&exchange(&selvedge, bad_chunk.as_bytes())), 200);
    client.finish();
}

#[test]
fn large_bodies_arrive_whole() {
    let (selvedge, client) = scene();
    let answer = selvedge.post("w", "/", &"x".repeat(8 << 20));
    assert!(answer.body.starts_with(&format!("POST {} ", 8 << 20)), "{answer:?}");
    client.finish();
}

/// Many connections that only begin, and many that vanish, hold nobody else up and leave nothing behind.
#[test]
fn crowds_of_broken_clients() {
    let (selvedge, client) = scene();
    for round in 0..5 {
        let crowd: Vec<TcpStream> = (0..200)
            .map(|index| {
                let mut stream = connect(&selvedge);
                let text =
                    ["", "GET / HT", "POST / HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: 9\r\n\r\n"]
                        [index % 3];
                stream.write_all(text.as_bytes()).unwrap();
                stream
            })
            .collect();
        client.more(3);
        drop(crowd);
        assert_eq!(selvedge.get("w", &format!("/{round}")).status, 200);
    }
    client.finish();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (selvedge, client) = scene();
    let mut requests = String::new();
    for length in 0..10 {
        let body = "x".repeat(length);
        requests +=
            &format!("POST / HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    }
    requests += "GET / HTTP/1.1\r\nhost: w.localhost\r\nconnection: close\r\n\r\n";
    let answer = exchange(&selvedge, requests.as_bytes());
    let order: Vec<_> =
        answer.lines().filter_map(|line| line.split_once("POST ")?.1.split(' ').next()).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "{answer}");
    client.finish();
}

/// The control API listens on its own address, and is as strict.
#[test]
fn the_admin_address_is_strict_too() {
    let (selvedge, client) = scene();
    let mut stream = TcpStream::connect(selvedge.admin).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = "GET /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::read(stream).status, 401);
    let foreign = format!(
        "GET /api/v1/status HTTP/1.1\r\nhost: x\r\norigin: http://w.localhost:{}\r\nconnection: close\r\n\r\n",
        selvedge.http.port()
    );
    let mut stream = TcpStream::connect(selvedge.admin).unwrap();
    stream.write_all(foreign.as_bytes()).unwrap();
    assert!([401, 403].contains(&Answer::read(stream).status));
    let answer = selvedge.api(
        "PUT",
        "accounts/default/scripts/w",
        "multipart/form-data; boundary=x",
        b"--x\r\nnonsense",
    );
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(selvedge.get("w", "/").status, 200);
    client.finish();
}

#[test]
fn workers_are_told_which_protocol_the_client_speaks() {
    let selvedge = Selvedge::start();
    selvedge.deploy(
        "w",
        "export default {
            fetch: (request) => Response.json([
                request.cf.httpProtocol,
                request.clone().cf.httpProtocol,
                new Request(request, { cf: { own: 1 } }).cf,
                new Request('https://example.com').cf === undefined,
            ]),
        };",
    );
    assert_eq!(selvedge.get("w", "/").json(), json!(["HTTP/1.1", "HTTP/1.1", { "own": 1 }, true]));
    let ask = async {
        use http_body_util::{BodyExt, Empty};
        use hyper_util::rt::{TokioExecutor, TokioIo};
        let stream = tokio::net::TcpStream::connect(selvedge.http).await.unwrap();
        let shake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = shake.await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get(format!("http://w.localhost:{}/", selvedge.http.port()));
        let request = request.body(Empty::<hyper::body::Bytes>::new()).unwrap();
        let body = sender.send_request(request).await.unwrap().into_body();
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(ask);
    assert!(said.starts_with("[\"HTTP/2\",\"HTTP/2\""), "{said}");
}

/// Connections on which nothing is said hold next to nothing: no buffers, no room for a request.
#[test]
fn idle_connections_take_little_memory() {
    let selvedge = Selvedge::start();
    let begin = |count: usize| -> Vec<TcpStream> {
        (0..count)
            .map(|_| {
                let mut stream = connect(&selvedge);
                stream.write_all(b"GET / HTTP/1.1\r\nhost: nobody.localhost\r\n\r\n").unwrap();
                assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
                stream
            })
            .collect()
    };
    let memory = || -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", selvedge.pid())).unwrap();
        let line = maps.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    };
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files = files.split_whitespace().nth(3).unwrap().parse().unwrap_or(20_000);
    let count = 10_000.min((files * 3usize / 4).saturating_sub(500));
    assert!(count >= 100, "too few open files are allowed");
    let first = begin(100);
    let before = memory();
    let idle = begin(count);
    let each = memory().saturating_sub(before) / count;
    assert!(each < 4096, "{each} bytes for each of {count} connections");
    drop((first, idle));
}

/// The worker declines the upgrade, and the client wants the connection closed: what follows is nobody's.
#[test]
fn a_request_behind_an_upgrade_is_not_served() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", ECHO);
    let request = "GET / HTTP/1.1\r\nhost: w.localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
                   GET /smuggled HTTP/1.1\r\nhost: w.localhost\r\n\r\n";
    let answer = exchange(&selvedge, request.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}
