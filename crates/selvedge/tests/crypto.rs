//! `crypto.subtle` in a real worker: every algorithm, the errors, and what hostile code tries.

mod common;

use common::{Answer, Selvedge, eventually};
use serde_json::{Value, json};

const WORKER: &str = include_str!("workers/crypto.js");

/// One thread for all isolates, so that a worker and its neighbour share it.
const SETTINGS: &str = "[engine]\nhost_threads = 1\n";

fn limited(limits: Value) -> Selvedge {
    let selvedge = Selvedge::configured(SETTINGS);
    selvedge.deploy_limited("w", WORKER, limits);
    selvedge
}

fn worker() -> Selvedge {
    limited(json!({ "cpu_ms": 60_000, "cpu_burst_ms": 60_000 }))
}

fn ask(selvedge: &Selvedge, case: &str) -> Answer {
    selvedge.get("w", &format!("/{case}"))
}

#[track_caller]
fn gives(selvedge: &Selvedge, case: &str, expected: &str) {
    let answer = ask(selvedge, case);
    assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{case}: {answer:?}");
}

#[track_caller]
fn gives_json(selvedge: &Selvedge, case: &str, expected: Value) {
    let answer = ask(selvedge, case);
    assert_eq!(answer.status, 200, "{case}: {answer:?}");
    assert_eq!(answer.json(), expected, "{case}");
}

#[test]
fn digests() {
    let selvedge = worker();
    gives_json(
        &selvedge,
        "digest",
        json!({
            "MD5": "900150983cd24fb0", "SHA-1": "a9993e364706816a", "SHA-256": "ba7816bf8f01cfea",
            "sha-384": "cb00753f45a35e8b", "Sha-512": "ddaf35a193617aba",
        }),
    );
    gives(&selvedge, "large", "3145728");
    gives_json(
        &selvedge,
        "stream",
        json!(["a9993e364706816aba3e25717850c26c9cd0d89d", "TypeError", "TypeError", "TypeError", true]),
    );
    gives_json(
        &selvedge,
        "hmac",
        json!([
            "5bdcc146bf60754e",
            false,
            { "alg": "HS256", "ext": true, "k": "SmVmZQ", "key_ops": ["sign", "verify"], "kty": "oct" },
            { "name": "HMAC", "hash": { "name": "SHA-256" }, "length": 32 },
        ]),
    );
}

#[test]
fn ciphers() {
    let selvedge = worker();
    gives(&selvedge, "gcm", "true 1012 OperationError");
    gives(&selvedge, "gcmNonce", "true 1016 OperationError");
    gives(&selvedge, "cbc", "true 1008 OperationError");
    gives(&selvedge, "ctr", "true 1000 nothing");
    gives(
        &selvedge,
        "kw",
        "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5 00112233445566778899aabbccddeeff decrypt AES-CBC",
    );
    gives_json(
        &selvedge,
        "oaep",
        json!(["hello", "OperationError", true, ["encrypt", "wrapKey"], ["decrypt", "unwrapKey"]]),
    );
}

#[test]
fn signatures() {
    let selvedge = worker();
    for case in ["pkcs1", "pss", "p256", "p384", "p521", "ed25519"] {
        gives(&selvedge, case, "true,true,true,true,true,false");
    }
}

#[test]
fn derivations() {
    let selvedge = worker();
    gives_json(&selvedge, "ecdh", json!(["32 true true", "66 true true"]));
    gives(&selvedge, "x25519", "32 true true");
    gives_json(
        &selvedge,
        "hkdf",
        json!([
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            "OperationError",
            "OperationError",
            "OperationError",
        ]),
    );
    let expected = "4b007901b765489abead49d926f721d065a429c1";
    gives_json(&selvedge, "pbkdf2", json!([expected, expected, "OperationError"]));
}

#[test]
fn errors_have_the_standards_names() {
    gives_json(
        &worker(),
        "errors",
        json!({
            "unknown": "NotSupportedError", "kelvin": "NotSupportedError", "nameless": "TypeError",
            "noData": "TypeError", "few": "TypeError", "strangeThis": "TypeError", "usage": "InvalidAccessError",
            "algorithm": "InvalidAccessError", "iv": "TypeError", "emptyIv": "OperationError",
            "tag": "OperationError", "extract": "InvalidAccessError", "wrongHalf": "InvalidAccessError",
            "noUsages": "SyntaxError", "badUsages": "SyntaxError", "noSuchUsage": "TypeError",
            "length": "OperationError", "range": "TypeError", "curve": "NotSupportedError",
            "exponent": "OperationError", "size": "OperationError", "format": "TypeError",
            "jwkBytes": "TypeError", "rawJwk": "TypeError", "shortKey": "DataError", "der": "DataError",
            "point": "DataError", "extractableSecret": "SyntaxError", "construct": "TypeError",
        }),
    );
}

#[test]
fn hostile_arguments() {
    let selvedge = worker();
    gives_json(&selvedge, "detached", json!([1, "da39a3ee", "OperationError"]));
    let boom = |what: &str| format!("RangeError: {what}");
    gives_json(
        &selvedge,
        "getters",
        json!([boom("boom"), boom("late"), boom("k"), boom("usages"), "TypeError", "TypeError"]),
    );
    gives_json(
        &selvedge,
        "liars",
        json!(["TypeError", "TypeError", "InvalidAccessError", 20, "TypeError", "TypeError"]),
    );
    gives_json(&selvedge, "equal", json!([true, false]));
    gives_json(
        &selvedge,
        "shapes",
        json!(["[object Crypto]", "[object SubtleCrypto]", true, "function", 2, "unwrapKey", 13, 36]),
    );
    gives(&selvedge, "poisoned", "5");
}

#[test]
fn ten_thousand_operations_at_once() {
    let selvedge = worker();
    gives(&selvedge, "concurrent", "3");
    gives(&selvedge, "concurrent", "3");
}

#[test]
fn more_operations_than_may_wait() {
    let selvedge = worker();
    gives(&selvedge, "tooMany", "OperationError");
    // What waits goes with the version that asked for it.
    selvedge.deploy("neighbour", WORKER);
    gives_of(&selvedge, "neighbour", "pkcs1");
    selvedge.deploy("w", "export default { fetch() { return new Response('new') } }");
    eventually("the new version answers", || (ask(&selvedge, "").body == "new").then_some(()));
}

#[test]
fn keys_are_garbage_like_anything_else() {
    let selvedge = worker();
    gives(&selvedge, "garbage", "20");
    gives_json(&selvedge, "hoard", json!(["OperationError", true, 20]));
    gives(&selvedge, "garbage", "20");
}

#[test]
fn work_of_other_threads_counts_as_the_workers_own() {
    for case in ["burn", "many"] {
        let selvedge = limited(json!({ "cpu_ms": 100, "cpu_burst_ms": 1_000, "wall_ms": 50_000 }));
        selvedge.deploy("neighbour", WORKER);
        let waiting = selvedge.begin("w", &format!("/{case}"));
        // The neighbour's own jobs are done meanwhile.
        gives_of(&selvedge, "neighbour", "hkdf");
        gives_of(&selvedge, "neighbour", "pkcs1");
        let answer = Answer::read(waiting);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "worker_cpu_exceeded"),
            "{case}: {answer:?}"
        );
        assert_eq!(ask(&selvedge, "").body, "fine");
    }
}

#[track_caller]
fn gives_of(selvedge: &Selvedge, name: &str, case: &str) {
    let answer = selvedge.get(name, &format!("/{case}"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_worker_may_go_while_its_work_is_done() {
    let selvedge = worker();
    // Clients that do not wait, and then a version that takes the worker's place.
    for _ in 0..8 {
        drop(selvedge.begin("w", "/slow"));
    }
    let waiting = selvedge.begin("w", "/slow");
    selvedge.deploy("w", "export default { fetch() { return new Response('new') } }");
    eventually("the new version answers", || (ask(&selvedge, "").body == "new").then_some(()));
    assert_eq!(Answer::read(waiting).body, "old");
    assert_eq!(ask(&selvedge, "").body, "new");
}
