//! Sites: routes, what answers them, steps on the way, and settings that change under requests.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::sync::Arc;

use support::{Reply, Server, get, sites, start_sites};

const SITE: &str = r#"
[edge]
use = ["mark"]

[middleware.mark.headers]
response = { x-mark = "{method} {path} for {client}" }

[middleware.user.headers]
request = { x-user = "{path.id}" }
remove_request = ["x-secret"]
remove_response = ["x-test"]

[middleware.gate.worker]
name = "test"

[[sites]]
hosts = ["a.example", "*.b.example"]

[[sites.routes]]
path = "/old/*"
redirect = { to = "https://new.example{uri}" }

[[sites.routes]]
path = "/loop/{*rest}"
redirect = { to = "/{path.rest}", status = 302 }

[[sites.routes]]
path = "/hi/{id}"
methods = ["GET", "POST"]
respond = { body = "hi {path.id} of {host}", headers = { x-own = "1" } }

[[sites.routes]]
path = "/head"
use = ["user"]
worker = "test"

[[sites.routes]]
path = "/step"
use = ["gate"]
respond = { body = "behind the gate, {header.x-user}" }

[[sites.routes]]
path = "/gone"
worker = "nobody"
"#;

fn ask(server: &Server, host: &str, line: &str, fields: &str) -> Reply {
    server.send(format!("{line} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"))
}

#[test]
fn routes_lead_to_what_answers() {
    let server = start_sites(SITE);
    let reply = ask(&server, "a.example", "GET /hi/7?x=1", "");
    assert_eq!((reply.status, reply.text()), (200, "hi 7 of a.example"));
    assert_eq!(reply.header("x-own"), Some("1"));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        ask(&server, "X.B.Example:8080", "POST /hi/8", "content-length: 0\r\n").text(),
        "hi 8 of X.B.Example"
    );

    let reply = ask(&server, "a.example", "GET /old/x?y=%20z", "");
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://new.example/old/x?y=%20z")));

    let reply = ask(&server, "a.example", "GET /head", "x-secret: 1\r\n");
    assert!(reply.text().contains("x-request-id: "), "{reply:?}");
    assert!(!reply.text().contains("x-secret"), "{reply:?}");
    assert_eq!(reply.header("x-test"), None);

    // What no site has belongs to workers, and passes what all pass.
    let reply = server.get("/");
    assert_eq!((reply.text(), reply.header("x-mark")), ("hello from test", Some("GET / for 127.0.0.1")));
}

#[test]
fn what_has_no_route_is_refused() {
    let server = start_sites(SITE);
    let reply = ask(&server, "a.example", "GET /none", "");
    assert_eq!((reply.status, reply.code().as_str()), (404, "no_route"));
    let reply = ask(&server, "a.example", "DELETE /hi/7", "");
    assert_eq!((reply.status, reply.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(reply.header("allow"), Some("GET, POST, HEAD"));
    let reply = ask(&server, "a.example", "GET /gone", "");
    assert_eq!((reply.status, reply.code().as_str()), (404, "no_such_worker"));
    assert_eq!(ask(&server, "b.example", "GET /hi/1", "").code(), "no_such_worker");
}

/// A request cannot make a redirect that leaves the site.
#[test]
fn redirects_stay_where_they_belong() {
    let server = start_sites(SITE);
    for path in ["//evil.example", "/\\evil.example", "///evil.example/x"] {
        let reply = ask(&server, "a.example", &format!("GET /loop/{path}"), "");
        let location = reply.header("location").unwrap_or_default();
        assert!(reply.status == 400 || location.starts_with("/evil"), "{path}: {reply:?}");
    }
}

#[test]
fn a_worker_is_a_step() {
    let server = start_sites(SITE);
    let reply = ask(&server, "a.example", "GET /step", "");
    assert_eq!(reply.text(), "the worker's own");
    let reply = ask(&server, "a.example", "POST /step", "x-pass: 1\r\ncontent-length: 2\r\n\r\nxy");
    assert_eq!(reply.text(), "behind the gate, ada");
    assert_eq!((reply.header("x-seen"), reply.header("selvedge-next")), (Some("1"), None));
}

#[test]
fn sites_change_under_a_connection() {
    let server = start_sites(SITE);
    let mut stream = server.connect();
    let mut ask = |path: &str| {
        use std::io::Write;
        stream.write_all(get(path).replace("test.localhost", "a.example").as_bytes()).unwrap();
        support::read_reply(&mut stream).status
    };
    assert_eq!(ask("/hi/1"), 200);
    let (_, changed) =
        sites("[[sites]]\nhosts = [\"*\"]\n[[sites.routes]]\nrespond = { status = 410 }").unwrap();
    server.sites.send_replace(Arc::new(changed));
    assert_eq!(ask("/hi/1"), 410);
}

#[test]
fn mistakes_are_named() {
    let problems = sites(
        r#"
        [edge]
        use = ["nothing"]
        [[sites]]
        hosts = ["a", "http://b", "a"]
        [[sites.routes]]
        path = "x"
        methods = ["get"]
        clients = ["10.0.0.0/99"]
        respond = { status = 99 }
        [[sites.routes]]
        worker = "w"
        respond = {}
        [[sites]]
        "#,
    )
    .unwrap_err();
    let settings: Vec<&str> = problems.iter().map(|problem| problem.setting.as_str()).collect();
    for expected in [
        "edge.use",
        "sites.0.hosts",
        "sites.0.routes.0.path",
        "sites.0.routes.0.methods",
        "sites.0.routes.0.clients",
        "sites.0.routes.0.respond",
        "sites.0.routes.1",
        "sites.1.hosts",
    ] {
        assert!(settings.contains(&expected), "{expected} in {problems:#?}");
    }
}

/// A site that asks its clients for certificates is not served where nobody can show one.
#[test]
fn certificates_cannot_be_gone_around() {
    let server = start_sites(
        "[[sites]]\nhosts = [\"a.example\"]\ntls = { client_ca = \"ca.pem\" }\n[[sites.routes]]\nrespond = { body = \"secret\" }\n",
    );
    let reply = ask(&server, "a.example", "GET /", "");
    assert_eq!((reply.status, reply.code().as_str()), (421, "misdirected_request"));
}
