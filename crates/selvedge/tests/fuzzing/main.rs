//! Random hostile programs: whatever a worker passes to the runtime or, below it, to the host's ops, the host goes on.
//!
//! A seed tells a run. `SELVEDGE_FUZZ_SECONDS` has each test go on for so long, and `SELVEDGE_FUZZ_SEED` begin elsewhere.

#[path = "../common/mod.rs"]
mod common;
mod raw;

use std::env;
use std::time::{Duration, Instant};

use common::api::Module;
use common::client::Client;
use common::{Answer, Selvedge};
use serde_json::json;

const VALUES: &str = include_str!("values.js");
/// One thread for all isolates, so that they share it.
const SETTINGS: &str = "[engine]\nhost_threads = 1\n";
const GROUP: &str = "account default";

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What may become of a program that does anything at all. Whatever else ends a request is a defect of the host.
const CONTAINED: [&str; 4] =
    ["worker_exception", "worker_cpu_exceeded", "worker_memory_exceeded", "worker_no_response"];

/// Runs `seeds` seeds of a fuzzer, or as many as there is time for where somebody asks for a longer run, beside a
/// neighbour on the same thread of the same host.
fn run(selvedge: &Selvedge, code: &str, flags: &[&str], seeds: u64, steps: u32) {
    let friend = upload(selvedge, "friend", include_str!("friend.js"), flags);
    assert_eq!(friend.status, 200, "{}", friend.body);
    selvedge.deploy("neighbour", "export default { fetch() { return new Response('hello') } }");
    let neighbour = Client::start(selvedge, "neighbour");
    neighbour.more(1);
    let hosts = selvedge.hosts_of(GROUP);
    assert_eq!(hosts.len(), 1, "one host for all");
    let until =
        variable("SELVEDGE_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let first = variable("SELVEDGE_FUZZ_SEED").unwrap_or(1);
    let (mut name, mut whole, mut last) = (None, 0, first);
    for seed in first.. {
        if until.map_or(seed >= first + seeds, |until| Instant::now() >= until) {
            break;
        }
        last = seed;
        // One that was stopped lives in a host of its own from then on, where its crash would harm nobody.
        let offender = name.take().unwrap_or_else(|| deploy(selvedge, seed, code, flags));
        let path = format!("/?seed={seed}&steps={steps}");
        let answer = selvedge.get(&offender, &path);
        assert_eq!(selvedge.hosts_of(GROUP), hosts, "{path} has ended the host: {}", answer.body);
        if answer.status == 200 {
            whole += 1;
            name = Some(offender);
        } else {
            assert!(CONTAINED.contains(&answer.code().as_str()), "{path}: {answer:?}");
        }
    }
    neighbour.finish();
    // Programs that all end at once would find nothing.
    assert!(whole * 2 > last - first, "only {whole} of the seeds {first} to {last} ran to their end");
}

fn deploy(selvedge: &Selvedge, seed: u64, code: &str, flags: &[&str]) -> String {
    let name = format!("offender-{seed}");
    let answer = upload(selvedge, &name, code, flags);
    assert_eq!(answer.status, 200, "{}", answer.body);
    name
}

/// Deploys a worker that can call itself and the friend.
fn upload(selvedge: &Selvedge, name: &str, code: &str, flags: &[&str]) -> Answer {
    let values =
        Module { name: "values.js", kind: "application/javascript+module", bytes: VALUES.as_bytes() };
    let service =
        |binding: &str, service: &str| json!({ "type": "service", "name": binding, "service": service });
    let friend = (name != "friend").then(|| service("FRIEND", "friend"));
    let bindings: Vec<_> = std::iter::once(service("SELF", name)).chain(friend).collect();
    let metadata = json!({
        "bindings": bindings,
        "compatibility_date": "2026-01-01",
        "compatibility_flags": flags,
        "limits": { "memory_mb": 128, "cpu_ms": 2_000, "cpu_burst_ms": 2_000, "subrequests": 1_000 },
    });
    selvedge.upload(name, metadata, &[Module::main(code), values])
}

/// The host's ops themselves.
#[test]
fn ops() {
    let (selvedge, _libexec) = raw::selvedge(SETTINGS);
    run(&selvedge, include_str!("ops.js"), &[], 40, 3000);
}

/// Everything that a worker can reach.
#[test]
fn interfaces() {
    run(&Selvedge::configured(SETTINGS), include_str!("api.js"), &["nodejs_compat"], 40, 200);
}

/// V8 gives a promise the internal field that handles have.
#[test]
fn promises_are_no_handles() {
    let (selvedge, _libexec) = raw::selvedge(SETTINGS);
    let code = "export default { fetch() {
        const key = rawOps.keyGenerate('secret', 128, undefined, true);
        const seen = [key, Promise.resolve(), {}].map((handle) => rawOps.keyExport(handle, 'raw') instanceof ArrayBuffer);
        return new Response(String(seen));
    } }";
    selvedge.deploy_limited("handles", code, json!({}));
    assert_eq!(selvedge.get("handles", "/").body, "true,false,false");
}

/// A status that no `Response` has, past all that the runtime checks.
#[test]
fn statuses() {
    let (selvedge, _libexec) = raw::selvedge(SETTINGS);
    let code = "export default { async fetch(request) {
        const [, status, body] = new URL(request.url).pathname.split('/');
        rawOps.respond(rawOps.currentRequest(), Number(status), 'a\\0b\\0', body, false);
        return new Response('too late');
    } }";
    selvedge.deploy_limited("raw", code, json!({}));
    let hosts = selvedge.hosts_of(GROUP);
    for status in [200, 256, 404, 599] {
        let answer = selvedge.get("raw", &format!("/{status}/x"));
        assert_eq!((answer.status, answer.header("a"), answer.body.as_str()), (status, Some("b"), "x"));
    }
    for status in
        ["0", "1", "99", "100", "102", "103", "199", "600", "999", "1000", "65536", "-1", "1e300", "NaN", "x"]
    {
        let answer = selvedge.get("raw", &format!("/{status}/x"));
        assert_eq!(answer.status, 500, "{status}: {answer:?}");
    }
    // Those without a body have none, whatever came with them; nothing of it is taken for the next answer.
    for status in [204, 304] {
        let answer = selvedge.get("raw", &format!("/{status}/x"));
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{answer:?}");
    }
    // Nobody asked for a WebSocket.
    assert_ne!(selvedge.get("raw", "/101/x").status, 101);
    assert_eq!(selvedge.get("raw", "/200/y").body, "y");
    assert_eq!(selvedge.hosts_of(GROUP), hosts);
}
