//! Servers behind the edge that fail, lie or attack: what their answers do to other requests, which is nothing.

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use origin::{Origin, ok};
use support::{Server, is_closed, read_head_reply, read_reply, start_sites};

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

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A port where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn what_is_no_response_is_a_502_and_ends_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        "HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 2\r\n\r\nok",
        "\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 99 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 600 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\x16\x03\x01\x02\0\x01",
    ] {
        let origin = Origin::start(move |connection| {
            while connection.request().is_some() {
                connection.send(answer);
                // Another answer, for whoever comes next.
                connection.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned");
            }
        });
        let server = to(&origin);
        let mut client = server.connect();
        for round in 1..=2 {
            client.write_all(get("/").as_bytes()).unwrap();
            let reply = read_reply(&mut client);
            assert_eq!((reply.status, &*reply.code()), (502, "upstream_bad_response"), "{answer:?}");
            assert_eq!(origin.connections(), round, "{answer:?}");
        }
    }
}

#[test]
fn too_much_head_and_endless_interim_answers_are_a_502() {
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(201));
    for answer in [large, many, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(20)] {
        let origin = Origin::saying(answer);
        let server = to(&origin);
        let reply = server.send(get("/"));
        assert_eq!((reply.status, &*reply.code()), (502, "upstream_bad_response"));
    }
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n".to_owned();
    let origin = Origin::saying(hints + &ok("after hints"));
    let server = to(&origin);
    let mut client = server.connect();
    for _ in 0..2 {
        client.write_all(get("/").as_bytes()).unwrap();
        assert_eq!(read_reply(&mut client).text(), "after hints");
    }
    assert_eq!(origin.connections(), 1);
}

/// Each answer is good for its request; what comes with it must reach nobody else.
#[test]
fn connections_with_something_left_over_serve_nobody_else() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned";
    for (method, answer, text) in [
        ("GET", format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood{poison}"), "good"),
        (
            "GET",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n{poison}"),
            "good",
        ),
        ("GET", format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{poison}"), ""),
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{poison}"), ""),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 44\r\n\r\n{poison}"), ""),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nextra".to_owned(), ""),
        ("HEAD", format!("HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\n{poison}"), ""),
        ("HEAD", format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{poison}"), ""),
        ("GET", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngood".to_owned(), "good"),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 4\r\n\r\ngood".to_owned(),
            "good",
        ),
    ] {
        for pause in [0, 20] {
            let told = answer.clone();
            let origin = Origin::start(move |connection| {
                while connection.request().is_some() {
                    // In two parts: what is left over arrives when the connection is idle already.
                    let split = if pause == 0 { 0 } else { told.len() - 5 };
                    connection.send(&told[..split]);
                    std::thread::sleep(Duration::from_millis(pause));
                    connection.send(&told[split..]);
                }
            });
            let server = to(&origin);
            for round in 1..=3 {
                let mut client = server.connect();
                write!(client, "{method} / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").unwrap();
                let bodiless = method == "HEAD" || answer.contains("204") || answer.contains("304");
                let reply = if bodiless { read_head_reply(&mut client) } else { read_reply(&mut client) };
                assert!(reply.text().contains(text) && !reply.text().contains("poison"), "{answer:?}");
                assert!(is_closed(&mut client), "{answer:?}");
                std::thread::sleep(Duration::from_millis(2 * pause));
                assert_eq!(origin.connections(), round, "{answer:?}, pause {pause}");
            }
        }
    }
}

#[test]
fn an_answer_that_nobody_asked_for_reaches_nobody() {
    let origin = Origin::start(|connection| {
        while let Some(request) = connection.request() {
            connection.send(ok("first"));
            std::thread::sleep(Duration::from_millis(50));
            if request.contains("/first") {
                connection.send(ok("nobody asked"));
            }
        }
    });
    let server = to(&origin);
    assert_eq!(server.send(get("/first")).text(), "first");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.send(get("/second")).text(), "first");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn bodies_that_break_off_break_off_for_the_client() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart!\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n bad: trailer\r\n\r\n",
    ] {
        let origin = Origin::start(move |connection| {
            connection.request();
            connection.send(answer);
            std::thread::sleep(Duration::from_millis(100));
            connection.close();
        });
        let server = to(&origin);
        let mut client = server.connect();
        client.write_all(get("/").as_bytes()).unwrap();
        let mut all = Vec::new();
        let _ = client.read_to_end(&mut all);
        let all = String::from_utf8(all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200"), "{all}");
        let whole = all.ends_with("0\r\n\r\n") || all.len() > 100 + all.find("\r\n\r\n").unwrap();
        assert!(!whole, "{answer:?}: {all}");
    }
}

#[test]
fn bodies_to_the_end_of_the_connection_are_passed_on() {
    let origin = Origin::start(|connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil");
        std::thread::sleep(Duration::from_millis(50));
        connection.send(" the end");
        connection.close();
    });
    let server = to(&origin);
    for _ in 0..2 {
        let mut client = server.connect();
        client.write_all(get("/").as_bytes()).unwrap();
        let mut all = Vec::new();
        while !all.ends_with(b"0\r\n\r\n") {
            let mut part = [0; 100];
            let count = client.read(&mut part).unwrap();
            assert!(count > 0);
            all.extend_from_slice(&part[..count]);
        }
        assert!(String::from_utf8(all).unwrap().contains("until"));
    }
    assert_eq!(origin.connections(), 2);
}

#[test]
fn reasons_have_codes() {
    let server = proxy(&format!("to = [\"{}\"]", nobody()));
    let reply = server.send(get("/"));
    assert_eq!((reply.status, &*reply.code()), (502, "upstream_refused"));

    let silent = Origin::start(|connection| {
        connection.request();
        std::thread::sleep(Duration::from_secs(20));
    });
    let server = proxy(&format!("to = [\"{}\"], response_timeout_ms = 100", silent.url()));
    let reply = server.send(get("/"));
    assert_eq!((reply.status, &*reply.code()), (504, "upstream_timeout"));
    assert_eq!(silent.count(), 1, "not asked again");

    let closing = Origin::start(|connection| {
        connection.request();
    });
    let reply = to(&closing).send(post("x"));
    assert_eq!((reply.status, &*reply.code()), (502, "upstream_closed"));
    assert_eq!(closing.count(), 1, "POST is not sent again");

    let server = proxy("to = [\"http://no-such-name.invalid\"], connect_timeout_ms = 3000");
    let reply = server.send(get("/"));
    assert!(["upstream_unresolved", "no_healthy_upstream"].contains(&&*reply.code()), "{}", reply.text());
}

#[test]
fn stalled_bodies_are_given_up() {
    let origin = Origin::start(|connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart");
        // Longer than the client has patience.
        std::thread::sleep(Duration::from_secs(120));
    });
    let server = proxy(&format!("to = [\"{}\"], idle_timeout_ms = 100", origin.url()));
    let mut client = server.connect();
    client.write_all(get("/").as_bytes()).unwrap();
    let mut all = Vec::new();
    let ended = client.read_to_end(&mut all);
    assert!(ended.is_ok_and(|_| String::from_utf8(all).unwrap().ends_with("part")));
}

/// CVE-2026-2833: what follows a request for an upgrade is no part of a tunnel before the server has agreed to one.
#[test]
fn nothing_goes_through_before_the_server_has_switched() {
    let origin = Origin::start(|connection| {
        while let Some(request) = connection.request() {
            connection.send(ok(request.split(' ').nth(1).unwrap()));
        }
    });
    let server = to(&origin);
    let mut client = server.connect();
    let handshake = "GET /socket HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let smuggled = "GET /next HTTP/1.1\r\nhost: other.test\r\n\r\n";
    write!(client, "{handshake}{smuggled}{}", get("/third")).unwrap();
    assert_eq!(read_reply(&mut client).text(), "/socket");
    let reply = read_reply(&mut client);
    assert_eq!(reply.status, 404, "a request of its own, to a host that is none of ours");
    assert_eq!(read_reply(&mut client).text(), "/third");
    let requests = origin.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert!(!requests.iter().any(|request| request.contains("other.test")));
}

/// CVE-2026-2835 and the like: requests whose end is in doubt are not sent on.
#[test]
fn ambiguous_requests_reach_no_server() {
    let origin = Origin::saying(ok("reached"));
    let server = to(&origin);
    for head in [
        "POST / HTTP/1.0\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n",
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: identity, chunked\r\n",
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ncontent-length: 6\r\n",
    ] {
        let reply = server.send(format!("{head}\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a.test\r\n\r\n"));
        assert!([400, 501].contains(&reply.status), "{head}");
    }
    assert_eq!(origin.count(), 0);
}
