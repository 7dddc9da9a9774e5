//! The suite of HTTP cache tests (npm `http-cache-tests`), against an edge in front of the suite's own server. What fails is listed in
//! `cache_suite/expected.json`, each with its reason; nothing else may fail, and nothing listed may pass unnoticed.
#![allow(missing_docs, clippy::print_stderr, reason = "a test crate")]

mod support;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::start_sites;

/// Ends what the test began.
struct Origin(Child);

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn installed() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cache_suite");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache_suite");
    std::fs::create_dir_all(&target).unwrap();
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(name), target.join(name)).unwrap();
    }
    let suite = target.join("node_modules/http-cache-tests");
    if !suite.join("package.json").exists() {
        let npm =
            Command::new("npm").args(["ci", "--silent", "--ignore-scripts"]).current_dir(&target).status();
        assert!(npm.expect("npm is installed").success(), "npm ci");
    }
    suite
}

fn origin(suite: &Path) -> (Origin, u16) {
    // Free a moment ago; the suite's server cannot take any free port by itself.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("node")
        .arg("server/server.mjs")
        .current_dir(suite)
        .env("npm_config_protocol", "http")
        .env("npm_config_port", port.to_string())
        .env("npm_config_pidfile", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache_suite.pid"))
        .stdout(Stdio::null())
        .spawn()
        .expect("node is installed");
    let origin = Origin(child);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return (origin, port);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the suite's server does not listen");
}

#[test]
fn the_suite_passes() {
    let suite = installed();
    let (_origin, port) = origin(&suite);
    let server = start_sites(&format!(
        r#"
        [[sites]]
        hosts = ["*"]
        [[sites.routes]]
        path = "/*"
        cache = {{ set_cookie = "keep", client_directives = true }}
        proxy = {{ to = ["http://127.0.0.1:{port}"] }}
        "#
    ));
    let out = Command::new("node")
        .args(["--no-warnings", "cli.mjs"])
        .current_dir(&suite)
        .env("npm_config_base", format!("http://{}", server.address))
        .env("npm_package_config_id", "")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    if let Ok(path) = std::env::var("CACHE_SUITE_RESULTS") {
        std::fs::write(path, &out.stdout).unwrap();
    }
    let results: BTreeMap<String, Value> = serde_json::from_slice(&out.stdout).unwrap();
    let kinds = Command::new("node")
        .args(["--no-warnings", "--input-type=module", "-e"])
        .arg(
            "const all = [...(await import('./tests/index.mjs')).default, (await import('./tests/surrogate-control.mjs')).default];
            console.log(JSON.stringify(Object.fromEntries(all.flatMap(set => set.tests).map(t => [t.id, t.kind ?? 'required']))))",
        )
        .current_dir(&suite)
        .output()
        .unwrap();
    let kinds: BTreeMap<String, String> = serde_json::from_slice(&kinds.stdout).unwrap();
    let expected = include_str!("cache_suite/expected.json");
    let expected: BTreeMap<String, String> = serde_json::from_str(expected).unwrap();
    let mut scores: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (id, result) in &results {
        let kind = kinds[id].as_str();
        let score = scores.entry(kind).or_default();
        score.1 += 1;
        let passed = *result == Value::Bool(true);
        score.0 += usize::from(passed);
        match (passed, expected.contains_key(id)) {
            (false, false) if kind != "check" => wrong.push(format!("{kind} {id}: {result}")),
            (true, true) => wrong.push(format!("{kind} {id} passes, and is listed as failing")),
            _ => {}
        }
    }
    eprintln!("passed, of: {scores:?}");
    assert_eq!(scores["required"].1, 165);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
