//! Static files: deployed by the CLI, answered without the worker, with it, and by themselves.

mod common;

use std::fs;
use std::path::Path;

use common::{Answer, Selvedge};
use serde_json::json;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn deployed(files: &[(&str, &str)]) -> (Selvedge, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    let selvedge = Selvedge::start();
    selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
    (selvedge, dir)
}

/// The answer with its location, if it is a redirect.
fn told(answer: &Answer) -> String {
    match answer.header("location") {
        Some(location) => format!("{} {location}", answer.status),
        None => format!("{} {}", answer.status, answer.body),
    }
}

const SITE: [(&str, &str); 7] = [
    (
        "wrangler.toml",
        "name = \"site\"\n[assets]\ndirectory = \"public\"\nnot_found_handling = \"404-page\"\n",
    ),
    ("public/index.html", "home"),
    ("public/about.html", "about"),
    ("public/404.html", "lost"),
    ("public/img/a b.svg", "<svg/>"),
    ("public/_headers", "/img/*\n  Cache-Control: public, max-age=31536000, immutable\n  X-Kind: image\n"),
    ("public/_redirects", "/old/* /:splat 301\n"),
];

#[test]
fn a_site_without_a_worker() {
    let (selvedge, dir) = deployed(&SITE);
    let get = |path: &str| selvedge.get("site", path);
    assert_eq!(told(&get("/")), "200 home");
    assert_eq!(told(&get("/about")), "200 about");
    assert_eq!(told(&get("/about.html?q=1")), "307 /about?q=1");
    assert_eq!(told(&get("/old/about")), "301 /about");
    assert_eq!(told(&get("/nothing/here")), "404 lost");
    assert_eq!(told(&get("/_headers")), "404 lost");
    assert_eq!(selvedge.post("site", "/about", "x").status, 405);
    let image = get("/img/a%20b.svg");
    assert_eq!(
        (image.header("content-type"), image.header("x-kind")),
        (Some("image/svg+xml"), Some("image"))
    );
    assert_eq!(image.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(get("/").header("content-type"), Some("text/html; charset=utf-8"));
    for escape in [
        "/../wrangler.toml",
        "/%2e%2e/wrangler.toml",
        "/..%2fwrangler.toml",
        "/img/..%5c..%5cwrangler.toml",
        "/%00",
    ] {
        let answer = get(escape);
        assert!(answer.status >= 400 && !answer.body.contains("not_found_handling"), "{escape}: {answer:?}");
    }

    // Only what changed is uploaded again, and the page changes with the version.
    write(dir.path(), &[("public/index.html", "new home")]);
    selvedge.json(&["deploy", dir.path().to_str().unwrap()]);
    assert_eq!(told(&get("/")), "200 new home");
    selvedge.json(&["rollback", "site"]);
    assert_eq!(told(&get("/")), "200 home");
}

#[test]
fn a_browser_that_has_the_file_is_told_so() {
    let (selvedge, _dir) = deployed(&SITE);
    let tag = selvedge.get("site", "/").header("etag").unwrap().to_owned();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: site.localhost\r\nif-none-match: \"x\", W/{tag}\r\nconnection: close\r\n\r\n"
    );
    let answer = selvedge.raw(&request);
    assert_eq!((answer.status, answer.body.as_str(), answer.header("etag")), (304, "", Some(tag.as_str())));
    let head = selvedge.raw("HEAD / HTTP/1.1\r\nhost: site.localhost\r\nconnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("4")));
}

#[test]
fn files_and_a_worker_share_the_paths() {
    let config = "name = \"app\"\nmain = \"worker.js\"\n[assets]\ndirectory = \"dist\"\nrun_worker_first = [\"/api/*\"]\n";
    let worker =
        "export default { fetch: (request) => new Response(`worker ${new URL(request.url).pathname}`) };";
    let (selvedge, _dir) = deployed(&[
        ("wrangler.toml", config),
        ("worker.js", worker),
        ("dist/index.html", "page"),
        ("dist/api/file.txt", "not seen"),
    ]);
    assert_eq!(selvedge.get("app", "/").body, "page");
    assert_eq!(selvedge.get("app", "/other").body, "worker /other");
    assert_eq!(selvedge.get("app", "/api/file.txt").body, "worker /api/file.txt");
    assert_eq!(selvedge.post("app", "/", "x").body, "worker /");
}

#[test]
fn the_worker_asks_for_files() {
    let config = "name = \"app\"\nmain = \"worker.js\"\n[assets]\ndirectory = \"dist\"\nbinding = \"FILES\"\nrun_worker_first = true\n";
    let worker = "export default {
        async fetch(request, env) {
            const found = await env.FILES.fetch(request);
            const text = await found.text();
            return new Response(`${found.status} ${found.headers.get('content-type')} ${text.length} ${text.slice(0, 9)}`);
        },
    };";
    let large = "large file".repeat(200_000);
    let (selvedge, _dir) = deployed(&[
        ("wrangler.toml", config),
        ("worker.js", worker),
        ("dist/index.html", "page"),
        ("dist/large.txt", &large),
    ]);
    assert_eq!(selvedge.get("app", "/").body, "200 text/html; charset=utf-8 4 page");
    assert_eq!(selvedge.get("app", "/large.txt").body, "200 text/plain; charset=utf-8 2000000 large fil");
    assert_eq!(selvedge.get("app", "/none").body, "404 null 0 ");
}

#[test]
fn a_large_file_streams() {
    let large = "0123456789abcdef".repeat(200_000);
    let (selvedge, _dir) = deployed(&[
        ("wrangler.toml", "name = \"big\"\n[assets]\ndirectory = \"public\"\n"),
        ("public/big.txt", &large),
    ]);
    let answer = selvedge.get("big", "/big.txt");
    assert_eq!(answer.header("content-length"), Some(large.len().to_string().as_str()));
    assert!(answer.body == large, "the file arrives whole");
}

#[test]
fn mistakes_are_told() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("wrangler.toml", "name = \"x\"\n[assets]\ndirectory = \"none\"\n")]);
    let (refusal, _) = selvedge.refused(&["deploy", dir.path().to_str().unwrap()]);
    assert!(refusal["help"].as_str().unwrap().contains("assets.directory"), "{refusal}");
    write(dir.path(), &[("none/_redirects", "/a /b 999\n"), ("none/index.html", "x")]);
    let (refusal, _) = selvedge.refused(&["deploy", dir.path().to_str().unwrap()]);
    assert!(refusal["message"].as_str().unwrap().contains("_redirects, line 1"), "{refusal}");

    let digest = "0".repeat(64);
    let wrong = selvedge.api(
        "PUT",
        &format!("accounts/default/assets/{digest}"),
        "application/octet-stream",
        b"hello",
    );
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "digest_mismatch"));
    let files = json!({ "/a": { "digest": digest, "size": 5 } });
    let metadata = json!({ "assets": { "files": files } });
    let module = common::api::Module::main("export default { fetch() {} }");
    let absent = selvedge.upload("x", metadata, &[module]);
    assert_eq!((absent.status, absent.code().as_str()), (409, "assets_missing"));
}
