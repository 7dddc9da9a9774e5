//! Uploads that are wrong, huge, cut off or meant to harm.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use crate::harness::{A, Answer, MULTIPART, Part, Server, form, metadata, module};

const MAIN: &str = r#"{"main_module":"main.js"}"#;
const ESM: &str = "application/javascript+module";

/// Nothing of a refused upload is left.
fn untouched(server: &Server) {
    assert_eq!(server.get(&format!("{A}/scripts")).json(), json!([]));
    assert_eq!(std::fs::read_dir(server.dir.path().join("artifacts")).unwrap().count(), 0);
    assert!(server.engine.applied.lock().unwrap().is_empty());
}

#[test]
fn metadata_is_there_once_and_well_formed() {
    let server = Server::start();
    server.put("a", &[]).refused(400, "invalid_upload");
    server.put("a", &[module("")]).refused(400, "invalid_upload");
    server.put("a", &[metadata(MAIN), metadata(MAIN), module("")]).refused(400, "invalid_upload");
    server.put("a", &[metadata(MAIN)]).refused(400, "invalid_upload");
    let cases = [
        ("", "EOF"),
        ("{}", "main_module"),
        (r#"["main.js"]"#, "object"),
        ("{\"main_module\":\"main.js\",", "EOF"),
        (r#"{"main_module":"main.js","mainmodule":1}"#, "mainmodule"),
        (r#"{"main_module":"main.js","limits":{"cpu":1}}"#, "cpu"),
        (r#"{"main_module":"main.js","limits":{"memory_mb":0}}"#, "memory_mb"),
        (r#"{"main_module":"main.js","limits":{"wall_ms":4294967295}}"#, "wall_ms"),
        (r#"{"main_module":"main.js","limits":{"queue":-1}}"#, "u32"),
        (r#"{"main_module":"main.js","isolation":"none"}"#, "none"),
        (r#"{"main_module":"main.js","keep_bindings":["kv_namespace"]}"#, "kv_namespace"),
        (r#"{"main_module":"main.js","routes":["a b/"]}"#, "a b/"),
        (r#"{"main_module":"main.js","compatibility_date":"today"}"#, "compatibility_date"),
        (r#"{"main_module":"main.js","compatibility_date":"2026-1-01x"}"#, "compatibility_date"),
        (r#"{"main_module":"main.js","compatibility_flags":["A B"]}"#, "compatibility_flags"),
        (r#"{"main_module":"main.js","bindings":[{"name":"A","type":"kv","text":""}]}"#, "kv"),
        (r#"{"main_module":"main.js","bindings":[{"name":"A","type":"json","text":"{"}]}"#, "\"A\""),
        (r#"{"main_module":"main.js","bindings":[{"name":"A","type":"json","text":"1","x":2}]}"#, "x"),
        (
            r#"{"main_module":"main.js","bindings":[{"name":"A","type":"json","text":"1"},{"name":"A","type":"json","text":"1"}]}"#,
            "twice",
        ),
        (r#"{"main_module":"main.js","main_module":"main.js"}"#, "main_module"),
    ];
    for (text, named) in cases {
        let message = server.put("a", &[metadata(text), module("")]).refused(400, "invalid_metadata");
        assert!(message.contains(named), "{text}: {message}");
    }
    let name = r#"{"main_module":"main.js","bindings":[{"name":"__proto__ ","type":"json","text":"1"}]}"#;
    server.put("a", &[metadata(name), module("")]).refused(400, "invalid_binding_name");
    let long = json!({"main_module": "main.js", "message": "x".repeat(2000)}).to_string();
    server.put("a", &[metadata(&long), module("")]).refused(400, "invalid_request");
    let raw = ("metadata", "application/json", b"\xff\xfe".as_slice());
    server.put("a", &[raw, module("")]).refused(400, "invalid_metadata");
    untouched(&server);
}

#[test]
fn module_names_cannot_leave_the_artifact() {
    let server = Server::start();
    for name in ["../main.js", "a/../../b.js", "/etc/passwd", "", "a\\\\b.js", &"x".repeat(2000), ".."] {
        let parts = [metadata(MAIN), module(""), (name, ESM, b"".as_slice())];
        server.put("a", &parts).refused(400, "invalid_upload");
    }
    let parts = [metadata(MAIN), module(""), module("again")];
    let message = server.put("a", &parts).refused(400, "invalid_upload");
    assert!(message.contains("main.js") && message.contains("twice"), "{message}");
    let elsewhere = r#"{"main_module":"../../secret.key"}"#;
    server.put("a", &[metadata(elsewhere), module("")]).refused(400, "invalid_upload");
    let text: Part<'_> = ("main.js", "text/plain", b"");
    server.put("a", &[metadata(MAIN), text]).refused(400, "invalid_upload");
    untouched(&server);
}

#[test]
fn modules_are_of_a_known_type_and_utf_8_where_they_are_text() {
    let server = Server::start();
    for content_type in
        ["application/javascript", "text/html", "", "image/png", "application/javascript+module2"]
    {
        let part = ("b.js", content_type, b"".as_slice());
        let message = server.put("a", &[metadata(MAIN), module(""), part]).refused(400, "invalid_upload");
        assert!(message.contains("b.js"), "{message}");
    }
    for content_type in [ESM, "text/plain", "application/json"] {
        let part = ("b.js", content_type, b"\xff\xfe\x00".as_slice());
        let message = server.put("a", &[metadata(MAIN), module(""), part]).refused(400, "invalid_upload");
        assert!(message.contains("UTF-8"), "{message}");
    }
    untouched(&server);
    let data = ("b.bin", "application/octet-stream", b"\xff\xfe\x00".as_slice());
    let map = ("main.js.map", "application/source-map", b"\xff{".as_slice());
    assert_eq!(server.put("a", &[metadata(MAIN), module(""), data, map]).status, 200);
}

#[test]
fn ten_thousand_parts_are_refused() {
    let server = Server::start();
    let names: Vec<String> = (0..10_000).map(|n| format!("m{n}.js")).collect();
    let mut parts = vec![metadata(MAIN), module("")];
    parts.extend(names.iter().map(|name| (name.as_str(), ESM, b"".as_slice())));
    server.put("a", &parts).refused(413, "too_large");
    untouched(&server);
}

#[test]
fn huge_parts_are_refused() {
    let server = Server::start();
    let big = vec![b' '; (32 << 20) + 1];
    let message = server.put("a", &[metadata(MAIN), ("main.js", ESM, &big)]).refused(413, "too_large");
    assert!(message.contains("main.js"), "{message}");
    let long = vec![b' '; (8 << 20) + 1];
    let part = ("metadata", "application/json", long.as_slice());
    server.put("a", &[part, module("")]).refused(413, "too_large");
    let third = vec![b' '; 22 << 20];
    let parts =
        [metadata(MAIN), ("main.js", ESM, third.as_slice()), ("b.js", ESM, &third), ("c.js", ESM, &third)];
    server.put("a", &parts).refused(413, "too_large");
    untouched(&server);
}

/// Sends the head, as much of the body as there is, and then nothing more.
fn cut(server: &Server, body: &[u8], claimed: usize) -> TcpStream {
    let token = format!("Bearer {}", server.token);
    let headers = [("authorization", token.as_str()), ("content-type", MULTIPART)];
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(&server.head("PUT", &format!("{A}/scripts/a"), &headers, claimed)).unwrap();
    stream.write_all(body).unwrap();
    stream
}

#[test]
fn an_upload_that_announces_too_much_is_refused_unread() {
    let server = Server::start();
    Answer::read(cut(&server, b"", 1 << 40)).refused(413, "too_large");
    // One without a length may be as large as is allowed, and no larger.
    let token = format!("Bearer {}", server.token);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "PUT {A}/scripts/a HTTP/1.1\r\nhost: admin.test\r\nconnection: close\r\nauthorization: {token}\r\n\
         content-type: {MULTIPART}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let body = form(&[metadata(MAIN), module("")]);
    for byte in body.chunks(10) {
        stream.write_all(format!("{:x}\r\n", byte.len()).as_bytes()).unwrap();
        stream.write_all(byte).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(Answer::read(stream).status, 200);
}

#[test]
fn uploads_that_stall_do_not_keep_small_ones_out() {
    let server = Server::start();
    let body = form(&[metadata(MAIN), module("")]);
    // Each has sent everything but the end.
    let stalled: Vec<TcpStream> =
        (0..20).map(|_| cut(&server, &body[..body.len() - 20], body.len())).collect();
    server.deploy("b", "1");
    for mut stream in stalled {
        stream.write_all(&body[body.len() - 20..]).unwrap();
        assert_eq!(Answer::read(stream).status, 200);
    }
}

#[test]
fn an_upload_that_breaks_off_changes_nothing() {
    let server = Server::start();
    let whole = form(&[metadata(MAIN), module("export default {}")]);
    for length in (0..whole.len()).step_by(7) {
        // The client half-closes before the promised length.
        let stream = cut(&server, &whole[..length], whole.len());
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = { stream }.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{length}");
        // The body is complete as HTTP, but not as multipart.
        if length + 4 < whole.len() {
            Answer::read(cut(&server, &whole[..length], length)).refused(400, "invalid_upload");
        }
    }
    untouched(&server);
    server.deploy("a", "1");
}

#[test]
fn an_upload_is_multipart() {
    let server = Server::start();
    let token = format!("Bearer {}", server.token);
    let path = format!("{A}/scripts/a");
    let body = form(&[metadata(MAIN), module("")]);
    for content_type in
        ["application/json", "multipart/form-data", "multipart/mixed; boundary=frontier", "\u{1}"]
    {
        let headers = [("authorization", token.as_str()), ("content-type", content_type)];
        let answer = server.send("PUT", &path, &headers, &body);
        assert_eq!(answer.status, 400, "{content_type}: {answer:?}");
    }
    let headers = [("authorization", token.as_str())];
    server.send("PUT", &path, &headers, &body).refused(400, "invalid_upload");
    let other = [("authorization", token.as_str()), ("content-type", "multipart/form-data; boundary=other")];
    server.send("PUT", &path, &other, &body).refused(400, "invalid_upload");
    untouched(&server);
}

#[test]
fn a_source_map_of_nonsense_does_not_stop_a_refusal() {
    let server = Server::start();
    let bombs: [&[u8]; 4] = [
        b"[[[[",
        br#"{"version":3,"sources":[],"mappings":"+/////D+/////D+/////D+/////D"}"#,
        br#"{"version":3,"sources":["a"],"mappings":";ggggggggggggggggg"}"#,
        br#"{"version":3,"sources":null,"mappings":7}"#,
    ];
    for map in bombs {
        let parts = [metadata(MAIN), module("\nrefuse"), ("main.js.map", "application/source-map", map)];
        let answer = server.put("a", &parts);
        answer.refused(422, "code_refused");
        assert_eq!(answer.json()["error"]["diagnostic"]["file"], "main.js");
    }
}
