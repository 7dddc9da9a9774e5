//! Clients that mean harm, or are broken.

mod support;

use std::io::Write;
use std::time::Duration;

use support::{config, get, is_closed, read_reply, start};

/// Sends what is no acceptable request and expects `status`, then the end of the connection.
fn refused(server: &support::Server, request: impl AsRef<[u8]>, status: u16) {
    let mut stream = server.connect();
    stream.write_all(request.as_ref()).unwrap();
    let reply = read_reply(&mut stream);
    let shown = String::from_utf8_lossy(request.as_ref()).chars().take(80).collect::<String>();
    assert_eq!(reply.status, status, "{shown:?}");
    assert!(is_closed(&mut stream), "{shown:?}");
}

#[test]
fn requests_that_http_forbids_are_refused() {
    let server = start(config());
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost\r\nhost: test.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost\r\nhost: other.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@test.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost/x\r\n\r\n",
        "GET http://other.localhost/ HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost\r\nx : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost\r\n folded: a\r\n\r\n",
        "GE\x01T / HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
        "GET / HTTP/3.7\r\nhost: test.localhost\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: +1\r\n\r\na",
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: 1, 1\r\n\r\na",
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ntransfer-encoding: gzip\r\n\r\na",
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ntransfer-encoding: chunked, identity\r\n\r\na",
        "POST /echo HTTP/1.0\r\nhost: test.localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
        "hello\r\n\r\n",
    ] {
        refused(&server, request, 400);
    }
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
}

#[test]
fn tunnels_and_traces_are_refused() {
    let server = start(config());
    let reply = server.send("TRACE / HTTP/1.1\r\nhost: test.localhost\r\n\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (405, "method_not_allowed"));
    assert!(reply.header("allow").unwrap().contains("GET"));
    let reply = server.send("CONNECT test.localhost:443 HTTP/1.1\r\nhost: test.localhost:443\r\n\r\n");
    assert_eq!(reply.status, 405);
}

#[test]
fn length_and_chunks_together_hide_no_second_request() {
    let server = start(config());
    for fields in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let mut stream = server.connect();
        let hidden = get("/hidden");
        let request =
            format!("POST /echo HTTP/1.1\r\nhost: test.localhost\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}");
        stream.write_all(request.as_bytes()).unwrap();
        let reply = read_reply(&mut stream);
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_framing"));
        assert!(is_closed(&mut stream), "the hidden request was answered");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let server = start(config());
    let field =
        |size: usize| format!("GET / HTTP/1.1\r\nhost: test.localhost\r\nx: {}\r\n\r\n", "a".repeat(size));
    assert_eq!(server.send(field(30_000)).status, 200);
    refused(&server, field(33_000), 431);
    let fields: String = (0..101).map(|n| format!("x{n}: 1\r\n")).collect();
    refused(&server, format!("GET / HTTP/1.1\r\nhost: test.localhost\r\n{fields}\r\n"), 431);
    let reply = server.send(get(&format!("/{}", "a".repeat(9000))));
    assert_eq!((reply.status, reply.code().as_str()), (414, "uri_too_long"));
    let reply = server.send("POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: 1048577\r\n\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"));
    let huge = "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: 99999999999999999999\r\n\r\n";
    refused(&server, huge, 400);
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"malformed\"} 3");
}

#[test]
fn a_slow_head_is_given_up() {
    let mut config = config();
    config.header_timeout_ms = 200;
    let server = start(config);
    let mut silent = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: te").unwrap();
    let reply = read_reply(&mut slow);
    assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
    assert!(is_closed(&mut slow));
    assert!(is_closed(&mut silent), "it gets no answer to what it never asked");
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"header_timeout\"} 2");
    server.wait_for_metric("selvedge_http_connections 0");
}

#[test]
fn a_quiet_connection_is_closed() {
    let mut config = config();
    config.idle_timeout_ms = 200;
    let server = start(config);
    let mut stream = server.connect();
    stream.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).status, 200);
    assert!(is_closed(&mut stream));
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"idle_timeout\"} 1");
}

#[test]
fn a_body_that_stops_arriving_is_given_up() {
    let mut config = config();
    config.stall_timeout_ms = 200;
    let server = start(config);
    for (framing, part) in [("content-length: 10", "abc"), ("transfer-encoding: chunked", "5\r\nabc")] {
        let head = format!("POST /echo HTTP/1.1\r\nhost: test.localhost\r\n{framing}\r\n\r\n");
        // In one piece with the head, and after it.
        for pieces in [vec![format!("{head}{part}")], vec![head.clone(), part.to_owned()]] {
            let mut stream = server.connect();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            let reply = read_reply(&mut stream);
            assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"), "{framing}");
            assert!(is_closed(&mut stream));
        }
    }
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"stalled\"} 4");
}

#[test]
fn a_worker_may_think_longer_than_a_body_may_stall() {
    let mut config = config();
    config.stall_timeout_ms = 50;
    let server = start(config);
    for body in ["content-length: 3\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        let reply = server.send(format!("POST /slow HTTP/1.1\r\nhost: test.localhost\r\n{body}"));
        assert_eq!((reply.status, reply.text()), (200, "slow"));
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let mut config = config();
    config.stall_timeout_ms = 200;
    let server = start(config);
    let mut stream = server.connect();
    stream.write_all(get("/endless").as_bytes()).unwrap();
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"stalled\"} 1");
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
    drop(stream);
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let server = start(config());
    for request in [
        get("/never"),
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: 10\r\n\r\nabc".into(),
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab".into(),
        "GET / HTTP/1.1\r\nhost: te".into(),
        "PRI * HTTP/2.0\r\n".into(),
        String::new(),
    ] {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    server.wait_for_metric("selvedge_http_connections_opened_total 6");
    server.wait_for_metric("selvedge_http_connections 0");
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn connections_beyond_the_limit_are_turned_away() {
    let mut config = config();
    config.max_connections = 2;
    let server = start(config);
    let kept: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(get("/").as_bytes()).unwrap();
            assert_eq!(read_reply(&mut stream).status, 200);
            stream
        })
        .collect();
    let mut third = server.connect();
    let reply = read_reply(&mut third);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.text().contains("too_many_connections"));
    assert!(is_closed(&mut third));
    server.wait_for_metric("selvedge_http_connections_shed_total 1");
    drop(kept);
    server.wait_for_metric("selvedge_http_connections 0");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_thousand_idle_connections_are_held() {
    let server = start(config());
    let mut idle: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    server.wait_for_metric("selvedge_http_connections 1000");
    for stream in idle.iter_mut().step_by(100) {
        stream.write_all(get("/").as_bytes()).unwrap();
        assert_eq!(read_reply(stream).status, 200);
    }
    drop(idle);
    server.wait_for_metric("selvedge_http_connections 0");
}
