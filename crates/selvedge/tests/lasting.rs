//! What was acknowledged lasts: across restarts, kill -9 and shutdown under load.

mod common;

use common::{Answer, Selvedge, eventually, up};
use rustix::process::Signal;

const WORKER: &str = "\
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === '/slow') await new Promise((resolve) => setTimeout(resolve, 400));
    return new Response('here');
  },
};";

#[test]
fn a_restart_keeps_workers() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", WORKER);
    selvedge.signal(Signal::TERM);
    let selvedge = Selvedge::start_in(selvedge.ended());
    assert_eq!(selvedge.get("w", "/").body, "here");
}

#[test]
fn a_killed_selvedge_comes_back_with_everything() {
    let mut selvedge = Selvedge::start();
    for round in 0..3 {
        selvedge.deploy(&format!("w{round}"), WORKER);
        selvedge.signal(Signal::KILL);
        selvedge = Selvedge::start_in(selvedge.ended());
        for earlier in 0..=round {
            assert_eq!(selvedge.get(&format!("w{earlier}"), "/").body, "here");
        }
    }
}

#[test]
fn requests_in_flight_are_finished_at_shutdown() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", WORKER);
    assert_eq!(selvedge.get("w", "/").body, "here");
    let slow = selvedge.begin("w", "/slow");
    // Once another request was answered, the slow one is in the worker.
    assert_eq!(selvedge.get("w", "/").body, "here");
    selvedge.signal(Signal::TERM);
    assert_eq!(Answer::read(slow).body, "here");
    selvedge.ended();
}

#[test]
fn no_sandbox_host_outlives_its_selvedge() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", WORKER);
    assert_eq!(selvedge.get("w", "/").status, 200);
    let status = selvedge.json(&["status"]);
    let hosts: Vec<u64> =
        status["hosts"].as_array().unwrap().iter().map(|host| host["pid"].as_u64().unwrap()).collect();
    assert!(!hosts.is_empty());
    selvedge.signal(Signal::KILL);
    let _data = selvedge.ended();
    for pid in hosts {
        eventually("the host has ended", || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Gone, or a zombie that nobody has collected yet.
            (state.is_empty() || state.contains(") Z ")).then_some(())
        });
    }
}

#[test]
fn a_data_directory_has_one_user() {
    let selvedge = Selvedge::start();
    let second = up(selvedge.data()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&second.stderr);
    assert!(shown.contains("in use by another Selvedge"), "{shown}");
}
