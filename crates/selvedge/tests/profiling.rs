//! CPU profiles of live workers, by the API and by `selvedge profile`.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{Answer, Selvedge};
use serde_json::{Value, json};

const BUSY: &str = "\
interface Task { n: number }

function fibonacci(n: number): number {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
export default {
  fetch(): Response {
    const task: Task = { n: 22 };
    return new Response(String(fibonacci(task.n)));
  },
};";

fn ask(selvedge: &Selvedge, script: &str, body: &Value) -> Answer {
    let path = format!("accounts/default/scripts/{script}/profile");
    selvedge.api("POST", &path, "application/json", body.to_string().as_bytes())
}

/// Does something while the worker gets requests without a pause.
fn under_load<T>(selvedge: &Selvedge, name: &str, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(selvedge.get(name, "/").status, 200);
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap();
        result
    })
}

#[test]
fn a_live_worker_shows_its_hottest_function() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", BUSY);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.cpuprofile");
    let arguments = ["profile", "w", "--seconds", "2", "-o", file.to_str().unwrap()];
    let answer = under_load(&selvedge, "w", || selvedge.json(&arguments));
    let functions = answer["functions"].as_array().unwrap();
    let hot = functions.iter().find(|function| function["function"] == "fibonacci").expect("was sampled");
    // In terms of the source, where the bundle has neither the interface nor this line.
    assert!(hot["place"].as_str().unwrap().ends_with("index.ts:3:10"), "{hot}");
    assert!(hot["self_ms"].as_f64().unwrap() > 0.0);
    let profile: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let count = |key: &str| profile[key].as_array().unwrap().len();
    assert_eq!(count("samples"), count("timeDeltas"));
    assert!(profile["endTime"].as_f64() > profile["startTime"].as_f64());
    // Neither a limit nor the host has suffered.
    assert_eq!(selvedge.get("w", "/").body, "17711");
    assert_eq!(selvedge.metric("selvedge_hosts_ended"), 0);
}

#[test]
fn an_idle_worker_has_nothing_to_show_and_a_second_profile_waits() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", BUSY);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| ask(&selvedge, "w", &json!({ "seconds": 3 }))));
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let busy = answers.iter().find(|answer| answer.status != 200).expect("one was first");
    assert_eq!(
        (busy.status, busy.code().as_str(), busy.header("retry-after")),
        (503, "profile_busy", Some("1"))
    );
    assert!(answers.iter().any(|answer| answer.status == 200), "{answers:?}");
    let output = selvedge.run(&["profile", "w", "--seconds", "1", "-o", "/dev/null"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("did nothing"), "{output:?}");
}

#[test]
fn what_cannot_be_profiled_is_explained() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", BUSY);
    let version = "00000000-0000-4000-8000-000000000000";
    for (script, body, status, code) in [
        ("nobody", json!({}), 404, "script_not_found"),
        ("w", json!({ "version": version }), 409, "not_deployed"),
        ("w", json!({ "seconds": 0 }), 400, "invalid_request"),
        ("w", json!({ "seconds": 61 }), 400, "invalid_request"),
        ("w", json!({ "second": 1 }), 400, "invalid_json"),
    ] {
        let answer = ask(&selvedge, script, &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    }
}

/// A worker that breaks a limit while it is watched goes as any other, and its neighbour stays.
#[test]
fn a_worker_that_is_stopped_takes_its_profile_along() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", "export default { fetch() { for (;;); } }");
    selvedge.deploy("neighbour", BUSY);
    let mut profile = selvedge
        .command(&["profile", "w", "--seconds", "4", "--json", "-o", "/dev/null"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let status = common::eventually("the profile ends", || {
        assert_eq!(selvedge.get("neighbour", "/").status, 200);
        assert_ne!(selvedge.get("w", "/").status, 200);
        profile.try_wait().unwrap()
    });
    assert!(!status.success());
    let answer: Value = serde_json::from_reader(profile.stdout.take().unwrap()).unwrap();
    assert_eq!(answer["error"]["code"], "profile_lost");
    assert_eq!(selvedge.metric("selvedge_hosts_ended"), 0);
}
