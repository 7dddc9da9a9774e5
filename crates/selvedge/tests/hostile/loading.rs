//! Workers that are hostile before they answer anything: their deploys are refused, and nobody else notices.

use serde_json::{Value, json};

use crate::common::Selvedge;
use crate::common::api::Module;
use crate::common::client::Client;

/// Deploys code that must be refused with this code, beside a worker that goes on answering.
fn refused(top: &str, expected: &str) {
    refused_within(json!({ "cpu_ms": 50, "cpu_burst_ms": 200, "memory_mb": 32 }), top, expected);
}

fn refused_within(limits: Value, top: &str, expected: &str) {
    let selvedge = Selvedge::configured("[engine]\nhost_threads = 1\n");
    selvedge.deploy_limited(
        "neighbour",
        "export default { fetch() { return new Response('hello') } }",
        json!({}),
    );
    let neighbour = Client::start(&selvedge, "neighbour");
    neighbour.more(1);
    let code = format!("{top}\nexport default {{ fetch() {{ return new Response('x') }} }};\n");
    let answer = selvedge.upload("bad", json!({ "limits": limits }), &[Module::main(&code)]);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "code_refused", "{error}");
    assert_eq!(error["diagnostic"]["code"], expected, "{error}");
    assert_eq!(selvedge.get("bad", "/").status, 404);
    neighbour.finish();
}

macro_rules! refused {
    ($($name:ident: $top:expr => $code:literal;)*) => {$(
        #[test]
        fn $name() {
            refused($top, $code);
        }
    )*};
}

refused! {
    endless_loop: "for (;;) {}" => "top_level_timeout";
    endless_microtasks: "const again = () => void Promise.resolve().then(again); again();" => "top_level_timeout";
    endless_await: "for (;;) await null;" => "top_level_timeout";
    await_that_never_settles: "await new Promise(() => {});" => "top_level_timeout";
    uninterruptible: "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);" => "top_level_timeout";
    exception: "throw new Error('at the top');" => "top_level_exception";
    hostile_exception: "throw { toString() { throw 1 } };" => "top_level_exception";
    import_of_a_file: "import '/etc/passwd';" => "unknown_import";
    import_of_a_url: "import 'https://example.com/x.js';" => "unknown_import";
    deep_nesting: "const x = [[[[[[[[[[[[[[[[" => "syntax_error";
}

#[test]
fn memory_bomb() {
    let limits = json!({ "cpu_ms": 10_000, "cpu_burst_ms": 10_000, "memory_mb": 32 });
    refused_within(
        limits,
        "const a = []; for (;;) a.push(new Array(1000).fill({ x: 1 }));",
        "memory_exceeded",
    );
}

#[test]
fn deeply_nested_code() {
    let nested = format!("const x = {}1{};", "[".repeat(200_000), "]".repeat(200_000));
    refused(&nested, "syntax_error");
}

#[test]
fn bad_wasm() {
    let selvedge = Selvedge::start();
    let code = "import m from './m.wasm'; export default { fetch() { return new Response(String(m)) } }";
    for wasm in [&b"\0asm\x01\0\0\0\xff\xff\xff\xff"[..], b"", b"not wasm at all"] {
        let answer = selvedge.upload("bad", json!({}), &[Module::main(code), Module::wasm("m.wasm", wasm)]);
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("m.wasm"), "{}", answer.body);
    }
}

/// Variables have their own limits, each and all together; what is within them arrives.
#[test]
fn large_environments() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited(
        "neighbour",
        "export default { fetch() { return new Response('hello') } }",
        json!({}),
    );
    let neighbour = Client::start(&selvedge, "neighbour");
    let code = "export default { fetch(_, env) { return new Response(String(Object.values(env).join('').length)) } }";
    for (count, text) in
        [(4, "x".repeat(128 << 10)), (100, "x".repeat(128 << 10)), (6, "\u{1}".repeat(128 << 10))]
    {
        let bindings: Vec<Value> = (0..count)
            .map(|i| json!({ "name": format!("V{i}"), "type": "plain_text", "text": text }))
            .collect();
        let answer = selvedge.upload("large", json!({ "bindings": bindings }), &[Module::main(code)]);
        match answer.status {
            200 => assert_eq!(selvedge.get("large", "/").body, (count * text.len()).to_string()),
            status => assert_eq!(status, 413, "{}", answer.body),
        }
    }
    neighbour.finish();
}

/// Secrets come one by one; their sum has a limit, too, and what is accepted arrives.
#[test]
fn many_large_secrets() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited(
        "neighbour",
        "export default { fetch() { return new Response('hello') } }",
        json!({}),
    );
    let neighbour = Client::start(&selvedge, "neighbour");
    let code = "export default { fetch(_, env) { return new Response(String(Object.values(env).join('').length)) } }";
    selvedge.deploy_limited("large", code, json!({}));
    let text = "\u{1}".repeat(128 << 10);
    let mut kept = 0;
    for index in 0..12 {
        let path = format!("accounts/default/scripts/large/secrets/S{index}");
        let body = json!({ "text": text }).to_string();
        let answer = selvedge.api("PUT", &path, "application/json", body.as_bytes());
        match answer.status {
            200 => kept += text.len(),
            status => assert_eq!(status, 413, "{}", answer.body),
        }
        assert_eq!(selvedge.get("large", "/").body, kept.to_string());
    }
    neighbour.finish();
}

/// Limits that nobody could mean are refused rather than taken.
#[test]
fn absurd_limits() {
    let selvedge = Selvedge::start();
    let code = "export default { fetch() { return new Response('x') } }";
    for limits in [
        json!({ "memory_mb": 1_000_000 }),
        json!({ "wall_ms": 0 }),
        json!({ "cpu_ms": u32::MAX }),
        json!({ "concurrency": 0 }),
        json!({ "memory_mb": -1 }),
        json!({ "no_such_limit": 1 }),
    ] {
        let answer = selvedge.upload("bad", json!({ "limits": limits }), &[Module::main(code)]);
        assert_eq!(answer.status, 400, "{limits}: {}", answer.body);
    }
}
