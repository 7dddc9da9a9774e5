//! Random hostile programs: whatever a worker passes to the runtime or, below it, to the host's ops, the host goes on.
//!
//! A seed tells a run. `SELVEDGE_FUZZ_SECONDS` has each test go on for so long, and `SELVEDGE_FUZZ_SEED` begin elsewhere.

#[path = "../common/mod.rs"]
mod common;
mod raw;

use std::env;
use std::time::{Duration, Instant};

use common::Selvedge;
use common::api::Module;
use common::client::Client;
use serde_json::json;

const VALUES: &str = include_str!("values.js");
const OFFENDER: &str = "offender";
/// One thread for all isolates, so that they share it.
const SETTINGS: &str = "[engine]\nhost_threads = 1\n";
const GROUP: &str = "account default";

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// A fuzzer beside a neighbour, both on one thread of one host.
struct Fuzz {
    selvedge: Selvedge,
    neighbour: Client,
}

impl Fuzz {
    fn new(selvedge: Selvedge, code: &str, flags: &[&str]) -> Self {
        let values =
            Module { name: "values.js", kind: "application/javascript+module", bytes: VALUES.as_bytes() };
        let metadata = json!({
            "compatibility_date": "2026-01-01",
            "compatibility_flags": flags,
            "limits": { "memory_mb": 128, "cpu_ms": 20_000, "cpu_burst_ms": 20_000 },
        });
        let answer = selvedge.upload(OFFENDER, metadata, &[Module::main(code), values]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        selvedge.deploy("neighbour", "export default { fetch() { return new Response('hello') } }");
        let neighbour = Client::start(&selvedge, "neighbour");
        neighbour.more(1);
        Self { selvedge, neighbour }
    }

    /// Runs `seeds` seeds, or as many as there is time for where somebody asks for a longer run.
    fn run(self, seeds: u64, steps: u32, more: &str) {
        let hosts = self.selvedge.hosts_of(GROUP);
        assert_eq!(hosts.len(), 1, "one host for both");
        let until =
            variable("SELVEDGE_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let first = variable("SELVEDGE_FUZZ_SEED").unwrap_or(1);
        for seed in first.. {
            if until.map_or(seed >= first + seeds, |until| Instant::now() >= until) {
                break;
            }
            let path = format!("/?seed={seed}&steps={steps}{more}");
            let answer = self.selvedge.get(OFFENDER, &path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            assert_eq!(self.selvedge.hosts_of(GROUP), hosts, "{path} has ended the host");
        }
        self.neighbour.finish();
    }
}

#[test]
fn ops() {
    let (selvedge, _libexec) = raw::selvedge(SETTINGS);
    Fuzz::new(selvedge, include_str!("ops.js"), &[]).run(40, 3000, "");
}
