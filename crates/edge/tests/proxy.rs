//! Servers behind the edge: what they are asked, what clients get, and when connections are used again.

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::Write;

use origin::{Origin, ok};
use support::{Server, read_head_reply, read_reply, start_sites};

/// The site `a.test`, whose only route is this proxy.
fn proxy(settings: &str) -> Server {
    start_sites(&format!(
        "[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\nproxy = {{ {settings} }}"
    ))
}

fn to(origin: &Origin) -> Server {
    proxy(&format!("to = [\"{}\"]", origin.url()))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

#[test]
fn requests_and_responses_pass_over_one_connection() {
    let origin = Origin::start(|connection| {
        while let Some(request) = connection.request() {
            let body = request.split("\r\n\r\n").nth(1).unwrap().to_owned();
            connection.send(format!(
                "HTTP/1.1 201 Made\r\nx-answer: 1\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    let server = to(&origin);
    let mut client = server.connect();
    for round in 0..3 {
        let body = format!("body {round}");
        write!(
            client,
            "POST /x?y=z HTTP/1.1\r\nhost: a.test\r\nx-mine: 1\r\ncontent-length: 6\r\n\r\n{body}"
        )
        .unwrap();
        let reply = read_reply(&mut client);
        assert_eq!((reply.status, reply.text()), (201, &*body));
        assert_eq!((reply.header("x-answer"), reply.header("via")), (Some("1"), Some("1.1 selvedge")));
    }
    assert_eq!((origin.count(), origin.connections()), (3, 1));
    let request = origin.last();
    let id = request.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert_eq!(
        request,
        format!(
            "POST /x?y=z HTTP/1.1\r\nhost: a.test\r\nx-mine: 1\r\nx-request-id: {id}\r\n\
             x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: a.test\r\n\
             forwarded: for=127.0.0.1;host=\"a.test\";proto=http\r\nvia: 1.1 selvedge\r\n\
             content-length: 6\r\n\r\nbody 2"
        )
    );
}

#[test]
fn responses_without_bodies_leave_the_connection_usable() {
    let origin = Origin::start(|connection| {
        while let Some(request) = connection.request() {
            connection.send(match request.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: \"a\"\r\n\r\n".into(),
                "/empty" => ok(""),
                _ if request.starts_with("HEAD") => "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".into(),
                _ => ok("content"),
            });
        }
    });
    let server = to(&origin);
    let mut client = server.connect();
    for (path, status) in [("/204", 204), ("/304", 304), ("/empty", 200), ("/", 200)] {
        client.write_all(get(path).as_bytes()).unwrap();
        let bodiless = status != 200;
        let reply = if bodiless { read_head_reply(&mut client) } else { read_reply(&mut client) };
        assert_eq!(reply.status, status, "{path}");
    }
    client.write_all(b"HEAD / HTTP/1.1\r\nhost: a.test\r\n\r\n").unwrap();
    let reply = read_head_reply(&mut client);
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("7")));
    client.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut client).text(), "content");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn fields_of_one_hop_stay_there_both_ways() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-inner\r\nkeep-alive: timeout=5\r\nx-inner: 1\r\n\
         proxy-authenticate: x\r\nupgrade: h2c\r\nx-kept: 1\r\ncontent-length: 2\r\n\r\nok",
    );
    let server = to(&origin);
    let reply = server.send(
        "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: x-secret, close, content-length, host, x-request-id, cookie\r\nx-secret: 1\r\ncookie: a=b\r\n\
         te: trailers, deflate\r\nkeep-alive: 1\r\nproxy-authorization: x\r\nupgrade: h2c\r\nhttp2-settings: x\r\n\
         x-forwarded-for: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\nexpect: 100-continue\r\nx-kept: 1\r\n\r\n",
    );
    assert_eq!((reply.status, reply.header("x-kept")), (200, Some("1")));
    for name in ["keep-alive", "x-inner", "proxy-authenticate", "upgrade"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    let request = origin.last();
    assert!(
        request.contains("\r\nte: trailers\r\n") && request.contains("\r\nconnection: te\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nhost: a.test\r\n") && request.contains("\r\nx-kept: 1\r\n"), "{request}");
    assert!(request.contains("\r\nx-request-id: ") && request.contains("\r\ncookie: a=b\r\n"), "{request}");
    for gone in
        ["x-secret", "6.6.6.6", "keep-alive", "proxy-auth", "h2c", "http2", "deflate", "expect", "x_for"]
    {
        assert!(!request.contains(gone), "{gone} in {request}");
    }
}
