//! What a project's configuration says about bundling and environments, by the real CLI.

mod common;

use std::fs;

use common::{Ongoing, Selvedge};
use serde_json::Value;

/// A project of these files.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// Deploys a project of these files; its warnings.
fn deploy(selvedge: &Selvedge, files: &[(&str, &str)]) -> Value {
    let dir = project(files);
    selvedge.json(&["deploy", dir.path().to_str().unwrap()])["warnings"].clone()
}

#[test]
fn modules_are_uploaded_as_they_are() {
    let selvedge = Selvedge::start();
    let config = r#"{"name": "w", "main": "dist/worker.js", "no_bundle": true,
        "rules": [{"type": "ESModule", "globs": ["**/*.js"]}, {"type": "Text", "globs": ["**/*.md"], "fallthrough": true}]}"#;
    let files = [
        ("wrangler.jsonc", config),
        (
            "dist/worker.js",
            "import { name } from './lib/name.js'; import note from './note.md'; import text from './a.txt';\n\
             export default { async fetch() { const { late } = await import('./lib/late.js'); return Response.json([name, note, text, late, name.name]) } }",
        ),
        ("dist/lib/name.js", "export function name() {}; name.toJSON = () => 'named';"),
        ("dist/lib/late.js", "export { late } from '../late.js'"),
        ("dist/late.js", "export const late = 'late'"),
        ("dist/note.md", "a note"),
        ("dist/a.txt", "a text"),
        ("dist/node_modules/x/y.js", "this is not uploaded, and not even JavaScript"),
        ("dist/never.ts", "nor this: string"),
    ];
    assert_eq!(deploy(&selvedge, &files), serde_json::json!([]));
    assert_eq!(selvedge.get("w", "/").body, r#"["named","a note","a text","late","name"]"#);

    let without = project(&[
        ("wrangler.jsonc", r#"{"name": "w", "main": "worker.js", "no_bundle": true}"#),
        ("worker.js", "import './other.js'; export default {}"),
        ("other.js", ""),
    ]);
    let (error, shown) = selvedge.refused(&["deploy", without.path().to_str().unwrap()]);
    assert_eq!(error["code"], "unknown_import");
    assert!(shown.contains("ESModule"), "{shown}");
    let typed = project(&[
        ("wrangler.jsonc", r#"{"name": "w", "main": "worker.ts", "no_bundle": true}"#),
        ("worker.ts", "export default {}"),
    ]);
    let (error, _) = selvedge.refused(&["deploy", typed.path().to_str().unwrap()]);
    assert_eq!(error["code"], "not_a_worker");
}

#[test]
fn modules_are_found_beside_the_bundle() {
    let selvedge = Selvedge::start();
    let config = r#"{"name": "w", "main": "src/index.ts", "find_additional_modules": true, "base_dir": ".", "minify": true,
        "rules": [{"type": "ESModule", "globs": ["src/lang/*.js", "shared/*.js"]}]}"#;
    let files = [
        ("wrangler.jsonc", config),
        (
            "src/index.ts",
            "import { bundled } from './deep/bundled'; import page from './page.html';\n\
             export default { async fetch(request: Request) {\n\
               const lang = new URL(request.url).pathname.slice(1);\n\
               if (lang === 'fail') throw new Error('failed on line 5');\n\
               const { hello } = await import('./lang/' + lang + '.js');\n\
               return Response.json([hello, bundled(), page, await bundled.state()]);\n\
             } }",
        ),
        (
            "src/deep/bundled.ts",
            "import { count } from '../../shared/state.js';\n\
             export function bundled(): number { return count(); }\n\
             bundled.state = async () => (await import('../../shared/state.js')).count();",
        ),
        ("src/lang/en.js", "export const hello = 'Hello'"),
        (
            "src/lang/de.js",
            "import { count } from '../../shared/state.js'; count(); export const hello = 'Hallo'",
        ),
        // One instance for the bundle and the files beside it.
        ("shared/state.js", "let n = 0; export function count() { return ++n }"),
        ("src/page.html", "<p>"),
    ];
    assert_eq!(deploy(&selvedge, &files), serde_json::json!([]));
    assert_eq!(selvedge.get("w", "/en").body, r#"["Hello",1,"<p>",2]"#);
    assert_eq!(selvedge.get("w", "/de").body, r#"["Hallo",4,"<p>",5]"#);
    assert_eq!(selvedge.get("w", "/fail").status, 500);
    let logs = common::eventually("the exception is logged", || {
        let logs = selvedge.json(&["logs", "w"]).to_string();
        logs.contains("failed on line 5").then_some(logs)
    });
    assert!(logs.contains("src/index.ts:4:"), "{logs}");
}

#[test]
fn names_definitions_and_aliases() {
    let selvedge = Selvedge::start();
    let code = "import { who } from 'someone';\n\
        class Shop {}\n\
        declare const MODE: string, LIMITS: any;\n\
        export default { fetch() { return Response.json([Shop.name, MODE, LIMITS.max, who, typeof h()]) } }\n\
        function h() { return <b/> }";
    let with = |more: &str| {
        let config = format!(
            r#"{{"name": "w", "main": "src/index.tsx", "minify": true, {more}
            "define": {{"MODE": "'fast'", "LIMITS": {{"max": 3}}}},
            "alias": {{"someone": "./src/someone.ts"}}, "tsconfig": "config/ts.json"}}"#
        );
        deploy(
            &selvedge,
            &[
                ("wrangler.jsonc", &config),
                ("src/index.tsx", code),
                ("src/someone.ts", "export const who = 'me'"),
                ("src/jsx.ts", "export const make = () => 1; export const Fragment = 0"),
                ("config/ts.json", r#"{"compilerOptions": {"jsx": "react", "jsxFactory": "String"}}"#),
            ],
        );
        selvedge.get("w", "/").json()
    };
    assert_eq!(with(""), serde_json::json!(["Shop", "fast", 3, "me", "string"]));
    assert_ne!(with(r#""keep_names": false,"#)[0], "Shop");
}

#[test]
fn source_maps_can_be_left_out() {
    let selvedge = Selvedge::start();
    let code = "// one\n// two\nexport default { fetch(): Response { throw new Error('here') } }";
    for (setting, expected) in [("true", "index.ts:3:"), ("false", "main.js:")] {
        let config = format!(r#"{{"name": "w{setting}", "upload_source_maps": {setting}}}"#);
        deploy(&selvedge, &[("wrangler.jsonc", &config), ("index.ts", code)]);
        let name = format!("w{setting}");
        assert_eq!(selvedge.get(&name, "/").status, 500);
        let logs = common::eventually("the exception is logged", || {
            let logs = selvedge.json(&["logs", &name]).to_string();
            logs.contains("here").then_some(logs)
        });
        assert!(logs.contains(expected), "{logs}");
    }
}

#[test]
fn environments_have_settings_of_their_own() {
    let selvedge = Selvedge::start();
    let dir = project(&[
        (
            "wrangler.jsonc",
            r#"{"name": "shop", "main": "index.js", "define": {"A": "1"}, "minify": true, "kv_namespaces": [],
            "env": {
              "staging": {"define": {"A": "2"}, "keep_vars": true, "compatability_date": "2026-01-01", "vars": {"B": 3}},
              "bare": {"name": "other"}
            }}"#,
        ),
        (
            "index.js",
            "export default { fetch(_, env) { return Response.json([typeof A === 'undefined' ? null : A, env.B ?? null]) } }",
        ),
    ]);
    let path = dir.path().to_str().unwrap();
    let deploy = |more: &[&str]| selvedge.json(&[&["deploy", path], more].concat())["warnings"].to_string();
    assert_eq!(deploy(&["--env", ""]), "[]");
    assert_eq!(selvedge.get("shop", "/").body, "[1,null]");
    let warnings = deploy(&["-e", "staging"]);
    assert!(warnings.contains("keep_vars"), "{warnings}");
    assert!(warnings.contains("is it meant to be `compatibility_date`"), "{warnings}");
    assert_eq!(selvedge.get("shop-staging", "/").body, "[2,3]");
    let warnings = deploy(&["--env=bare"]);
    assert!(warnings.contains("`define` is not inherited"), "{warnings}");
    assert_eq!(selvedge.get("other", "/").body, "[null,null]");
    let (error, shown) = selvedge.refused(&["deploy", path, "--env", "nope"]);
    assert_eq!(error["code"], "no_environment");
    assert!(shown.contains("bare, staging"), "{shown}");
    // Other commands take it, too, in the project's directory.
    let versions =
        selvedge.command(&["versions", "--json", "-e", "staging"]).current_dir(dir.path()).output().unwrap();
    let versions: Value = serde_json::from_slice(&versions.stdout).unwrap();
    assert_eq!(versions.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_build_step_of_the_project_runs_before() {
    let selvedge = Selvedge::start();
    let config = r#"{"name": "w", "main": "dist/index.js",
        "build": {"command": "mkdir -p ../dist && cp index.ts ../dist/index.js && echo built", "cwd": "src"}}"#;
    let code = "export default { fetch() { return new Response('made') } }";
    let files = [("wrangler.jsonc", config), ("src/index.ts", code)];
    assert_eq!(deploy(&selvedge, &files), serde_json::json!([]));
    assert_eq!(selvedge.get("w", "/").body, "made");
    let failing =
        project(&[("wrangler.jsonc", r#"{"name": "w", "main": "x.js", "build": {"command": "exit 3"}}"#)]);
    let (error, shown) = selvedge.refused(&["deploy", failing.path().to_str().unwrap()]);
    assert_eq!(error["code"], "build_failed");
    assert!(shown.contains("exit 3"), "{shown}");

    // `dev` builds again when a source changes, not when the result does.
    let dir = project(&files);
    let mut dev = Ongoing::start(common::selvedge().args(["dev", "--json", "--port=0"]).arg(dir.path()));
    assert!(dev.document()["version"].is_string());
    fs::write(dir.path().join("src/index.ts"), code.replace("made", "made again")).unwrap();
    assert!(dev.document()["version"].is_string());
    let made = fs::read_to_string(dir.path().join("dist/index.js")).unwrap();
    assert!(made.contains("made again"), "{made}");
}
