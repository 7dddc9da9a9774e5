//! Properties of every call: documented, guarded, answered in JSON.

use serde_json::{Value, json};

use crate::harness::{A, Server};

const DOCS: &str = include_str!("../../../../docs/api.md");

/// A path with its parameters filled in.
fn example(path: &str) -> String {
    path.replace("{account}", "default")
        .replace("{script}", "s")
        .replace("{id}", "00000000-0000-0000-0000-000000000000")
        .replace("{name}", "KEY")
}

#[test]
fn every_call_is_documented() {
    for (method, path) in selvedge_control::calls() {
        let short = path.replace("/api/v1/accounts/{account}", "A");
        let documented = ["`", "?"].iter().any(|end| DOCS.contains(&format!("`{method} {short}{end}")));
        assert!(documented, "{method} {short} is not in docs/api.md");
    }
}

#[test]
fn every_documented_call_exists() {
    let calls: Vec<String> = selvedge_control::calls()
        .into_iter()
        .map(|(method, path)| format!("{method} {}", path.replace("/api/v1/accounts/{account}", "A")))
        .collect();
    for row in DOCS.lines().filter(|line| line.starts_with("| `")) {
        let call = row[3..].split(['`', '?']).next().unwrap();
        if call.contains(' ') {
            assert!(calls.iter().any(|known| known == call), "{call} is documented but does not exist");
        }
    }
}

#[test]
fn every_call_needs_a_valid_token() {
    let server = Server::start();
    let other_scheme = format!("Basic {}", server.token);
    for (method, path) in selvedge_control::calls() {
        let path = example(&path);
        let bad: [&[(&str, &str)]; 6] = [
            &[],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer wrong")],
            &[("authorization", &other_scheme)],
            &[("authorization", "Bearer \u{fc}")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        ];
        for headers in bad {
            let answer = server.send(method, &path, headers, b"");
            answer.refused(401, "unauthorized");
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
}

#[test]
fn every_call_keeps_to_its_account() {
    let server = Server::start();
    server.store.create_account(&"other".parse().unwrap()).unwrap();
    for (method, path) in selvedge_control::calls() {
        if !path.contains("{account}") {
            continue;
        }
        // An account that exists and one that does not look the same.
        for account in ["other", "nobody", "%64efaul"] {
            let path = example(&path.replace("{account}", account));
            server.call(method, &path, Value::Null).refused(403, "forbidden");
        }
    }
}

#[test]
fn every_call_refuses_foreign_pages() {
    let server = Server::start();
    let token = format!("Bearer {}", server.token);
    for (method, path) in selvedge_control::calls() {
        for origin in ["http://hello.localhost:8080", "null", "https://admin.test", "http://admin.test.evil"]
        {
            let headers = [("authorization", token.as_str()), ("origin", origin)];
            server.send(method, &example(&path), &headers, b"").refused(403, "foreign_origin");
        }
    }
    let own = [("authorization", token.as_str()), ("origin", "http://admin.test")];
    assert_eq!(server.send("GET", "/api/v1/whoami", &own, b"").status, 200);
}

#[test]
fn a_missing_script_is_named_by_every_call_on_one() {
    let server = Server::start();
    for (method, path) in selvedge_control::calls() {
        let upload = matches!(
            (method, path.rsplit('/').next()),
            ("PUT", Some("{script}")) | ("POST", Some("versions"))
        );
        if !path.contains("{script}") || upload {
            continue;
        }
        let body = match path.rsplit('/').next() {
            Some("deployments") => {
                json!({"versions": [{"version": "00000000-0000-0000-0000-000000000000", "percentage": 100}]})
            }
            Some("{name}") => json!({"text": "x"}),
            Some("routes") => json!({"patterns": []}),
            _ => Value::Null,
        };
        server.call(method, &example(&path), body).refused(404, "script_not_found");
    }
}

#[test]
fn unknown_paths_and_methods_are_answered_in_json() {
    let server = Server::start();
    for path in ["/", "/api", "/api/v1", "/api/v2/whoami", "/api/v1/accounts/default", "/api/v1/whoami/"] {
        server.get(path).refused(404, "not_found");
    }
    server.call("PATCH", "/api/v1/whoami", Value::Null).refused(405, "method_not_allowed");
    server.call("POST", &format!("{A}/scripts/a"), Value::Null).refused(405, "method_not_allowed");
    for bad in ["A", "a_b", "-a", "%2e%2e", "a%00", "%ff", &"x".repeat(64)] {
        server.get(&format!("{A}/scripts/{bad}")).refused(400, "invalid_request");
    }
    server.get(&format!("{A}/scripts/a/versions/1")).refused(400, "invalid_request");
}

#[test]
fn whoami_and_status() {
    let server = Server::start();
    let answer = server.get("/api/v1/whoami").json();
    assert_eq!(answer, json!({"accounts": ["default"], "version": env!("CARGO_PKG_VERSION")}));
    let status = server.get("/api/v1/status").json();
    assert_eq!(status["confinement"], json!(["test double"]));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}
