//! Programs made of packages as npm has them deploy and answer: a runtime is as good as what runs on it.

mod common;

use std::process::Command;

use common::{Answer, Selvedge, repository};
use serde_json::{Value, json};

/// A server with this program deployed.
fn deployed(name: &str) -> Selvedge {
    let dir = repository("crates/selvedge/tests/programs").join(name);
    assert!(dir.join("node_modules").exists(), "run `npm ci` in {}", dir.display());
    let selvedge = Selvedge::start();
    let answer = selvedge.json(&["deploy", dir.to_str().unwrap()]);
    assert_eq!((&answer["name"], &answer["warnings"]), (&json!(name), &json!([])));
    selvedge
}

/// A request with one more line in its head.
fn ask(selvedge: &Selvedge, name: &str, line: &str, header: &str, body: &str) -> Answer {
    let length = body.len();
    selvedge.raw(&format!(
        "{line} HTTP/1.1\r\nhost: {name}.localhost\r\nconnection: close\r\n{header}\r\n\
         content-length: {length}\r\n\r\n{body}"
    ))
}

#[test]
fn hono_and_zod() {
    let selvedge = deployed("libraries");
    let origin = "origin: https://example.com";
    let page = ask(&selvedge, "libraries", "GET /hono/page/me", origin, "");
    assert_eq!(page.body, "<ul><li>me</li><li>&lt;b&gt;</li></ul>");
    let head = page.head.to_lowercase();
    assert!(head.contains("access-control-allow-origin: https://example.com"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = ask(&selvedge, "libraries", "GET /hono/page/me", &format!("if-none-match: {etag}"), "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));

    assert_eq!(selvedge.get("libraries", "/hono/secret").status, 401);
    let basic = "authorization: Basic bWU6b3BlbiBzZXNhbWU=";
    assert_eq!(ask(&selvedge, "libraries", "GET /hono/secret", basic, "").body, "treasure");
    assert_eq!(selvedge.get("libraries", "/hono/stream").body, "line 0\nline 1\nline 2\n");
    let events = selvedge.get("libraries", "/hono/events").body;
    assert_eq!(events, "event: count\ndata: 0\nid: 0\n\nevent: count\ndata: 10\nid: 1\n\n");
    let form = "content-type: application/x-www-form-urlencoded";
    let parsed = ask(&selvedge, "libraries", "POST /hono/form", form, "a=1&b=two+words");
    assert_eq!(parsed.json(), json!({"a": "1", "b": "two words"}));
    assert_eq!(selvedge.get("libraries", "/nothing").body, "nothing here");

    let book = selvedge.post("libraries", "/zod", r#"{"title": "Solaris", "year": "1961", "more": 1}"#);
    assert_eq!(book.json(), json!({"title": "Solaris", "year": 1961, "tags": []}));
    let wrong = selvedge.post("libraries", "/zod", r#"{"title": "S", "year": 1.5, "link": "no link"}"#);
    assert_eq!(wrong.status, 400);
    let paths: Vec<Value> =
        wrong.json().as_array().unwrap().iter().map(|issue| issue["path"][0].clone()).collect();
    assert_eq!(paths, ["title", "year", "link"]);
}

#[test]
fn itty_router() {
    let selvedge = deployed("libraries");
    let found = selvedge.get("libraries", "/itty/things/a/b?q=1&q=2");
    assert_eq!(found.json(), json!({"id": "a/b", "query": {"q": ["1", "2"]}}));
    let kind = "content-type: application/json";
    let made = ask(&selvedge, "libraries", "POST /itty/things", kind, r#"{"x": [1]}"#);
    assert_eq!(made.json(), json!({"got": {"x": [1]}}));
    let refused = selvedge.get("libraries", "/itty/refused");
    assert_eq!((refused.status, refused.json()["error"].clone()), (403, json!("not for you")));
    assert_eq!(selvedge.get("libraries", "/itty/other").status, 404);
}

#[test]
fn graphql_yoga() {
    let selvedge = deployed("libraries");
    let query = |query: &str, header: &str| {
        let body = json!({ "query": query }).to_string();
        let header = format!("content-type: application/json\r\n{header}");
        ask(&selvedge, "libraries", "POST /graphql", &header, &body)
    };
    let json = |text: &str| query(text, "accept: application/json").json();
    assert_eq!(json("{ hello }"), json!({"data": {"hello": "Hello, you!"}}));
    assert_eq!(json(r#"mutation { add(text: "one") { id } }"#), json!({"data": {"add": {"id": 1}}}));
    assert_eq!(json("{ notes { text } }"), json!({"data": {"notes": [{"text": "one"}]}}));
    let wrong = json("{ hello wrong }");
    assert_eq!(wrong["data"], json!({"hello": "Hello, you!", "wrong": null}));
    assert_eq!(wrong["errors"][0]["extensions"]["code"], "WRONG");
    // What nobody meant for clients does not reach them.
    assert_eq!(json("{ broken }")["errors"][0]["message"], "Unexpected error.");
    assert!(json("{ nothing }")["errors"][0]["message"].as_str().unwrap().starts_with("Cannot query field"));
    let events = query("subscription { count(to: 3) }", "accept: text/event-stream");
    assert!(events.head.contains("text/event-stream"), "{}", events.head);
    let data: Vec<&str> = events.body.lines().filter(|line| line.starts_with("data: {")).collect();
    assert_eq!(data, [1, 2, 3].map(|n| format!(r#"data: {{"data":{{"count":{n}}}}}"#)));
}

#[test]
fn jose() {
    let selvedge = deployed("libraries");
    let signed = ["HS256", "HS512", "RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"];
    for algorithm in signed {
        let answer = selvedge.get("libraries", &format!("/jose/{algorithm}"));
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.body);
        let refused = json!({"role": "admin", "forged": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"});
        assert_eq!(answer.json(), refused, "{algorithm}");
    }
    let encrypted = ["dir+A256GCM", "dir+A128CBC-HS256", "RSA-OAEP-256+A256GCM", "ECDH-ES+A128KW+A128GCM"];
    for algorithm in encrypted {
        // The last `+` divides the two algorithms.
        let (key, content) = algorithm.rsplit_once('+').unwrap();
        let answer = selvedge.get("libraries", &format!("/jose/JWE-{key}%20{content}"));
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.body);
        assert_eq!(
            answer.json(),
            json!({"role": "admin", "forged": "ERR_JWE_DECRYPTION_FAILED"}),
            "{algorithm}"
        );
    }
}

#[test]
fn images_in_webassembly() {
    let selvedge = deployed("libraries");
    let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1"><rect width="2" height="1" fill="#0a141e"/></svg>"##;
    let read = selvedge.post("libraries", "/image?decode", svg);
    assert_eq!(read.status, 200, "{}", read.body);
    assert_eq!(read.json(), json!({"width": 64, "height": 32, "pixel": [10, 20, 30, 255]}));
    let broken = selvedge.post("libraries", "/image", "<svg");
    assert_eq!(broken.status, 500, "{}", broken.body);
    // The module is still good for the next one.
    assert_eq!(selvedge.post("libraries", "/image?decode", svg).json()["width"], 64);
}

#[test]
fn markdown_in_webassembly() {
    let selvedge = deployed("libraries");
    let text =
        "# Hello *you*\n\n| a | b |\n|---|---|\n| 1 | ~~2~~ |\n\n```js\nlet x\n```\n\n- [x] done <script>\n";
    let html = selvedge.post("libraries", "/markdown", text);
    assert_eq!(html.status, 200, "{}", html.body);
    for part in ["<h1>Hello <em>you</em>", "<td><del>2</del></td>", "<b>js</b> LET X", "type=\"checkbox\""] {
        assert!(html.body.contains(part), "{part}: {}", html.body);
    }
    assert_eq!(selvedge.post("libraries", "/markdown?as=stream", text).body, html.body);
    let tree = selvedge.post("libraries", "/markdown?as=tree", "# A\n\nb **c**").json();
    assert_eq!(tree["children"][0], json!({"type": 21, "children": ["A"]}));
    assert_eq!(tree["children"][1]["children"][1], json!({"type": 31, "children": ["c"]}));
    // More than the module's memory has at first.
    let long = "word *word* ".repeat(200_000);
    let html = selvedge.post("libraries", "/markdown", &long).body;
    assert_eq!(html.matches("<em>word</em>").count(), 200_000);
}

#[test]
fn sveltekit() {
    let dir = repository("crates/selvedge/tests/programs/sveltekit");
    let mut build = Command::new(dir.join("node_modules/.bin/vite"));
    build.arg("build").current_dir(&dir).env("WRANGLER_SEND_METRICS", "false").env("CI", "1");
    let built = build.output().expect("run `npm ci` in tests/programs/sveltekit");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let selvedge = deployed("sveltekit");

    // Static: a file, a page made at build time, and the script it names.
    assert_eq!(selvedge.get("sveltekit", "/plain.txt").body, "A file as it is.\n");
    let page = selvedge.get("sveltekit", "/");
    assert!(page.body.contains("<title>Counter</title>") && page.body.contains("0 clicks"), "{}", page.body);
    let (_, rest) = page.body.split_once("_app/immutable/").expect("a script");
    let script = rest.split('"').next().unwrap();
    let script = selvedge.get("sveltekit", &format!("/_app/immutable/{script}"));
    assert_eq!(script.status, 200);
    assert!(script.head.contains("immutable"), "the rules of _headers: {}", script.head);
    assert!(!selvedge.get("sveltekit", "/_worker.js").body.contains("new Server"));

    // Rendered by the worker, with its variables and cookies.
    let page = selvedge.get("sveltekit", "/greet/you");
    assert!(page.body.contains("<h1>Hello, you, from the edge!</h1>"), "{}", page.body);
    assert!(page.head.contains("last=you"), "{}", page.head);
    let data = selvedge.get("sveltekit", "/greet/you/__data.json");
    assert_eq!(data.json()["type"], "data");
    let nobody = selvedge.get("sveltekit", "/greet/nobody");
    assert_eq!(nobody.status, 404);
    assert!(nobody.body.contains("nobody is there"), "{}", nobody.body);
    let form = "content-type: application/x-www-form-urlencoded\r\naccept: text/html";
    let said = ask(&selvedge, "sveltekit", "POST /greet/you", form, "text=hi");
    assert!(said.body.contains("You said hi."), "{}", said.body);
    assert_eq!(ask(&selvedge, "sveltekit", "POST /greet/you", form, "text=").status, 400);

    // Endpoints.
    assert_eq!(selvedge.get("sveltekit", "/api?a=1").json(), json!({"query": {"a": "1"}}));
    let made = ask(&selvedge, "sveltekit", "POST /api", "content-type: text/plain", "loud");
    assert_eq!((made.status, made.body.as_str()), (201, "LOUD"));
    assert_eq!(selvedge.get("sveltekit", "/nothing").status, 404);
}
