//! Deploying: what is accepted, what is refused and how it is told, versions, variables, secrets, routes.

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use common::Selvedge;

const ONE: &str = "export default { fetch() { return new Response('one') } }";
const TWO: &str = "export default { fetch() { return new Response('two') } }";

/// Deploys a file called `index.ts` that must be refused.
fn refusal(selvedge: &Selvedge, code: &str) -> (serde_json::Value, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.ts");
    fs::write(&file, code).unwrap();
    selvedge.refused(&["deploy", file.to_str().unwrap(), "--name", "bad"])
}

#[test]
fn bad_code_is_refused_with_its_place() {
    let selvedge = Selvedge::start();
    let cases = [
        ("export default {\n  fetch( {\n}", "syntax_error", 3),
        ("// one\nimport { x } from './nowhere';\nexport default { x }", "unknown_import", 2),
        ("import fs from 'node:fs';\nexport default { fetch() { return fs } }", "unknown_import", 1),
        ("type A = 1;\n\nthrow new Error('at the top');", "top_level_exception", 3),
    ];
    for (code, expected, line) in cases {
        let (error, shown) = refusal(&selvedge, code);
        assert_eq!(error["code"], expected, "{code}: {error}");
        let place = &error["diagnostics"][0];
        assert_eq!(place["line"], line, "{code}: {error}");
        assert!(place["file"].as_str().unwrap().ends_with("index.ts"), "{code}: {error}");
        assert!(place["excerpt"].is_string(), "{code}: {error}");
        assert!(shown.contains(&format!("index.ts:{line}:")), "{shown}");
    }
    for code in ["export const x = 1;", "export default { scheduled: 3 }"] {
        let (error, _) = refusal(&selvedge, code);
        assert!(error["diagnostics"][0]["message"].is_string(), "{code}: {error}");
    }
    assert_eq!(selvedge.json(&["list"]), serde_json::json!([]));
    assert_eq!(selvedge.get("bad", "/").status, 404);
}

#[test]
fn a_refused_deploy_leaves_the_old_version() {
    let selvedge = Selvedge::start();
    selvedge.deploy("bad", ONE);
    refusal(&selvedge, "throw 1");
    assert_eq!(selvedge.get("bad", "/").body, "one");
}

#[test]
fn versions_and_rollback() {
    let selvedge = Selvedge::start();
    let first = selvedge.deploy("w", ONE);
    let second = selvedge.deploy("w", TWO);
    assert_eq!(selvedge.get("w", "/").body, "two");
    let versions = selvedge.json(&["versions", "w"]);
    assert_eq!(versions[0]["id"], second["version"]);
    assert_eq!(versions[1]["id"], first["version"]);
    selvedge.json(&["rollback", "w"]);
    assert_eq!(selvedge.get("w", "/").body, "one");
    selvedge.json(&["rollback", "w", "--to", second["version"].as_str().unwrap()]);
    assert_eq!(selvedge.get("w", "/").body, "two");
    selvedge.json(&["delete", "w", "--yes"]);
    assert_eq!(selvedge.get("w", "/").status, 404);
}

#[test]
fn secrets_reach_the_worker_and_nobody_else() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", "export default { fetch(request, env) { return new Response(env.KEY ?? 'none') } }");
    assert_eq!(selvedge.get("w", "/").body, "none");
    let mut put = selvedge
        .command(&["secret", "put", "KEY", "--name", "w"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    put.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    assert!(put.wait().unwrap().success());
    assert_eq!(selvedge.get("w", "/").body, "hunter2");
    let listed = selvedge.json(&["secret", "list", "--name", "w"]).to_string();
    assert!(listed.contains("KEY") && !listed.contains("hunter2"), "{listed}");
    // A new version keeps it.
    selvedge.deploy("w", "export default { fetch(request, env) { return new Response('new ' + env.KEY) } }");
    assert_eq!(selvedge.get("w", "/").body, "new hunter2");
    selvedge.json(&["secret", "delete", "KEY", "--name", "w"]);
    assert_eq!(selvedge.get("w", "/").body, "new undefined");
}

#[test]
fn a_wrangler_toml_project_deploys_as_it_is() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::write(
        dir.path().join("wrangler.toml"),
        "name = \"shop\"\nmain = \"src/worker.ts\"\ncompatibility_date = \"2026-01-01\"\n\
         routes = [\"shop.example/*\"]\nkv_namespaces = [{ binding = \"KV\", id = \"1\" }]\n\
         [vars]\nGREETING = \"hi\"\nLIST = [1, 2]\n[env.staging]\nroutes = []\n[env.staging.vars]\nGREETING = \"ho\"\n",
    )
    .unwrap();
    fs::write(
        dir.path().join("src/worker.ts"),
        "export default { fetch(request: Request, env: any) { return Response.json([env.GREETING, env.LIST]) } }",
    )
    .unwrap();
    let path = dir.path().to_str().unwrap();
    let answer = selvedge.json(&["deploy", path]);
    assert!(answer["warnings"].to_string().contains("kv_namespaces"), "{answer}");
    assert_eq!(selvedge.get("shop", "/").body, r#"["hi",[1,2]]"#);
    let routes = selvedge.json(&["routes"]);
    assert_eq!(routes[0]["pattern"], "shop.example/*");
    selvedge.json(&["deploy", path, "--env", "staging"]);
    assert_eq!(selvedge.get("shop-staging", "/").body, r#"["ho",null]"#);
}

#[test]
fn a_new_project_deploys_as_it_is() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    let output = selvedge.command(&["init", "fresh"]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success());
    let project = dir.path().join("fresh");
    assert!(selvedge.command(&["deploy"]).current_dir(&project).output().unwrap().status.success());
    assert_eq!(selvedge.get("fresh", "/x").body, "Hello from /x\n");
    let again = selvedge.command(&["init", "fresh"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn text_data_and_wasm_modules_are_imported() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("note.txt"), "a note").unwrap();
    fs::write(dir.path().join("raw.bin"), [1, 2, 250]).unwrap();
    // (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
    let wasm = b"\0asm\x01\0\0\0\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\0\x07\x07\x01\x03add\0\0\x0a\x09\x01\x07\0\x20\0\x20\x01\x6a\x0b";
    fs::write(dir.path().join("add.wasm"), wasm).unwrap();
    fs::write(
        dir.path().join("index.js"),
        "import note from './note.txt'; import raw from './raw.bin'; import add from './add.wasm?module';\n\
         export default { async fetch() {\n\
           const instance = await WebAssembly.instantiate(add);\n\
           return Response.json([note, [...new Uint8Array(raw)], instance.exports.add(2, 3)]);\n\
         } }",
    )
    .unwrap();
    selvedge.json(&["deploy", dir.path().to_str().unwrap(), "--name", "w"]);
    assert_eq!(selvedge.get("w", "/").body, r#"["a note",[1,2,250],5]"#);
}

#[test]
fn mistakes_are_explained() {
    let selvedge = Selvedge::start();
    let (error, shown) = selvedge.refused(&["versions", "nobody"]);
    assert!(error["code"].is_string() && shown.starts_with("error: "), "{shown}");
    let wrong_token = selvedge.command(&["list"]).env("SELVEDGE_TOKEN", "wrong").output().unwrap();
    assert!(String::from_utf8_lossy(&wrong_token.stderr).contains("help: "));
    let nobody = selvedge.command(&["list", "--api", "http://127.0.0.1:1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("selvedge up"));
}
