//! Secrets go in and never come out.

use serde_json::{Value, json};

use crate::harness::{A, Server, metadata, module};

const VALUE: &str = "hunter2-value";

#[test]
fn a_secret_reaches_the_worker_and_no_answer() {
    let server = Server::start();
    let one = server.deploy("a", "1");
    let path = format!("{A}/scripts/a/secrets/KEY");
    let answer = server.call("PUT", &path, json!({"text": VALUE}));
    assert_eq!(answer.status, 200, "{answer:?}");
    let two = answer.json()["version"].as_str().unwrap().to_owned();
    assert_ne!(one, two);
    assert_eq!(server.serving("a"), [(two.clone(), 100.0)]);
    let worker = server.snapshot.borrow().scripts.values().next().unwrap().shares[0].worker.clone();
    assert_eq!(
        serde_json::to_value(&worker.bindings).unwrap(),
        json!([{"name": "KEY", "type": "secret_text"}]),
    );
    assert!(matches!(&worker.bindings[0].value,
        selvedge_model::BindingValue::SecretText { text } if text == VALUE));

    // Every answer, and everything printed for debugging.
    for (method, path) in selvedge_control::calls() {
        if method != "GET" || path.ends_with("tail") {
            continue;
        }
        let path = path.replace("{account}", "default").replace("{script}", "a").replace("{id}", &two);
        let answer = server.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains("hunter2"), "{path}");
    }
    assert!(!format!("{:?} {:?}", server.control, server.store).contains("hunter2"));
    assert!(!format!("{:?}", server.snapshot.borrow()).contains("hunter2"));
    assert_eq!(server.get(&format!("{A}/scripts/a/secrets")).json(), json!(["KEY"]));

    // The next upload keeps it without knowing it.
    server.deploy("a", "2");
    assert_eq!(server.get(&format!("{A}/scripts/a/secrets")).json(), json!(["KEY"]));
    assert_eq!(server.call("DELETE", &path, Value::Null).status, 200);
    assert_eq!(server.get(&format!("{A}/scripts/a/secrets")).json(), json!([]));
    server.call("DELETE", &path, Value::Null).refused(404, "secret_not_found");
}

#[test]
fn refusals_do_not_quote_a_secret() {
    let server = Server::start();
    server.deploy("a", "1");
    let path = format!("{A}/scripts/a/secrets/KEY");
    let bodies = [
        json!({"text": 271828}),
        json!({"text": true}),
        json!({"text": ["hunter2"]}),
        json!({"text": "hunter2", "more": 1}),
        json!("hunter2"),
        json!(271828),
        json!({}),
    ];
    for body in bodies {
        let message = server.call("PUT", &path, body).refused(400, "invalid_json");
        assert!(!message.contains("hunter2") && !message.contains("271828"), "{message}");
    }
    let spec = |text: &str| format!(r#"[{{"name":"K","type":"secret_text","text":{text}}}]"#);
    let bindings = [
        spec("271828"),
        spec("[\"hunter2\"]"),
        spec("{\"hunter2\":1}"),
        "[\"hunter2\"]".into(),
        "[271828]".into(),
        "\"hunter2, expected \"".into(),
    ];
    for bindings in bindings {
        let meta = format!(r#"{{"main_module":"main.js","bindings":{bindings}}}"#);
        let message = server.put("a", &[metadata(&meta), module("")]).refused(400, "invalid_metadata");
        assert!(!message.contains("hunter2") && !message.contains("271828"), "{message}");
    }
    server.call("PUT", &path, json!({"text": "x".repeat(200_000)})).refused(413, "too_large");
    server.call("PUT", &path, json!({"text": "x".repeat(2 << 20)})).refused(413, "too_large");
    for bad in ["1KEY", "a-b", "a%20b", "%C3%A9", &"x".repeat(129)] {
        let path = format!("{A}/scripts/a/secrets/{bad}");
        server.call("PUT", &path, json!({"text": "x"})).refused(400, "invalid_binding_name");
    }
}

#[test]
fn a_secret_needs_one_deployed_version() {
    let server = Server::start();
    let versions = format!("{A}/scripts/a/versions");
    let parts = [metadata(r#"{"main_module":"main.js"}"#), module("1")];
    let one = server.upload("POST", &versions, &parts).json()["version"].clone();
    let path = format!("{A}/scripts/a/secrets/KEY");
    server.call("PUT", &path, json!({"text": "x"})).refused(409, "not_deployed");
    let two = server.deploy("a", "2");
    let split = json!({"versions": [{"version": one, "percentage": 50}, {"version": two, "percentage": 50}]});
    assert_eq!(server.call("POST", &format!("{A}/scripts/a/deployments"), split).status, 200);
    server.call("PUT", &path, json!({"text": "x"})).refused(409, "split_deployment");
}

#[test]
fn a_version_has_a_bounded_number_of_bindings() {
    let server = Server::start();
    let bindings: Vec<Value> =
        (0..256).map(|n| json!({"name": format!("B{n}"), "type": "plain_text", "text": ""})).collect();
    let meta = json!({"main_module": "main.js", "bindings": bindings}).to_string();
    assert_eq!(server.put("a", &[metadata(&meta), module("")]).status, 200);
    let path = |name: &str| format!("{A}/scripts/a/secrets/{name}");
    server.call("PUT", &path("KEY"), json!({"text": "x"})).refused(409, "too_many_bindings");
    assert_eq!(server.call("PUT", &path("B0"), json!({"text": "x"})).status, 200);
    // 255 plain ones are kept on request and one secret always: with a new one they are too many.
    let meta = r#"{"main_module":"main.js","keep_bindings":["plain_text"],
        "bindings":[{"name":"NEW","type":"plain_text","text":""}]}"#;
    server.put("a", &[metadata(meta), module("")]).refused(400, "invalid_metadata");
}
