//! Web APIs beyond fetch, as workers see them: compression, encodings, clones, ports, events, patterns; and what hostile
//! code does with them.

mod common;

use common::Selvedge;

const WORKER: &str = include_str!("workers/webapi.js");

fn worker() -> Selvedge {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", WORKER);
    selvedge
}

#[track_caller]
fn gives(selvedge: &Selvedge, case: &str, expected: &str) {
    let answer = selvedge.get("w", &format!("/{case}"));
    assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{case}: {answer:?}");
}

#[test]
fn compression_there_and_back() {
    let selvedge = worker();
    gives(&selvedge, "compression", "[true,true,true,true]");
    let refused = ["\"TypeError\""; 14].join(",");
    gives(&selvedge, "broken", &format!("[{refused}]"));
}

#[test]
fn streams_are_given_away() {
    let selvedge = worker();
    gives(
        &selvedge,
        "transferredStreams",
        "[true,true,true,1,{\"a\":[1]},2,true,[{\"x\":1},\"b\",\"closed\"],true,true,true,true,\"UP\",true,\"through a port\"]",
    );
    let refused = ["\"DataCloneError\""; 7].join(",");
    gives(
        &selvedge,
        "streamsNotTransferred",
        &format!(
            "[{refused},\"canceled DataCloneError\",\"DataCloneError\",{{\"deep\":{{\"a\":1}}}},true,\"RangeError: mine\",true]"
        ),
    );
}

#[test]
fn keys_are_cloned() {
    gives(
        &worker(),
        "clonedKeys",
        "[true,true,true,false,[\"sign\"],{\"name\":\"HMAC\",\"hash\":{\"name\":\"SHA-256\"},\"length\":24},true,true,\"b\",\"f.txt\",\
         \"InvalidAccessError\",\"DataCloneError\"]",
    );
}

#[test]
fn detached_bodies_and_ports_of_events() {
    let refused = ["\"TypeError\""; 3].join(",");
    gives(&worker(), "small", &format!("[\"1,2,3\",0,0,1,true,true,{refused},0]"));
}

#[test]
fn webassembly_from_responses() {
    let refused = [["\"CompileError\""; 2].join(","), ["\"TypeError\""; 5].join(",")].join(",");
    gives(&worker(), "wasmStreaming", &format!("[{refused},\"RangeError\",true]"));
}

#[test]
fn compression_costs_what_is_read() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.js");
    std::fs::write(&file, WORKER).unwrap();
    let limits = ["--limit", "memory_mb=64", "--limit", "cpu_ms=30000", "--limit", "cpu_burst_ms=30000"];
    selvedge.json(&[&["deploy", file.to_str().unwrap(), "--name", "w"], &limits[..]].concat());
    gives(&selvedge, "bomb", "[209715200,true]");
    gives(&selvedge, "manyCodecs", "\"alive\"");
}

#[test]
fn encodings() {
    let selvedge = worker();
    gives(&selvedge, "encodings", "[\"€é\",\"日本\",\"가\",\"A\",\"shift_jis\"]");
    gives(&selvedge, "encodingMistakes", "[\"TypeError\",\"RangeError\",\"RangeError\",\"TypeError\"]");
    gives(&selvedge, "detached", "[\"\",\"\",\"\",true,\"DataCloneError\"]");
}

#[test]
fn clones_and_ports() {
    let selvedge = worker();
    gives(&selvedge, "clones", "[\"a.txt\",\"text/x\",5,\"abc\",true,5,true,\"AbortError\",20,0,8]");
    gives(
        &selvedge,
        "unclonable",
        "[\"DataCloneError\",\"DataCloneError\",\"DataCloneError\",\"DataCloneError\",\"DataCloneError\",\"EvalError: mine\",\"DataCloneError\"]",
    );
    gives(&selvedge, "channel", "[[\"before\",{\"a\":1},[2],3],\"through\",\"close\",\"DataCloneError\"]");
}

#[test]
fn what_nobody_caught_is_an_event() {
    let selvedge = worker();
    gives(
        &selvedge,
        "uncaught",
        "[\"Uncaught Error: reported | reported\",\"Uncaught Error: microtask | microtask\",\"unhandled late\",\"Uncaught Error: timer | timer\",\"handled late\"]",
    );
    gives(&selvedge, "signals", "[11,\"AbortError\",\"AbortError\"]");
}

#[test]
fn patterns_of_urls() {
    gives(&worker(), "patterns", "[{\"id\":\"5\",\"rest\":\"a/b\"},false,\"*.example.com\",true,true]");
}

#[test]
fn temporal_is_on_the_workers_clock() {
    gives(&worker(), "temporal", "[true,true,true,true,true,true,true,60,true,\"instant\"]");
}

#[test]
fn they_do_without_what_the_worker_broke() {
    gives(&worker(), "poisoned", "[false,true,\"abc\",0,\"through\",\"https://a.example/?x=1&y=2\",1,\"x\"]");
}
