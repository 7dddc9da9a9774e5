//! What the parser and the loop of HTTP/1 promise, over real sockets: nothing that can be read in two ways is served,
//! whatever pieces it comes in, and clients get to read why.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use support::{Server, config, get, is_closed, read_head_reply, read_reply, start};

fn post(fields: &str, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: test.localhost\r\n{fields}\r\n\r\n{body}")
}

fn send(server: &Server, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(bytes.as_ref()).unwrap();
    stream
}

#[test]
fn nothing_that_can_be_read_in_two_ways_is_served() {
    let server = start(config());
    let hidden = get("/hidden");
    for (request, status, code) in [
        (post("content-length: 5\r\ncontent-length: 5", "aaaaa"), 400, "bad_framing"),
        (post("content-length: 5, 5", "aaaaa"), 400, "bad_framing"),
        (post("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"), 400, "bad_framing"),
        (post("content-length: 0\r\ntransfer-encoding: chunked", "0\r\n\r\n"), 400, "bad_framing"),
        (post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n"), 400, "bad_framing"),
        (post("transfer-encoding: xchunked", "0\r\n\r\n"), 400, "bad_framing"),
        (post("transfer-encoding: identity", ""), 400, "bad_framing"),
        (post("transfer-encoding: gzip, chunked", "0\r\n\r\n"), 501, "unknown_transfer_coding"),
        (post("transfer-encoding : chunked", "0\r\n\r\n"), 400, "bad_request"),
        (post("x: y\ntransfer-encoding: chunked", "0\r\n\r\n"), 400, "bad_request"),
        (post("x: y\r\n transfer-encoding: chunked", "0\r\n\r\n"), 400, "bad_request"),
        (post("x: y\rtransfer-encoding: chunked", "0\r\n\r\n"), 400, "bad_request"),
        (post("transfer-encoding: chunked", "5\nhello\r\n0\r\n\r\n"), 400, "bad_chunk"),
        (post("transfer-encoding: chunked", "5;a\nhello\r\n0\r\n\r\n"), 400, "bad_chunk"),
        (post("transfer-encoding: chunked", "5 \r\nhello\r\n0\r\n\r\n"), 400, "bad_chunk"),
        (post("transfer-encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n"), 400, "bad_chunk"),
        (post("transfer-encoding: chunked", "10000000000000005\r\nhello\r\n0\r\n\r\n"), 400, "bad_chunk"),
        (post("transfer-encoding: chunked", "5\r\nhelloXX0\r\n\r\n"), 400, "bad_chunk"),
        (post("transfer-encoding: chunked", "0\r\nbad trailer\r\n\r\n"), 400, "bad_chunk"),
        (post("transfer-encoding: chunked", &format!("5;{}\r\n", "x".repeat(9000))), 400, "bad_chunk"),
    ] {
        let mut stream = send(&server, format!("{request}{hidden}"));
        let reply = read_reply(&mut stream);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{request:?}");
        assert_eq!(reply.header("connection"), Some("close"));
        let message: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(message["error"]["message"].as_str().unwrap().ends_with('.'));
        assert!(is_closed(&mut stream), "the hidden request was answered: {request:?}");
    }
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
}

#[test]
fn other_protocols_are_told() {
    let server = start(config());
    for bytes in [
        "GET /\r\n",
        "GET / HTTP/1.2\r\nhost: test.localhost\r\n\r\n",
        "\x16\x03\x01\x02",
        "\r\n\r\nGET / HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
        "\nGET / HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
    ] {
        let mut stream = send(&server, bytes);
        // A line alone may still become a head.
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    }
    assert_eq!(server.send(format!("\r\n{}", get("/"))).status, 200, "one empty line is passed over");
}

/// The same answers whatever the pieces.
#[test]
fn pieces_do_not_matter() {
    let server = start(config());
    let chunked = post("transfer-encoding: chunked", "3;x\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n");
    let both = format!("\r\n{}{}{}", post("content-length: 4", "abcd"), chunked, get("/"));
    for size in [1, 2, 3, 7, 50, both.len()] {
        let mut stream = server.connect();
        stream.set_nodelay(true).unwrap();
        for piece in both.as_bytes().chunks(size) {
            stream.write_all(piece).unwrap();
        }
        let replies: Vec<_> = (0..3).map(|_| read_reply(&mut stream)).collect();
        let texts: Vec<_> = replies.iter().map(|reply| reply.text()).collect();
        assert_eq!(texts, ["abcd", "abcde", "hello from test"], "pieces of {size}");
    }
}

#[test]
fn many_requests_ahead_are_answered_in_order() {
    let server = start(config());
    let mut stream = server.connect();
    let mut reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        (0..2000).map(|_| read_reply(&mut reader).text().to_owned()).collect::<Vec<_>>()
    });
    for n in 0..2000 {
        let body = n.to_string();
        stream.write_all(post(&format!("content-length: {}", body.len()), &body).as_bytes()).unwrap();
    }
    let texts = reading.join().unwrap();
    assert!(texts.iter().enumerate().all(|(n, text)| *text == n.to_string()));
}

#[test]
fn who_waits_is_told_to_go_on() {
    let server = start(config());
    let mut stream = send(&server, post("content-length: 3\r\nexpect: 100-continue", ""));
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").unwrap();
    assert_eq!(read_reply(&mut stream).text(), "abc");
    // The body is there already.
    stream.write_all(post("content-length: 3\r\nexpect: 100-continue", "abc").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).text(), "abc");
    // Nobody wants the body: whether it still comes is not known, so the connection ends.
    let unwanted = post("content-length: 3\r\nexpect: 100-continue", "").replace("/echo", "/");
    stream.write_all(unwanted.as_bytes()).unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(is_closed(&mut stream));
}

#[test]
fn bodies_that_nobody_reads_are_passed_over() {
    let server = start(config());
    for body in
        [post("content-length: 3", "abc"), post("transfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")]
    {
        let mut stream =
            send(&server, format!("{}{}", body.replace("/echo", "/"), post("content-length: 1", "z")));
        assert_eq!(read_reply(&mut stream).text(), "hello from test");
        assert_eq!(read_reply(&mut stream).text(), "z");
    }
    // One that is too long for that ends the connection, after the client could read the answer.
    let long = 1_000_000;
    let mut stream = send(&server, post(&format!("content-length: {long}"), "").replace("/echo", "/"));
    stream.write_all(&vec![b'x'; long]).unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!((reply.text(), reply.header("connection")), ("hello from test", Some("close")));
}

#[test]
fn http_1_0_may_keep_its_connection() {
    let server = start(config());
    let mut stream = server.connect();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.0\r\nhost: test.localhost\r\nconnection: keep-alive\r\n\r\n")
            .unwrap();
        let reply = read_reply(&mut stream);
        assert_eq!((reply.text(), reply.header("connection")), ("hello from test", Some("keep-alive")));
    }
    stream.write_all(get("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).header("connection"), Some("close"));
    assert!(is_closed(&mut stream));
    // Without a length and without chunks, the end of the connection ends the body.
    let reply = server.send("GET /stream HTTP/1.0\r\nhost: test.localhost\r\n\r\n");
    assert_eq!((reply.text(), reply.header("transfer-encoding")), ("onetwo", None));
}

#[test]
fn lengths_are_true_or_the_body_is_in_chunks() {
    let server = start(config());
    let mut stream = send(&server, get("/stream"));
    let head = read_head_reply(&mut stream);
    assert_eq!((head.header("transfer-encoding"), head.header("content-length")), (Some("chunked"), None));
    let mut chunks = [0; 21];
    stream.read_exact(&mut chunks).unwrap();
    assert_eq!(&chunks, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    // A worker that promised four bytes and made six: no byte of them is the next response's.
    stream.write_all(format!("{}{}", get("/stream?length=4"), get("/")).as_bytes()).unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!((reply.text(), reply.header("content-length")), ("onet", Some("4")));
    assert_eq!(read_reply(&mut stream).text(), "hello from test");
    // And one that promised ten.
    stream.write_all(get("/stream?length=10").as_bytes()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n\r\nonetwo"), "{rest}");
}

#[test]
fn responses_that_have_no_body_have_none() {
    let server = start(config());
    let mut stream = server.connect();
    for (path, length) in [("/status/204", None), ("/status/304", None)] {
        stream.write_all(get(path).as_bytes()).unwrap();
        let reply = read_head_reply(&mut stream);
        assert_eq!(reply.status.to_string(), path[8..]);
        assert_eq!((reply.header("content-length"), reply.header("transfer-encoding")), (length, None));
    }
    stream.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).text(), "hello from test");
}

#[test]
fn a_client_that_closed_its_half_gets_its_answer() {
    let server = start(config());
    for request in [get("/slow"), post("content-length: 3", "abc"), get("/big")] {
        let mut stream = send(&server, request);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_reply(&mut stream).status, 200);
        assert!(is_closed(&mut stream));
    }
    let mut stream = send(&server, post("content-length: 30", "abc"));
    stream.shutdown(Shutdown::Write).unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!((reply.status, reply.code().as_str()), (400, "body_cut_off"));
    server.wait_for_metric("selvedge_http_connections 0");
}

#[test]
fn a_body_that_only_drips_is_given_up() {
    let mut config = config();
    config.stall_timeout_ms = 1000;
    config.min_body_rate = 1000;
    let server = start(config);
    let mut stream = send(&server, post("content-length: 1000000", ""));
    let mut dripping = stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        while dripping.write_all(b"x").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    let reply = read_reply(&mut stream);
    assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"));
    drop(stream);
    drip.join().unwrap();
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"stalled\"} 1");
}

#[test]
fn the_answer_to_an_error_can_be_read_while_the_client_still_sends() {
    let server = start(config());
    let mut stream = server.connect();
    let head = post("content-length: 5\r\ncontent-length: 6", "");
    stream.write_all(head.as_bytes()).unwrap();
    // More than any socket's buffers hold, unless somebody reads it.
    for _ in 0..8 {
        let _ = stream.write_all(&[b'x'; 100_000]);
    }
    assert_eq!(read_reply(&mut stream).status, 400);
}
