//! The regression tests of the OWASP Core Rule Set as a corpus of attacks: how many the firewall refuses, by kind. The suite is not part of
//! this repository; `CRS=DIRECTORY cargo test -p selvedge-edge --test crs -- --ignored --nocapture` runs it from a copy of its own. What is expected is
//! in `crs.json`; a lower share fails, and a higher one asks to be written down.
#![allow(missing_docs, clippy::print_stderr, reason = "a test crate")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use support::{Server, start_sites};

/// Reads the suite's YAML and the level of each of its rules: a line of JSON for each request, and for how suspicious a
/// rule it is one has to be (0: not at all).
const READ: &str = r#"
import sys, glob, re, json, yaml
root, levels = sys.argv[1], {}
for path in glob.glob(root + "/rules/*.conf"):
    for rule in re.finditer(r"id:(\d{6}),(.*?)(?=\nSec|\Z)", open(path, errors="replace").read(), re.S):
        level = re.search(r"paranoia-level/(\d)", rule.group(2))
        if level: levels.setdefault(int(rule.group(1)), int(level.group(1)))
for path in sorted(glob.glob(root + "/tests/regression/tests/REQUEST-*/*.yaml")):
    suite = yaml.safe_load(open(path))
    for test in (suite or {}).get("tests", []):
        for stage in test["stages"]:
            log = stage["output"].get("log", {})
            found = log.get("expect_ids", [])
            if not found and not log.get("no_expect_ids"): continue
            request = {name: stage["input"].get(name) for name in ("method", "uri", "version", "headers", "data", "encoded_request")}
            kind = path.split("/")[-2].split("-", 2)
            print(json.dumps({"kind": kind[2].lower(), "level": min([levels.get(rule, 1) for rule in found], default=0),
                "name": f'{suite["rule_id"]}-{test["test_id"]}', **request}, default=str))
"#;

/// Bytes of a request, as the suite's own runner would send them.
fn request(case: &Value) -> Vec<u8> {
    if let Some(encoded) = case["encoded_request"].as_str() {
        return STANDARD.decode(encoded.replace(char::is_whitespace, "")).unwrap();
    }
    let text = |name: &str, other: &str| case[name].as_str().unwrap_or(other).to_owned();
    let mut head =
        format!("{} {} {}\r\n", text("method", "GET"), text("uri", "/"), text("version", "HTTP/1.1"));
    let data = text("data", "");
    let mut names = Vec::new();
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        write!(head, "{name}: {value}\r\n").unwrap();
        names.push(name.to_lowercase());
    }
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has("connection") {
        head += "Connection: close\r\n";
    }
    if !data.is_empty() && !has("content-type") {
        head += "Content-Type: application/x-www-form-urlencoded\r\n";
    }
    if !data.is_empty() && !has("content-length") && !has("transfer-encoding") {
        write!(head, "Content-Length: {}\r\n", data.len()).unwrap();
    }
    format!("{head}\r\n{data}").into_bytes()
}

/// Whether a request is refused, by the firewall or before it.
fn is_refused(server: &Server, request: &[u8]) -> bool {
    let mut stream = server.connect();
    // The server may have answered before it has taken everything.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    !answer.starts_with(b"HTTP/1.1 200")
}

fn servers() -> Vec<Server> {
    (1..=4)
        .map(|level| {
            start_sites(&format!(
                "[middleware.it.waf]\nlevel = {level}\n[[sites]]\nhosts = [\"*\"]\nuse = [\"it\"]\n\
                 [[sites.routes]]\npath = \"/*\"\nrespond = {{ body = \"passed\" }}\n"
            ))
        })
        .collect()
}

#[test]
#[ignore = "needs a copy of the suite, named by CRS"]
fn attacks_of_the_core_rule_set_are_refused() {
    let suite = std::env::var("CRS").expect("CRS names the directory of the suite");
    let read = Command::new("python3").args(["-c", READ, &suite]).stderr(Stdio::inherit()).output().unwrap();
    assert!(read.status.success(), "needs python3 with yaml");
    let servers = servers();
    // By kind and level: at the same level refused, and all.
    let mut found: BTreeMap<String, BTreeMap<String, [usize; 2]>> = BTreeMap::new();
    for line in String::from_utf8(read.stdout).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let level = case["level"].as_u64().unwrap() as usize;
        let refused = is_refused(&servers[level.max(1) - 1], &request(&case));
        let name = if level == 0 { "other".to_owned() } else { format!("level {level}") };
        let kind = found.entry(case["kind"].as_str().unwrap().to_owned()).or_default();
        let count = kind.entry(name).or_default();
        count[0] += usize::from(refused);
        count[1] += 1;
        if std::env::var("CRS_SHOW").is_ok_and(|kind| case["kind"] == *kind) && refused != (level > 0) {
            eprintln!("level {level} {line}");
        }
    }
    let mut lower = Vec::new();
    let expected: BTreeMap<String, BTreeMap<String, [usize; 2]>> =
        serde_json::from_str(include_str!("crs.json")).unwrap();
    for (kind, levels) in &found {
        for (level, [refused, all]) in levels {
            eprintln!("{kind:28} {level}: {refused:4} of {all:4}, {:3} %", refused * 100 / all);
            let [before, _] =
                expected.get(kind).and_then(|levels| levels.get(level)).copied().unwrap_or_default();
            // Requests without an attack that this rule would find are fewer the better; many of them are attacks of other kinds.
            let worse = if level == "other" { *refused > before } else { *refused < before };
            if worse {
                lower.push(format!("{kind} {level}: {refused}, not {before}"));
            }
        }
    }
    if let Ok(path) = std::env::var("CRS_RESULTS") {
        std::fs::write(path, serde_json::to_string_pretty(&found).unwrap()).unwrap();
    }
    assert!(Path::new(&suite).exists() && !found.is_empty());
    assert!(lower.is_empty(), "{lower:#?}");
}
