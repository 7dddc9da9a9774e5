//! HTTP/1 as ordinary clients speak it.

mod support;

use std::io::Write;
use std::sync::Arc;

use support::{config, get, is_closed, read_head_reply, read_reply, start};

#[test]
fn a_worker_answers_and_the_connection_is_kept() {
    let server = start(config());
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(get("/").as_bytes()).unwrap();
        let reply = read_reply(&mut stream);
        assert_eq!((reply.status, reply.text()), (200, "hello from test"));
        assert_eq!(reply.header("server"), None);
        assert!(reply.header("date").is_some());
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start(config());
    let mut stream = server.connect();
    let post = "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: 3\r\n\r\nabc";
    stream.write_all(format!("{}{post}{}", get("/slow"), get("/")).as_bytes()).unwrap();
    let replies: Vec<_> = (0..3).map(|_| read_reply(&mut stream)).collect();
    assert_eq!(replies.iter().map(|r| r.text()).collect::<Vec<_>>(), ["slow", "abc", "hello from test"]);
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = start(config());
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.0\r\nhost: test.localhost\r\n\r\n").unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!(reply.status, 200);
    assert!(is_closed(&mut stream));
    assert_eq!(server.send("GET / HTTP/1.0\r\n\r\n").code(), "no_such_worker");
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = start(config());
    let mut stream = server.connect();
    stream.write_all(get("/").replace("GET", "HEAD").as_bytes()).unwrap();
    let reply = read_head_reply(&mut stream);
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("15")));
    // Errors too.
    stream.write_all(get("/overloaded").replace("GET", "HEAD").as_bytes()).unwrap();
    assert_eq!(read_head_reply(&mut stream).status, 503);
    // Nothing was left between the responses.
    stream.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).text(), "hello from test");
}

#[test]
fn hop_by_hop_fields_end_here() {
    let server = start(config());
    let request = "GET /head HTTP/1.1\r\nhost: test.localhost\r\nconnection: x-mine, keep-alive\r\n\
                   x-mine: 1\r\nproxy-authorization: secret\r\nte: trailers\r\nx-other: 2\r\n\r\n";
    let reply = server.send(request);
    let (id, fields) = reply.text().split_once('\n').unwrap();
    assert_eq!(reply.header("x-request-id"), Some(id));
    assert!(fields.contains("x-other: 2") && fields.contains(&format!("x-request-id: {id}")), "{fields}");
    for gone in ["x-mine", "proxy-authorization", "te:", "connection"] {
        assert!(!fields.contains(gone), "{gone} in {fields}");
    }
    let reply = server.get("/hop");
    assert_eq!((reply.text(), reply.header("content-length")), ("hop", Some("3")));
    for gone in ["x-private", "keep-alive", "transfer-encoding", "upgrade", "connection"] {
        assert_eq!(reply.header(gone), None, "{gone}");
    }
    assert_ne!(reply.header("x-request-id"), Some("forged"));
}

#[test]
fn request_ids_are_taken_only_where_they_are_trusted() {
    let ask = |server: &support::Server, id: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: test.localhost\r\nx-request-id: {id}\r\n\r\n");
        server.send(request).header("x-request-id").unwrap().to_owned()
    };
    let wary = start(config());
    assert_ne!(ask(&wary, "abc-1"), "abc-1");
    let mut trusting = config();
    trusting.trust_request_id = true;
    let trusting = start(trusting);
    assert_eq!(ask(&trusting, "abc-1"), "abc-1");
    assert_eq!(ask(&trusting, "a b").len(), 18);
    assert_eq!(ask(&trusting, &"x".repeat(65)).len(), 18);
}

#[test]
fn errors_are_json_or_a_page_and_tell_no_secrets() {
    let server = start(config());
    let reply = server.get("/overloaded");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(reply.code(), "worker_overloaded");
    let reply = server.get("/exception");
    assert_eq!((reply.status, reply.code().as_str()), (500, "worker_exception"));
    assert!(!reply.text().contains("secret"));
    let page =
        server.send("GET /exception HTTP/1.1\r\nhost: test.localhost\r\naccept: text/html,*/*;q=0.8\r\n\r\n");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("worker_exception") && !page.text().contains("secret"));
    let reply = server.send("GET / HTTP/1.1\r\nhost: other.localhost\r\n\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (404, "no_such_worker"));
    let reply = server.get("/early");
    assert_eq!((reply.status, reply.code().as_str()), (500, "worker_no_response"));
}

#[test]
fn a_panic_is_one_requests_failure() {
    let server = start(config());
    let mut stream = server.connect();
    stream.write_all(get("/panic").as_bytes()).unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!((reply.status, reply.code().as_str()), (500, "internal_error"));
    stream.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).status, 200);
}

#[test]
fn large_bodies_arrive_whole() {
    let server = start(config());
    assert_eq!(server.get("/big").body.len(), 8 << 20);
    let body = vec![b'z'; 1 << 20];
    let mut request =
        format!("POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: {}\r\n\r\n", body.len())
            .into_bytes();
    request.extend(&body);
    assert_eq!(server.send(request).body, body);
}

#[test]
fn a_changed_snapshot_is_served_at_once() {
    let server = start(config());
    let ask = "GET / HTTP/1.1\r\nhost: new.localhost\r\n\r\n";
    let mut stream = server.connect();
    stream.write_all(ask.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).status, 404);
    server.snapshot.send_replace(Arc::new(support::snapshot(&["test", "new"])));
    stream.write_all(ask.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).text(), "hello from new");
}
