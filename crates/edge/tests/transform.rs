//! Steps that change what is asked and answered.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use support::{Reply, Server, sites, start_sites};

const SITE: &str = r#"
[middleware.fields.headers]
request = { x-who = "{client} {path.id}" }
add_request = { x-list = "two" }
response = { x-fixed = "1" }
add_response = { x-test = "2" }
default_response = { x-test = "never", x-new = "{request_id}" }

[middleware.web.cors]
origins = ["https://app.example", "https://*.b.example"]
methods = ["PUT"]
headers = ["x-api-key"]
credentials = true

[middleware.gate.ip]
deny = ["0.0.0.0/0"]

[middleware.short.rewrite]
strip_prefix = "/api"
replace = [{ pattern = "^/u/([0-9]+)$", to = "/hi/$1?from=u" }]
set_query = { v = "1" }

[middleware.versions.version]
strip = true
default = "2"
[middleware.versions.version.versions]
1 = { deprecated = "2025-01-01", sunset = "2098-01-01", link = "https://a.example/v1" }
2 = {}
0 = { sunset = "2020-01-01", refuse_after_sunset = true }

[[sites]]
hosts = ["a.example"]
[[sites.routes]]
path = "/fields/{id}"
use = ["fields"]
worker = "test"
[[sites.routes]]
path = "/api/*"
use = ["short"]
respond = { body = "{path}{query}" }
[[sites.routes]]
path = "/cors"
methods = ["PUT", "GET"]
use = ["web", "gate"]
respond = { body = "never" }
[[sites.routes]]
path = "/open"
methods = ["GET"]
use = ["web"]
respond = { body = "x", headers = { access-control-allow-origin = "*" } }
[[sites.routes]]
path = "/*"
use = ["versions"]
respond = { body = "{header.api-version} {path}" }
[[sites]]
hosts = ["strict.example"]
security_headers = "strict"
[[sites.routes]]
respond = { body = "x", headers = { x-frame-options = "SAMEORIGIN" } }
[[sites]]
hosts = ["off.example"]
security_headers = "off"
[[sites.routes]]
respond = { body = "x" }
"#;

fn ask(server: &Server, line: &str, fields: &str) -> Reply {
    server.send(format!("{line} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n{fields}\r\n"))
}

fn all<'r>(reply: &'r Reply, name: &str) -> Vec<&'r str> {
    let fields = reply.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

#[test]
fn fields_are_set_added_and_defaulted() {
    let server = start_sites(SITE);
    let reply = ask(&server, "GET /fields/7", "x-list: one\r\nx-who: forged\r\n");
    assert_eq!((reply.header("x-fixed"), all(&reply, "x-test")), (Some("1"), vec!["1", "2"]));
    assert_eq!(reply.header("x-new"), reply.header("x-request-id"));
    for name in ["content-length", "Transfer-Encoding", "connection", "a b"] {
        for kind in ["request", "response", "add_response"] {
            let wrong = format!("[middleware.a.headers]\n{kind} = {{ \"{name}\" = \"1\" }}");
            assert_eq!(sites(&wrong).unwrap_err()[0].setting, "middleware.a", "{name}");
        }
    }
}

#[test]
fn sites_protect_their_users_unless_told_otherwise() {
    let server = start_sites(SITE);
    let reply = ask(&server, "GET /x", "");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert_eq!(reply.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
    assert_eq!(
        (reply.header("strict-transport-security"), reply.header("content-security-policy")),
        (None, None)
    );
    let of = |host: &str| server.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    let strict = of("strict.example");
    assert_eq!(all(&strict, "x-frame-options"), ["SAMEORIGIN"]);
    assert!(strict.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
    assert_eq!(of("off.example").header("x-content-type-options"), None);
    assert_eq!(server.get("/").header("x-content-type-options"), None, "workers are no site");
}

#[test]
fn pages_of_other_origins_ask_first() {
    let server = start_sites(SITE);
    let preflight = "access-control-request-method: PUT\r\naccess-control-request-headers: x-api-key\r\n";
    let reply = ask(&server, "OPTIONS /cors", &format!("origin: https://app.example\r\n{preflight}"));
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (204, Some("https://app.example"))
    );
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("x-api-key"));
    let reply = ask(&server, "OPTIONS /cors", &format!("origin: https://evil.example\r\n{preflight}"));
    assert_eq!((reply.status, reply.code().as_str()), (403, "cors_denied"));
    assert_eq!(reply.header("access-control-allow-origin"), None);
    // What is refused may be read by the page as well, and what the application allowed does not count.
    let reply = ask(&server, "PUT /cors", "origin: https://x.b.example\r\ncontent-length: 0\r\n");
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (403, Some("https://x.b.example"))
    );
    for origin in ["", "origin: https://evil.example\r\n"] {
        let reply = ask(&server, "GET /open", origin);
        assert_eq!(
            (reply.header("access-control-allow-origin"), reply.header("vary")),
            (None, Some("origin"))
        );
    }
    // What is no preflight goes where OPTIONS goes.
    let reply = ask(&server, "OPTIONS /open", "origin: https://app.example\r\n");
    assert_eq!((reply.status, reply.text()), (200, "2 /open"));
    let delete = "origin: https://app.example\r\naccess-control-request-method: DELETE\r\n";
    assert_eq!(ask(&server, "OPTIONS /open", delete).header("access-control-allow-origin"), None);
    // The route of the method that is asked for answers, whoever takes OPTIONS.
    let get = delete.replace("DELETE", "GET");
    assert_eq!(ask(&server, "OPTIONS /open", &get).status, 204);
}

#[test]
fn addresses_are_rewritten() {
    let server = start_sites(SITE);
    assert_eq!(ask(&server, "GET /api/u/7?a=1", "").text(), "/hi/7?from=u&a=1&v=1");
    assert_eq!(ask(&server, "GET /api//evil.example/x", "").text(), "/evil.example/x?v=1");
    assert_eq!(ask(&server, "GET /api", "").text(), "/?v=1");
}

#[test]
fn versions_are_told_apart_and_end() {
    let server = start_sites(SITE);
    let reply = ask(&server, "GET /v1/users?x", "api-version: 9\r\n");
    assert_eq!(reply.text(), "1 /users");
    assert_eq!(reply.header("deprecation"), Some("@1735689600"));
    assert_eq!(reply.header("sunset"), Some("Wed, 01 Jan 2098 00:00:00 GMT"));
    assert!(reply.header("link").unwrap().contains("rel=\"sunset\""));
    let reply = ask(&server, "GET /users", "");
    assert_eq!((reply.text(), reply.header("deprecation")), ("2 /users", None));
    assert_eq!(ask(&server, "GET /v1//evil.example", "").text(), "1 /evil.example");
    let reply = ask(&server, "GET /v7/users", "");
    assert_eq!((reply.status, reply.code().as_str()), (404, "unknown_version"));
    let reply = ask(&server, "GET /v0/users", "");
    assert_eq!((reply.status, reply.code().as_str()), (410, "version_gone"));
    assert_eq!(reply.header("sunset"), Some("Wed, 01 Jan 2020 00:00:00 GMT"));
}
