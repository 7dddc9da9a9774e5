//! The executable in front of real servers (nginx, haproxy, Node.js) that are killed, stopped, slow, and come back.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::servers::{
    Authority, Running, ask, free_address, haproxy, install, library, nginx, nginx_config, node, node_at,
    seen, start,
};
use common::{Answer, Selvedge, eventually};
use rustix::process::Signal;

/// The site `a.test`, whose only route is this proxy; one thread, so that turns and connections are those of one.
fn settings(proxy: &str) -> String {
    format!(
        "[edge]\nthreads = 1\n[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\nproxy = {{ {proxy} }}\n"
    )
}

fn proxy(proxy: &str) -> Selvedge {
    Selvedge::configured(&settings(proxy))
}

fn to(servers: &[&Running]) -> String {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    format!("to = {urls:?}")
}

fn head(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{fields}\r\n")
}

fn get(selvedge: &Selvedge, path: &str) -> Answer {
    selvedge.raw(&head("GET", path, ""))
}

fn post(selvedge: &Selvedge, path: &str, body: &str) -> Answer {
    let length = format!("content-length: {}\r\n", body.len());
    selvedge.raw(&(head("POST", path, &length) + body))
}

/// A request whose answer is read later.
fn begin(selvedge: &Selvedge, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(selvedge.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(head("GET", path, "").as_bytes()).unwrap();
    stream
}

/// Pages, ranges, conditions, errors: what a server says is what clients get.
fn check_nginx(selvedge: &Selvedge) {
    for _ in 0..20 {
        let answer = get(selvedge, "/page.txt");
        assert_eq!((answer.status, answer.body.as_str()), (200, "a page of nginx"));
    }
    let answer = selvedge.raw(&head("GET", "/page.txt", "range: bytes=2-5\r\n"));
    assert_eq!((answer.status, answer.body.as_str()), (206, "page"));
    assert_eq!(answer.header("content-range"), Some("bytes 2-5/15"));
    let etag = answer.header("etag").unwrap().to_owned();
    let answer = selvedge.raw(&head("GET", "/page.txt", &format!("if-none-match: {etag}\r\n")));
    assert_eq!((answer.status, answer.header("etag")), (304, Some(etag.as_str())));
    assert_eq!(get(selvedge, "/none").status, 404);
    let said = get(selvedge, "/say").body;
    assert_eq!(said, "GET a.test 127.0.0.1 http");
}

const SAY: &str =
    "location /say { return 200 \"$request_method $host $http_x_forwarded_for $http_x_forwarded_proto\"; }";

#[test]
fn nginx_and_haproxy_are_passed_through() {
    let dir = tempfile::tempdir().unwrap();
    let nginx = nginx(dir.path(), free_address(), SAY);
    check_nginx(&proxy(&to(&[&nginx])));
    let haproxy = haproxy(dir.path(), nginx.address);
    check_nginx(&proxy(&to(&[&haproxy])));
}

#[test]
fn unix_sockets_lead_to_nginx() {
    install("nginx", "nginx-light");
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/app.sock", dir.path().display());
    std::fs::write(dir.path().join("page.txt"), "a page of nginx").unwrap();
    let address = free_address();
    let config = dir.path().join("nginx.conf");
    // The port is only there to see that it runs.
    let more = format!("listen {address};\n{SAY}");
    std::fs::write(&config, nginx_config(dir.path(), &socket, &more)).unwrap();
    let mut command = std::process::Command::new("nginx");
    let _nginx = start(command.arg("-c").arg(&config).args(["-e", "/dev/null"]), address);
    check_nginx(&proxy(&format!("to = [\"{socket}\"]")));
}

#[test]
fn bodies_of_all_lengths_reach_node() {
    let node = node("one");
    let selvedge = proxy(&format!("{}, buffer_response_bytes = 1000", to(&[&node])));
    for length in [0, 5, 100_000, 3_000_000] {
        let answer = post(&selvedge, "/length", &"x".repeat(length));
        assert_eq!(answer.body, format!("got {length}"));
    }
}

/// One of two servers is killed and comes back, again and again, under load: nobody notices who may be asked twice.
#[test]
fn killed_servers_cost_no_request() {
    let (stays, dies) = (node("stays"), free_address());
    let selvedge = proxy(&format!(
        "to = [\"{}\", \"http://{dies}\"], retry = {{ budget = 10.0 }}, passive = {{ eject_ms = 100 }}",
        stays.url()
    ));
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = get(&selvedge, "/name");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..5 {
            let mut running = node_at(dies, "dies");
            eventually("the one that came back is asked", || (!seen(&running).is_empty()).then_some(round));
            running.signal(Signal::KILL);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 50);
}

#[test]
fn a_server_killed_in_the_middle_of_a_body_cuts_it_off() {
    for path in ["/half?length=5000", "/half"] {
        let (mut one, other) = (node("one"), node("other"));
        let selvedge = proxy(&to(&[&one]));
        let stream = begin(&selvedge, path);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut lines = Vec::new();
        while !lines.ends_with(b"\r\n\r\n") {
            assert_ne!(reader.read_until(b'\n', &mut lines).unwrap(), 0);
        }
        assert_ne!(reader.fill_buf().unwrap().len(), 0, "a part of the body is there");
        one.signal(Signal::KILL);
        let rest = std::io::read_to_string(&mut reader).unwrap_or_default();
        // Neither the length nor the last chunk comes, so that nobody takes it for whole.
        assert!(rest.len() < 5000 && !rest.ends_with("0\r\n\r\n"), "{path}: {}", rest.len());
        std::fs::write(selvedge.data().join("selvedge.toml"), settings(&to(&[&one, &other]))).unwrap();
        selvedge.json(&["reload"]);
        for _ in 0..4 {
            assert_eq!(get(&selvedge, "/name").body, "other");
        }
    }
}

#[test]
fn a_post_that_killed_its_server_is_not_sent_to_another() {
    let (one, other) = (node("one"), node("other"));
    let selvedge = proxy(&to(&[&one, &other]));
    let answer = post(&selvedge, "/die", "body");
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_closed"));
    // One has died of it, and the other one was not asked.
    let left = eventually("one is gone", || {
        let left = [&one, &other].into_iter().filter(|server| TcpStream::connect(server.address).is_ok());
        let left: Vec<_> = left.collect();
        (left.len() == 1).then_some(left)
    });
    assert_eq!(seen(left[0]), [""; 0]);
    // Nothing was sent to a server that cannot be reached: then it is.
    for _ in 0..4 {
        assert_eq!(post(&selvedge, "/length", "body").body, "got 4");
    }
}

/// A server that hangs holds up a request for as long as the settings say, and then it is left out until it goes on.
#[test]
fn a_server_that_hangs_is_left_out_until_it_goes_on() {
    let (mut one, other) = (node("one"), node("other"));
    let selvedge = proxy(&format!(
        "{}, response_timeout_ms = 400, passive = {{ failures = 1, eject_ms = 1500 }}",
        to(&[&one, &other])
    ));
    let names = || (0..4).map(|_| get(&selvedge, "/name").body).collect::<Vec<_>>();
    assert!(names().contains(&"one".to_owned()));
    one.signal(Signal::STOP);
    let failed = eventually("it is asked", || {
        let answer = get(&selvedge, "/name");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((failed.status, failed.code().as_str()), (504, "upstream_timeout"));
    assert_eq!(names(), ["other"; 4]);
    one.signal(Signal::CONT);
    eventually("it is asked again", || names().contains(&"one".to_owned()).then_some(()));
}

#[test]
fn health_checks_see_servers_stop_and_go_on() {
    let mut one = node("one");
    let selvedge = proxy(&format!(
        "{}, response_timeout_ms = 1000, health = {{ path = \"/healthz\", interval_ms = 50, timeout_ms = 300, unhealthy = 2, healthy = 2 }}",
        to(&[&one])
    ));
    let until = |status: u16| {
        eventually("health is found out", || {
            let answer = get(&selvedge, "/name");
            (answer.status == status).then_some(answer)
        })
    };
    until(200);
    // It says that it is not well, it hangs, it is gone.
    ask(one.address, "/well?is=no");
    assert_eq!(until(503).code(), "no_healthy_upstream");
    ask(one.address, "/well?is=yes");
    until(200);
    one.signal(Signal::STOP);
    until(503);
    one.signal(Signal::CONT);
    until(200);
    let address = one.address;
    one.signal(Signal::KILL);
    until(503);
    let _again = node_at(address, "again");
    assert_eq!(until(200).body, "again");
}

#[test]
fn slow_servers_have_time_and_hold_nobody_up() {
    let node = node("one");
    let selvedge = proxy(&to(&[&node]));
    let slow = begin(&selvedge, "/slow?ms=1500");
    for _ in 0..50 {
        assert_eq!(get(&selvedge, "/name").body, "one");
    }
    assert_eq!(Answer::read(slow).body, "slow");
}

/// Authorities of one's own, both ways: theirs for us, ours for them.
#[test]
fn nginx_asks_for_a_certificate_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = (Authority::new(dir.path(), "theirs"), Authority::new(dir.path(), "ours"));
    theirs.issue("server", &["inner.example"]);
    ours.issue("client", &["edge.example"]);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let more = format!(
        "listen 127.0.0.1:PORT ssl http2; ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {};\n\
         ssl_verify_client on; location /who {{ return 200 \"$ssl_client_s_dn $ssl_server_name $server_protocol\"; }}",
        file("server.pem"),
        file("server.key"),
        file("ours.pem")
    );
    let tls = free_address();
    let _nginx = nginx(dir.path(), free_address(), &more.replace("PORT", &tls.port().to_string()));
    let (ca, certificate, key) = (file("theirs.pem"), file("client.pem"), file("client.key"));
    let tls =
        |more: &str| format!("to = [\"https://{tls}\"], tls = {{ {more}, server_name = \"inner.example\" }}");
    let shown = format!("certificate = {certificate:?}, key = {key:?}");

    let selvedge = proxy(&tls(&format!("ca = {ca:?}, {shown}")));
    for _ in 0..3 {
        assert_eq!(get(&selvedge, "/who").body, "CN=client inner.example HTTP/2.0");
    }
    let selvedge = proxy(&tls(&format!("ca = {ca:?}, {shown}, http1_only = true")));
    assert_eq!(get(&selvedge, "/who").body, "CN=client inner.example HTTP/1.1");
    // Without a certificate nginx says no; whom we do not believe is not asked at all.
    let selvedge = proxy(&tls(&format!("ca = {ca:?}")));
    let answer = get(&selvedge, "/who");
    assert!(answer.status == 400 && answer.body.contains("SSL certificate"), "{answer:?}");
    for wrong in [shown.clone(), format!("ca = {:?}, {shown}", file("ours.pem"))] {
        let answer = get(&proxy(&tls(&wrong)), "/who");
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_tls"), "{wrong}");
    }
}

/// Names are looked up again: servers come and go behind one.
#[test]
fn names_lead_to_servers_that_come_and_go() {
    let library = &library("libnss-wrapper", "libnss_wrapper.so");
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    let write = |addresses: &[&str]| {
        let text: String = addresses.iter().map(|address| format!("{address} app.example\n")).collect();
        let part = dir.path().join("part");
        std::fs::write(&part, text).unwrap();
        std::fs::rename(part, &hosts).unwrap();
    };
    let nginx = |address: &str, port: u16| {
        let own = dir.path().join(address);
        std::fs::create_dir(&own).unwrap();
        let say = format!("location /name {{ return 200 \"{address}\"; }}");
        nginx(&own, format!("{address}:{port}").parse().unwrap(), &say)
    };
    let port = free_address().port();
    let _servers = ["127.0.0.2", "127.0.0.3"].map(|address| nginx(address, port));
    write(&["127.0.0.2"]);
    let selvedge = Selvedge::with_variables(
        &[("LD_PRELOAD", library), ("NSS_WRAPPER_HOSTS", hosts.to_str().unwrap())],
        &settings(&format!("to = [\"http://app.example:{port}\"], dns_interval_ms = 100")),
    );
    let names = || {
        let names: std::collections::BTreeSet<String> =
            (0..6).map(|_| get(&selvedge, "/name").body).collect();
        names.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(), "127.0.0.2");
    for addresses in [&["127.0.0.2", "127.0.0.3"][..], &["127.0.0.3"]] {
        write(addresses);
        eventually("the name is looked up again", || (names() == addresses.join(" ")).then_some(()));
    }
    // A name that is gone leaves what was known.
    write(&[]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(names(), "127.0.0.3");
}

/// Events arrive as they are sent, also after settings were read again, and end with their client.
#[test]
fn events_go_on_through_reloads() {
    let node = node("one");
    let selvedge = proxy(&to(&[&node]));
    let stream = begin(&selvedge, "/events");
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0);
        }
        line.trim_end().to_owned()
    };
    eventually("somebody listens", || (ask(node.address, "/tell?what=first") == "1").then_some(()));
    assert_eq!(next(), "data: first");
    std::fs::write(selvedge.data().join("selvedge.toml"), settings("to = [\"http://127.0.0.1:1\"]")).unwrap();
    selvedge.json(&["reload"]);
    assert_eq!(get(&selvedge, "/name").status, 502);
    ask(node.address, "/tell?what=second");
    assert_eq!(next(), "data: second");
    drop(reader);
    eventually("nobody listens", || (ask(node.address, "/tell?what=third") == "0").then_some(()));
}

#[test]
fn copies_go_elsewhere_and_hold_nobody_up() {
    let (one, mut copies) = (node("one"), node("copies"));
    let selvedge =
        proxy(&format!("{}, mirror = {{ to = [\"{}\"], max_body_bytes = 10 }}", to(&[&one]), copies.url()));
    assert_eq!(get(&selvedge, "/name?a").body, "one");
    assert_eq!(post(&selvedge, "/length?b", "four").body, "got 4");
    assert_eq!(post(&selvedge, "/length?c", "more than ten").body, "got 13");
    assert_eq!(get(&selvedge, "/name?d").body, "one");
    let paths = |server: &Running| {
        let mut paths: Vec<String> =
            seen(server).iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(&one), ["GET /name?a", "GET /name?d", "POST /length?b", "POST /length?c"]);
    eventually("copies arrive", || {
        (paths(&copies) == ["GET /name?a", "GET /name?d", "POST /length?b"]).then_some(())
    });
    copies.signal(Signal::STOP);
    for _ in 0..200 {
        assert_eq!(get(&selvedge, "/name").body, "one");
    }
    copies.signal(Signal::KILL);
    assert_eq!(get(&selvedge, "/name").body, "one");
}

/// Reading settings again leaves upstreams that did not change alone: their connections, and who is left out.
#[test]
fn reloads_keep_what_is_known_of_servers() {
    let (one, gone) = (node("one"), free_address());
    let text = settings(&format!(
        "to = [\"{}\", \"http://{gone}\"], passive = {{ failures = 1, eject_ms = 600000 }}, retry = {{ attempts = 0 }}",
        one.url()
    ));
    let selvedge = Selvedge::configured(&text);
    // The one that is not there fails once; from then on it is left out.
    let statuses: Vec<u16> = (0..10).map(|_| get(&selvedge, "/name").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 1, "{statuses:?}");
    for round in 0..3 {
        let more = format!(
            "[[sites]]\nhosts = [\"b{round}.test\"]\n[[sites.routes]]\nrespond = {{ body = \"b\" }}\n"
        );
        std::fs::write(selvedge.data().join("selvedge.toml"), format!("{text}{more}")).unwrap();
        assert_eq!(selvedge.json(&["reload"])["changed"], serde_json::json!(["sites"]));
        assert!((0..4).all(|_| get(&selvedge, "/name").status == 200));
    }
    let seen = seen(&one);
    let ports: std::collections::BTreeSet<_> = seen.iter().map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(ports.len(), 1, "one connection for all: {seen:?}");
}
