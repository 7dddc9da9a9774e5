//! Workers in the syntax of service workers: scripts that register listeners.

mod common;

use common::Selvedge;
use common::api::Module;
use serde_json::{Value, json};

const SCRIPT: &str = include_str!("workers/classic.js");

fn script(code: &str) -> Module<'_> {
    Module { name: "main.js", kind: "application/javascript", bytes: code.as_bytes() }
}

fn bindings() -> Value {
    json!([
        { "type": "plain_text", "name": "GREETING", "text": "hello" },
        { "type": "json", "name": "DATA", "text": "{\"a\":[1]}" },
        { "type": "plain_text", "name": "undefined", "text": "cannot be" },
        { "type": "service", "name": "SELF", "service": "w" },
    ])
}

fn worker() -> Selvedge {
    let selvedge = Selvedge::start();
    let answer = selvedge.upload("w", json!({ "bindings": bindings() }), &[script(SCRIPT)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    selvedge
}

#[track_caller]
fn gives(selvedge: &Selvedge, case: &str, expected: Value) {
    let answer = selvedge.get("w", &format!("/{case}"));
    assert_eq!(answer.status, 200, "{case}: {answer:?}\n{:#?}", selvedge.logs("w").last());
    assert_eq!(answer.json(), expected, "{case}");
}

#[test]
fn listeners_answer_requests() {
    let selvedge = worker();
    let globals = json!(["hello", [1], "implied", true, true, "function"]);
    gives(&selvedge, "bindings", globals.clone());
    gives(
        &selvedge,
        "event",
        json!(["fetch", true, true, true, "GET", true, "", null, "TypeError", "TypeError"]),
    );
    gives(
        &selvedge,
        "scope",
        json!([true, true, true, "[object ServiceWorkerGlobalScope]", "TypeError", "object"]),
    );
    gives(&selvedge, "waitUntil", json!("later"));
    common::eventually("what waitUntil was given was done", || {
        (selvedge.get("w", "/waited").body == "1").then_some(())
    });
    // A binding to itself, which is no module with exports.
    let answer = selvedge.get("w", "/self");
    assert_eq!((answer.status, answer.json()), (200, globals), "{:?}", selvedge.logs("w").last());
}

#[test]
fn what_listeners_do_wrong_is_told() {
    let selvedge = worker();
    gives(&selvedge, "forged", json!(["InvalidStateError", "InvalidStateError", true, false]));
    assert_eq!(selvedge.get("w", "/silent").body, "the second listener");
    let fails = |path: &str, code: &str, text: &str| {
        let answer = selvedge.get("w", path);
        assert_eq!((answer.status, answer.code().as_str()), (500, code), "{path}: {answer:?}");
        let logged = || selvedge.logs("w").into_iter().find(|event| event.to_string().contains(text));
        common::eventually(text, logged);
    };
    fails("/rejects", "worker_exception", "RangeError: in the answer");
    fails("/nothing", "worker_no_response", "must return a Response");
    let answer = selvedge.get("w", "/throws");
    // The second listener answers, and the owner is told of the first one.
    assert_eq!((answer.status, answer.body.as_str()), (200, "the second listener"));
    let logged =
        || selvedge.logs("w").into_iter().find(|event| event.to_string().contains("in the listener"));
    common::eventually("the listener's error is logged", logged);
    assert_eq!(selvedge.get("w", "/twice").body, "first");
    assert_eq!(selvedge.get("w", "/late").body, "the second listener");
    assert_eq!(selvedge.get("w", "/poisoned").body, "the second listener");
    gives(&selvedge, "waitUntil", json!("later"));
    assert_eq!(selvedge.get("w", "/nobody").status, 500);
}

#[test]
fn a_listener_must_answer() {
    let selvedge = Selvedge::start();
    let code = "addEventListener('fetch', (event) => {\n\
                  if (event.request.url.endsWith('/throws')) throw new RangeError('alone');\n\
                });";
    let answer = selvedge.upload("w", json!({}), &[script(code)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    for (path, text) in [("/", "called event.respondWith()"), ("/throws", "RangeError: alone")] {
        let answer = selvedge.get("w", path);
        assert_eq!((answer.status, answer.code().as_str()), (500, "worker_exception"), "{answer:?}");
        let logged = || selvedge.logs("w").into_iter().find(|event| event.to_string().contains(text));
        common::eventually(text, logged);
    }
}

#[test]
fn what_is_no_script_is_refused() {
    let selvedge = Selvedge::start();
    let refused = |code: &str| {
        let answer = selvedge.upload("w", json!({}), &[script(code)]);
        assert_eq!(answer.status, 422, "{}", answer.body);
        answer.json()["error"]["diagnostic"]["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused("const x = 1;"), "no_default_export");
    assert_eq!(refused("export default { fetch() {} }"), "syntax_error");
    assert_eq!(refused("throw new Error('at the top');"), "top_level_exception");
    assert_eq!(refused("for (;;);"), "top_level_timeout");
    assert_eq!(refused("addEventListener('message', () => {});"), "no_default_export");
    // A script is the main module or nothing.
    let main = Module::main("import './lib.js'; export default { fetch() {} }");
    let lib = Module { name: "lib.js", kind: "application/javascript", bytes: b"1" };
    let answer = selvedge.upload("w", json!({}), &[main, lib]);
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_upload"), "{}", answer.body);
}

#[test]
fn projects_are_bundled_as_scripts() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("wrangler.toml", "name = \"w\"\nmain = \"index.js\"\n[vars]\nGREETING = \"from a variable\"\n");
    file("lib.js", "module.exports = (name) => `${name} by ${typeof this}`;");
    file(
        "index.js",
        "const greet = require('./lib.js');\n\
         sloppy = 1;\n\
         addEventListener('fetch', (event) => event.respondWith(new Response(greet(GREETING))));\n\
         addEventListener('scheduled', () => {});\n",
    );
    selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
    assert_eq!(selvedge.get("w", "/").body, "from a variable by object");
    // With imports that stay it is a module, which is strict.
    file(
        "index.js",
        "import note from './note.bin';\nimport './side.js';\nself.onfetch = (event) => event.respondWith(new Response(`${GREETING} ${note.byteLength}`));\n",
    );
    file("side.js", "globalThis.side = 1;");
    file("note.bin", "12345");
    selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
    assert_eq!(selvedge.get("w", "/").body, "from a variable 5");
}
