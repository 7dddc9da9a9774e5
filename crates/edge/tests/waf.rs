//! The firewall and the challenge, over real sockets.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::{Reply, Server, start_sites};

fn site(middleware: &str) -> Server {
    start_sites(&format!(
        "[middleware.it.{middleware}\n[[sites]]\nhosts = [\"a.example\"]\nuse = [\"it\"]\n[[sites.routes]]\nworker = \"test\"\n"
    ))
}

fn ask(server: &Server, line: &str, fields: &str, body: &str) -> Reply {
    server.send(format!(
        "{line} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\ncontent-length: {}\r\n{fields}\r\n{body}",
        body.len()
    ))
}

#[test]
fn attacks_are_refused_and_others_are_not() {
    let server = site("waf]");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    for (line, fields, body) in [
        ("GET /?q=%27+or+1%3D1+--", "", ""),
        ("GET /?q=..%2f..%2f..%2fetc%2fpasswd", "", ""),
        ("GET /", "user-agent: sqlmap/1.7\r\n", ""),
        ("GET /", "x-api: ${jndi:ldap://x/a}\r\n", ""),
        ("POST /echo", form, "comment=<script>alert(1)</script>"),
        (
            "POST /echo",
            "content-type: application/json\r\n",
            "{\"a\":[\"x' union select 1,2 from users --\"]}",
        ),
    ] {
        let reply = ask(&server, line, fields, body);
        assert_eq!((reply.status, reply.code().as_str()), (403, "waf_blocked"), "{line} {body}");
    }
    // What is looked at arrives whole, short or longer than what is looked at.
    for length in [10, 20_000, 500_000] {
        let body = format!("comment={}", "word+".repeat(length / 5));
        let reply = ask(&server, "POST /echo", form, &body);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.text() == body, "{length}");
    }
}

#[test]
fn detection_lets_pass_and_writes_it_down() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let server = site(&format!("waf]\nmode = \"detect\"\naudit_log = {log:?}"));
    let reply = ask(&server, "GET /?password=%27+or+1%3D1+--+hunter2&x=%0Aline", "", "");
    assert_eq!(reply.status, 200);
    let line = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        std::fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n'))
    });
    let line = line.expect("a line of the audit log");
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["action"], "detected");
    assert_eq!(event["request_id"].as_str(), reply.header("x-request-id"));
    assert_eq!(event["matches"][0]["name"], "password");
    assert!(!line.contains("hunter2"), "{line}");
}

/// Runs the page's script as a browser would, with Node in its place; gives the cookie.
fn solved(page: &str) -> String {
    let script =
        page.split("<script").nth(1).unwrap().split_once('>').unwrap().1.split("</script>").next().unwrap();
    let around = "let jar = ''; const document = { get cookie() { return jar; }, set cookie(text) { jar = text; }, getElementById: () => ({}) };\
        const location = { protocol: 'http:', reload() { console.log(jar.split(';')[0]); } };";
    let mut node =
        Command::new("node").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(format!("{{{around}{script}}}").as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn browsers_solve_riddles_and_pass() {
    let server = site("challenge]\nbits = 12\nexcept_paths = [\"/free/*\"]");
    let html = "accept: text/html\r\n";
    let page = ask(&server, "GET /", html, "");
    assert_eq!((page.status, page.header("x-selvedge-challenge")), (403, Some("1")));
    let cookie = solved(page.text());
    let reply = ask(&server, "GET /", &format!("{html}cookie: a=b; {cookie}\r\n"), "");
    assert_eq!((reply.status, reply.text()), (200, "hello from test"));
    // A number more or less is another hash.
    let wrong = format!("{cookie}1");
    assert_eq!(ask(&server, "GET /", &format!("{html}cookie: {wrong}\r\n"), "").status, 403);
    assert_eq!(ask(&server, "GET /", "", "").code(), "challenge_required");
    assert_eq!(ask(&server, "GET /free/x", "", "").status, 200);
}

#[test]
fn riddles_can_wait_for_a_flood() {
    let server = site("challenge]\nabove_requests_per_s = 20");
    assert_eq!(ask(&server, "GET /", "", "").status, 200);
    let statuses: Vec<u16> = (0..200).map(|_| ask(&server, "GET /", "", "").status).collect();
    assert!(statuses.contains(&403), "{statuses:?}");
}
