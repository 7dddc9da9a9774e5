//! Workers that take the processor and would not give it back.

use serde_json::{Value, json};

use crate::common::api::Module;
use crate::common::eventually;
use crate::contained;
use crate::scene::{OFFENDER, Scene, handler};

fn limits() -> Value {
    json!({ "cpu_ms": 50, "cpu_burst_ms": 100, "wall_ms": 10_000 })
}

contained! {
    endless_loop: "for (;;) {}" => 503 "worker_cpu_exceeded";
    endless_optimised_loop:
        "let x = 1; for (let i = 0; ; i = (i + 1) | 0) x = (x * 31 + i) | 0; return new Response(String(x));"
        => 503 "worker_cpu_exceeded";
    endless_microtasks: "const again = () => Promise.resolve().then(again); await again();" => 503 "worker_cpu_exceeded";
    endless_await: "for (;;) await null;" => 503 "worker_cpu_exceeded";
    endless_async_generator:
        "async function* ones() { for (;;) yield 1; } for await (const one of ones()) globalThis.one = one;"
        => 503 "worker_cpu_exceeded";
    catastrophic_regex: "return new Response(String(/^(a+)+$/.test('a'.repeat(60) + 'b')));" => 503 "worker_cpu_exceeded";
    huge_bigints:
        "const big = 1n << 4000000n; for (;;) globalThis.x = (big - 1n) * (big - 3n);" => 503 "worker_cpu_exceeded";
    comparator_that_never_returns:
        "[3, 1, 2].sort(() => { for (;;) {} });" => 503 "worker_cpu_exceeded";
    comparator_without_order:
        "for (;;) { const a = Array.from({ length: 1e4 }, Math.random); a.sort(() => Math.random() - 0.5); }"
        => 503 "worker_cpu_exceeded";
    builtin_that_cannot_be_interrupted:
        "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);" => 503 "worker_cpu_exceeded";
    endless_getter: "return new Response('x', { get status() { for (;;) {} } });" => 503 "worker_cpu_exceeded";
    endless_to_string: "throw { toString() { for (;;) {} } };" => 500 "worker_exception";
    endless_stack_trace:
        "Error.prepareStackTrace = () => { for (;;) {} }; throw new Error('x');" => 503 "worker_cpu_exceeded";
    endless_proxy:
        "const p = new Proxy({}, { get: () => { for (;;) {} } }); return p;" => 503 "worker_cpu_exceeded";
    endless_wait_until:
        "await null; ctx.waitUntil(Promise.resolve().then(() => { for (;;) {} })); await new Promise(() => {});"
        => 503 "worker_cpu_exceeded";
    endless_finally: "for (;;) { try { throw 1 } catch {} finally { continue } }" => 503 "worker_cpu_exceeded";
    log_bomb: "const line = 'x'.repeat(1 << 20); for (;;) console.log(line);" => 503 "worker_cpu_exceeded";
    endless_log_of_an_object:
        "console.log({ [Symbol.for('nodejs.util.inspect.custom')]() { for (;;) {} } });" => 503 "worker_cpu_exceeded";
    endless_iterator_of_headers:
        "new Headers({ *[Symbol.iterator]() { for (;;) yield ['a', 'b']; } });" => 503 "worker_cpu_exceeded";
    rejection_bomb: "for (;;) Promise.reject(new Error('nobody cares'));" => 503 "worker_cpu_exceeded";
    busy_between_pauses:
        "for (;;) {\n\
           for (let i = 0; i < 1e7; i++) globalThis.x = i;\n\
           await new Promise((resolve) => setTimeout(resolve, 1));\n\
         }" => 503 "worker_cpu_exceeded";
}

/// `(module (func (export "run") (loop br 0)))`, without its code.
const LOOP_HEAD: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x07\x01\x03run\0\0";
const LOOP_CODE: &[u8] = b"\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";

fn endless_wasm(start: &[u8], attack: &str) {
    let wasm = [LOOP_HEAD, start, LOOP_CODE].concat();
    let code = handler("import loop from './loop.wasm';", attack);
    let modules = [Module::main(&code), Module::wasm("loop.wasm", &wasm)];
    Scene::with_modules(&modules, limits(), "").contained(503, "worker_cpu_exceeded");
}

#[test]
fn endless_wasm_function() {
    endless_wasm(b"", "new WebAssembly.Instance(loop).exports.run();");
}

#[test]
fn endless_wasm_start_function() {
    endless_wasm(b"\x08\x01\0", "await WebAssembly.instantiate(loop);");
}

/// Code that runs because garbage was collected runs outside of any request.
#[test]
fn endless_finalizer() {
    let attack = "\
        const registry = new FinalizationRegistry(() => { for (;;) {} });\n\
        globalThis.registry = registry;\n\
        for (let i = 0; i < 100; i++) registry.register({ i }, i);\n\
        for (let i = 0; i < 400; i++) globalThis.garbage = new Array(1 << 14).fill({ i });\n\
        await new Promise((resolve) => setTimeout(resolve, 50));\n\
        return new Response('registered');";
    let limits = json!({ "cpu_ms": 500, "cpu_burst_ms": 500, "memory_mb": 32, "wall_ms": 5_000 });
    let scene = Scene::new(attack, limits);
    for _ in 0..3 {
        // Whether the finalizer runs in this request, after it or never is the collector's business.
        let answer = scene.attack();
        assert!([200, 503].contains(&answer.status), "{answer:?}");
    }
    scene.recovered();
}

/// Nobody waits for this code, so nobody is answered for it; it is stopped all the same.
#[test]
fn endless_handlers_of_a_client_that_left() {
    let attack = "\
        console.log('waiting');\n\
        if (request.url.endsWith('/signal')) {\n\
          request.signal.addEventListener('abort', () => { for (;;) {} });\n\
          await new Promise((resolve) => setTimeout(resolve, 20_000));\n\
        }\n\
        return new Response(new ReadableStream({ pull() { return new Promise(() => {}); }, cancel() { for (;;) {} } }));";
    let scene = Scene::new(attack, limits());
    for path in ["/signal", "/stream"] {
        let before = scene.selvedge.logs(OFFENDER).len();
        let stream = scene.selvedge.begin(OFFENDER, path);
        eventually("it waits", || (scene.selvedge.logs(OFFENDER).len() > before).then_some(()));
        drop(stream);
        let answer = scene.selvedge.get(OFFENDER, "/fine");
        assert_eq!(answer.body, "fine", "{answer:?}");
    }
    scene.recovered();
}

/// Timers that were started while the module was loaded belong to no request, and are stopped without one.
#[test]
fn endless_work_outside_of_requests() {
    let top = "\
        let beats = 0;\n\
        const burn = () => { for (let i = 0; i < 1e7; i++) globalThis.x = i; beats++; };\n\
        try { setInterval(burn, 1); } catch {}";
    let code = handler(top, "return new Response(String(beats));");
    let scene = Scene::with_modules(&[Module::main(&code)], limits(), "");
    let beats = || scene.attack().body.parse::<u64>().unwrap();
    // Each isolate can do only so much before it is taken down, or never begins.
    for _ in 0..20 {
        assert!(beats() < 100);
    }
    scene.recovered();
}

/// Timers end with their request, and the request with its time.
#[test]
fn endless_interval() {
    let scene = Scene::new(
        "setInterval(() => { globalThis.ticks = (globalThis.ticks ?? 0) + 1 }, 0); await new Promise(() => {});",
        json!({ "wall_ms": 300 }),
    );
    scene.contained(504, "worker_timeout");
}

#[test]
fn a_million_timers() {
    let scene = Scene::new(
        "for (let i = 0; i < 1e6; i++) setTimeout(() => {}, 1000);",
        json!({ "cpu_ms": 2_000, "cpu_burst_ms": 2_000 }),
    );
    let answer = scene.attack();
    assert_eq!((answer.status, answer.code().as_str()), (500, "worker_exception"), "{answer:?}");
    let event = scene.logged("worker_exception");
    assert!(event["message"].as_str().unwrap().contains("Too many timers"), "{event}");
    scene.recovered();
}

/// Each request may use its share; together they may not use more than theirs.
#[test]
fn many_at_once() {
    let scene = Scene::new("for (;;) {}", json!({ "cpu_ms": 20, "cpu_burst_ms": 20 }));
    let attacks: Vec<_> = (0..4).map(|_| scene.selvedge.begin(OFFENDER, "/")).collect();
    for attack in attacks {
        let answer = crate::common::Answer::read(attack);
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    scene.recovered();
}

/// As in Node, what a proxy stands for is shown, and none of its traps runs.
#[test]
fn a_proxy_is_logged_without_its_traps() {
    let attack = "\
        const trap = () => { for (;;) {} };\n\
        console.log(new Proxy({}, { ownKeys: trap, get: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap }));\n\
        return new Response('logged');";
    Scene::new(attack, limits()).answers("logged");
}
