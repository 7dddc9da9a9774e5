//! An isolate host that was taken over by its tenant, against the engine and against a neighbour's host.
//!
//! This executable is both: the tests, and, where the engine starts it in the place of the carrier, the host.

#![allow(clippy::print_stdout)] // As other test programs say what they do.

#[path = "../common/mod.rs"]
mod common;
mod host;

use std::os::unix::fs::symlink;

use common::api::{Account, Module};
use common::{Answer, Selvedge, eventually};
use serde_json::json;
use tempfile::TempDir;

const TESTS: &[(&str, fn())] = &[
    ("what_is_no_protocol_ends_the_host", what_is_no_protocol_ends_the_host),
    ("what_concerns_nobody_is_ignored", what_concerns_nobody_is_ignored),
    ("any_status_is_survived", any_status_is_survived),
    ("nothing_is_believed_about_strangers", nothing_is_believed_about_strangers),
    ("a_requests_budget_is_the_engines", a_requests_budget_is_the_engines),
    ("nobody_else_is_blamed", nobody_else_is_blamed),
    ("floods_are_held_back", floods_are_held_back),
    ("a_host_that_keeps_ending_holds_up_nobody", a_host_that_keeps_ending_holds_up_nobody),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).find(|argument| !argument.starts_with("--test-threads")) {
        Some("--selvedge-host") => host::main(),
        Some("--list") => TESTS.iter().for_each(|(name, _)| println!("{name}: test")),
        filter => {
            let filter = filter.filter(|argument| !argument.starts_with('-')).unwrap_or_default();
            for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(filter)) {
                println!("test {name} ...");
                test();
            }
        }
    }
}

/// An attacker's account and another one with a worker, each in a process of its own.
struct Scene {
    selvedge: Selvedge,
    _libexec: TempDir,
}

impl Scene {
    fn new() -> Self {
        let libexec = tempfile::tempdir().unwrap();
        symlink(std::env::current_exe().unwrap(), libexec.path().join("carrier")).unwrap();
        for file in ["libisolate.so", "runtime.snapshot", "esbuild"] {
            std::fs::write(libexec.path().join(file), b"").unwrap();
        }
        let settings = "[engine]\nhost_threads = 1\nallow_unconfined = true\n";
        let selvedge = Selvedge::with_libexec(libexec.path(), settings);
        let answer = selvedge.upload("attacker", json!({}), &[Module::main("")]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let scene = Self { selvedge, _libexec: libexec };
        scene.neighbour();
        scene
    }

    fn account(&self) -> Account<'_> {
        self.selvedge.account("other")
    }

    /// The other account's worker is there and answers.
    fn neighbour(&self) {
        let other = self.account();
        let answer = other.upload("neighbour", json!({}), &[Module::main("")]);
        assert_eq!(answer.status, 200, "{answer:?}");
        self.unnoticed();
    }

    fn unnoticed(&self) {
        let answer = self.selvedge.get("neighbour.other", "/");
        assert_eq!((answer.status, answer.body.as_str()), (200, "neighbour"), "{answer:?}");
    }

    /// The pid of the host that an account's workers share.
    fn pid(&self, account: &str) -> u32 {
        let group = format!("account {account}");
        eventually("there is one host", || {
            let hosts = self.selvedge.hosts_of(&group);
            (hosts.len() == 1).then(|| hosts[0])
        })
    }
}

fn what_is_no_protocol_ends_the_host() {
    let scene = Scene::new();
    let neighbour = scene.pid("other");
    for attack in ["noise", "length", "kind", "flags", "load", "unload", "overrun", "twice", "odd"] {
        let before = eventually("the attacker has a host", || {
            scene.selvedge.get("attacker", "/200");
            scene.selvedge.hosts_of("account default").first().copied()
        });
        // The answer is cut off, or there is none; what counts is that the host goes.
        let _ = Answer::try_read(scene.selvedge.begin("attacker", &format!("/{attack}")));
        eventually(attack, || (!scene.selvedge.hosts_of("account default").contains(&before)).then_some(()));
        scene.unnoticed();
    }
    assert_eq!(scene.pid("other"), neighbour);
}

fn what_concerns_nobody_is_ignored() {
    let scene = Scene::new();
    let hosts = [scene.pid("default"), scene.pid("other")];
    for attack in ["ids", "logs"] {
        let answer = scene.selvedge.get("attacker", &format!("/{attack}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "done"), "{attack}");
        scene.unnoticed();
    }
    assert_eq!([scene.pid("default"), scene.pid("other")], hosts);
    let logs = scene.account().logs("neighbour");
    assert!(logs.is_empty(), "{logs:?}");
    let own = scene.selvedge.logs("attacker");
    assert!(!own.is_empty());
    for event in own {
        assert!(event["message"].as_str().unwrap().len() <= 16 << 10);
    }
}

/// A host's word for a status is not sent on where it is none, and does not stop the connection to the client either.
fn any_status_is_survived() {
    let scene = Scene::new();
    let hosts = [scene.pid("default"), scene.pid("other")];
    for status in
        ["0", "1", "99", "100", "101", "102", "103", "204", "256", "304", "600", "999", "1000", "65535"]
    {
        let answer = scene.selvedge.get("attacker", &format!("/{status}"));
        let told = match status {
            "204" | "304" | "256" => status.parse().unwrap(),
            // Nobody asked for a WebSocket.
            "101" => 503,
            _ => 500,
        };
        assert_eq!(answer.status, told, "{status}: {answer:?}");
        scene.unnoticed();
    }
    assert_eq!([scene.pid("default"), scene.pid("other")], hosts);
}

fn nothing_is_believed_about_strangers() {
    let scene = Scene::new();
    let hosts = [scene.pid("default"), scene.pid("other")];
    let starts = scene.selvedge.metric("selvedge_cold_starts");
    let answer = scene.selvedge.get("attacker", "/gone");
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    scene.unnoticed();
    assert_eq!(
        scene.selvedge.metric("selvedge_cold_starts"),
        starts,
        "the neighbour's instance is still there"
    );
    let answer = scene.selvedge.get("attacker", "/strangers");
    assert_eq!((answer.status, answer.body.as_str()), (200, "all refused"));
    assert_eq!([scene.pid("default"), scene.pid("other")], hosts);
}

/// The engine counts what a request sets off, whatever the host says.
fn a_requests_budget_is_the_engines() {
    let scene = Scene::new();
    for (attack, told) in [("spend", "50 150"), ("invoke", "32 8"), ("orphans", "0 5")] {
        let answer = scene.selvedge.get("attacker", &format!("/{attack}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, told), "{attack}");
    }
    scene.unnoticed();
}

fn nobody_else_is_blamed() {
    let scene = Scene::new();
    let neighbour = scene.pid("other");
    // More often than it takes to be put into a process of one's own.
    for _ in 0..5 {
        let before = eventually("the attacker has a host", || {
            scene.selvedge.get("attacker", "/200");
            scene.selvedge.hosts_of("account default").first().copied()
        });
        scene.selvedge.get("attacker", "/blame");
        eventually("it is ended", || {
            (!scene.selvedge.hosts_of("account default").contains(&before)).then_some(())
        });
        scene.unnoticed();
    }
    assert_eq!(scene.pid("other"), neighbour);
    let again = scene.account().upload("neighbour", json!({}), &[Module::main("// again")]);
    assert_eq!(again.status, 200);
    scene.unnoticed();
    assert!(scene.selvedge.hosts_of("worker other/neighbour").is_empty(), "{}", scene.selvedge.status());
}

fn floods_are_held_back() {
    for attack in ["pings", "calls"] {
        let scene = Scene::new();
        let answer = scene.selvedge.get("attacker", &format!("/{attack}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "held back"), "{attack}");
        let most = peak(scene.selvedge.pid());
        assert!(most < 160 << 20, "{attack}: {} MiB", most >> 20);
        scene.unnoticed();
    }
}

/// Most memory that a process had, bytes.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
}

/// The pauses before another host is started are those of the group whose hosts keep ending.
fn a_host_that_keeps_ending_holds_up_nobody() {
    let scene = Scene::new();
    let refused = eventually("the attacker gets no more hosts for a while", || {
        let answer = scene.selvedge.get("attacker", "/end");
        assert_eq!(answer.status, 503, "{answer:?}");
        (answer.code() == "sandbox_unavailable").then_some(answer)
    });
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let third = scene.selvedge.account("third");
    let answer = third.upload("fresh", json!({}), &[Module::main("")]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(third.get("fresh", "/").body, "fresh");
    scene.unnoticed();
}
