//! Servers behind the edge whose responses can be read in two ways, or say more than they were asked: what they say
//! reaches at most the one who asked, and their connections serve nobody after it (RFC 9112, sections 6.3, 9.2 and 11.1).

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::{Read, Write};
use std::sync::mpsc;

use origin::{Origin, ok};
use support::{Server, is_closed, read_reply, start_sites};

const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";

fn to(origin: &Origin) -> Server {
    start_sites(&format!(
        "[edge]\nthreads = 1\n[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\n\
         proxy = {{ to = [\"{}\"] }}",
        origin.url()
    ))
}

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n")
}

/// Everything on a connection up to its end.
fn all(server: &Server, request: &str) -> String {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Answers the first request on a connection with `odd`, and others with what they asked for. The poison comes right behind
/// what is odd, or when the client has its answer.
fn odd_origin(odd: String, late: bool) -> (Origin, mpsc::Sender<()>) {
    let (sender, answered) = mpsc::channel::<()>();
    let answered = std::sync::Mutex::new(answered);
    let origin = Origin::start(move |connection| {
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            if path != "/odd" {
                connection.send(ok(&path));
                continue;
            }
            if late {
                connection.send(&odd);
                let _ = answered.lock().unwrap().recv();
                connection.send(POISON);
            } else {
                connection.send(format!("{odd}{POISON}"));
            }
        }
    });
    (origin, sender)
}

/// Responses that are wrong: the client is told so, and sees nothing of them.
#[test]
fn ambiguous_responses_are_refused_and_poison_nothing() {
    let fields = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nabc");
    let mut odd: Vec<String> = [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "content-length: 0\r\ntransfer-encoding: chunked",
        "content-length: 3\r\ncontent-length: 3",
        "content-length: 3\r\ncontent-length: 4",
        "content-length: 3, 3",
        "content-length: +3",
        "content-length: -3",
        "content-length: 0x3",
        "content-length: 3 3",
        "content-length:",
        "content-length: 18446744073709551619",
        "content-length : 3",
        "content-length: 3\r\n 4",
        "content-length: 3\nx: y",
        "content-length: 3\rx: y",
        "content-length: 3\r\nx: \0",
        "content-length: 3\r\nx y: z",
        "content-length: 3\r\nx",
        "content-length: 3\r\n: x",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: identity",
        "transfer-encoding:",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding : chunked",
        "transfer-encoding: \x0bchunked",
    ]
    .iter()
    .map(|text| fields(text))
    .collect();
    odd.extend(
        [
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "HTTP/2.0 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 2000 OK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 20 OK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 099 OK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 600 OK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1  200 OK\r\ncontent-length: 3\r\n\r\nabc",
            " HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            "\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\ncontent-length: 3\n\nabc",
            "HTTP/1.1 200 O\rK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\n content-length: 3\r\n\r\nabc",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            "ICY 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            "abc\r\n\r\n",
        ]
        .map(str::to_owned),
    );
    odd.push("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40));
    for odd in odd {
        let (origin, _sender) = odd_origin(odd.clone(), false);
        let server = to(&origin);
        // The server closes nothing: it is the edge that has to.
        let reply = server.send(request("GET", "/odd", ""));
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_bad_response"), "{odd:?}");
        for path in ["/1", "/2"] {
            assert_eq!(server.send(request("GET", path, "")).text(), path, "{odd:?}");
        }
        assert_eq!(origin.connections(), 2, "the connection is used again after {odd:?}");
    }
}

/// Responses that are clear, from servers that say more than that, at once or later.
#[test]
fn what_follows_a_response_is_nobodys() {
    for (method, odd, body) in [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n", ""),
        ("GET", "HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nabc", "abc"),
        ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n", ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 69\r\n\r\n", ""),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 69\r\n\r\n", ""),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", ""),
    ] {
        for late in [false, true] {
            let (origin, sender) = odd_origin(odd.to_owned(), late);
            let server = to(&origin);
            let answer = all(&server, &request(method, "/odd", "connection: close\r\n"));
            let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
            let rest = rest.split_once("\r\n").map_or(rest, |(_, chunk)| chunk.split("\r\n").next().unwrap());
            assert!(head.starts_with("HTTP/1.1 ") && rest == body, "{odd:?}: {answer}");
            let _ = sender.send(());
            if late {
                // Until what nobody asked for has arrived.
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            for path in ["/1", "/2"] {
                assert_eq!(server.send(request("GET", path, "")).text(), path, "{odd:?}");
            }
            assert_eq!(origin.connections(), 2, "the connection is used again after {odd:?}");
        }
    }
}

/// A 204 that announces a body may be followed by one, whenever (RFC 9110, section 8.6; RFC 9112, section 6.1).
#[test]
fn a_response_that_contradicts_itself_ends_its_connection() {
    for odd in [
        "HTTP/1.1 204 No Content\r\ncontent-length: 69\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\ncontent-length: 69\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let origin = Origin::start(move |connection| {
            while let Some(request) = connection.request() {
                let path = request.split(' ').nth(1).unwrap().to_owned();
                connection.send(if path == "/odd" { odd.to_owned() } else { ok(&path) });
            }
        });
        let server = to(&origin);
        let answer = all(&server, &request("GET", "/odd", "connection: close\r\n"));
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        for path in ["/1", "/2"] {
            assert_eq!(server.send(request("GET", path, "")).text(), path, "{odd:?}");
        }
        assert_eq!(origin.connections(), 2, "the connection is used again after {odd:?}");
    }
}

/// A response whose body is faulty is cut off; it does not look whole, and nothing behind it is anybody's.
#[test]
fn faulty_bodies_are_cut_off() {
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3;\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nx\r\n\r\n",
        "3\r\nabc\r\n0\r\nx : y\r\n\r\n",
        "\r\n",
        "x\r\n",
    ] {
        let odd = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let (origin, _sender) = odd_origin(odd, false);
        let server = to(&origin);
        let answer = all(&server, &request("GET", "/odd", ""));
        assert!(!answer.ends_with("0\r\n\r\n") && !answer.contains("poison"), "{body:?}: {answer}");
        for path in ["/1", "/2"] {
            assert_eq!(server.send(request("GET", path, "")).text(), path, "{body:?}");
        }
        assert_eq!(origin.connections(), 2, "the connection is used again after {body:?}");
    }
}

/// The server answers before it has the request's body: the rest of that must not become another request there.
#[test]
fn an_early_response_ends_the_servers_connection() {
    let origin = Origin::start(|connection| {
        while let Some(head) = connection.head() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            connection.send(ok(&path));
        }
    });
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let server = to(&origin);
        let before = origin.connections();
        let mut stream = server.connect();
        write!(stream, "POST /early HTTP/1.1\r\nhost: a.test\r\n{framing}\r\n\r\n").unwrap();
        assert_eq!(read_reply(&mut stream).text(), "/early");
        // The rest of the body, which is what the client says it is.
        let hidden = request("GET", "/hidden", "");
        if framing.contains("chunked") {
            write!(stream, "{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()).unwrap();
        } else {
            write!(stream, "{hidden:<100}").unwrap();
        }
        // The same connection either goes on behind the body or ends.
        let _ = stream.write_all(request("GET", "/behind", "").as_bytes());
        let mut answer = vec![0; 12];
        if stream.read_exact(&mut answer).is_ok() {
            assert_eq!(answer, b"HTTP/1.1 200");
            let mut rest = [0; 1024];
            let count = stream.read(&mut rest).unwrap();
            assert!(String::from_utf8_lossy(&rest[..count]).ends_with("/behind"));
        }
        assert_eq!(server.send(request("GET", "/1", "")).text(), "/1", "{framing}");
        assert!(origin.connections() - before >= 2, "{framing}");
    }
}

/// Bytes sent ahead of the answer to an upgrade go where the answer says, and nowhere before it (CVE-2026-2833).
#[test]
fn bytes_behind_an_upgrade_wait_for_its_answer() {
    let origin = Origin::start(|connection| {
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            assert!(!path.contains("hidden") || !request.contains("sec-websocket"));
            connection.send(match &*path {
                // 101 without being asked in the right way, or for another protocol.
                "/wrong" => {
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n".into()
                }
                "/forged" => {
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                              sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
                        .into()
                }
                _ => ok(&path),
            });
        }
    });
    let server = to(&origin);
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut stream = server.connect();
    let both = [request("GET", "/declined", upgrade), request("GET", "/behind", "")].concat();
    stream.write_all(both.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).text(), "/declined");
    assert_eq!(read_reply(&mut stream).text(), "/behind");
    for path in ["/wrong", "/forged"] {
        let mut stream = server.connect();
        let both = [request("GET", path, upgrade), request("GET", "/behind", "")].concat();
        stream.write_all(both.as_bytes()).unwrap();
        assert_eq!(read_reply(&mut stream).status, 502, "{path}");
        // It was no tunnel: what follows is a request.
        assert_eq!(read_reply(&mut stream).text(), "/behind", "{path}");
        assert_eq!(server.send(request("GET", "/1", "")).text(), "/1");
    }
    // A 101 that nobody asked for.
    let reply = server.send(request("GET", "/wrong", ""));
    assert_eq!(reply.status, 502);
    // A handshake with a body has no clear end.
    let mut stream = server.connect();
    let with_body = request("GET", "/odd", &format!("{upgrade}content-length: 5\r\n"));
    stream.write_all(format!("{with_body}abcde").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).status, 400);
    assert!(is_closed(&mut stream));
}
