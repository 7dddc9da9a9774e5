//! `selvedge.toml` and `selvedge check`, on the real executable.

mod common;

use std::fs;
use std::process::Output;

use common::{Ongoing, selvedge};
use serde_json::Value;

const CONFIG: &str = "\
include = [\"conf.d/*.toml\"]
admin = \"127.0.0.1:${TEST_ADMIN_PORT:-0}\"

[edge]
listen = [\"127.0.0.1:1\"]
access_log.output = \"off\"

[env.test]
edge.listen = [\"127.0.0.1:0\"]
";

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn check(dir: &tempfile::TempDir, arguments: &[&str]) -> (Option<i32>, Value, Output) {
    let output = selvedge().args(["check", "--json"]).args(arguments).current_dir(dir).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), output)
}

#[test]
fn a_server_runs_on_what_was_checked() {
    let dir = project(&[("selvedge.toml", CONFIG), ("conf.d/engine.toml", "[engine]\nidle_s = 7\n")]);
    let (code, answer, output) = check(&dir, &["--env", "test"]);
    assert_eq!(code, Some(0), "{output:?}");
    assert_eq!(answer["settings"]["engine"]["idle_s"], 7);
    assert_eq!(answer["files"].as_array().unwrap().len(), 2);
    // The file in the directory is the one that is used.
    let data = tempfile::tempdir().unwrap();
    let mut up = selvedge();
    up.args(["up", "--json", "--env", "test", "--data"]).arg(data.path()).current_dir(&dir);
    let mut server = Ongoing::start(&mut up);
    let ready = server.document();
    assert_eq!(ready["http"].as_array().unwrap().len(), 1);
    assert_ne!(ready["http"][0], "127.0.0.1:1", "the environment's address, not the usual one");
}

#[test]
fn mistakes_have_places_and_stop_the_server() {
    let dir = project(&[
        ("selvedge.toml", &CONFIG.replace("listen", "lisen")),
        ("conf.d/a.toml", "[edge]\nmax_headers = 0\n[engine]\nidle = \"x\"\n"),
    ]);
    let (code, answer, _) = check(&dir, &[]);
    assert_eq!((code, &answer["error"]["code"]), (Some(1), &"bad_config".into()));
    let mistakes = answer["error"]["diagnostics"].as_array().unwrap();
    let place =
        |mistake: &Value| (mistake["file"].as_str().unwrap().to_owned(), mistake["line"].as_u64().unwrap());
    assert_eq!(place(&mistakes[0]), ("selvedge.toml".into(), 5));
    assert!(mistakes[0]["message"].as_str().unwrap().contains("did you mean `listen`"));
    assert_eq!(place(&mistakes[1]), ("conf.d/a.toml".into(), 4));
    let output = selvedge().args(["up", "--json"]).current_dir(&dir).output().unwrap();
    let refused: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &refused), (Some(1), &answer));
    // An environment that nobody has chosen yet is looked at, too.
    let dir = project(&[("selvedge.toml", "[env.a.edge]\nmax_headers = 0\n")]);
    let (code, answer, _) = check(&dir, &[]);
    assert_eq!((code, &answer["error"]["diagnostics"][0]["line"]), (Some(1), &2.into()));
}

#[test]
fn the_schema_is_one() {
    let dir = project(&[]);
    let (code, schema, _) = check(&dir, &["--schema"]);
    assert_eq!(code, Some(0));
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"));
    assert!(schema["properties"]["edge"].is_object() && schema["properties"]["include"].is_object());
    let (code, answer, _) = check(&dir, &[]);
    assert_eq!((code, &answer["error"]["code"]), (Some(1), &"io".into()));
}
