//! `node:crypto` on the host's cryptography gives what Node gives, result by result and error by error.

mod common;

use std::fs;
use std::process::Command;

use common::Selvedge;
use serde_json::Value;

const PROGRAM: &str = include_str!("programs/node/crypto.mjs");
const KEYS: &str = r#"
import { generateKeyPairSync } from "node:crypto";
const encodings = { publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: "pkcs8", format: "pem" } };
const make = (kind) => generateKeyPairSync(kind, { modulusLength: 2048, namedCurve: "P-384", ...encodings });
export default Object.fromEntries(["rsa", "ec", "ed25519", "x25519"].map((kind) => [kind, make(kind)]));
"#;

fn node(dir: &std::path::Path, code: &str) -> String {
    let output =
        Command::new("node").current_dir(dir).args(["--input-type=module", "-e", code]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn gives_what_node_gives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::write(path.join("crypto.mjs"), PROGRAM).unwrap();
    fs::write(path.join("make.mjs"), KEYS).unwrap();
    let keys = node(path, "import keys from './make.mjs'; console.log(JSON.stringify(keys));");
    fs::remove_file(path.join("make.mjs")).unwrap();
    fs::write(path.join("keys.mjs"), format!("export default {keys};")).unwrap();
    let run = "import keys from './keys.mjs'; import { run } from './crypto.mjs';";
    let expected = node(path, &format!("{run} console.log(JSON.stringify(await run(keys)));"));
    let worker = format!(
        "{run} export default {{ async fetch() {{ try {{ return Response.json(await run(keys)); }} catch (error) {{ return new Response(error.stack, {{ status: 500 }}); }} }} }};"
    );
    fs::write(path.join("index.js"), worker).unwrap();
    fs::write(
        path.join("wrangler.toml"),
        "name = \"crypto\"\nmain = \"index.js\"\ncompatibility_date = \"2026-01-01\"\ncompatibility_flags = [\"nodejs_compat\"]\n",
    )
    .unwrap();
    let selvedge = Selvedge::start();
    selvedge.json(&["deploy", path.to_str().unwrap()]);
    let answer = selvedge.get("crypto", "/");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let [expected, got]: [Vec<Value>; 2] =
        [&expected, &answer.body].map(|text| serde_json::from_str(text).unwrap());
    assert!(expected.len() > 90, "{}", expected.len());
    let different: Vec<_> = expected.iter().zip(&got).filter(|(one, two)| one != two).collect();
    assert!(
        different.is_empty() && expected.len() == got.len(),
        "Node and the worker differ: {different:#?}"
    );
}
