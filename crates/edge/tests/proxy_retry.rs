//! Several servers behind the edge: who is asked, and when another is asked instead.

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use origin::{Origin, ok};
use support::{Server, read_reply, start_sites};

fn proxy(settings: &str) -> Server {
    start_sites(&format!(
        "[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\nproxy = {{ {settings} }}"
    ))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn servers_take_turns_and_weights_count() {
    let (one, other) = (Origin::saying(ok("one")), Origin::saying(ok("other")));
    let server = proxy(&format!("to = [{{ url = \"{}\", weight = 3 }}, \"{}\"]", one.url(), other.url()));
    // One connection is one thread, which keeps its own turn.
    let mut client = server.connect();
    for _ in 0..40 {
        client.write_all(get("/").as_bytes()).unwrap();
        assert_eq!(read_reply(&mut client).status, 200);
    }
    assert_eq!((one.count(), other.count()), (30, 10));
}

#[test]
fn the_same_cookie_finds_the_same_server() {
    let servers: Vec<_> = (0..4).map(|n| Origin::saying(ok(&n.to_string()))).collect();
    let urls: Vec<_> = servers.iter().map(|server| format!("\"{}\"", server.url())).collect();
    let server =
        proxy(&format!("to = [{}], balance = \"consistent_hash\", hash_by = \"cookie:id\"", urls.join(", ")));
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..20 {
        let request = format!("GET / HTTP/1.1\r\nhost: a.test\r\ncookie: a=b; id=user-{user}\r\n\r\n");
        let first = server.send(&request).text().to_owned();
        assert_eq!(server.send(&request).text(), first);
        seen.insert(first);
    }
    assert!(seen.len() > 1);
}

#[test]
fn connections_that_are_refused_are_made_elsewhere_whatever_the_method() {
    let good = Origin::saying(ok("good"));
    let server = proxy(&format!(
        "to = [\"{}\", \"{}\"], retry = {{ budget = 1.0 }}, passive = {{ failures = 0 }}",
        nobody(),
        good.url()
    ));
    for _ in 0..10 {
        assert_eq!(server.send(get("/")).text(), "good");
        assert_eq!(server.send(post("body")).text(), "good");
    }
    assert!(good.last().ends_with("body"));
}

#[test]
fn requests_that_may_have_been_acted_on_are_sent_again_only_if_that_is_safe() {
    let closing = Origin::start(|connection| {
        connection.request();
        connection.close();
    });
    let good = Origin::saying(ok("good"));
    let server = proxy(&format!(
        "to = [\"{}\", \"{}\"], retry = {{ budget = 1.0 }}, passive = {{ failures = 0 }}",
        closing.url(),
        good.url()
    ));
    for _ in 0..6 {
        assert_eq!(server.send(get("/")).text(), "good");
    }
    let statuses: Vec<_> = (0..6).map(|_| server.send(post("once")).status).collect();
    let asked = |origin: &Origin| {
        origin.requests.lock().unwrap().iter().filter(|request| request.starts_with("POST")).count()
    };
    let had = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((asked(&closing), asked(&good)), (had(502), had(200)), "each was sent once");
    assert!(had(502) > 0 && had(200) > 0, "{statuses:?}");
}

#[test]
fn a_budget_bounds_retries() {
    let closing = Origin::start(|connection| {
        connection.request();
        connection.close();
    });
    let server = proxy(&format!(
        "to = [\"{}\"], retry = {{ budget = 0.1, attempts = 5 }}, passive = {{ failures = 0 }}",
        closing.url()
    ));
    for _ in 0..100 {
        assert_eq!(server.send(get("/")).status, 502);
    }
    // 10 to begin with, 10 earned, and one each second.
    let retries = closing.count() - 100;
    assert!((10..60).contains(&retries), "{retries}");
}

#[test]
fn bodies_in_memory_can_be_sent_again_and_have_a_bound() {
    let closing = Origin::start(|connection| {
        connection.request();
        connection.close();
    });
    let good = Origin::saying(ok("good"));
    let server = proxy(&format!(
        "to = [\"{}\", \"{}\"], buffer_request = \"memory\", buffer_request_bytes = 10, retry = {{ budget = 1.0 }}",
        closing.url(),
        good.url()
    ));
    for _ in 0..4 {
        let put =
            "PUT / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        assert_eq!(server.send(put).text(), "good");
    }
    assert!(good.last().contains("content-length: 4\r\n") && good.last().ends_with("body"));
    let reply = server.send(post("eleven byte"));
    assert_eq!((reply.status, &*reply.code()), (413, "body_too_large"));
}

#[test]
fn servers_that_fail_are_left_out_for_a_while() {
    let broken = Arc::new(AtomicBool::new(true));
    let state = broken.clone();
    let one = Origin::start(move |connection| {
        while connection.request().is_some() {
            match state.load(Ordering::SeqCst) {
                true => connection.send("HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n"),
                false => connection.send(ok("one")),
            }
        }
    });
    let other = Origin::saying(ok("other"));
    let server = proxy(&format!(
        "to = [\"{}\", \"{}\"], passive = {{ failures = 2, statuses = [503], eject_ms = 700 }}",
        one.url(),
        other.url()
    ));
    let statuses: Vec<_> = (0..20).map(|_| server.send(get("/")).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 2, "{statuses:?}");
    broken.store(false, Ordering::SeqCst);
    for _ in 0..500 {
        if server.send(get("/")).text() == "one" {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it is left out for ever");
}

#[test]
fn health_checks_leave_servers_out_and_take_them_back() {
    let well = Arc::new(AtomicBool::new(false));
    let state = well.clone();
    let one = Origin::start(move |connection| {
        while let Some(request) = connection.request() {
            let bad = request.starts_with("GET /health") && !state.load(Ordering::SeqCst);
            connection.send(if bad {
                "HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n".into()
            } else {
                ok("one")
            });
        }
    });
    let server = proxy(&format!(
        "to = [\"{}\"], health = {{ path = \"/health\", interval_ms = 20, unhealthy = 2, healthy = 2 }}",
        one.url()
    ));
    let until = |status: u16| {
        for _ in 0..500 {
            let reply = server.send(get("/"));
            if reply.status == status {
                return reply;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never {status}");
    };
    let reply = until(503);
    assert_eq!((&*reply.code(), reply.header("retry-after")), ("no_healthy_upstream", Some("1")));
    well.store(true, Ordering::SeqCst);
    assert_eq!(until(200).text(), "one");
}

#[test]
fn an_open_circuit_answers_at_once_and_probes_close_it() {
    let broken = Arc::new(AtomicBool::new(true));
    let state = broken.clone();
    let origin = Origin::start(move |connection| {
        while connection.request().is_some() {
            let bad = state.load(Ordering::SeqCst);
            connection.send(if bad {
                "HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n".into()
            } else {
                ok("well")
            });
        }
    });
    let server = proxy(&format!(
        "to = [\"{}\"], circuit = {{ min_requests = 4, open_ms = 500, probes = 2 }}",
        origin.url()
    ));
    for _ in 0..4 {
        assert_eq!(server.send(get("/")).status, 500);
    }
    let reply = server.send(get("/"));
    assert_eq!((reply.status, &*reply.code()), (503, "circuit_open"));
    assert_eq!(origin.count(), 4);
    broken.store(false, Ordering::SeqCst);
    for _ in 0..500 {
        if server.send(get("/")).status == 200 {
            assert_eq!(server.send(get("/")).text(), "well");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it is open for ever");
}

#[test]
fn requests_wait_for_connections_where_they_are_bounded() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (now.clone(), most.clone());
    let origin = Origin::start(move |connection| {
        while connection.request().is_some() {
            highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(30));
            counted.fetch_sub(1, Ordering::SeqCst);
            connection.send(ok("done"));
        }
    });
    let server = proxy(&format!("to = [\"{}\"], max_connections = 2, max_queue = 20", origin.url()));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..12).map(|_| scope.spawn(|| server.send(get("/")).status)).collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
    });
    assert!(most.load(Ordering::SeqCst) <= 2);

    let server = proxy(&format!("to = [\"{}\"], max_connections = 1, max_queue = 0", origin.url()));
    let mut codes: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6).map(|_| scope.spawn(|| server.send(get("/")).status)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    codes.sort_unstable();
    assert_eq!((codes[0], codes[5]), (200, 503), "{codes:?}");
}

/// Idle connections that the server closes while nobody looks cost no request.
#[test]
fn ten_thousand_requests_with_a_server_that_closes_at_random() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let origin = Origin::start(move |connection| {
        // What looks random, and is the same in each run.
        let mut left = 1 + connection.number * 7919 % 37;
        while connection.request().is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
            connection.send(ok("fine"));
            left -= 1;
            if left == 0 {
                return connection.close();
            }
        }
    });
    let server = proxy(&format!("to = [\"{}\"], retry = {{ budget = 10.0, attempts = 5 }}", origin.url()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.connect();
                for _ in 0..2500 {
                    client.write_all(get("/").as_bytes()).unwrap();
                    assert_eq!(read_reply(&mut client).text(), "fine");
                }
            });
        }
    });
    assert!(served.load(Ordering::SeqCst) >= 10_000);
    assert!(origin.connections() > 100);
}

#[test]
fn copies_go_to_the_mirror_and_their_answers_nowhere() {
    let origin = Origin::saying(ok("real"));
    let mirror = Origin::saying(ok("copied"));
    let server = proxy(&format!("to = [\"{}\"], mirror = {{ to = [\"{}\"] }}", origin.url(), mirror.url()));
    for _ in 0..5 {
        assert_eq!(server.send(post("twice")).text(), "real");
    }
    for _ in 0..500 {
        if mirror.count() == 5 {
            assert!(mirror.last().ends_with("twice"));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} copies", mirror.count());
}
