//! Requests of HTTP/2 that would become something else as HTTP/1.1 (RFC 9113, sections 8.1 to 8.3 and 10.3), through pairs
//! with real servers: each is refused, or arrives as the one request that it is.

#[path = "support/pairs.rs"]
mod pairs;
mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use pairs::Backends;
use support::{read_reply, start_sites};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Field<'a> = (&'a [u8], &'a [u8]);

/// A header block of literals that no table knows (RFC 7541, section 6.2.2).
fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        assert!(name.len() < 127 && value.len() < 127);
        block.extend([0, name.len() as u8]);
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value);
    }
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A request: its fields, what follows them, and its trailers.
fn request(stream: u32, fields: &[Field<'_>], data: &[&[u8]], trailers: &[Field<'_>]) -> Vec<u8> {
    let lone = data.is_empty() && trailers.is_empty();
    let mut bytes = frame(HEADERS, END_HEADERS | if lone { END_STREAM } else { 0 }, stream, &block(fields));
    for (at, data_part) in data.iter().enumerate() {
        let last = at + 1 == data.len() && trailers.is_empty();
        bytes.extend(frame(DATA, u8::from(last), stream, data_part));
    }
    if !trailers.is_empty() {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(trailers)));
    }
    bytes
}

/// Whether a header block begins with `:status: 200` of the static table, after sizes for the other one.
fn is_ok(mut block: &[u8]) -> bool {
    while let [first @ 0x20..0x40, rest @ ..] = block {
        let more =
            if *first == 0x3f { rest.iter().position(|byte| *byte < 0x80).unwrap_or(0) + 1 } else { 0 };
        block = &rest[more..];
    }
    block.first() == Some(&0x88)
}

/// What became of a stream: its body if it was answered 200; and whether the connection goes on.
fn outcome(socket: &mut TcpStream, stream: u32) -> (Option<String>, bool) {
    let (mut ok, mut body) = (false, Vec::new());
    loop {
        let mut head = [0; 9];
        if socket.read_exact(&mut head).is_err() {
            return (None, false);
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).unwrap();
        let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            GOAWAY => return (None, false),
            RST_STREAM if of == stream && !ok => return (None, true),
            HEADERS if of == stream => ok = is_ok(&payload),
            DATA if of == stream => body.extend(&payload),
            _ => continue,
        }
        if of == stream && head[4] & END_STREAM != 0 {
            return (ok.then(|| String::from_utf8_lossy(&body).into_owned()), true);
        }
    }
}

struct Case {
    name: String,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    data: Vec<Vec<u8>>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the server is to see; nothing if the request is refused.
    seen: Option<String>,
}

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: {A}\r\n\r\n";

/// The default fields with some put in place of others, or behind them.
fn case(name: &str, change: &[(&str, &str)], data: &[&str], seen: Option<&str>) -> Case {
    let mut fields: Vec<(String, String)> =
        [(":method", "POST"), (":scheme", "http"), (":authority", "{A}"), (":path", "{P}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    for (name, value) in change {
        match fields.iter_mut().find(|field| field.0 == *name) {
            Some(field) => field.1 = (*value).to_owned(),
            None => fields.push(((*name).to_owned(), (*value).to_owned())),
        }
    }
    // What was replaced by nothing at all is left out.
    fields.retain(|(_, value)| value != "-");
    Case {
        name: name.to_owned(),
        fields: fields.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect(),
        data: data.iter().map(|part| part.as_bytes().to_vec()).collect(),
        trailers: Vec::new(),
        seen: seen.map(str::to_owned),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let splits = format!("x\r\n\r\n{HIDDEN}");
    for name in [
        "x\r\ny",
        "x\ny",
        "x\ry",
        "x: y",
        "x:",
        "x y",
        " x",
        "x ",
        "X",
        "x\0",
        "x\x7f",
        "",
        "x: y\r\ntransfer-encoding",
        "ü",
        "x(",
        "{x}",
        ":x",
        ":",
        ":status",
        ":protocol",
        "transfer-encoding: chunked\r\nx",
    ] {
        cases.push(case(&format!("name {name:?}"), &[(name, "y")], &[], None));
    }
    for value in
        ["y\r\nx: y", "y\nx: y", "y\rx", "\0", "y\x01", "y\x7f", "y\r\ntransfer-encoding: chunked", &splits]
    {
        cases.push(case(&format!("value {value:?}"), &[("x", value)], &[], None));
    }
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", "x"),
        ("connection", "keep-alive"),
        ("connection", "close"),
        ("connection", "transfer-encoding"),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("keep-alive", "timeout=1"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("te", "trailers, chunked"),
        ("content-length", "+3"),
        ("content-length", "3, 3"),
        ("content-length", "0x3"),
        ("content-length", ""),
        ("content-length", "3 "),
        ("content-length", "-3"),
        ("content-length", "2"),
        ("content-length", "4"),
        ("content-length", "0"),
        ("content-length", "18446744073709551619"),
    ] {
        cases.push(case(&format!("{name}: {value:?} and three bytes"), &[(name, value)], &["0\r\n"], None));
    }
    cases.push(case("a length and no body", &[("content-length", "5")], &[], None));
    cases.push(case(
        "more in a second frame than was announced",
        &[("content-length", "3")],
        &["abc", HIDDEN],
        None,
    ));
    for length in ["3", "4"] {
        let mut twice =
            case(&format!("two lengths, 3 and {length}"), &[("content-length", "3")], &["abc"], None);
        twice.fields.push((b"content-length".to_vec(), length.as_bytes().to_vec()));
        cases.push(twice);
    }
    for path in [
        "",
        "-",
        "x",
        "*",
        "{P} HTTP/1.1\r\nx: y",
        "{P} HTTP/1.1",
        "{P}\r\n",
        "{P}\n",
        "{P}\0",
        "{P}#x",
        "{P}\t",
        "http://evil.test{P}",
        " {P}",
        "\\{P}",
        "{P} HTTP/1.1\r\nhost: {A}\r\n\r\nGET /hidden",
    ] {
        cases.push(case(&format!(":path {path:?}"), &[(":path", path)], &[], None));
    }
    for authority in [
        "",
        "{A}\r\nx: y",
        "{A} x",
        "{A}/",
        "{A}?x",
        "{A}#x",
        "user@{A}",
        "{A}@evil.test",
        "{A}, evil.test",
        "{A}:x",
        "{A}:99999",
        "{A}\0",
        "[::1",
        "http://{A}",
    ] {
        cases.push(case(&format!(":authority {authority:?}"), &[(":authority", authority)], &[], None));
    }
    for method in [
        "",
        "GET / HTTP/1.1\r\nx: y\r\n\r\nGET",
        "GET ",
        "GE T",
        "GET\r\n",
        "GET\0",
        "G:T",
        "-",
        "CONNECT",
        "TRACE",
    ] {
        cases.push(case(&format!(":method {method:?}"), &[(":method", method)], &[], None));
    }
    for scheme in ["", "-", "http://evil.test/?x=", "ht tp", "http\r\nx: y", "\0"] {
        cases.push(case(&format!(":scheme {scheme:?}"), &[(":scheme", scheme)], &[], None));
    }
    cases.push(case("another host", &[("host", "evil.test")], &[], None));
    cases.push(case("no host at all", &[(":authority", "-")], &[], None));
    for (name, field) in
        [("a second path", ":path"), ("a second authority", ":authority"), ("a second method", ":method")]
    {
        let mut twice = case(name, &[], &[], None);
        twice.fields.push((field.into(), b"GET".to_vec()));
        cases.push(twice);
    }
    let mut late = case("a pseudo-header after a field", &[(":path", "-"), ("x", "y")], &[], None);
    late.fields.push((b":path".to_vec(), b"{P}".to_vec()));
    cases.push(late);
    for (name, value) in [
        ("x\r\ny", "z"),
        ("X", "y"),
        (":path", "/hidden"),
        ("x", "y\r\nz: z"),
        ("transfer-encoding", "chunked"),
    ] {
        let mut trailing = case(&format!("trailer {name:?}: {value:?}"), &[], &["abc"], None);
        trailing.trailers.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        cases.push(trailing);
    }
    // What looks odd and is clear.
    cases.push(case("no body", &[], &[], Some("")));
    cases.push(case("a length", &[("content-length", "3")], &["abc"], Some("abc")));
    cases.push(case(
        "a length with zeros before it",
        &[("content-length", "003")],
        &["a", "", "bc"],
        Some("abc"),
    ));
    cases.push(case("no length", &[], &["abc"], Some("abc")));
    cases.push(case("a body that is a request", &[], &[HIDDEN], Some(HIDDEN)));
    cases.push(case(
        "a body that ends chunks",
        &[],
        &["0\r\n\r\n", HIDDEN],
        Some(&format!("0\r\n\r\n{HIDDEN}")),
    ));
    cases.push(case("GET with a body", &[(":method", "GET")], &[HIDDEN], Some(HIDDEN)));
    cases.push(case("the same host twice", &[("host", "{A}")], &["abc"], Some("abc")));
    cases.push(case("a host alone", &[(":authority", "-"), ("host", "{A}")], &["abc"], Some("abc")));
    cases.push(case(
        "an underscore is no hyphen",
        &[("transfer_encoding", "chunked"), ("content_length", "9")],
        &["abc"],
        Some("abc"),
    ));
    cases.push(case(
        "an expectation",
        &[("expect", "100-continue"), ("content-length", "3")],
        &["abc"],
        Some("abc"),
    ));
    cases.push(case("trailers are wanted", &[("te", "trailers")], &["abc"], Some("abc")));
    let mut trailing = case("trailers that would frame", &[], &["abc"], Some("abc"));
    trailing.trailers.push((b"content-length".to_vec(), b"50".to_vec()));
    trailing.trailers.push((b"host".to_vec(), b"evil.test".to_vec()));
    cases.push(trailing);
    cases
}

#[test]
fn nothing_is_smuggled_from_http2_to_http1() {
    let backends = Backends::start();
    let sites: String = backends
        .all
        .iter()
        .map(|backend| {
            format!(
                "[[sites]]\nhosts = [\"{}.test\"]\n[[sites.routes]]\npath = \"/*\"\n\
                 proxy = {{ to = [\"http://127.0.0.1:{}\"] }}\n",
                backend.name, backend.port
            )
        })
        .collect();
    let server = start_sites(&format!("[edge]\nthreads = 1\n{sites}"));
    let cases = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let (mut failures, mut whole) = (Vec::new(), HashSet::new());
    for backend in &backends.all {
        let host = format!("{}.test", backend.name);
        let mut other = server.connect();
        for (number, case) in cases.iter().enumerate() {
            let path = format!("/case-{number}-{}", backend.name);
            let fill = |text: &[u8]| {
                let mut text = text.to_vec();
                for (key, value) in [("{P}", &path), ("{A}", &host)] {
                    while let Some(at) = text.windows(3).position(|three| three == key.as_bytes()) {
                        text.splice(at..at + 3, value.bytes());
                    }
                }
                text
            };
            let filled = |fields: &[(Vec<u8>, Vec<u8>)]| -> Vec<(Vec<u8>, Vec<u8>)> {
                fields.iter().map(|(name, value)| (fill(name), fill(value))).collect()
            };
            let (fields, trailers) = (filled(&case.fields), filled(&case.trailers));
            let data: Vec<Vec<u8>> = case.data.iter().map(|part| fill(part)).collect();
            let refs: Vec<Field<'_>> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let trailing: Vec<Field<'_>> =
                trailers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let parts: Vec<&[u8]> = data.iter().map(|part| &part[..]).collect();
            let mut socket = server.connect();
            socket.set_nodelay(true).unwrap();
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(frame(SETTINGS, 0, 0, &[]));
            bytes.extend(request(1, &refs, &parts, &trailing));
            socket.write_all(&bytes).unwrap();
            let (answer, open) = outcome(&mut socket, 1);
            let method = String::from_utf8_lossy(&case.fields[0].1).into_owned();
            let expected = case.seen.as_ref().map(|seen| {
                whole.insert(format!("{} whole {method} {path}", backend.name));
                format!("{method} {path} {host} {}", String::from_utf8(fill(seen.as_bytes())).unwrap())
            });
            if answer != expected {
                failures.push(format!("{} ({}): {answer:?}", case.name, backend.name));
            }
            if open {
                let marker = format!("/marker-{number}-{}", backend.name);
                let fields: [Field<'_>; 4] = [
                    (b":method", b"GET"),
                    (b":scheme", b"http"),
                    (b":authority", host.as_bytes()),
                    (b":path", marker.as_bytes()),
                ];
                socket.write_all(&request(3, &fields, &[], &[])).unwrap();
                let (answer, _) = outcome(&mut socket, 3);
                if answer != Some(format!("GET {marker} {host} ")) {
                    failures.push(format!("after {} ({}): {answer:?}", case.name, backend.name));
                }
            } else if expected.is_some() {
                failures.push(format!("{} ({}) ended the connection", case.name, backend.name));
            }
            let marker = format!("/other-{number}-{}", backend.name);
            let request = format!("GET {marker} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            other.write_all(request.as_bytes()).unwrap();
            assert_eq!(read_reply(&mut other).text(), format!("GET {marker} {host} "), "{}", case.name);
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    let mut seen = HashSet::new();
    for line in backends.seen() {
        assert!(!line.contains("hidden"), "{line}");
        if line.contains(" whole ") {
            assert!(seen.insert(line.clone()), "twice: {line}");
            assert!(!line.contains(" /case-") || whole.contains(&line), "was refused, and seen: {line}");
        }
    }
    assert!(whole.iter().all(|line| seen.contains(line)));
}
