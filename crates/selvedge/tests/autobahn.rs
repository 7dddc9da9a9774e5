//! Autobahn's WebSocket cases against a worker that sends everything back, and against Autobahn's own server through the proxy.
//! The suite (PyPI `autobahntestsuite`) is for Python 2.7, which most systems do not have any more:
//! `WSTEST=PATH cargo test -p selvedge --test autobahn -- --ignored --nocapture` runs it where it is installed.
#![allow(clippy::print_stderr, reason = "the score is what it is run for")]

mod common;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::Selvedge;
use serde_json::{Value, json};

const ECHO: &str = "export default { fetch(request) {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener('message', (event) => server.send(event.data));
    return new Response(null, { status: 101, webSocket: client });
} };";

/// Compression, which is not spoken.
const EXCLUDED: [&str; 2] = ["12.*", "13.*"];

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs Autobahn's wstest, named by WSTEST"]
fn no_case_fails() {
    let wstest = std::env::var("WSTEST").expect("WSTEST names the program");
    let directory = tempfile::tempdir().unwrap();
    let server: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let echo = Command::new(&wstest)
        .args(["-m", "echoserver", "-w", &format!("ws://{server}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _echo = Stopped(echo);
    let selvedge = Selvedge::configured(&format!(
        "[[sites]]\nhosts = [\"127.0.0.1\"]\n[[sites.routes]]\npath = \"/worker\"\nworker = \"echo\"\n\
         [[sites.routes]]\npath = \"/proxied\"\nproxy = {{ to = [\"http://{server}\"], host = \"upstream\" }}\n"
    ));
    selvedge.deploy("echo", ECHO);
    while TcpStream::connect(server).is_err() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let agent = |name: &str| json!({ "agent": name, "url": format!("ws://{}/{name}", selvedge.http) });
    let spec = json!({
        "outdir": directory.path().join("reports"),
        "servers": [agent("worker"), agent("proxied")],
        "cases": ["*"],
        "exclude-cases": EXCLUDED,
        "exclude-agent-cases": {},
    });
    let path = directory.path().join("spec.json");
    std::fs::write(&path, spec.to_string()).unwrap();
    let ran = Command::new(&wstest).args(["-m", "fuzzingclient", "-s"]).arg(&path).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let index = std::fs::read(directory.path().join("reports/index.json")).unwrap();
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(&index).unwrap();
    assert_eq!(index.keys().collect::<Vec<_>>(), ["proxied", "worker"]);
    let mut failed = Vec::new();
    for (agent, cases) in &index {
        assert!(cases.len() > 200, "{agent}: {} cases", cases.len());
        let mut counts = BTreeMap::<&str, usize>::new();
        for (case, outcome) in cases {
            let of = |name: &str| outcome[name].as_str().unwrap();
            let (behavior, close) = (of("behavior"), of("behaviorClose"));
            *counts.entry(behavior).or_default() += 1;
            let good = ["OK", "NON-STRICT", "INFORMATIONAL"].contains(&behavior);
            if !good || !["OK", "INFORMATIONAL"].contains(&close) {
                failed.push(format!("{agent} {case}: {behavior}, {close}"));
            }
        }
        eprintln!("{agent}: {} cases, {counts:?}", cases.len());
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
