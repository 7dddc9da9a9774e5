//! Whatever is asked for, and whatever happens to the tree meanwhile, nothing outside of the root is served.
#![allow(missing_docs, reason = "a test crate")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, Method};
use proptest::prelude::*;
use selvedge_files::{Answer, Asked, Body, Files, FilesConfig, Miss, Part, Wait, read_at};
use tempfile::TempDir;

const SECRET: &[u8] = b"outside";

/// Files below the root by the path that names them, and around them what must not be had.
fn tree() -> (TempDir, BTreeMap<String, Vec<u8>>) {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    let mut model = BTreeMap::new();
    for path in ["a", "b/a", "b/b/a", "..a", "b/a..b", "a%2e", "%2e%2e", "b/%00"] {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, format!("inside {path}")).unwrap();
        if path != "..a" {
            model.insert(path.to_owned(), format!("inside {path}").into_bytes());
        }
    }
    for path in [directory.path().join("a"), root.join(".hidden"), root.join("b/.hidden")] {
        fs::write(path, SECRET).unwrap();
    }
    symlink("../../a", root.join("b/out")).unwrap();
    symlink(directory.path().join("a"), root.join("absolute")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/", root.join("b/slash")).unwrap();
    symlink("a", root.join("link")).unwrap();
    model.insert("link".into(), b"inside a".to_vec());
    (directory, model)
}

fn files(directory: &Path, memory: bool) -> Files {
    let mut config = FilesConfig::new(directory.join("root").to_str().unwrap());
    config.memory.check_ms = 0;
    if !memory {
        config.memory.bytes = 0;
    }
    Files::new(&config, Path::new("")).unwrap()
}

/// The body that a path is answered with.
fn body(files: &Files, path: &str) -> Result<Vec<u8>, Miss> {
    let found = files.find(path, Wait::Never);
    let found = if matches!(found, Err(Miss::WouldWait)) { files.find(path, Wait::Allowed) } else { found };
    let headers = HeaderMap::new();
    Ok(match files.answer(found?, &Asked::new(&Method::GET, "", &headers)) {
        Answer::Prepared { body, .. } => body.to_vec(),
        Answer::Made(response) => match response.into_body() {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Pieces(pieces) => match pieces.next() {
                Some(Part::File(range)) => read_at(&pieces.shared_file(), range.clone()).to_vec(),
                _ => Vec::new(),
            },
        },
    })
}

/// What a path names, if it is written as plainly as can be.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = path.strip_prefix('/')?.bytes();
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            text.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        text.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(text).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What is served is what the model has under the decoded path, and all of the model is served.
    #[test]
    fn only_the_tree_is_served(
        path in "(/|a|b|\\.|\\.\\.|%2e|%2E|%2f|%2F|%5c|\\\\|%00|%61|%25|up|out|link|slash|absolute|\\.hidden|;){0,12}",
        memory: bool,
    ) {
        let (directory, model) = tree();
        let files = files(directory.path(), memory);
        let path = format!("/{path}");
        // Redirects have empty bodies.
        if let Ok(body) = body(&files, &path) && !body.is_empty() {
            let name = decoded(&path).unwrap_or_default();
            prop_assert_eq!(Some(&body), model.get(&name), "{}", path);
        }
        for (name, content) in &model {
            let path = format!("/{}", name.replace('%', "%25"));
            prop_assert_eq!(body(&files, &path), Ok(content.clone()), "{}", path);
        }
    }
}

/// A link and a directory that change what they are all the time never lead out.
#[test]
fn races_lead_nowhere() {
    let (directory, _) = tree();
    let root = directory.path().join("root");
    fs::create_dir(directory.path().join("outer")).unwrap();
    fs::write(directory.path().join("outer/a"), SECRET).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (root, over) = (root.clone(), over.clone());
        std::thread::spawn(move || {
            let next = root.join("next");
            let mut targets = ["a", "../a", "b/a", "../../a", "up/a", "/etc/passwd"].iter().cycle();
            while !over.load(Ordering::Relaxed) {
                symlink(targets.next().unwrap(), &next).unwrap();
                fs::rename(&next, root.join("race")).unwrap();
                // A directory that moves out while it is walked.
                fs::rename(root.join("b/b"), root.join("../moved")).unwrap();
                symlink("../../outer", root.join("b/b")).unwrap();
                fs::remove_file(root.join("b/b")).unwrap();
                fs::rename(root.join("../moved"), root.join("b/b")).unwrap();
            }
        })
    };
    let mut served = 0;
    for memory in [false, true] {
        let files = files(directory.path(), memory);
        for _ in 0..5000 {
            for path in ["/race", "/b/b/a", "/up/a"] {
                if let Ok(body) = body(&files, path) {
                    assert!(body.starts_with(b"inside"), "{path}: {}", String::from_utf8_lossy(&body));
                    served += 1;
                }
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(served > 0);
}
