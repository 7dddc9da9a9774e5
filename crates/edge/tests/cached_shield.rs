//! Misses that go to another Selvedge in front of the origin.
#![allow(missing_docs, reason = "a test crate")]

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::net::{SocketAddr, TcpListener};

use origin::Origin;
use support::{Reply, Server, start_sites_with};

fn origin() -> Origin {
    Origin::start(|connection| {
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap();
            connection.send(format!(
                "HTTP/1.1 200 OK\r\ncache-control: max-age=3600\r\ncontent-length: {}\r\n\r\n{path}",
                path.len()
            ));
        }
    })
}

/// An edge in front of the origin, with these shields.
fn start(origin: SocketAddr, listen: Option<SocketAddr>, shields: &[SocketAddr]) -> Server {
    let shields: Vec<String> = shields.iter().map(|shield| format!("http://{shield}")).collect();
    let settings = format!(
        "[[sites]]\nhosts = [\"a.example\"]\n[[sites.routes]]\npath = \"/*\"\n\
         cache = {{ shield = {shields:?} }}\nproxy = {{ to = [\"http://{origin}\"] }}\n"
    );
    start_sites_with(&settings, |config| {
        if let Some(address) = listen {
            config.listen = vec![address.into()];
        }
    })
}

fn ask(server: &Server, path: &str) -> Reply {
    let reply = server.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n"));
    assert_eq!((reply.status, reply.text()), (200, path), "{reply:?}");
    reply
}

/// An address that nobody listens on.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_misses_of_many_are_one_at_the_shield() {
    let origin = origin();
    let shield = start(origin.address, None, &[]);
    let edges: Vec<_> = (0..3).map(|_| start(origin.address, None, &[shield.address])).collect();
    for edge in &edges {
        let reply = ask(edge, "/a");
        assert!(reply.header("cache-status").unwrap().starts_with("Selvedge; "), "{reply:?}");
        assert!(ask(edge, "/a").head.contains("; hit"));
    }
    assert_eq!(origin.count(), 1);
    assert_eq!((shield.edge.cache().counts().hits, shield.edge.cache().counts().misses), (2, 1));
    // What is no miss goes to the origin itself.
    let request = "POST /a HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(edges[0].send(request).status, 200);
    assert_eq!(origin.count(), 2);
    assert!(!origin.last().to_ascii_lowercase().contains("cdn-loop"));
}

#[test]
fn without_its_shield_it_asks_the_origin() {
    let origin = origin();
    let edge = start(origin.address, None, &[nobody()]);
    for n in 0..20 {
        ask(&edge, &format!("/{n}"));
    }
    assert_eq!(origin.count(), 20);
    assert_eq!(edge.edge.cache().counts().shield_down, 20);
    // Of two, one is enough.
    let shield = start(origin.address, None, &[]);
    let edge = start(origin.address, None, &[nobody(), shield.address]);
    for n in 0..20 {
        ask(&edge, &format!("/second/{n}"));
    }
    assert_eq!(edge.edge.cache().counts().shield_down, 0);
    assert_eq!(shield.edge.cache().counts().misses, 20);
}

#[test]
fn shields_that_name_each_other_make_no_circle() {
    let origin = origin();
    let (one, two) = (nobody(), nobody());
    let first = start(origin.address, Some(one), &[two]);
    let second = start(origin.address, Some(two), &[one]);
    ask(&first, "/a");
    ask(&second, "/b");
    // Itself.
    let own = nobody();
    let third = start(origin.address, Some(own), &[own]);
    ask(&third, "/c");
    assert_eq!(origin.count(), 3);
    for request in origin.requests.lock().unwrap().iter() {
        let said = request
            .to_ascii_lowercase()
            .lines()
            .filter(|line| line.starts_with("cdn-loop: selvedge"))
            .count();
        assert_eq!(said, 1, "{request}");
    }
}
