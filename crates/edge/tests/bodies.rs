//! Steps that judge and change bodies.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::io::Write;

use selvedge_codec::{Codec, Flush, Format, Options, Status};
use support::{Reply, Server, read_reply, sites, start_sites};

const API: &str = r##"{"openapi": "3.1.0", "paths": {"/api/pets/{id}": {"put": {
    "parameters": [{"name": "id", "in": "path", "schema": {"type": "integer"}}, {"name": "dry", "in": "query", "schema": {"type": "boolean"}}],
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}}}}},
    "components": {"schemas": {"Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}}}"##;

const SITE: &str = r#"
[middleware.small.validate]
max_body_bytes = 1000
content_types = ["text/*"]
[middleware.schema.validate]
required_headers = ["x-id"]
required_query = ["q"]
buffer_bytes = 100000
schema = { type = "array", items = { type = "integer" } }
[middleware.api.validate]
openapi = "OPENAPI"
[middleware.edit.body]
request_json = { remove = ["/password"], rename = { "/a" = "b" }, set = { "/from" = "edge" } }
decompress = true
max_bytes = 100000
[middleware.answer.body]
response_json = { remove = ["/*/secret"] }
[middleware.text.body]
replace = { "onetwo" = "three", "http://internal" = "https://a.example" }
[middleware.json.headers]
response = { content-type = "application/json" }
[middleware.plain.headers]
response = { content-type = "text/plain", etag = '"1"' }

[[sites]]
hosts = ["a.example"]
[[sites.routes]]
path = "/small/echo"
use = ["small", "to-echo"]
worker = "test"
[[sites.routes]]
path = "/schema/echo"
use = ["schema", "to-echo"]
worker = "test"
[[sites.routes]]
path = "/api/*"
use = ["api"]
respond = { body = "fine" }
[[sites.routes]]
path = "/edit/echo"
use = ["edit", "to-echo"]
worker = "test"
[[sites.routes]]
path = "/answer"
use = ["answer", "json"]
respond = { body = '[{{"secret":1,"n":2}}]' }
[[sites.routes]]
path = "/answer/bad"
use = ["answer", "json"]
respond = { body = '[{{"secret":1' }
[[sites.routes]]
path = "/text"
use = ["text", "plain"]
respond = { body = "at http://internal/x, {header.accept-encoding}" }
[[sites.routes]]
path = "/stream"
use = ["text", "plain"]
worker = "test"
[middleware.to-echo.rewrite]
replace = [{ pattern = "^/[a-z]+/echo$", to = "/echo" }]
"#;

fn start() -> Server {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), API).unwrap();
    start_sites(&SITE.replace("OPENAPI", file.path().to_str().unwrap()))
}

fn send(server: &Server, line: &str, fields: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n",
        body.len()
    );
    server.send([head.as_bytes(), body].concat())
}

/// Status and pointers of what is wrong.
fn mistakes(reply: &Reply) -> (u16, Vec<String>) {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["code"], "invalid_request");
    let errors = problem["errors"].as_array().unwrap();
    (reply.status, errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn bodies_that_are_too_long_are_refused_before_or_while_they_come() {
    let server = start();
    let text = "content-type: text/plain\r\n";
    assert_eq!(send(&server, "POST /small/echo", text, "x".repeat(1000)).text(), "x".repeat(1000));
    let kind = send(&server, "POST /small/echo", "content-type: image/png\r\n", "x");
    assert_eq!((kind.status, kind.code().as_str()), (415, "unsupported_type"));
    assert_eq!(send(&server, "POST /small/echo", "", "x").status, 415);
    assert_eq!(send(&server, "POST /small/echo", "", "").status, 200, "no body, no type");
    // Announced: nothing of it is waited for.
    let reply = server.send("POST /small/echo HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1001\r\ncontent-type: text/a\r\n\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"));
    // In pieces: as soon as it is too much.
    let mut stream = server.connect();
    stream.write_all(b"POST /small/echo HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\ncontent-type: text/a\r\n\r\n").unwrap();
    for _ in 0..3 {
        let _ = stream.write_all(format!("190\r\n{}\r\n", "y".repeat(400)).as_bytes());
    }
    let reply = read_reply(&mut stream);
    assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"));
}

#[test]
fn json_fits_its_schema() {
    let server = start();
    let json = "content-type: application/json\r\nx-id: 1\r\n";
    assert_eq!(send(&server, "POST /schema/echo?q=1", json, "[1, 2]").text(), "[1, 2]");
    assert_eq!(
        mistakes(&send(&server, "POST /schema/echo?q", json, "[1, \"a\", {}]")),
        (400, vec!["#/1".into(), "#/2".into()])
    );
    assert_eq!(
        mistakes(&send(&server, "POST /schema/echo", "", "[1]")),
        (400, vec!["header:x-id".into(), "query:q".into()])
    );
    let long = format!("[{}1]", "1,".repeat(40_000));
    assert_eq!(send(&server, "POST /schema/echo?q", json, &long).text(), long, "judged aside");
    assert_eq!(
        mistakes(&send(&server, "POST /schema/echo?q", json, long.replacen('1', "\"\"", 1))).1,
        ["#/0"]
    );
    assert_eq!(mistakes(&send(&server, "POST /schema/echo?q", json, "[".repeat(90_000))).1, ["#"]);
    assert_eq!(send(&server, "POST /schema/echo?q", json, "1".repeat(100_001)).status, 413);
}

#[test]
fn requests_fit_their_operation() {
    let server = start();
    let json = "content-type: application/json\r\n";
    assert_eq!(send(&server, "PUT /api/pets/7?dry=true", json, r#"{"name": "x"}"#).text(), "fine");
    assert_eq!(mistakes(&send(&server, "PUT /api/pets/x?dry=2", json, "{}")).1, ["path:id", "query:dry"]);
    assert_eq!(mistakes(&send(&server, "PUT /api/pets/7", json, r#"{"name": 1}"#)).1, ["#/name"]);
    assert_eq!(mistakes(&send(&server, "PUT /api/pets/7", json, "")).1, ["#"]);
    assert_eq!(
        send(&server, "PUT /api/pets/7", "content-type: text/xml\r\n", "x").code(),
        "unsupported_type"
    );
    let reply = send(&server, "GET /api/dogs", "", "");
    assert_eq!((reply.status, reply.code().as_str()), (404, "unknown_operation"));
    assert_eq!(send(&server, "GET /api/pets/7", "", "").status, 405);
}

fn packed(format: Format, data: &[u8]) -> Vec<u8> {
    let mut codec = Codec::new(format, Options { level: Some(3), ..Options::default() }).unwrap();
    let (mut out, mut at, mut piece) = (Vec::new(), 0, vec![0; 64 << 10]);
    loop {
        let step = codec.step(&data[at..], &mut piece, Flush::Finish).unwrap();
        out.extend_from_slice(&piece[..step.written]);
        at += step.read;
        if step.status == Status::End {
            return out;
        }
    }
}

#[test]
fn requests_are_changed_and_unpacked() {
    let server = start();
    let json = "content-type: application/json\r\n";
    let body = r#"{"a": 1, "password": "x"}"#;
    let changed = r#"{"b":1,"from":"edge"}"#;
    assert_eq!(send(&server, "POST /edit/echo", json, body).text(), changed);
    assert_eq!(send(&server, "POST /edit/echo", json, "{").code(), "no_json");
    assert_eq!(send(&server, "POST /edit/echo", "content-type: text/plain\r\n", body).text(), body);
    for (name, format) in [
        ("gzip", Format::Gzip),
        ("deflate", Format::Deflate),
        ("br", Format::BrotliCompress),
        ("zstd", Format::ZstdCompress),
    ] {
        let fields = format!("content-encoding: {name}\r\n");
        let long = packed(format, &vec![b'x'; 60_000]);
        assert_eq!(send(&server, "POST /edit/echo", &fields, &long).body.len(), 60_000, "{name}");
        assert_eq!(
            send(&server, "POST /edit/echo", &(fields.clone() + json), packed(format, body.as_bytes()))
                .text(),
            changed
        );
        // Bombs: beyond the ratio, and beyond the length.
        let bomb = packed(format, &vec![0; 80_000]);
        assert_eq!(send(&server, "POST /edit/echo", &fields, &bomb).status, 413, "{name}");
        let bomb = packed(format, &vec![0; 20 << 20]);
        assert_eq!(send(&server, "POST /edit/echo", &fields, &bomb).status, 413, "{name}");
        for wrong in [&long[..long.len() - 1], b"rubbish", &[&long[..], b"more"].concat()] {
            assert_eq!(send(&server, "POST /edit/echo", &fields, wrong).code(), "bad_coding", "{name}");
        }
    }
    assert_eq!(
        send(&server, "POST /edit/echo", "content-encoding: gzip, gzip\r\n", "x").code(),
        "unsupported_coding"
    );
}

#[test]
fn answers_are_changed() {
    let server = start();
    assert_eq!(send(&server, "GET /answer", "", "").text(), r#"[{"n":2}]"#);
    let reply = send(&server, "GET /text", "accept-encoding: gzip\r\n", "");
    assert_eq!((reply.text(), reply.header("etag")), ("at https://a.example/x, identity", None));
    let reply = send(&server, "GET /stream", "", "");
    assert_eq!((reply.text(), reply.header("etag")), ("5\r\nthree\r\n0\r\n\r\n", None));
    // What cannot be read might hold what should go: it does not get through.
    let mut stream = server.connect();
    stream.write_all(b"GET /answer/bad HTTP/1.1\r\nhost: a.example\r\n\r\n").unwrap();
    let mut all = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut all);
    assert!(!String::from_utf8_lossy(&all).contains("secret"));
}

#[test]
fn mistakes_are_named() {
    for settings in [
        "[middleware.a.validate]\nschema = { type = 7 }",
        "[middleware.a.validate]\nopenapi = \"/nowhere\"",
        "[middleware.a.validate]\nrequired_headers = [\"a b\"]",
        "[middleware.a.body]\nreplace = { \"\" = \"x\" }",
        "[middleware.a.body]\nrequest_json = { remove = [\"a\"] }",
    ] {
        assert_eq!(sites(settings).unwrap_err()[0].setting, "middleware.a", "{settings}");
    }
}
