//! Recent events and the live tail.

use std::io::{Read, Write};
use std::net::TcpStream;

use selvedge_model::{AccountId, LogEvent, LogKind, LogLevel};
use serde_json::{Value, json};

use crate::harness::{A, Server, metadata, module};

const MAP: &[u8] = br#"{"version":3,"sources":["src/a.ts"],"mappings":";AACE"}"#;

fn event(version: &str, message: &str, stack: Option<&str>) -> LogEvent {
    LogEvent {
        timestamp_ms: 1,
        account: AccountId::default_account(),
        script: "a".parse().unwrap(),
        version: version.parse().unwrap(),
        kind: LogKind::Exception,
        level: LogLevel::Error,
        message: message.into(),
        code: None,
        stack: stack.map(str::to_owned),
        request_id: None,
    }
}

fn with_map(server: &Server) -> String {
    let map = ("main.js.map", "application/source-map", MAP);
    let answer = server.put("a", &[metadata(r#"{"main_module":"main.js"}"#), module(""), map]);
    answer.json()["version"].as_str().unwrap().to_owned()
}

/// An open tail, read as text.
struct Tail(TcpStream, String);

impl Tail {
    fn open(server: &Server) -> Self {
        let token = format!("Bearer {}", server.token);
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = server.head("GET", &format!("{A}/scripts/a/tail"), &[("authorization", &token)], 0);
        stream.write_all(&head).unwrap();
        let mut tail = Self(stream, String::new());
        // The subscription stands once the head is there.
        tail.until("text/event-stream");
        tail
    }

    /// Reads until `text` came; panics when the stream ends before.
    fn until(&mut self, text: &str) {
        while !self.1.contains(text) {
            assert!(self.more(), "the tail ended: {}", self.1);
        }
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = self.0.read(&mut buffer).unwrap();
        self.1.push_str(&String::from_utf8_lossy(&buffer[..read]));
        read > 0
    }
}

#[test]
fn recent_events_are_mapped_to_the_source() {
    let server = Server::start();
    let version = with_map(&server);
    server.logs.publish(event(&version, "one", None));
    server.logs.publish(event(&version, "two", Some("Error: x\n    at f (main.js:2:1)")));
    let gone = "00000000-0000-0000-0000-000000000000";
    server.logs.publish(event(gone, "three", Some("Error\n    at main.js:2:1")));
    let events = server.get(&format!("{A}/scripts/a/logs")).json();
    let messages: Vec<&Value> = events.as_array().unwrap().iter().map(|e| &e["message"]).collect();
    assert_eq!(messages, ["one", "two", "three"]);
    assert_eq!(events[1]["stack"], "Error: x\n    at f (src/a.ts:2:3)");
    assert_eq!(events[2]["stack"], "Error\n    at main.js:2:1", "of an unknown version: as it is");
    let last = server.get(&format!("{A}/scripts/a/logs?limit=1")).json();
    assert_eq!(last.as_array().unwrap().len(), 1);
    assert_eq!(last[0]["message"], "three");
    for bad in ["limit=x", "limit=-1", "limit=1001", "since=1"] {
        server.get(&format!("{A}/scripts/a/logs?{bad}")).refused(400, "invalid_request");
    }
}

#[test]
fn a_damaged_artifact_leaves_the_stack_as_it_is() {
    let server = Server::start();
    let version = with_map(&server);
    for entry in std::fs::read_dir(server.dir.path().join("artifacts")).unwrap() {
        std::fs::write(entry.unwrap().path(), "junk").unwrap();
    }
    server.logs.publish(event(&version, "one", Some("Error\n    at main.js:2:1")));
    let events = server.get(&format!("{A}/scripts/a/logs")).json();
    assert_eq!(events[0]["stack"], "Error\n    at main.js:2:1");
}

#[test]
fn a_tail_shows_events_from_now_on_and_ends_with_the_script() {
    let server = Server::start();
    let version = with_map(&server);
    server.logs.publish(event(&version, "before", None));
    let mut tail = Tail::open(&server);
    server.logs.publish(event(&version, "after", Some("Error\n    at main.js:2:1")));
    tail.until("\"after\"");
    tail.until("src/a.ts:2:3");
    assert!(!tail.1.contains("\"before\""));
    let data = tail.1.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let shown: Value = serde_json::from_str(data).unwrap();
    assert_eq!(shown["version"], json!(version));
    assert_eq!(server.call("DELETE", &format!("{A}/scripts/a"), Value::Null).status, 204);
    while tail.more() {}
}

#[test]
fn a_slow_reader_is_told_what_it_missed() {
    let server = Server::start();
    let version = with_map(&server);
    let mut tail = Tail::open(&server);
    // More than the sockets and the subscription hold together.
    let long = "x".repeat(64 << 10);
    for _ in 0..2000 {
        server.logs.publish(event(&version, &long, None));
    }
    server.logs.publish(event(&version, "the end", None));
    let mut lagged = false;
    while !tail.1.contains("the end") {
        // Keep enough to find a text that two reads share.
        tail.1 = tail.1.split_off(tail.1.len().saturating_sub(100));
        assert!(tail.more());
        lagged |= tail.1.contains("event: lagged");
    }
    assert!(lagged);
}

#[test]
fn tails_are_bounded_and_end_at_shutdown() {
    let server = Server::start();
    with_map(&server);
    let mut tails: Vec<Tail> = (0..64).map(|_| Tail::open(&server)).collect();
    server.get(&format!("{A}/scripts/a/tail")).refused(429, "too_many_tails");
    server.control.close();
    for tail in &mut tails {
        while tail.more() {}
    }
}

#[test]
fn profiles_are_in_terms_of_the_source() {
    let server = Server::start();
    let version = with_map(&server);
    let answer = server.call("POST", &format!("{A}/scripts/a/profile"), json!({ "seconds": 2 }));
    let answer = answer.json();
    assert_eq!((answer["version"].as_str(), &answer["profile"]["seconds"]), (Some(&*version), &json!(2)));
    let frame = &answer["profile"]["nodes"][0]["callFrame"];
    assert_eq!((frame["url"].as_str(), frame["lineNumber"].as_u64()), (Some("src/a.ts"), Some(1)));
}
