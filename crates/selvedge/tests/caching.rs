//! The Cache API: what is stored, found, refused and forgotten.

mod common;

use common::Selvedge;
use common::api::Module;
use serde_json::{Value, json};

const WORKER: &str = include_str!("workers/caching.js");

fn worker() -> Selvedge {
    let selvedge = Selvedge::start();
    let limits = json!({ "cpu_ms": 2000, "cpu_burst_ms": 5000, "subrequests": 1000 });
    let answer = selvedge.upload("w", json!({ "limits": limits }), &[Module::main(WORKER)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    selvedge
}

#[track_caller]
fn case(selvedge: &Selvedge, name: &str) -> Value {
    let answer = selvedge.get("w", &format!("/{name}"));
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    answer.json()
}

#[test]
fn responses_are_stored_and_found() {
    let selvedge = worker();
    let stored = json!(["hello", 200, "1", "0", "HIT", "text/plain;charset=UTF-8", null, null]);
    assert_eq!(case(&selvedge, "stored"), stored);
    assert_eq!(case(&selvedge, "forgotten"), json!([true, null, false]));
    assert_eq!(case(&selvedge, "named"), json!([null, "one", true, null]));
    assert_eq!(case(&selvedge, "varies"), json!(["guten Tag", "good day", null]));
    assert_eq!(case(&selvedge, "stream"), json!(1_000_000));
    assert_eq!(case(&selvedge, "status"), json!([404, "gone", 301, "https://example.com/new"]));
    let conditions = json!([
        [304, "", null],
        [206, "234", "bytes 2-4/10"],
        [206, "89", "bytes 8-9/10"],
        [200, "0123456789", null]
    ]);
    assert_eq!(case(&selvedge, "conditions"), conditions);
}

#[test]
fn what_may_not_be_stored_is_not() {
    let selvedge = worker();
    let refused = case(&selvedge, "refused");
    assert_eq!(refused.as_array().unwrap()[..4], [json!(null), json!(null), json!(null), json!(null)]);
    for said in &refused.as_array().unwrap()[4..] {
        assert!(said.as_str().unwrap().starts_with("TypeError: "), "{refused}");
    }
    assert!(case(&selvedge, "large").as_str().unwrap().contains("too large"));
    assert!(case(&selvedge, "used").as_str().unwrap().starts_with("TypeError: "));
    assert_eq!(case(&selvedge, "flood"), json!(true));
}

#[test]
fn accounts_do_not_meet_and_versions_do() {
    let selvedge = worker();
    assert_eq!(selvedge.get("w", "/set?first").body, "\"set\"");
    // Another worker of the account, in a later version of its own.
    let again = format!("{WORKER}\n// another version\n");
    assert_eq!(selvedge.upload("other", json!({}), &[Module::main(&again)]).status, 200);
    assert_eq!(selvedge.get("other", "/get").body, "\"?first\"");
}
