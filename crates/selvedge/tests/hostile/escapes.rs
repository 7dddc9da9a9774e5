//! Workers that look for a way out of their isolate.

use serde_json::{Value, json};

use crate::common::Selvedge;
use crate::common::api::Module;
use crate::contained;
use crate::scene::{Scene, handler};

fn limits() -> Value {
    json!({ "cpu_ms": 1_000, "cpu_burst_ms": 1_000, "wall_ms": 5_000 })
}

contained! {
    eval: "eval('1');" => 500 "worker_exception";
    new_function: "new Function('return 1')();" => 500 "worker_exception";
    new_async_function: "(async () => {}).constructor('return 1')();" => 500 "worker_exception";
    new_generator_function: "(function* () {}).constructor('yield 1')();" => 500 "worker_exception";
    timer_with_code: "setTimeout('globalThis.x = 1', 1); await new Promise((r) => setTimeout(r, 20));\n\
         throw new Error(typeof globalThis.x);" => 500 "worker_exception";
    wasm_from_bytes:
        "new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));" => 500 "worker_exception";
    wasm_compiled_from_bytes:
        "await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));" => 500 "worker_exception";
    wasm_instantiated_from_bytes:
        "await WebAssembly.instantiate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));" => 500 "worker_exception";
    import_of_a_built_in: "await import('node:fs');" => 500 "worker_exception";
    import_of_a_file: "await import('/etc/passwd');" => 500 "worker_exception";
    import_of_a_file_url: "await import('file:///etc/passwd');" => 500 "worker_exception";
    import_of_data: "await import('data:text/javascript,export default 1');" => 500 "worker_exception";
    import_of_a_hostile_name: "await import({ toString() { throw new Error('x') } });" => 500 "worker_exception";
    shared_memory: "new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });" => 500 "worker_exception";
    wasm_compiled_from_a_response:
        "const body = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);\n\
         await WebAssembly.compileStreaming(new Response(body, { headers: { 'content-type': 'application/wasm' } }));"
            => 500 "worker_exception";
}

/// However it is asked for, no memory is shared.
#[test]
fn no_memory_is_shared() {
    let attack = "\
        const tried = [];\n\
        const attempt = (make) => {\n\
          try {\n\
            const { buffer } = make();\n\
            tried.push(Object.prototype.toString.call(buffer));\n\
          } catch (error) {\n\
            tried.push(error instanceof TypeError && /shared/.test(error.message) ? 'refused' : String(error));\n\
          }\n\
        };\n\
        const wanted = { initial: 1, maximum: 1, shared: true };\n\
        const { Memory } = WebAssembly;\n\
        attempt(() => new Memory(wanted));\n\
        attempt(() => new (class extends Memory {})(wanted));\n\
        attempt(() => Reflect.construct(Memory, [wanted], Object));\n\
        attempt(() => new Memory.prototype.constructor(wanted));\n\
        attempt(() => new (Object.getPrototypeOf(new Memory({ initial: 1 })).constructor)(wanted));\n\
        attempt(() => new Memory(new Proxy(wanted, {})));\n\
        let asked = 0;\n\
        attempt(() => new Memory({ initial: 1, maximum: 1, get shared() { return asked++ > 0; } }));\n\
        attempt(() => new Memory({ initial: 1, get maximum() { Object.prototype.shared = true; return 1; } }));\n\
        delete Object.prototype.shared;\n\
        attempt(() => new Memory({ initial: 1, maximum: 1, get shared() { Object.prototype.shared = true; } }));\n\
        delete Object.prototype.shared;\n\
        const grown = new Memory({ initial: 1, maximum: 2 });\n\
        return new Response(JSON.stringify([tried.join(), asked, grown.grow(1), grown.buffer.byteLength, Memory.name, Memory.length]));";
    let refused =
        "refused,refused,refused,refused,refused,refused,[object ArrayBuffer],refused,[object ArrayBuffer]";
    Scene::new(attack, limits()).answers(&format!("[\"{refused}\",1,1,131072,\"Memory\",1]"));
}

/// `run` waits on memory that is shared with nobody, without a limit of time: `memory.atomic.wait32` of the threads
/// proposal. Where that were allowed it would stop the thread, which uses no CPU time meanwhile and has neighbours.
const WAIT: &[u8] =
    b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x05\x04\x01\x03\x01\x01\x07\x07\x01\x03run\0\0\
    \x0a\x0e\x01\x0c\0\x41\0\x41\0\x42\x7f\xfe\x01\x02\0\x0b";

/// Neither does a module bring one along.
#[test]
fn modules_with_shared_memory_are_not_deployed() {
    let selvedge = Selvedge::start();
    let main = Module::main("import w from './w.wasm'; export default { fetch: () => new Response(`${w}`) }");
    // (memory 1 2 shared); (import "m" "m" (memory 1 2 shared)); (import "m" "m" (memory 1 2))
    let defined: &[u8] = b"\0asm\x01\0\0\0\x05\x04\x01\x03\x01\x02";
    let imported: &[u8] = b"\0asm\x01\0\0\0\x02\x09\x01\x01m\x01m\x02\x03\x01\x02";
    let own: &[u8] = b"\0asm\x01\0\0\0\x02\x09\x01\x01m\x01m\x02\x01\x01\x02";
    for module in [defined, imported, WAIT] {
        let answer = selvedge.upload("w", json!({}), &[Module { ..main }, Module::wasm("w.wasm", module)]);
        assert_eq!(answer.status, 422, "{}", answer.body);
        let diagnostic = &answer.json()["error"]["diagnostic"];
        assert_eq!(diagnostic["code"], "bad_module", "{diagnostic}");
        assert!(diagnostic["message"].as_str().unwrap().contains("shared memory"), "{diagnostic}");
    }
    let answer = selvedge.upload("w", json!({}), &[main, Module::wasm("w.wasm", own)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(selvedge.get("w", "/").body, "[object WebAssembly.Module]");
}

/// Names that other hosts of V8 leave in the global scope.
#[test]
fn nothing_of_the_host_is_in_reach() {
    let attack = "\
        const names = ['__ops', '__selvedge', 'process', 'require', 'module', 'Deno', 'Bun', 'global', 'Buffer', 'gc', 'd8',\n\
          'load', 'read', 'print', 'quit', 'Worker', 'SharedArrayBuffer', 'internalBinding', 'primordials', 'window'];\n\
        const found = names.filter((name) => name in globalThis);\n\
        const hidden = Reflect.ownKeys(globalThis).map(String).filter((name) => name.startsWith('_'));\n\
        return new Response(JSON.stringify([found, hidden]));";
    Scene::new(attack, limits()).answers("[[],[]]");
}

/// A clock that runs while code does is what side channels are made of.
#[test]
fn clocks_stand_still() {
    let attack = "\
        const [date, now] = [Date.now(), performance.now()];\n\
        for (let i = 0; i < 2e7; i++) globalThis.x = i;\n\
        const still = Date.now() === date && new Date().getTime() === date && performance.now() === now;\n\
        await new Promise((resolve) => setTimeout(resolve, 20));\n\
        return new Response(`${still} ${Date.now() > date}`);";
    Scene::new(attack, limits()).answers("true true");
}

/// A worker sees neither the globals nor the changed built-ins of its neighbour on the same thread.
#[test]
fn nothing_leaks_between_isolates() {
    let scene = Scene::new(
        "globalThis.leak = 1; Object.prototype.leak = 1; Array.prototype.map = null; return new Response('set');",
        limits(),
    );
    assert_eq!(scene.attack().body, "set");
    let spy = handler("", "return new Response(`${globalThis.leak} ${{}.leak} ${typeof [].map}`);");
    let answer = scene.selvedge.upload("spy", json!({}), &[Module::main(&spy)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(scene.selvedge.get("spy", "/").body, "undefined undefined function");
    scene.recovered();
}

/// Memory that one worker gave back is clean when the next one gets it.
#[test]
fn buffers_are_clean() {
    let attack = "\
        const dirty = (buffer) => new Uint8Array(buffer).some((byte) => byte !== 0);\n\
        for (let i = 0; i < 64; i++) {\n\
          if (dirty(new ArrayBuffer(1 << 16))) return new Response('dirty');\n\
          new Uint8Array(1 << 16).fill(255);\n\
        }\n\
        return new Response('clean');";
    let scene = Scene::new(attack, limits());
    assert_eq!(scene.attack().body, "clean");
    scene.answers("clean");
}

/// The environment of a worker is its own: changing it changes nothing for others, nor for the next version.
#[test]
fn the_environment_is_not_shared() {
    let scene = Scene::new("env.GREETING = 'changed'; return new Response('set');", limits());
    assert!([200, 500].contains(&scene.attack().status));
    let code = handler("", "return new Response(env.GREETING);");
    let bindings = json!([{ "name": "GREETING", "type": "plain_text", "text": "hello" }]);
    let answer = scene.selvedge.upload("other", json!({ "bindings": bindings }), &[Module::main(&code)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(scene.selvedge.get("other", "/").body, "hello");
    scene.recovered();
}
