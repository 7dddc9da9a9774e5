//! WebSockets over HTTP/2 (RFC 8441) with Node.js at both ends: the client's stream, and servers of HTTP/1.1 and `h2c`.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::start_sites;

#[test]
fn nodes_clients_and_servers_talk_through_the_edge() {
    if Command::new("node").arg("--version").output().is_err() {
        let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
            .arg("nodejs")
            .output();
        assert!(installed.is_ok_and(|done| done.status.success()), "nodejs can be installed");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/peers.mjs");
    let mut node = Command::new("node")
        .args([script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(node.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let ports: Value = serde_json::from_str(&line).unwrap();
    let route = |name: &str, scheme: &str| {
        format!(
            "[[sites.routes]]\npath = \"/{name}/*\"\nproxy = {{ to = [\"{scheme}://127.0.0.1:{}\"] }}\n",
            ports[name]
        )
    };
    let server = start_sites(&format!(
        "[[sites]]\nhosts = [\"a.test\"]\n{}{}{}",
        route("h1", "http"),
        route("h2c", "h2c"),
        route("without", "h2c")
    ));
    writeln!(node.stdin.take().unwrap(), "{}", server.address.port()).unwrap();
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    let ended = node.wait().unwrap();
    assert!(ended.success() && text.lines().count() > 20, "{text}");
}
