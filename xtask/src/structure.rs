//! Rules of this repository that no linter knows: sizes, module docs, crate directions, machine traces.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tools::{cargo, quiet};
use crate::workspace::Workspace;

/// Longest source file, lines.
const LINES_MAX: usize = 700;
/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Which workspace crates each crate may depend on. Arrows point inward only.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("selvedge-model", &[]),
    ("selvedge-wire", &[]),
    ("selvedge-confine", &[]),
    ("selvedge-webcrypto", &[]),
    ("selvedge-codec", &[]),
    ("selvedge-http1", &[]),
    ("selvedge-assets", &["selvedge-model"]),
    ("selvedge-cache", &[]),
    ("selvedge-router", &[]),
    ("selvedge-tls", &["selvedge-acme"]),
    ("selvedge-acme", &[]),
    ("selvedge-upstream", &["selvedge-http1"]),
    ("selvedge-files", &[]),
    ("selvedge-auth", &[]),
    ("selvedge-limit", &[]),
    ("selvedge-waf", &[]),
    ("selvedge-http2", &[]),
    ("selvedge-telemetry", &["selvedge-model"]),
    ("selvedge-store", &["selvedge-model"]),
    (
        "selvedge-isolate",
        &["selvedge-model", "selvedge-wire", "selvedge-confine", "selvedge-webcrypto", "selvedge-codec"],
    ),
    (
        "selvedge-engine",
        &[
            "selvedge-model",
            "selvedge-wire",
            "selvedge-assets",
            "selvedge-cache",
            "selvedge-confine",
            "selvedge-store",
            "selvedge-telemetry",
        ],
    ),
    (
        "selvedge-edge",
        &[
            "selvedge-model",
            "selvedge-http1",
            "selvedge-router",
            "selvedge-tls",
            "selvedge-acme",
            "selvedge-upstream",
            "selvedge-files",
            "selvedge-auth",
            "selvedge-limit",
            "selvedge-waf",
            "selvedge-http2",
            "selvedge-cache",
            "selvedge-codec",
            "selvedge-engine",
            "selvedge-telemetry",
        ],
    ),
    (
        "selvedge-control",
        &["selvedge-model", "selvedge-assets", "selvedge-store", "selvedge-engine", "selvedge-telemetry"],
    ),
    (
        "selvedge",
        &[
            "selvedge-model",
            "selvedge-wire",
            "selvedge-confine",
            "selvedge-acme",
            "selvedge-telemetry",
            "selvedge-store",
            "selvedge-engine",
            "selvedge-auth",
            "selvedge-edge",
            "selvedge-control",
        ],
    ),
    ("selvedge-bench", &[]),
    ("xtask", &[]),
];

/// Text that must not be in a tracked file: package hosts belong to each machine's own settings, and paths of one
/// machine mean nothing on another. Split so that this file does not hold them.
const TRACES: &[&str] = &[
    concat!("registry.", "npmjs.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("files.", "pythonhosted.org"),
    concat!("deb.", "debian.org"),
    concat!("/root", "/.cargo"),
    concat!("/root", "/.npm"),
    concat!("/", "home/"),
    concat!("/", "work/"),
];

/// Checks all rules and lists every breach.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut breaches = Vec::new();
    let listed = quiet(Command::new("git").args(["ls-files", "-z"]).current_dir(&workspace.root))?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        // Absent: deleted and not yet committed. Not UTF-8: no text.
        let Ok(text) = fs::read_to_string(workspace.root.join(name)) else { continue };
        breaches.extend(file_breaches(name, &text));
    }
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--locked"];
    let metadata = quiet(cargo().args(arguments).current_dir(&workspace.root))?;
    breaches.extend(direction_breaches(&serde_json::from_str(&metadata).context("cargo metadata")?));
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{}", breaches.join("\n       "))
}

fn file_breaches(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let source = [".rs", ".ts", ".js", ".mjs", ".cc", ".sh"].iter().any(|ending| name.ends_with(ending));
    let lines = text.lines().count();
    if source && lines > LINES_MAX && !LONG_FILES.iter().any(|(long, _)| *long == name) {
        breaches.push(format!("{name}: {lines} lines; at most {LINES_MAX} (one file, one thing)"));
    }
    let root = name.ends_with("/lib.rs") || name.ends_with("/main.rs");
    if root && !text.starts_with("//! ") {
        breaches.push(format!("{name}: must start with `//!` and say what it holds"));
    }
    for trace in TRACES {
        if let Some(line) = text.lines().position(|line| line.contains(trace)) {
            breaches.push(format!("{name}:{}: holds {trace:?}, which belongs to one machine", line + 1));
        }
    }
    breaches
}

fn direction_breaches(metadata: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(known, _)| *known == name) else {
            breaches.push(format!("{name}: not in the table of crate directions (xtask/src/structure.rs)"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            // Tests may reach further than what ships.
            let ours = dependency["path"].is_string() && dependency["kind"] != "dev";
            if ours && !allowed.contains(&to) {
                breaches.push(format!("{name}: must not depend on {to}"));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_undocumented_and_local_files_are_found() {
        assert_eq!(file_breaches("a/b.rs", &"x\n".repeat(LINES_MAX)), Vec::<String>::new());
        assert_eq!(file_breaches("a/b.rs", &"x\n".repeat(LINES_MAX + 1)).len(), 1);
        assert_eq!(file_breaches("a/package-lock.json", &"x\n".repeat(9000)).len(), 0);
        assert_eq!(file_breaches("a/src/lib.rs", "fn x() {}").len(), 1);
        assert_eq!(
            file_breaches("README.md", &format!("see\n{}", TRACES[0])),
            [format!("README.md:2: holds {:?}, which belongs to one machine", TRACES[0])]
        );
    }

    #[test]
    fn arrows_that_point_outward_are_found() {
        let dependency = |name: &str, kind: Value| json!({"name": name, "path": "p", "kind": kind});
        let metadata = json!({"packages": [
            {"name": "selvedge-model", "dependencies": [
                dependency("selvedge-engine", Value::Null),
                dependency("selvedge-store", json!("dev")),
                {"name": "serde", "kind": null},
            ]},
            {"name": "stray", "dependencies": []},
        ]});
        let breaches = direction_breaches(&metadata);
        assert_eq!(breaches.len(), 2, "{breaches:?}");
        assert!(breaches[0].contains("must not depend on selvedge-engine"));
    }
}
