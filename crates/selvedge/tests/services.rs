//! Workers that call one another: service bindings, named entry points, and remote calls of all kinds.

mod common;

use common::Selvedge;
use common::api::Module;
use serde_json::{Value, json};

const CALLEE: &str = include_str!("workers/callee.js");
const CALLER: &str = include_str!("workers/caller.js");

fn deploy(selvedge: &Selvedge, name: &str, code: &str, metadata: Value) {
    let answer = selvedge.upload(name, metadata, &[Module::main(code)]);
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
}

fn service(name: &str, service: &str) -> Value {
    json!({ "type": "service", "name": name, "service": service })
}

/// Caller and callee, bound to one another.
fn workers() -> Selvedge {
    let selvedge = Selvedge::start();
    let many = json!({ "subrequests": 5000, "cpu_ms": 1000, "cpu_burst_ms": 5000 });
    let tight = json!({ "subrequests": 5000, "memory_mb": 32, "cpu_ms": 50, "cpu_burst_ms": 1000 });
    deploy(&selvedge, "caller", CALLER, json!({}));
    let own = json!([service("SELF", "callee"), service("CALLER", "caller")]);
    deploy(&selvedge, "callee", CALLEE, json!({ "limits": many, "bindings": own }));
    let own = json!([service("SELF", "tight")]);
    deploy(&selvedge, "tight", CALLEE, json!({ "limits": tight, "bindings": own }));
    let bindings = json!([
        service("C", "callee"),
        service("TIGHT", "tight"),
        { "type": "service", "name": "ADMIN", "service": "callee", "entrypoint": "Admin", "props": { "who": "caller" } },
        { "type": "service", "name": "PLAIN", "service": "callee", "entrypoint": "plain" },
        { "type": "service", "name": "NOBODY", "service": "callee", "entrypoint": "Nobody" },
    ]);
    deploy(&selvedge, "caller", CALLER, json!({ "limits": many, "bindings": bindings }));
    selvedge
}

#[track_caller]
fn gives(selvedge: &Selvedge, case: &str, expected: Value) {
    let answer = selvedge.get("caller", &format!("/{case}"));
    assert_eq!(answer.status, 200, "{case}: {answer:?}\n{:#?}", selvedge.logs("caller").last());
    assert_eq!(answer.json(), expected, "{case}");
}

#[test]
fn requests_reach_the_other_worker() {
    let selvedge = workers();
    gives(&selvedge, "fetch", json!([201, "http://some.where/path?q", "POST", "hello"]));
    gives(&selvedge, "fetchStream", json!(10 << 20));
    gives(&selvedge, "fetchThrows", json!(["Error", "RangeError: fetch threw"]));
    gives(&selvedge, "abort", json!(["AbortError", true]));
    let missing = "TypeError: The worker has no entry point \"Nobody\": an export that is an object or extends WorkerEntrypoint.";
    gives(
        &selvedge,
        "entrypoints",
        json!([
            "admin {\"who\":\"caller\"}",
            "plain object function",
            ["Admin", { "who": "caller" }],
            [8, "object"],
            ["Error", missing],
            ["Error", missing],
        ]),
    );
    gives(&selvedge, "props", json!([[{}, ["CALLER", "SELF"], true], ["Admin", { "who": "caller" }]]));
    gives(&selvedge, "exports", json!(["a {}", "b {\"n\":1}", "it is me"]));
}

#[test]
fn values_cross_by_copy() {
    let selvedge = workers();
    gives(
        &selvedge,
        "values",
        json!([
            true,
            [
                "[object Date] [object Date]",
                "[object RegExp] [object RegExp]",
                "[object Map] [object Map]",
                "[object Set] [object Set]",
                "[object Uint8Array] [object Uint8Array]",
                "[object ArrayBuffer] [object ArrayBuffer]",
                "[object BigInt] [object BigInt]",
                "[object Error] [object Error]",
                "[object Null] [object Null]",
                "[object Undefined] [object Undefined]",
                "[object Array] [object Array]"
            ],
            [1, "b", { "c": [true] }],
            2,
            "t"
        ]),
    );
    gives(&selvedge, "property", json!([{ "a": [1, 2] }, [1, 2]]));
    gives(&selvedge, "http", json!([202, "2", "PUT http://x/y 1 text", "b", 1 << 20]));
}

#[test]
fn functions_and_objects_cross_as_stubs() {
    let selvedge = workers();
    gives(
        &selvedge,
        "counter",
        json!([6, 16, 16, 116, 16, ["TypeError", "The stub was disposed of."], 17, 2]),
    );
    gives(&selvedge, "pipelining", json!([41, 42, 49, 43, 42]));
    gives(&selvedge, "callback", json!(999_000));
    gives(&selvedge, "nested", json!([2, 8, "mapped"]));
    gives(&selvedge, "third", json!(6));
    gives(&selvedge, "stub", json!(["hello you", "TypeError"]));
    gives(&selvedge, "waitUntil", json!("waited"));
}

#[test]
fn files_and_headers_cross() {
    gives(
        &workers(),
        "files",
        json!([
            [false, true, null, "a/b", 3, null, "234"],
            [true, true, "a.txt", "", 3, 7, "abc"],
            true,
            "a/b",
            "234",
            true,
            "n.txt",
            "x/y",
            5,
            "f",
            true,
            [["x-a", "1"], ["x-b", "2"]]
        ]),
    );
}

#[test]
fn promises_are_arguments() {
    let selvedge = workers();
    gives(
        &selvedge,
        "promises",
        json!([
            10,
            [["Admin", { "who": "caller" }], "v"],
            20,
            8,
            ["OddError", "on purpose"],
            ["OddError", "on purpose"],
            [
                "DataCloneError",
                "Keys of a Map and members of a Set must be data to be sent to another worker."
            ],
        ]),
    );
}

#[test]
fn bindings_are_passed_on() {
    gives(
        &workers(),
        "services",
        json!([[[8, "object"], 203, "plain through"], "by its own binding", "later", "b", "me {}"]),
    );
}

#[test]
fn streams_cross_at_the_readers_pace() {
    let selvedge = workers();
    gives(&selvedge, "streams", json!([10 << 20, 10 << 20]));
    gives(&selvedge, "cancelled", json!(65536));
    gives(&selvedge, "writable", json!(["written", ["a", "b", "c", "end"]]));
}

#[test]
fn errors_cross_in_both_directions() {
    let selvedge = workers();
    let clone = |class: &str| {
        format!(
            "An object of the class {class} cannot be sent to another worker; let the class extend RpcTarget."
        )
    };
    gives(
        &selvedge,
        "errors",
        json!([
            ["OddError", "on purpose"],
            ["TypeError", "no such type"],
            ["Error", "just text"],
            ["RangeError", "the caller's own"],
            ["DataCloneError", clone("Plain")],
            ["DataCloneError", "Symbol(x) could not be cloned."],
            ["DataCloneError", clone("Mine")],
        ]),
    );
}

#[test]
fn only_methods_of_the_class_are_reached() {
    let selvedge = workers();
    let answer = selvedge.get("caller", "/forbidden").json();
    let text = answer.to_string();
    assert!(!text.contains("no error"), "{text}");
    let all = answer.as_array().unwrap();
    for refused in &all[..15] {
        assert!(refused == "TypeError" || refused == "undefined", "{text}");
    }
    assert_eq!(all[all.len() - 2..], [json!(true), json!(true)]);
}

#[test]
fn a_callee_that_is_stopped_breaks_its_callers_promise() {
    let selvedge = workers();
    let answer = selvedge.get("caller", "/limits").json();
    assert!(answer[0][1].as_str().unwrap().contains("CPU time"), "{answer}");
    assert!(answer[1][1].as_str().unwrap().contains("memory"), "{answer}");
    assert_eq!(answer[2], "alive");
    assert!(answer[3][1].as_str().unwrap().contains("32 MiB"), "{answer}");
    gives(&selvedge, "broken", json!(["TypeError", "TypeError"]));
}

#[test]
fn loops_end() {
    let selvedge = workers();
    let answer = selvedge.get("caller", "/loop");
    assert_eq!(answer.status, 500, "{answer:?}");
    let logs = format!("{:?}", selvedge.logs("caller"));
    assert!(logs.contains("is there a loop?"), "{logs}");
}

#[test]
fn bindings_lead_to_workers_of_the_account_only() {
    let selvedge = Selvedge::start();
    let upload =
        |binding: Value| selvedge.upload("w", json!({ "bindings": [binding] }), &[Module::main(CALLER)]);
    assert_eq!(upload(service("X", "nobody")).code(), "no_such_service");
    assert_eq!(upload(json!({ "type": "service", "name": "X" })).code(), "invalid_metadata");
    assert_eq!(
        upload(json!({ "type": "service", "name": "X", "service": "a", "text": "b" })).code(),
        "invalid_metadata"
    );
    assert_eq!(upload(json!({ "type": "plain_text", "name": "X" })).code(), "invalid_metadata");
    // A worker may call itself before it is there.
    assert_eq!(upload(service("X", "w")).status, 200);
}
