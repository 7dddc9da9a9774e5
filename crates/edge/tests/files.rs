//! Files of a directory, over real sockets.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use support::{Reply, Server, read_head_reply, read_reply, start_sites};
use tempfile::TempDir;

const LARGE: usize = 3 << 20;

/// A tree with everything that is served and not served, and a secret beside it.
fn tree() -> TempDir {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    let put = |path: &str, content: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    fs::create_dir(&root).unwrap();
    fs::write(directory.path().join("secret.txt"), "secret").unwrap();
    put("index.html", b"<h1>home</h1>");
    put("a.txt", b"0123456789");
    put("docs/index.html", b"docs");
    put("docs/page.html", b"page");
    put("empty/x.txt", b"x");
    put("empty.txt", b"");
    put("large.bin", &(0..LARGE).map(|n| (n / 7) as u8).collect::<Vec<_>>());
    put("app.js", b"let a = 1; // plain");
    put("app.js.br", b"brotli");
    put("app.js.gz", b"gzip");
    put("assets/x.css", b"a{}");
    put("404.html", b"<h1>lost</h1>");
    put(".env", b"secret");
    put(".well-known/security.txt", b"contact");
    put("sp ace/\u{e4}.txt", b"umlaut");
    symlink("../secret.txt", root.join("out.txt")).unwrap();
    symlink("/etc/passwd", root.join("absolute.txt")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("a.txt", root.join("in.txt")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    directory
}

fn serve(directory: &Path, settings: &str) -> Server {
    let root = directory.join("root");
    start_sites(&format!(
        "[[sites]]\nhosts = [\"test.localhost\"]\n[[sites.routes]]\n[sites.routes.files]\nroot = {root:?}\n{settings}"
    ))
}

fn ask(server: &Server, line: &str, fields: &str) -> Reply {
    let mut stream = server.connect();
    write!(stream, "{line} HTTP/1.1\r\nhost: test.localhost\r\nconnection: close\r\n{fields}\r\n").unwrap();
    if line.starts_with("HEAD") { read_head_reply(&mut stream) } else { read_reply(&mut stream) }
}

#[test]
fn files_are_served() {
    let tree = tree();
    let server = serve(tree.path(), "");
    let reply = server.get("/a.txt");
    assert_eq!((reply.status, reply.text()), (200, "0123456789"));
    for (field, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("content-length", "10"),
    ] {
        assert_eq!(reply.header(field), Some(value), "{reply:?}");
    }
    assert!(reply.header("x-request-id").is_some() && reply.header("date").is_some());
    assert_eq!(server.get("/").text(), "<h1>home</h1>");
    assert_eq!(server.get("/docs/").text(), "docs");
    assert_eq!(server.get("/in.txt").text(), "0123456789");
    assert_eq!(server.get("/sp%20ace/%C3%A4.txt").text(), "umlaut");
    assert_eq!(server.get("/.well-known/security.txt").text(), "contact");
    assert_eq!(server.get("/empty.txt").header("content-length"), Some("0"));
    let large = server.get("/large.bin");
    assert_eq!(large.header("content-type"), Some("application/octet-stream"));
    assert!(large.body == fs::read(tree.path().join("root/large.bin")).unwrap());
    for path in ["/a.txt", "/large.bin", "/"] {
        let (get, head) = (server.get(path), ask(&server, &format!("HEAD {path}"), ""));
        for field in ["content-length", "content-type", "etag", "last-modified", "accept-ranges"] {
            assert_eq!(get.header(field), head.header(field), "{path} {field}");
        }
    }
}

#[test]
fn directories_get_their_slash() {
    let tree = tree();
    let server = serve(tree.path(), "");
    let reply = server.get("/docs?x=1");
    assert_eq!((reply.status, reply.header("location")), (308, Some("/docs/?x=1")));
    assert_eq!(server.get("/empty").status, 404);
    assert_eq!(server.get("/empty/").status, 404);
    assert_eq!(server.get("/a.txt/").status, 404);
    let reply = server.get("//docs/%70age.html");
    assert_eq!((reply.status, reply.header("location")), (308, Some("/docs/page.html")));
}

#[test]
fn other_methods_are_refused() {
    let tree = tree();
    let server = serve(tree.path(), "");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let reply = ask(&server, &format!("{method} /a.txt"), "content-length: 0\r\n");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    let reply = ask(&server, "OPTIONS /a.txt", "");
    assert_eq!((reply.status, reply.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
}

#[test]
fn nothing_else_is_served() {
    let tree = tree();
    let server = serve(tree.path(), "");
    for path in [
        "/out.txt",
        "/absolute.txt",
        "/up/secret.txt",
        "/up/root/a.txt",
        "/loop",
        "/pipe",
        "/.env",
        "/%2eenv",
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/docs/../../secret.txt",
        "/docs/..%5c..%5csecret.txt",
        "/a.txt%00",
        "/a.txt%00.html",
        "/A.TXT",
        "/a.txt.",
        "/a.txt%20",
        "/a.txt/.",
        "/%252e%252e/secret.txt",
        "/....//secret.txt",
        "/..;/secret.txt",
        "/proc/self/environ",
    ] {
        let reply = server.get(path);
        assert!([404, 308].contains(&reply.status), "{path}: {reply:?}");
        assert!(!reply.body.windows(6).any(|bytes| bytes == b"secret" || bytes == b"root:x"), "{path}");
    }
    assert_eq!(server.get(&format!("/{}", "a".repeat(1000))).status, 404);
    assert_eq!(server.get(&"/a".repeat(3000)).status, 404);
    assert_eq!(server.get("/%zz").status, 400);
    let never = serve(tree.path(), "symlinks = \"never\"");
    assert_eq!(never.get("/in.txt").status, 404);
    assert_eq!(never.get("/a.txt").status, 200);
}

#[test]
fn conditions_are_heeded() {
    let tree = tree();
    let server = serve(tree.path(), "");
    for path in ["/a.txt", "/large.bin"] {
        let whole = server.get(path);
        let (tag, date) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
        assert!(tag.starts_with('"'));
        let get = format!("GET {path}");
        let reply = ask(&server, &get, &format!("if-none-match: W/{tag}\r\n"));
        assert_eq!((reply.status, reply.header("etag"), reply.body.len()), (304, Some(tag), 0));
        assert_eq!(reply.header("content-type"), None);
        assert_eq!(ask(&server, &get, &format!("if-modified-since: {date}\r\n")).status, 304);
        assert_eq!(ask(&server, &get, "if-none-match: \"x\"\r\n").status, 200);
        assert_eq!(ask(&server, &get, "if-match: \"x\"\r\n").status, 412);
        assert_eq!(ask(&server, &get, &format!("if-match: {tag}\r\n")).status, 200);
        assert_eq!(ask(&server, &get, "if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n").status, 412);
        let reply = ask(&server, &get, &format!("range: bytes=2-4\r\nif-range: {tag}\r\n"));
        assert_eq!((reply.status, &reply.body[..]), (206, &whole.body[2..5]));
        assert_eq!(ask(&server, &get, "range: bytes=2-4\r\nif-range: \"x\"\r\n").status, 200);
        assert_eq!(ask(&server, &get, "range: bytes=2-4\r\nif-none-match: *\r\n").status, 304);
    }
}

#[test]
fn ranges_are_served() {
    let tree = tree();
    let server = serve(tree.path(), "max_ranges = 4");
    for path in ["/a.txt", "/large.bin"] {
        let content = fs::read(tree.path().join("root").join(&path[1..])).unwrap();
        let size = content.len();
        let get = format!("GET {path}");
        let range = |range: &str| ask(&server, &get, &format!("range: bytes={range}\r\n"));
        let reply = range("-3");
        assert_eq!((reply.status, &reply.body[..]), (206, &content[size - 3..]));
        assert_eq!(reply.header("content-range"), Some(&*format!("bytes {}-{}/{size}", size - 3, size - 1)));
        let reply = range(&format!("{size}-"));
        assert_eq!((reply.status, reply.header("content-range")), (416, Some(&*format!("bytes */{size}"))));
        for whole in ["0-,0-", "0-5,3-8", "0-0,2-2,4-4,6-6,8-8", "nonsense", "5-2"] {
            assert!(range(whole).body == content, "{whole}");
        }
        assert_eq!(ask(&server, &format!("HEAD {path}"), "range: bytes=0-1\r\n").status, 200);

        let reply = range("7-8,1-2");
        assert_eq!(reply.status, 206);
        let kind = reply.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let inner = server.get(path).header("content-type").unwrap().to_owned();
        let part = |first: usize, last: usize| {
            let head = format!(
                "--{boundary}\r\ncontent-type: {inner}\r\ncontent-range: bytes {first}-{last}/{size}\r\n\r\n"
            );
            [head.as_bytes(), &content[first..=last]].concat()
        };
        let end = format!("\r\n--{boundary}--\r\n");
        let expected = [part(7, 8), b"\r\n".to_vec(), part(1, 2), end.into_bytes()].concat();
        assert_eq!(String::from_utf8_lossy(&reply.body), String::from_utf8_lossy(&expected));
    }
}

#[test]
fn compressed_forms_are_chosen() {
    let tree = tree();
    let server = serve(tree.path(), "");
    let mut tags = Vec::new();
    for (accept, coding, body) in [
        ("gzip, br", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "gzip"),
        ("gzip, br;q=0.5", Some("gzip"), "gzip"),
        ("zstd", None, "let a = 1; // plain"),
        ("identity", None, "let a = 1; // plain"),
    ] {
        let reply = ask(&server, "GET /app.js", &format!("accept-encoding: {accept}\r\n"));
        assert_eq!((reply.header("content-encoding"), reply.text()), (coding, body), "{accept}");
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        assert_eq!(reply.header("content-type"), Some("text/javascript; charset=utf-8"));
        tags.push(reply.header("etag").unwrap().to_owned());
    }
    assert!(tags[0] != tags[1] && tags[1] != tags[3] && tags[3] == tags[4], "{tags:?}");
    assert_eq!(server.get("/a.txt").header("vary"), None);
}

#[test]
fn settings_change_what_answers() {
    let tree = tree();
    let server = serve(
        tree.path(),
        "try_files = [\"{path}\", \"{path}.html\", \"{path}/index.html\", \"=404\"]\n\
         errors = { 404 = \"/404.html\" }\n\
         types = { txt = \"text/x-own\" }\n\
         cache_control = { \"/assets/*\" = \"max-age=9\", \"*.html\" = \"no-cache\" }",
    );
    assert_eq!(server.get("/docs/page").text(), "page");
    assert_eq!(server.get("/docs").header("location"), Some("/docs/"));
    let reply = server.get("/none");
    assert_eq!((reply.status, reply.text()), (404, "<h1>lost</h1>"));
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(ask(&server, "GET /none", "range: bytes=0-1\r\nif-none-match: *\r\n").text(), "<h1>lost</h1>");
    assert_eq!(server.get("/a.txt").header("content-type"), Some("text/x-own"));
    assert_eq!(server.get("/assets/x.css").header("cache-control"), Some("max-age=9"));
    assert_eq!(server.get("/docs/page.html").header("cache-control"), Some("no-cache"));

    let server = serve(tree.path(), "fallback = \"/index.html\"\nstrip = \"/app\"");
    assert_eq!(server.get("/app/some/where").text(), "<h1>home</h1>");
    assert_eq!(server.get("/app/docs/page.html").text(), "page");
    assert_eq!(server.get("/app/missing.js").status, 404);
    assert_eq!(server.get("/docs/page.html").status, 404);
}

#[test]
fn directories_are_listed() {
    let tree = tree();
    fs::write(tree.path().join("root/empty/<b>&\".txt"), "x").unwrap();
    symlink("../../secret.txt", tree.path().join("root/empty/leak")).unwrap();
    let server = serve(tree.path(), "listing = true");
    assert_eq!(server.get("/empty").header("location"), Some("/empty/"));
    let reply = server.get("/empty/");
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        reply.text().contains("<a href=\"./%3Cb%3E%26%22.txt\">&lt;b&gt;&amp;&quot;.txt</a>"),
        "{}",
        reply.text()
    );
    assert!(!reply.text().contains("leak") && !reply.text().contains("<b>"));
    let reply = ask(&server, "GET /empty/?sort=size&order=desc", "accept: application/json\r\n");
    let listing: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(listing["entries"][1]["name"], "x.txt");
    assert_eq!(listing["entries"][1]["size"], 1);
    assert_eq!(server.get("/").text(), "<h1>home</h1>");
}

#[test]
fn mistakes_are_named() {
    let tree = tree();
    let root = tree.path().join("root");
    for wrong in [
        "root = \"/nowhere/at/all\"".to_owned(),
        format!("root = {root:?}\ntry_files = [\"=404\", \"/x\"]"),
        format!("root = {root:?}\ntry_files = [\"../{{path}}\"]"),
        format!("root = {root:?}\nfallback = \"../x\""),
        format!("root = {root:?}\nerrors = {{ 200 = \"/x\" }}"),
        format!("root = {root:?}\ntypes = {{ a = \"b\" }}"),
    ] {
        let settings = format!("[[sites]]\nhosts = [\"*\"]\n[[sites.routes]]\n[sites.routes.files]\n{wrong}");
        let problems = support::sites(&settings).unwrap_err();
        assert_eq!(problems[0].setting, "sites.0.routes.0.files", "{wrong}");
    }
}

/// A file that becomes shorter while it is sent ends the connection, and nothing is made up for what is missing.
#[test]
fn truncated_files_break_off() {
    let tree = tree();
    let path = tree.path().join("root/huge.bin");
    fs::write(&path, vec![b'h'; 64 << 20]).unwrap();
    let server = serve(tree.path(), "");
    let mut stream = server.connect();
    stream.write_all(support::get("/huge.bin").as_bytes()).unwrap();
    let mut first = [0; 4096];
    stream.read_exact(&mut first).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20);
    // What the kernel had queued already may have become the zeros that a cut file has; nothing else can be in it.
    assert!(rest.iter().all(|byte| matches!(byte, b'h' | 0)));
    server.wait_for_metric("selvedge_http_connections_cut_total{reason=\"io\"} 1");
}

/// A replaced file is sent as it was to whom it was begun, and as it is to who comes then.
#[test]
fn replaced_files_end_as_they_began() {
    let tree = tree();
    let path = tree.path().join("root/huge.bin");
    fs::write(&path, vec![b'h'; 64 << 20]).unwrap();
    let server = serve(tree.path(), "[sites.routes.files.memory]\ncheck_ms = 0");
    let mut stream = server.connect();
    stream.write_all(support::get("/huge.bin").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    let new = tree.path().join("root/new");
    fs::write(&new, "new").unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(server.get("/huge.bin").text(), "new");
    fs::write(&path, "now").unwrap();
    assert_eq!(server.get("/huge.bin").text(), "now");
    let mut rest = Vec::new();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 64 << 20 && rest.ends_with(&[b'h'; 1 << 20]));
}
