//! However a path is written, the middleware of its route is asked before anything answers.
#![allow(missing_docs, reason = "a test crate")]

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::fs;

use origin::{Origin, ok};
use support::{Reply, Server, start_sites};

/// Ways to write an address below `/admin/` that some server reads so.
const ATTACKS: [&str; 26] = [
    "/admin/x",
    "/%61dmin/x",
    "/%61%64%6d%69%6E/x",
    "//admin/x",
    "///admin//x",
    "/./admin/x",
    "/%2e/admin/x",
    "/open/../admin/x",
    "/open/%2e%2e/admin/x",
    "/open/.%2E/admin/x",
    "/open//../admin/x",
    "/open/..//%61dmin/x",
    "/../admin/x",
    "/open/..%2fadmin/x",
    "/open%2F..%2Fadmin/x",
    "/open/%2e%2e%2fadmin/x",
    "/open/..%5cadmin/x",
    "/open/..\\admin/x",
    "/\\admin/x",
    "/%2fadmin/x",
    "/admin%2fx",
    "/admin\\x",
    "/admin%00/x",
    "/open/..;/admin/x",
    "/open/..;a=b/admin/x",
    "/;a/admin;b=c/x",
];

fn site(guard: &str, handler: &str) -> Server {
    start_sites(&format!(
        "[middleware.guard]\n{guard}\n[[sites]]\nhosts = [\"test.localhost\"]\n\
         [[sites.routes]]\npath = \"/admin/*\"\nuse = [\"guard\"]\n{handler}\n\
         [[sites.routes]]\npath = \"/*\"\n{handler}\n"
    ))
}

fn ask(server: &Server, path: &str) -> Reply {
    server.send(format!("GET {path} HTTP/1.1\r\nhost: test.localhost\r\nconnection: close\r\n\r\n"))
}

fn nothing_passes(handler: &str) {
    let hash = bcrypt::hash("secret", 4).unwrap();
    let basic = format!("basic = {{ users = [{{ name = \"me\", hash = \"{hash}\" }}] }}");
    for guard in ["ip = { deny = [\"127.0.0.0/8\"] }", &basic] {
        let server = site(guard, handler);
        for path in ATTACKS {
            let reply = ask(&server, path);
            // By the guard, or since the path may be read in two ways.
            assert!(
                matches!(reply.status, 400 | 401 | 403),
                "{path} by {handler}: {} {}",
                reply.status,
                reply.text()
            );
        }
        assert!(!matches!(ask(&server, "/open/x").status, 400 | 401 | 403), "what is open stays open");
    }
}

#[test]
fn nothing_passes_to_a_proxy() {
    let origin = Origin::saying(ok("in"));
    nothing_passes(&format!("proxy = {{ to = [\"{}\"] }}", origin.url()));
}

#[test]
fn nothing_passes_to_a_worker() {
    nothing_passes("worker = \"test\"");
}

#[test]
fn nothing_passes_to_files() {
    let root = tempfile::TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("admin")).unwrap();
    fs::write(root.path().join("admin/x"), "in").unwrap();
    nothing_passes(&format!("files = {{ root = {:?} }}", root.path()));
}

#[test]
fn nothing_passes_to_answers_and_redirects() {
    nothing_passes("respond = { body = \"in\" }");
    nothing_passes("redirect = { to = \"https://new.example{uri}\" }");
}

#[test]
fn requests_go_on_as_they_came_unless_that_leads_elsewhere() {
    let server = start_sites(
        "[[sites]]\nhosts = [\"test.localhost\"]\n\
         [[sites.routes]]\npath = \"/a/*\"\nrespond = { body = \"a {uri}\" }\n\
         [[sites.routes]]\npath = \"/caf%c3%a9\"\nrespond = { body = \"caf\u{e9}\" }\n\
         [[sites.routes]]\npath = \"/u/{id}\"\nrespond = { body = \"u {path.id}\" }\n\
         [[sites.routes]]\npath = \"/*\"\nrespond = { body = \"other {uri}\" }\n",
    );
    for (path, expected) in [
        ("/a/%62?%63", "a /a/%62?%63"),
        ("/a/http://x", "a /a/http://x"),
        ("/a/b%2Fc;d", "a /a/b%2Fc;d"),
        ("/%61/b?%63", "a /a/b?%63"),
        ("//a/b", "a /a/b"),
        ("/a/../b", "other /b"),
        ("/b/./c?d", "other /b/c?d"),
        ("/caf%C3%A9", "caf\u{e9}"),
        ("/u/%6de%20", "u me%20"),
    ] {
        let reply = ask(&server, path);
        assert_eq!((reply.status, reply.text()), (200, expected), "{path}");
    }
    for path in ["/u/a%2Fb", "/a%2Fb", "/x/..;/a/b"] {
        assert_eq!(ask(&server, path).code(), "ambiguous_path", "{path}");
    }
}
