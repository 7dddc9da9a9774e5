//! From upload to snapshot: versions, deployments, rollback, routes, deletion.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::harness::{A, Server, metadata, module};

const MAIN: &str = r#"{"main_module":"main.js"}"#;

#[test]
fn an_upload_is_served_when_it_is_answered() {
    let server = Server::start();
    let meta = r#"{"main_module":"main.js","bindings":[{"name":"P","type":"plain_text","text":"x"},
        {"name":"J","type":"json","text":"[1]"}],"compatibility_date":"2026-01-01",
        "compatibility_flags":["nodejs_compat"],"limits":{"cpu_ms":7},"isolation":"worker",
        "routes":["Example.com/*"],"message":"first"}"#;
    let text = ("data.txt", "text/plain; charset=utf-8", b"hi".as_slice());
    let answer = server.put("a", &[metadata(meta), module("export default {}"), text]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let uploaded = answer.json();
    let version = uploaded["version"].as_str().unwrap();
    assert_eq!(uploaded["url"], "http://a.localhost:8080");
    assert_eq!(uploaded["created"], true);
    assert_eq!(uploaded["startup_ms"], 1.5);
    assert_eq!(server.serving("a"), [(version.to_owned(), 100.0)]);
    assert_eq!(server.engine.applied.lock().unwrap().last(), Some(&server.snapshot.borrow().generation));
    assert_eq!(server.snapshot.borrow().routes[0].pattern.to_string(), "example.com/*");

    let record = server.get(&format!("{A}/scripts/a/versions/{version}")).json();
    assert_eq!(record["digest"], uploaded["digest"]);
    assert_eq!(record["percentage"], 100.0);
    assert_eq!(record["limits"]["cpu_ms"], 7);
    assert_eq!(record["limits"]["wall_ms"], 30_000);
    assert_eq!(record["isolation"], "worker");
    assert_eq!(record["message"], "first");
    assert_eq!(record["handlers"], json!(["fetch"]));
    assert_eq!(
        record["bindings"],
        json!([{"name": "J", "type": "json", "text": "[1]"}, {"name": "P", "type": "plain_text", "text": "x"}])
    );
    let script = server.get(&format!("{A}/scripts/a")).json();
    assert_eq!(script["version"], version);
    assert_eq!(script["routes"], json!(["example.com/*"]));
    assert_eq!(script["deployment"]["versions"], json!([{"version": version, "percentage": 100.0}]));
    assert_eq!(script["deployed_at"], script["deployment"]["created_at"]);
    let list = server.get(&format!("{A}/scripts")).json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["url"], "http://a.localhost:8080");
}

#[test]
fn bindings_are_kept_as_asked() {
    let server = Server::start();
    let first = r#"{"main_module":"main.js","bindings":[{"name":"P","type":"plain_text","text":"p"},
        {"name":"J","type":"json","text":"1"},{"name":"S","type":"secret_text","text":"s"},
        {"name":"T","type":"secret_text","text":"t"}]}"#;
    assert_eq!(server.put("a", &[metadata(first), module("")]).status, 200);
    let second = r#"{"main_module":"main.js","keep_bindings":["plain_text"],
        "bindings":[{"name":"T","type":"plain_text","text":"not secret any more"}]}"#;
    assert_eq!(server.put("a", &[metadata(second), module("")]).status, 200);
    let worker = server.engine.last.lock().unwrap().clone().unwrap();
    let names: Vec<&str> = worker.bindings.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["P", "S", "T"]);
    assert_eq!(
        worker.bindings,
        server.snapshot.borrow().scripts.values().next().unwrap().shares[0].worker.bindings
    );
}

#[test]
fn a_version_waits_until_it_is_deployed() {
    let server = Server::start();
    let one = server.deploy("a", "1");
    let answer = server.upload("POST", &format!("{A}/scripts/a/versions"), &[metadata(MAIN), module("2")]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["created"], false);
    let two = answer.json()["version"].as_str().unwrap().to_owned();
    assert_eq!(server.serving("a"), [(one.clone(), 100.0)]);

    let shares = json!({"versions": [{"version": one, "percentage": 25}, {"version": two, "percentage": 75}],
        "message": "canary"});
    let deployment = server.call("POST", &format!("{A}/scripts/a/deployments"), shares).json();
    assert_eq!(deployment["message"], "canary");
    assert_eq!(server.serving("a"), [(one.clone(), 25.0), (two.clone(), 75.0)]);
    let versions = server.get(&format!("{A}/scripts/a/versions")).json();
    assert_eq!((&versions[0]["id"], &versions[0]["percentage"]), (&json!(two), &json!(75.0)));
    assert_eq!((&versions[1]["id"], &versions[1]["percentage"]), (&json!(one), &json!(25.0)));
    let deployments = server.get(&format!("{A}/scripts/a/deployments")).json();
    assert_eq!(deployments.as_array().unwrap().len(), 2);
    assert_eq!(deployments[0], deployment);

    // A script whose first version is not deployed exists, but serves nothing.
    let answer = server.upload("POST", &format!("{A}/scripts/b/versions"), &[metadata(MAIN), module("1")]);
    assert_eq!(answer.json()["created"], true);
    assert_eq!(server.get(&format!("{A}/scripts/b")).json()["deployment"], Value::Null);
    assert!(server.serving("b").is_empty());
}

#[test]
fn rollback_goes_back_and_forth_or_to_a_version() {
    let server = Server::start();
    let one = server.deploy("a", "1");
    let path = format!("{A}/scripts/a/rollback");
    server.call("POST", &path, Value::Null).refused(409, "nothing_to_roll_back");
    let two = server.deploy("a", "2");
    let three = server.deploy("a", "3");
    for (body, expected) in [
        (Value::Null, &two),
        (json!({}), &three),
        (json!({"version": one}), &one),
        (json!({"version": two}), &two),
    ] {
        assert_eq!(server.call("POST", &path, body).status, 200);
        assert_eq!(server.serving("a"), [(expected.clone(), 100.0)]);
    }
}

#[test]
fn versions_of_another_script_cannot_be_deployed() {
    let server = Server::start();
    let own = server.deploy("a", "1");
    let foreign = server.deploy("b", "1");
    let shares = |id: &str| json!({"versions": [{"version": id, "percentage": 100}]});
    let deployments = format!("{A}/scripts/a/deployments");
    server.call("POST", &deployments, shares(&foreign)).refused(404, "version_not_found");
    server
        .call("POST", &format!("{A}/scripts/a/rollback"), json!({"version": foreign}))
        .refused(404, "version_not_found");
    server.get(&format!("{A}/scripts/a/versions/{foreign}")).refused(404, "version_not_found");
    assert_eq!(server.serving("a"), [(own.clone(), 100.0)]);
    for (percentage, code) in [
        (json!(99), "invalid_percentages"),
        (json!(-1), "invalid_percentages"),
        (json!("100"), "invalid_json"),
    ] {
        let body = json!({"versions": [{"version": own, "percentage": percentage}]});
        server.call("POST", &deployments, body).refused(400, code);
    }
    server.call("POST", &deployments, json!({"versions": []})).refused(400, "invalid_percentages");
    server.call("POST", &deployments, json!({})).refused(400, "invalid_json");
    let extra = json!({"versions": [], "strategy": "percentage"});
    let message = server.call("POST", &deployments, extra).refused(400, "invalid_json");
    assert!(message.contains("strategy"), "{message}");
}

#[test]
fn routes_have_one_owner() {
    let server = Server::start();
    server.deploy("a", "1");
    server.deploy("b", "1");
    let routes = |script: &str| format!("{A}/scripts/{script}/routes");
    let answer = server.call("PUT", &routes("a"), json!({"patterns": ["X.org", "x.org/api/*"]}));
    assert_eq!(
        answer.json(),
        json!([{"pattern": "x.org/*", "script": "a"}, {"pattern": "x.org/api/*", "script": "a"}])
    );
    assert_eq!(server.snapshot.borrow().routes.len(), 2);
    let message =
        server.call("PUT", &routes("b"), json!({"patterns": ["x.org/*"]})).refused(409, "route_taken");
    assert!(message.contains("script a"), "{message}");
    let meta = r#"{"main_module":"main.js","routes":["x.org"]}"#;
    let before = server.serving("b");
    server.put("b", &[metadata(meta), module("2")]).refused(409, "route_taken");
    assert_eq!(server.serving("b"), before, "a conflict deploys nothing");
    server.call("PUT", &routes("b"), json!({"patterns": ["x.org:80/"]})).refused(400, "invalid_json");
    assert_eq!(server.call("PUT", &routes("a"), json!({"patterns": []})).json(), json!([]));
    assert_eq!(server.get(&format!("{A}/routes")).json(), json!([]));
}

#[test]
fn a_deleted_script_is_gone() {
    let server = Server::start();
    server.deploy("a", "1");
    let answer = server.call("DELETE", &format!("{A}/scripts/a"), Value::Null);
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert!(server.serving("a").is_empty());
    assert_eq!(std::fs::read_dir(server.dir.path().join("artifacts")).unwrap().count(), 0);
    server.get(&format!("{A}/scripts/a")).refused(404, "script_not_found");
}

#[test]
fn refused_code_is_shown_in_the_original_source_and_nothing_is_kept() {
    let server = Server::start();
    let plain = server.put("a", &[metadata(MAIN), module("\nrefuse")]);
    let message = plain.refused(422, "code_refused");
    assert!(message.starts_with("main.js:2:1"), "{message}");
    assert_eq!(plain.json()["error"]["diagnostic"]["excerpt"], "generated line");

    let map =
        br#"{"version":3,"sources":["src/a.ts"],"sourcesContent":["let a;\nthrow b"],"mappings":";AACE"}"#;
    let map = ("main.js.map", "application/source-map", map.as_slice());
    let answer = server.put("a", &[metadata(MAIN), module("\nrefuse"), map]);
    answer.refused(422, "code_refused");
    let diagnostic = &answer.json()["error"]["diagnostic"];
    assert_eq!(diagnostic["code"], "top_level_exception");
    assert_eq!(diagnostic["file"], "src/a.ts");
    assert_eq!((&diagnostic["line"], &diagnostic["column"]), (&json!(2), &json!(3)));
    assert_eq!(diagnostic["excerpt"], "throw b");
    assert_eq!(diagnostic["stack"], "Error: refuse\n    at src/a.ts:2:3");

    let answer = server.put("a", &[metadata(MAIN), module("unavailable")]);
    answer.refused(503, "sandbox_unavailable");
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    server.get(&format!("{A}/scripts/a")).refused(404, "script_not_found");
    assert_eq!(std::fs::read_dir(server.dir.path().join("artifacts")).unwrap().count(), 0);
    assert!(server.engine.applied.lock().unwrap().is_empty());
}

#[test]
fn deploys_of_one_script_take_turns_and_snapshots_never_go_back() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for n in 0..5 {
                    server.deploy("a", &format!("{thread} {n}"));
                    server.deploy(&format!("own-{thread}"), &format!("{n}"));
                }
            });
        }
    });
    assert_eq!(server.engine.most.load(Ordering::Relaxed), 1);
    let applied = server.engine.applied.lock().unwrap().clone();
    assert_eq!(applied.len(), 40);
    assert!(applied.is_sorted(), "{applied:?}");
    let newest = server.get(&format!("{A}/scripts/a/deployments")).json();
    assert_eq!(server.serving("a")[0].0, newest[0]["versions"][0]["version"].as_str().unwrap());
    assert_eq!(newest.as_array().unwrap().len(), 20);
}
