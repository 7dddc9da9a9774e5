//! Workers that take memory without end.

use serde_json::{Value, json};

use crate::common::api::Module;
use crate::common::{Answer, eventually};
use crate::contained;
use crate::scene::{OFFENDER, Scene, handler};

fn limits() -> Value {
    json!({ "memory_mb": 32, "cpu_ms": 10_000, "cpu_burst_ms": 10_000 })
}

contained! {
    arrays: "const a = []; for (;;) a.push(new Array(1000).fill({ x: 1 }));" => 503 "worker_memory_exceeded";
    objects: "let o = {}; for (;;) o = { o };" => 503 "worker_memory_exceeded";
    strings_doubled:
        "let s = 'x'; const kept = []; for (;;) { s += s; kept.push(s.charCodeAt(s.length - 1)); }"
        => 503 "worker_memory_exceeded";
    strings_split: "const s = 'ab'.repeat(1 << 25); return new Response(String(s.split('').length));"
        => 503 "worker_memory_exceeded";
    array_buffers: "const a = []; for (;;) a.push(new ArrayBuffer(1 << 20));" => 503 "worker_memory_exceeded";
    one_array_buffer: "return new Response(new Uint8Array(2 ** 32));" => 503 "worker_memory_exceeded";
    typed_arrays: "const a = []; for (;;) a.push(new Float64Array(1 << 16).fill(1));" => 503 "worker_memory_exceeded";
    maps: "const m = new Map(); for (let i = 0; ; i++) m.set(i, { i });" => 503 "worker_memory_exceeded";
    closures: "const a = []; for (let i = 0; ; i++) a.push(() => i);" => 503 "worker_memory_exceeded";
    promises: "const a = []; for (;;) a.push(new Promise(() => {}));" => 503 "worker_memory_exceeded";
    endless_fill: "new Array(2 ** 32 - 1).fill({}); return new Response('done');" => 503 "worker_memory_exceeded";
    regex_matches:
        "const s = 'a'.repeat(1 << 22); const kept = []; for (;;) kept.push(s.match(/a/g));" => 503 "worker_memory_exceeded";
    encoded_text:
        "const s = 'x'.repeat(1 << 22); const a = []; for (;;) a.push(new TextEncoder().encode(s));"
        => 503 "worker_memory_exceeded";
    structured_clones:
        "const a = []; const big = new Uint8Array(1 << 20); for (;;) a.push(structuredClone(big));"
        => 503 "worker_memory_exceeded";
    wasm_memories:
        "const a = [];\n\
         for (;;) {\n\
           const memory = new WebAssembly.Memory({ initial: 1024 });\n\
           new Uint8Array(memory.buffer).fill(1);\n\
           a.push(memory);\n\
         }" => 503 "worker_memory_exceeded";
    deep_recursion: "const f = () => f() + 1; return new Response(String(f()));" => 500 "worker_exception";
    deep_json:
        "const text = '['.repeat(1e5) + ']'.repeat(1e5);\n\
         return new Response(JSON.stringify(JSON.parse(text, (_, value) => value)));"
        => 500 "worker_exception";
    deep_regex: "return new Response(String(new RegExp('('.repeat(1e5) + ')'.repeat(1e5)).test('x')));"
        => 500 "worker_exception";
    deep_clone: "let deep = {}; for (let i = 0; i < 1e5; i++) deep = { deep }; structuredClone(deep);"
        => 500 "worker_exception";
    string_too_long: "return new Response('x'.repeat(2 ** 30));" => 500 "worker_exception";
}

/// `(module (memory (export "memory") 1) (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))`
const GROW: &[u8] = b"\0asm\x01\0\0\0\x01\x06\x01\x60\x01\x7f\x01\x7f\x03\x02\x01\0\x05\x03\x01\0\x01\
    \x07\x11\x02\x06memory\x02\0\x04grow\0\0\x0a\x08\x01\x06\0\x20\0\x40\0\x0b";

#[test]
fn wasm_memory_that_grows() {
    let attack = "\
        const kept = [];\n\
        for (;;) {\n\
          const { memory, grow } = new WebAssembly.Instance(module).exports;\n\
          while (grow(64) !== -1) new Uint8Array(memory.buffer).fill(1);\n\
          kept.push(memory);\n\
        }";
    let code = handler("import module from './grow.wasm';", attack);
    let modules = [Module::main(&code), Module::wasm("grow.wasm", GROW)];
    Scene::with_modules(&modules, limits(), "").contained(503, "worker_memory_exceeded");
}

/// No request alone takes much, and none of them runs when the sum is too much.
#[test]
fn wasm_memory_kept_between_requests() {
    let attack = "\
        const memory = new WebAssembly.Memory({ initial: 512 });\n\
        new Uint8Array(memory.buffer).fill(1);\n\
        (globalThis.kept ??= []).push(memory);\n\
        return new Response('kept');";
    let scene = Scene::with_modules(
        &[Module::main(&handler("", attack))],
        limits(),
        "memory_budget_mb = 200\nhost_memory_mb = 512\n",
    );
    for _ in 0..30 {
        let answer = scene.attack();
        assert!([200, 503].contains(&answer.status), "{answer:?}");
    }
    // V8 does not count these memories for the isolate; the process that they fill is replaced.
    assert!(scene.selvedge.metric("selvedge_hosts_ended") > 0);
    let resident = || scene.selvedge.status()["memory_bytes"].as_u64().unwrap();
    eventually("960 MiB are not kept", || (resident() < 640 << 20).then_some(()));
    scene.recovered();
}

/// Bodies wait outside of V8's heap when nobody reads them.
#[test]
fn answers_that_nobody_reads() {
    let attack = "return new Response(new Uint8Array(24 << 20));";
    let scene = Scene::with_modules(
        &[Module::main(&handler("", attack))],
        limits(),
        "memory_budget_mb = 200\nhost_memory_mb = 512\n",
    );
    let readers: Vec<_> = (0..40).map(|_| scene.selvedge.begin(OFFENDER, "/")).collect();
    let answer = Answer::read(scene.selvedge.begin(OFFENDER, "/fine"));
    assert!([200, 503].contains(&answer.status), "{answer:?}");
    assert!(scene.selvedge.status()["memory_bytes"].as_u64().unwrap() < 768 << 20);
    drop(readers);
    scene.recovered();
}

/// Logging shows the beginning of what is large, deep or hostile, and goes on.
#[test]
fn logs_of_anything() {
    let attack = "\
        let deep = {}; for (let i = 0; i < 1e5; i++) deep = { deep };\n\
        const loop = {}; loop.loop = loop;\n\
        const hostile = { get a() { throw 1 }, toString() { throw 2 }, [Symbol.toPrimitive]() { throw 3 } };\n\
        for (const value of [deep, loop, hostile, new Array(1e6).fill(1), 'x'.repeat(1e6), new Map([[loop, loop]]), Symbol('x'),\n\
            Object.create(null), new Proxy({}, { get() { throw 4 }, ownKeys() { throw 5 } })]) console.log(value, [value]);\n\
        return new Response('logged');";
    let scene = Scene::new(attack, limits());
    let answer = scene.attack();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "logged"),
        "{answer:?} {:?}",
        scene.selvedge.logs(OFFENDER)
    );
    for event in scene.selvedge.logs(OFFENDER) {
        assert!(event["message"].as_str().unwrap().len() <= 16 << 10);
    }
    scene.recovered();
}

/// A limit of one worker is not shared by the others of its account.
#[test]
fn memory_within_the_limit_stays() {
    let scene = Scene::new(
        "const kept = new Uint8Array(16 << 20).fill(7); return new Response(String(kept[kept.length - 1]));",
        limits(),
    );
    scene.answers("7");
}

/// Three offences are enough: after them the worker no longer shares a process.
#[test]
fn repeat_offenders_move_out() {
    let scene = Scene::new("const a = []; for (;;) a.push(new Array(1000).fill({ x: 1 }));", limits());
    for _ in 0..4 {
        let answer = scene.attack();
        assert_eq!((answer.status, answer.code().as_str()), (503, "worker_memory_exceeded"), "{answer:?}");
    }
    assert_eq!(scene.selvedge.get(OFFENDER, "/fine").status, 200);
    assert_eq!(scene.selvedge.hosts_of("worker default/offender").len(), 1, "{}", scene.selvedge.status());
    assert_eq!(scene.selvedge.hosts_of("account default").len(), 1, "{}", scene.selvedge.status());
    scene.recovered();
}

/// What handlers put into a document waits outside of V8's heap, and counts all the same.
#[test]
fn documents_that_grow() {
    for put in ["before", "after", "append", "replace", "setInnerContent"] {
        let attack = format!(
            "const big = 'x'.repeat(1 << 20);\n\
             const rewriter = new HTMLRewriter().on('p', {{ element(e) {{ for (let i = 0; i < 500; i++) e.{put}(big); }} }});\n\
             try {{ return new Response(String((await rewriter.transform(new Response('<p>x</p>')).text()).length)); }}\n\
             catch (error) {{ return new Response(error.message); }}"
        );
        let scene = Scene::new(&attack, limits());
        scene.answers(
            "The worker has no memory left for what is put into the document; put in less, or a stream.",
        );
    }
}

/// Content that comes as a stream goes out as it comes, however long it is, and is waited for at the reader's pace.
#[test]
fn documents_without_end() {
    let attack = "\
        const chunk = new Uint8Array(64 << 10).fill(120);\n\
        const content = () => new ReadableStream({ pull: (controller) => controller.enqueue(chunk) });\n\
        const rewriter = new HTMLRewriter().on('p', { element(e) { e.replace(content()); } });\n\
        const reader = rewriter.transform(new Response('<p>x</p>')).body.getReader();\n\
        let length = 0;\n\
        while (length < 256 << 20) length += (await reader.read()).value.byteLength;\n\
        await reader.cancel();\n\
        return new Response('read');";
    let limits = json!({ "memory_mb": 64, "cpu_ms": 5_000, "cpu_burst_ms": 5_000 });
    Scene::new(attack, limits).answers("read");
}

/// Text takes more memory than its bytes while it is decoded.
#[test]
fn text_that_is_large() {
    let attack = "\
        try { return new Response(String(new TextDecoder('windows-1252').decode(new Uint8Array(50 << 20)).length)); }\n\
        catch (error) { return new Response(error.message); }";
    let limits = json!({ "memory_mb": 128, "cpu_ms": 5_000, "cpu_burst_ms": 5_000 });
    Scene::new(attack, limits)
        .answers("The worker has no memory left to decode so much at once; decode it as a stream.");
}

/// What is on its way into the cache lies in the engine's memory, as long as its worker likes.
#[test]
fn cached_answers_that_never_end() {
    let attack = "\
        const chunk = new Uint8Array(1 << 20);\n\
        const body = () => { let count = 0; return new ReadableStream({ pull: (c) => count++ < 8 ? c.enqueue(chunk) : new Promise(() => {}) }); };\n\
        const put = (url, body) => caches.default.put(url, new Response(body, { headers: { 'cache-control': 'max-age=60' } }));\n\
        if (request.url.endsWith('/put')) {\n\
          await put('http://x/small', 'stored');\n\
          return caches.default.match('http://x/small');\n\
        }\n\
        const puts = Array.from({ length: 40 }, (_, i) => put(`http://x/${i}`, body()));\n\
        try { return new Response(`stored ${await Promise.race(puts)}`); } catch (error) { return new Response(error.message); }";
    let limits = json!({ "memory_mb": 64, "cpu_ms": 5_000, "cpu_burst_ms": 5_000, "wall_ms": 10_000 });
    let scene = Scene::new(attack, limits);
    let answer = scene.attack();
    assert!(answer.body.contains("Too much of this account is being stored"), "{answer:?}");
    // With the request all of it goes.
    eventually("there is room again", || {
        (scene.selvedge.get(OFFENDER, "/put").body == "stored").then_some(())
    });
    scene.recovered();
}
