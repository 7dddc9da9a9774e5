//! Work that goes on behind a complete answer, or after the client left, and is stopped: nobody but the log tells of it.

use std::io::Read;

use serde_json::{Value, json};

use crate::scene::{OFFENDER, Scene};

fn limits() -> Value {
    json!({ "cpu_ms": 300, "cpu_burst_ms": 300, "wall_ms": 1_000 })
}

#[test]
fn work_without_end() {
    let scene = Scene::new(
        "ctx.waitUntil(new Promise(() => setInterval(() => {}, 10))); return new Response('fine');",
        limits(),
    );
    let answer = scene.attack();
    assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    let event = scene.logged("worker_timeout");
    assert_eq!(event["request_id"].as_str(), answer.header("x-request-id"), "{event}");
    scene.recovered();
}

#[test]
fn work_that_computes() {
    let attack = "ctx.waitUntil(new Promise((wake) => setTimeout(wake, 50)).then(() => { for (;;); })); return new Response('fine');";
    let scene = Scene::new(attack, limits());
    let answer = scene.attack();
    assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    let event = scene.logged("worker_cpu_exceeded");
    assert_eq!(event["request_id"].as_str(), answer.header("x-request-id"), "{event}");
    scene.recovered();
}

#[test]
fn work_that_hoards() {
    let attack = "ctx.waitUntil(new Promise((wake) => setTimeout(wake, 50)).then(() => { const all = []; for (;;) all.push(new Array(1000).fill(1)); }));\n\
        return new Response('fine');";
    let limits = json!({ "cpu_ms": 5_000, "cpu_burst_ms": 5_000, "memory_mb": 32 });
    let scene = Scene::new(attack, limits);
    assert_eq!(scene.attack().status, 200);
    scene.logged("worker_memory_exceeded");
    scene.recovered();
}

/// A client that leaves ends its request, not what `waitUntil` holds; that may call others, too, within the request's budget.
#[test]
fn work_without_a_client() {
    let attack = "\
        ctx.waitUntil((async () => {\n\
          await new Promise((wake) => request.signal.addEventListener('abort', wake));\n\
          let count = 0;\n\
          try { for (;;) { await caches.default.match('http://x/'); count++; } } catch (error) { console.log(`${count} ${error.message}`); }\n\
          setInterval(() => {}, 10);\n\
          await new Promise(() => {});\n\
        })());\n\
        return new Response(new ReadableStream({ start: (c) => c.enqueue(new Uint8Array(1)), pull: () => new Promise(() => {}) }));";
    let scene = Scene::new(attack, limits());
    let mut client = scene.selvedge.begin(OFFENDER, "/");
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    scene.logged("worker_timeout");
    let said = format!("{:?}", scene.selvedge.logs(OFFENDER));
    assert!(said.contains("50 This request has reached its limit of subrequests."), "{said}");
    scene.recovered();
}
