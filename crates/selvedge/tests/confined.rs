//! The hosts of a running Selvedge are confined: what the kernel says of them, not what they say themselves.

mod common;

use std::fs;

use common::Selvedge;

/// A field of `/proc/PID/status`.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().into()
}

#[test]
fn every_thread_of_every_host_is_confined() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", "export default { fetch() { return new Response('here') } }");
    assert_eq!(selvedge.get("w", "/").body, "here");
    let status = selvedge.status();
    let hosts = status["hosts"].as_array().unwrap();
    assert!(!hosts.is_empty(), "{status}");
    for host in hosts {
        let tasks: Vec<_> = fs::read_dir(format!("/proc/{}/task", host["pid"])).unwrap().collect();
        assert!(tasks.len() > 1, "a host has threads");
        for task in tasks {
            let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert_eq!(field(&text, "Seccomp"), "2", "{text}");
            assert_eq!(field(&text, "NoNewPrivs"), "1", "{text}");
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(field(&text, set), "0000000000000000", "{set} of {text}");
            }
        }
    }
}
