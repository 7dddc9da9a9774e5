//! Cron triggers: `triggers.crons` of a project, `selvedge trigger`, and the clock.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Selvedge, eventually};
use serde_json::json;

const WORKER: &str = "\
let runs = [];
export default {
  fetch: () => Response.json(runs),
  async scheduled(controller, env, ctx) {
    if (controller.cron === '0 0 1 1 *') throw new Error('not today');
    runs.push({ cron: controller.cron, time: controller.scheduledTime, type: controller.type });
    ctx.waitUntil((async () => { await scheduler.wait(1); console.log('afterwards', controller.cron) })());
  },
};";

fn project(crons: &str, code: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index.js"), code).unwrap();
    let config = format!("name = \"w\"\nmain = \"index.js\"\n[triggers]\ncrons = {crons}\n");
    fs::write(dir.path().join("wrangler.toml"), config).unwrap();
    dir
}

#[test]
fn the_clock_calls_the_handler() {
    let selvedge = Selvedge::start();
    let dir = project("[\"* * * * *\", \"0 0 1 1 *\"]", WORKER);
    selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
    let started = Instant::now();
    let run = loop {
        if let Some(run) = selvedge.get("w", "/").json().as_array().and_then(|runs| runs.first()).cloned() {
            break run;
        }
        // A minute begins once a minute.
        assert!(started.elapsed() < Duration::from_secs(120), "nothing was called");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((&run["cron"], &run["type"]), (&json!("* * * * *"), &json!("scheduled")));
    assert_eq!(run["time"].as_u64().unwrap() % 60_000, 0, "the minute it was due, not when it ran");
    let said = || selvedge.logs("w").iter().any(|log| log["message"] == "afterwards * * * * *");
    eventually("work behind the handler ends", || said().then_some(()));
}

#[test]
fn a_handler_can_be_called_by_hand() {
    let selvedge = Selvedge::start();
    let dir = project("[\"0 3 * * *\"]", WORKER);
    selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
    assert_eq!(selvedge.json(&["trigger", "w"])["cron"], "0 3 * * *");
    assert_eq!(selvedge.json(&["trigger", "w", "--cron", "5 4 * * 2"])["cron"], "5 4 * * 2");
    let runs = selvedge.get("w", "/").json();
    let crons: Vec<_> = runs.as_array().unwrap().iter().map(|run| run["cron"].as_str().unwrap()).collect();
    assert_eq!(crons, ["0 3 * * *", "5 4 * * 2"]);
    let (refused, _) = selvedge.refused(&["trigger", "w", "--cron", "0 0 1 1 *"]);
    assert_eq!(refused["code"], "worker_exception");
    let logged =
        || selvedge.logs("w").iter().any(|log| log["message"].as_str().unwrap().contains("not today"));
    eventually("its owner sees why", || logged().then_some(()));
    let (refused, _) = selvedge.refused(&["trigger", "w", "--cron", "every day"]);
    assert_eq!(refused["code"], "invalid_request");
    let (refused, _) = selvedge.refused(&["trigger", "nobody"]);
    assert_eq!(refused["code"], "script_not_found");
    // The triggers stay with the version.
    let versions = selvedge.api("GET", "accounts/default/scripts/w/versions", "", &[]).json();
    assert_eq!(versions[0]["crons"], json!(["0 3 * * *"]));
}

#[test]
fn what_cannot_be_scheduled_is_refused_at_deploy() {
    let selvedge = Selvedge::start();
    let refused = |crons: &str, code: &str| {
        let dir = project(crons, code);
        let (answer, _) = selvedge.refused(&["deploy", dir.path().to_str().unwrap()]);
        let error = &answer;
        (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let (code, message) = refused("[\"61 * * * *\"]", WORKER);
    assert_eq!(code, "invalid_metadata");
    assert!(message.contains("61 * * * *"), "{message}");
    let (code, _) = refused("[\"* * * * *\"]", "export default { fetch: () => new Response() }");
    assert_eq!(code, "no_scheduled_handler");
    assert_eq!(selvedge.get("w", "/").status, 404);
}

/// A handler that does not end is stopped by its limits, and its neighbours run.
#[test]
fn a_handler_that_does_not_end_harms_nobody() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited(
        "w",
        "export default { fetch: () => new Response('x'), scheduled() { for (;;); } }",
        json!({ "cpu_ms": 50, "cpu_burst_ms": 50 }),
    );
    selvedge.deploy("neighbour", WORKER);
    let (refused, _) = selvedge.refused(&["trigger", "w"]);
    assert_eq!(refused["code"], "worker_cpu_exceeded");
    assert_eq!(selvedge.json(&["trigger", "neighbour"])["cron"], "");
    assert_eq!(selvedge.get("neighbour", "/").status, 200);
    assert_eq!(selvedge.get("w", "/").body, "x");
}
