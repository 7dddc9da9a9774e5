//! Pages that people see, in a real browser: Chromium, driven by npm's puppeteer-core. Pictures of them are in the directory that
//! the test prints.
#![allow(missing_docs, clippy::print_stderr, reason = "a test crate")]

#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/provider.rs"]
mod provider;
mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use provider::Provider;
use support::{Server, start_sites};

/// Runs a part of `browser/browser.mjs`.
fn browse(what: &str, server: &Server) {
    // One after the other: installing is not to be done twice at a time, and a browser is large.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    pairs::install("chromium", "chromium");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    let pictures = target.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    for name in ["package.json", "package-lock.json", "browser.mjs"] {
        std::fs::copy(source.join(name), target.join(name)).unwrap();
    }
    if !target.join("node_modules/puppeteer-core/package.json").exists() {
        let npm = ["ci", "--silent", "--ignore-scripts", "--no-audit"];
        let status = Command::new("npm").args(npm).current_dir(&target).status().expect("npm is installed");
        assert!(status.success(), "npm ci");
    }
    let output = Command::new("node")
        .args(["browser.mjs", what, &server.address.port().to_string()])
        .arg(&pictures)
        .current_dir(&target)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("pictures: {}", pictures.display());
}

#[test]
fn people_pass_the_challenge() {
    let server = start_sites(
        "[middleware.riddle.challenge]\nbits = 12\n[middleware.hard.challenge]\nbits = 24\n\
         [[sites]]\nhosts = [\"app.example\"]\nuse = [\"riddle\"]\n[[sites.routes]]\nworker = \"test\"\n\
         [[sites]]\nhosts = [\"slow.example\"]\nuse = [\"hard\"]\n[[sites.routes]]\nworker = \"test\"\n",
    );
    browse("challenge", &server);
}

#[test]
fn people_log_in_and_out() {
    let provider = Provider::start();
    browse("login", &provider.edge(""));
}
