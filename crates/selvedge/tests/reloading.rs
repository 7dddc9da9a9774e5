//! Settings that change while requests go on, on the real executable.

mod common;

use std::fs;

use common::{Selvedge, eventually};
use rustix::process::Signal;

/// A site that answers `text`, with an include that may be absent.
fn settings(text: &str) -> String {
    format!("include = [\"more/*.toml\"]\n{}", sites(text))
}

fn sites(text: &str) -> String {
    format!("[[sites]]\nhosts = [\"a.example\"]\n[[sites.routes]]\nrespond = {{ body = \"{text}\" }}\n")
}

fn write(selvedge: &Selvedge, text: &str) {
    fs::write(selvedge.data().join("selvedge.toml"), text).unwrap();
}

fn body(selvedge: &Selvedge, host: &str) -> String {
    selvedge.raw(&format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).body
}

#[test]
fn a_changed_file_takes_effect_by_itself() {
    let selvedge = Selvedge::configured(&settings("one"));
    assert_eq!(body(&selvedge, "a.example"), "one");
    write(&selvedge, &settings("two"));
    eventually("the new text", || (body(&selvedge, "a.example") == "two").then_some(()));
    // A file that is included from now on.
    fs::create_dir(selvedge.data().join("more")).unwrap();
    let more = "[[sites]]\nhosts = [\"b.example\"]\n[[sites.routes]]\nrespond = { body = \"three\" }\n";
    fs::write(selvedge.data().join("more/b.toml"), more).unwrap();
    eventually("the new file", || (body(&selvedge, "b.example") == "three").then_some(()));
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let selvedge = Selvedge::configured(&settings("one"));
    write(&selvedge, &settings("two").replace("respond", "respnd"));
    let (error, text) = selvedge.refused(&["reload"]);
    assert_eq!(error["code"], "bad_config");
    assert_eq!(error["diagnostics"][0]["line"], 5);
    assert!(text.is_empty() || text.contains("did you mean `respond`"), "{text}");
    assert_eq!(body(&selvedge, "a.example"), "one");
    selvedge.signal(Signal::HUP);
    // The signal was dealt with once a good file has been.
    write(&selvedge, &settings("three"));
    selvedge.signal(Signal::HUP);
    eventually("the good file", || (body(&selvedge, "a.example") == "three").then_some(()));
}

#[test]
fn what_needs_a_restart_is_named() {
    let selvedge = Selvedge::configured(&settings("one"));
    write(&selvedge, &format!("{}[engine]\nidle_s = 77\n", settings("two")));
    let answer = selvedge.json(&["reload"]);
    assert_eq!(answer["changed"], serde_json::json!(["sites"]));
    assert_eq!(answer["restart"], serde_json::json!(["engine.idle_s"]));
    assert_eq!(body(&selvedge, "a.example"), "two");
    // It is said again, since it is still not in effect.
    assert_eq!(selvedge.json(&["reload"])["restart"], serde_json::json!(["engine.idle_s"]));
}

#[test]
fn a_server_without_a_file_says_so() {
    let selvedge = Selvedge::start();
    assert_eq!(selvedge.refused(&["reload"]).0["code"], "no_config");
}

/// Fifty changes under requests, none of which fails.
#[test]
fn requests_do_not_notice() {
    let selvedge = Selvedge::configured(&settings("text"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        assert!(body(&selvedge, "a.example").starts_with("text"));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for n in 0..50 {
            write(&selvedge, &settings(&format!("text {n}")));
            selvedge.json(&["reload"]);
            assert_eq!(body(&selvedge, "a.example"), format!("text {n}"));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for asker in asking {
            assert!(asker.join().unwrap() > 0);
        }
    });
}

#[test]
fn listeners_and_limits_follow_the_file_or_nothing_does() {
    let edge = |listen: &str, more: &str| {
        format!(
            "[edge]\nlisten = [\"127.0.0.1:0\"{listen}]\naccess_log = {{ output = \"off\" }}\n{more}\n{}",
            sites("text")
        )
    };
    let selvedge = Selvedge::listening(&edge("", ""));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    // Taken, until its listener is dropped.
    write(&selvedge, &edge(&format!(", \"{address}\""), "max_headers = 1"));
    let (error, _) = selvedge.refused(&["reload"]);
    assert_eq!(error["code"], "listen");
    assert!(error["message"].as_str().unwrap().contains(&address.to_string()), "{error}");
    let two = "GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
    assert_eq!(selvedge.raw(two).status, 200);
    drop(free);
    let answer = selvedge.json(&["reload"]);
    assert_eq!(answer["changed"], serde_json::json!(["edge.listen", "edge.max_headers"]));
    assert_eq!(selvedge.raw(two).status, 431);
    assert!(std::net::TcpStream::connect(address).is_ok());
    write(&selvedge, &edge("", "threads = 7"));
    let answer = selvedge.json(&["reload"]);
    assert_eq!(answer["restart"], serde_json::json!(["edge.threads"]));
    assert_eq!(selvedge.raw(two).status, 200);
    assert!(std::net::TcpStream::connect(address).is_err());
}
