//! Responses that are compressed, as a client decodes them.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::io::{Read, Write};

use selvedge_codec::{Codec, Flush, Format, Options, Status};
use support::{Reply, Server, read_head_reply, read_reply, start_sites};

const SITE: &str = r#"
[middleware.text.headers]
response = { content-type = "text/plain", etag = '"v1"' }
[middleware.fixed.headers]
response = { cache-control = "no-transform" }

[[sites]]
hosts = ["a.example"]
use = ["text"]
[[sites.routes]]
path = "/fixed"
use = ["fixed"]
respond = { body = "LONG" }
[[sites.routes]]
path = "/short"
respond = { body = "short" }
[[sites.routes]]
path = "/whole"
respond = { body = "LONG" }
[[sites.routes]]
worker = "test"
"#;

const FORMATS: [(&str, Format); 3] =
    [("zstd", Format::ZstdDecompress), ("br", Format::BrotliDecompress), ("gzip", Format::Gunzip)];

fn long() -> String {
    "All work and no play. ".repeat(150)
}

fn start() -> Server {
    start_sites(&SITE.replace("LONG", &long()))
}

fn request(path: &str, accept: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.example\r\naccept-encoding: {accept}\r\n\r\n")
}

/// What a client makes of it: the text so far, and whether that is all.
fn decoded(format: Format, mut data: &[u8]) -> (Vec<u8>, bool) {
    let mut codec = Codec::new(format, Options::default()).unwrap();
    let (mut text, mut room) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let step = codec.step(data, &mut room, Flush::None).unwrap();
        text.extend_from_slice(&room[..step.written]);
        data = &data[step.read..];
        match step.status {
            Status::More => {}
            status => return (text, status == Status::End),
        }
    }
}

/// The content of chunks, as far as they are there.
fn unchunked(mut data: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = data.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&data[..end]).unwrap(), 16).unwrap();
        if size == 0 || data.len() < end + 2 + size + 2 {
            break;
        }
        content.extend_from_slice(&data[end + 2..end + 2 + size]);
        data = &data[end + 2 + size + 2..];
    }
    content
}

#[test]
fn clients_get_the_form_that_they_ask_for() {
    let server = start();
    for (name, format) in FORMATS {
        for path in ["/whole", "/big"] {
            let mut reply =
                server.send(request(path, name).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
            assert_eq!(reply.header("content-encoding"), Some(name), "{path}");
            if reply.header("transfer-encoding").is_some() {
                reply.body = unchunked(&reply.body);
            }
            assert_eq!(
                (reply.header("vary"), reply.header("etag")),
                (Some("accept-encoding"), Some("W/\"v1\""))
            );
            let expected = if path == "/big" { vec![b'x'; 8 << 20] } else { long().into_bytes() };
            let (text, whole) = decoded(format, &reply.body);
            assert!(whole && text == expected, "{name} {path}");
            assert!(reply.body.len() < 20_000);
        }
    }
    let reply = server.send(request("/whole", "identity"));
    assert_eq!((reply.text(), reply.header("vary")), (long().as_str(), Some("accept-encoding")));
    assert_eq!(reply.header("etag"), Some("\"v1\""));
    for path in ["/fixed", "/short"] {
        let reply = server.send(request(path, "gzip, br, zstd"));
        assert_eq!((reply.header("content-encoding"), reply.header("vary")), (None, None), "{path}");
    }
}

#[test]
fn many_on_one_connection() {
    let server = start();
    let mut stream = server.connect();
    for n in 0..30 {
        let (name, format) = FORMATS[n % 3];
        stream.write_all(request("/whole", name).as_bytes()).unwrap();
        let reply = read_reply(&mut stream);
        assert_eq!(decoded(format, &reply.body), (long().into_bytes(), true), "{n}");
    }
    stream.write_all(request("/whole", "gzip").replace("GET", "HEAD").as_bytes()).unwrap();
    let reply = read_head_reply(&mut stream);
    assert_eq!((reply.header("content-encoding"), reply.header("content-length")), (Some("gzip"), None));
}

/// An event is with the client before the next one is there.
#[test]
fn what_pauses_is_flushed() {
    let server = start();
    for (name, format) in FORMATS {
        let mut stream = server.connect();
        stream.write_all(request("/pause", name).as_bytes()).unwrap();
        let mut received = Vec::new();
        loop {
            let mut some = [0; 1000];
            let count = stream.read(&mut some).unwrap();
            assert!(count > 0, "{name}");
            received.extend_from_slice(&some[..count]);
            let Some(head) = received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            if decoded(format, &unchunked(&received[head + 4..])).0 == b"data: first\n\n" {
                break;
            }
        }
    }
}

/// Somebody who has much compressed that shrinks to nothing does not hold others up, nor keeps an encoder.
#[test]
fn endless_bodies_leave_room_for_others() {
    let server = start();
    let streams: Vec<_> = (0..8)
        .map(|n| {
            let mut stream = server.connect();
            stream.write_all(request("/endless", FORMATS[n % 3].0).as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(server.send(request("/whole", "gzip")).status, 200);
    }
    drop(streams);
    server.wait_for_metric("selvedge_http_connections 0");
}

#[test]
fn it_can_be_switched_off() {
    let off = format!("[edge]\ncompression = {{ enabled = false }}\n{}", SITE.replace("LONG", &long()));
    let reply: Reply = start_sites(&off).send(request("/whole", "gzip"));
    assert_eq!((reply.header("content-encoding"), reply.header("vary")), (None, None));
}
