//! Requests that are ambiguous, or look so. In them, `{P}` stands for the path of the case, `{A}` for the host, `{H}` for a
//! request that nobody must ever answer, `{L}` and `{X}` for its length in decimal and hexadecimal digits.

/// What is to become of a request.
pub enum Expect {
    /// It is answered 4xx or 501, and nothing after it is.
    Refused,
    /// The server saw exactly these requests: method, path, host and body. What follows is answered as well.
    Is(Vec<String>),
    /// The same, and the connection ends.
    Last(Vec<String>),
}

pub struct Case {
    /// What is odd about it, and where RFCs speak of it.
    pub name: String,
    pub request: Vec<u8>,
    pub expect: Expect,
}

fn post(fields: &str, body: &str) -> String {
    format!("POST {{P}} HTTP/1.1\r\nHost: {{A}}\r\n{fields}\r\n\r\n{body}")
}

fn get(fields: &str) -> String {
    format!("GET {{P}} HTTP/1.1\r\nHost: {{A}}\r\n{fields}\r\n")
}

const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";

#[derive(Default)]
struct Table(Vec<Case>);

impl Table {
    fn add(&mut self, name: &str, request: impl Into<Vec<u8>>, expect: Expect) {
        self.0.push(Case { name: name.to_owned(), request: request.into(), expect });
    }

    fn refused(&mut self, name: &str, request: impl Into<Vec<u8>>) {
        self.add(name, request, Expect::Refused);
    }

    fn is(&mut self, name: &str, request: impl Into<Vec<u8>>, method: &str, body: &str) {
        self.add(name, request, Expect::Is(vec![format!("{method} {{P}} {{A}} {body}")]));
    }
}

pub fn cases() -> Vec<Case> {
    let mut table = Table::default();
    codings(&mut table);
    lengths(&mut table);
    chunks(&mut table);
    heads(&mut table);
    targets(&mut table);
    intents(&mut table);
    table.0
}

/// `Transfer-Encoding` in all spellings (RFC 9112, sections 5.1, 6.1, 6.3).
fn codings(table: &mut Table) {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\ntRANSFER-eNCODING: cHUNKED",
        "Content-Length: 3\r\nTransfer-Encoding:\tchunked",
        "Content-Length: 3\r\nTransfer-Encoding: identity",
        "Content-Length: 3\r\nTransfer-Encoding:",
        "Content-Length: 3\r\nTransfer-Encoding: ,",
        "Content-Length: 3\r\nTransfer-Encoding: xchunked",
        "Content-Length: 3\r\nTransfer-Encoding : chunked",
        "Content-Length: 3\r\nTransfer-Encoding\t: chunked",
        "Content-Length: 3\r\n Transfer-Encoding: chunked",
        "Content-Length: 3\r\n\tTransfer-Encoding: chunked",
        "Content-Length: 3\r\nX: y\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nX: y\rTransfer-Encoding: chunked",
        "Content-Length: 3\r\n\rTransfer-Encoding: chunked",
        "Content-Length: 3\r\nX: y\0Transfer-Encoding: chunked",
        "Content-Length: 3\r\nTransfer-Encoding\0: chunked",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\0",
        "Content-Length: 3\r\nTransfer-Encoding:\r\n chunked",
        "Content-Length: 3\r\n: Transfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunk",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: x",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0c",
        "Transfer-Encoding: \u{ff}chunked",
        "Transfer-Encoding: chunked\r\n identity",
    ] {
        table.refused(&format!("{fields:?}"), post(fields, CHUNKS));
    }
    for fields in [
        "Transfer-Encoding: chunked",
        "transfer-encoding:chunked",
        "TRANSFER-ENCODING:\tCHUNKED \t",
        "Transfer-Encoding: , chunked",
        "Transfer-Encoding: chunked\r\nContent-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nConnection: transfer-encoding",
        "Transfer-Encoding: chunked\r\nTrailer: Content-Length",
    ] {
        table.is(&format!("{fields:?}"), post(fields, CHUNKS), "POST", "abc");
    }
    table.is(
        "an underscore is no hyphen",
        post("Content-Length: 3\r\nTransfer_Encoding: chunked", "abc"),
        "POST",
        "abc",
    );
    table.is(
        "a coding of content is none of transfer",
        post("Content-Length: 3\r\nContent-Encoding: chunked", "abc"),
        "POST",
        "abc",
    );
    for (name, fields) in [
        ("coding with HTTP/1.0 (RFC 9112, 6.1; CVE-2026-2835)", "Transfer-Encoding: chunked"),
        ("the same, to be kept open", "Transfer-Encoding: chunked\r\nConnection: keep-alive"),
        ("the same with a length", "Transfer-Encoding: chunked\r\nContent-Length: 3"),
        ("the same, identity", "Transfer-Encoding: identity\r\nContent-Length: 3"),
    ] {
        table.refused(name, post(fields, CHUNKS).replace("HTTP/1.1", "HTTP/1.0"));
    }
}

/// `Content-Length` (RFC 9110, section 8.6; RFC 9112, section 6.3).
fn lengths(table: &mut Table) {
    for value in [
        "",
        "+3",
        "-3",
        "-0",
        "0x3",
        "3.0",
        "3e0",
        "3 3",
        "3,3",
        "3, 3",
        "3, 4",
        "0, 3",
        "3;",
        "3a",
        "a",
        "1_0",
        "0b11",
        "\"3\"",
        "3\x0b",
        "\x0b3",
        "3\0",
        "٣",
        "18446744073709551616",
        "18446744073709551619",
        "99999999999999999999999999999999999999",
        "3\r\n\t",
        "3\r\n 4",
        "3\rx",
        "3\n4",
    ] {
        table.refused(&format!("length {value:?}"), post(&format!("Content-Length: {value}"), "abc"));
    }
    for fields in [
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 3",
        "Content-Length: 0\r\ncontent-length: 3",
        "Content-Length : 3",
        "Content-Length\t: 3",
        " Content-Length: 3",
        "Content-Length: 3\r\nContent-Length:",
        "Content-Length\r\n: 3",
        "Content Length: 3",
    ] {
        table.refused(&format!("{fields:?}"), post(fields, "abc"));
    }
    for value in ["3", "003", " 3", "\t3 \t", "00000000000000000000000000003"] {
        table.is(
            &format!("length {value:?}"),
            post(&format!("Content-Length:{value}"), "abc"),
            "POST",
            "abc",
        );
    }
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let fixed = post("Content-Length: {L}", "{H}").replacen("POST", method, 1);
        table.is(&format!("{method} whose body is a request"), fixed, method, "{H}");
        let chunked =
            post("Transfer-Encoding: chunked", "{X}\r\n{H}\r\n0\r\n\r\n").replacen("POST", method, 1);
        table.is(&format!("{method} whose chunk is a request"), chunked, method, "{H}");
    }
    table.is(
        "a length beside one with an underscore",
        post("Content-Length: 3\r\nContent_Length: 9", "abc"),
        "POST",
        "abc",
    );
    table.is(
        "Connection names the length",
        post("Content-Length: 3\r\nConnection: content-length", "abc"),
        "POST",
        "abc",
    );
    table.is("POST without a body", post("X: y", ""), "POST", "");
}

/// Chunks (RFC 9112, section 7.1).
fn chunks(table: &mut Table) {
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
        "3\r\nabc\r\n0\r\n\n",
        "3\rabc\r\n0\r\n\r\n",
        "3;\nabc\r\n0\r\n\r\n",
        "3;x\nabc\r\n0\r\n\r\n",
        "3;x\rabc\r\n0\r\n\r\n",
        "3;x\r\rabc\r\n0\r\n\r\n",
        "3;\0\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\t3\r\nabc\r\n0\r\n\r\n",
        "3\t\r\nabc\r\n0\r\n\r\n",
        "3 ;x\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "0_3\r\nabc\r\n0\r\n\r\n",
        "3h\r\nabc\r\n0\r\n\r\n",
        "\r\n",
        "x\r\nabc\r\n0\r\n\r\n",
        ";x\r\nabc\r\n0\r\n\r\n",
        "3,3\r\nabc\r\n0\r\n\r\n",
        "٣\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc\r\n\r\n0\r\n\r\n",
        "4\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX\r\n\r\n",
        "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
        "3\r\nabc\r\n0\r\n: y\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: \0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\rz\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r",
        "3\r\nabc\r\n0\r\n \r\n\r\n",
        "3\r\nabc\r\n-0\r\n\r\n",
        "3\r\nabc\r\n0 \r\n\r\n",
    ] {
        table.refused(&format!("chunks {body:?}"), post("Transfer-Encoding: chunked", body));
    }
    table.refused(
        "extensions without end",
        post("Transfer-Encoding: chunked", &format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(6000))),
    );
    table.refused(
        "trailers without end",
        post("Transfer-Encoding: chunked", &format!("0\r\nx: {}\r\n\r\n", "x".repeat(9000))),
    );
    for body in [
        "3;x\r\nabc\r\n0\r\n\r\n",
        "3;x=\"y;\\\"\"\r\nabc\r\n0;z\r\n\r\n",
        "03\r\nabc\r\n00\r\n\r\n",
        "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        "3\r\nabc\r\n0\r\nContent-Length: 50\r\n\r\n",
        "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "3\r\nabc\r\n0\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
    ] {
        table.is(&format!("chunks {body:?}"), post("Transfer-Encoding: chunked", body), "POST", "abc");
    }
}

/// Lines and fields (RFC 9112, sections 2.2, 3, 5; RFC 9110, section 5).
fn heads(table: &mut Table) {
    for fields in [
        "X : y\r\n",
        "X\t: y\r\n",
        "X: y\r\n z\r\n",
        "X: y\r\n\tz\r\n",
        "X: y\nZ: z\r\n",
        "X: y\rz\r\n",
        "X: y\0z\r\n",
        "X\0: y\r\n",
        "X: \x01\r\n",
        "X: \x7f\r\n",
        "X: \x1b[0m\r\n",
        "X Y: z\r\n",
        "X(: y\r\n",
        "X@: y\r\n",
        "[X]: y\r\n",
        "X/: y\r\n",
        "X,: y\r\n",
        "X=: y\r\n",
        "\"X\": y\r\n",
        "ü: y\r\n",
        ": y\r\n",
        "X\r\n",
        "X y\r\n",
        "\r: y\r\n",
        "GET {P} HTTP/1.1\r\n",
        "\rX: y\r\n",
    ] {
        table.refused(&format!("field {fields:?}"), get(fields));
    }
    table.refused(
        "a byte beyond ASCII in a name",
        [&b"GET {P} HTTP/1.1\r\nHost: {A}\r\nX\xff: y\r\n\r\n"[..]].concat(),
    );
    table
        .refused("a field that begins with a blank, first", "GET {P} HTTP/1.1\r\n X: y\r\nHost: {A}\r\n\r\n");
    table.refused("line feeds only", "GET {P} HTTP/1.1\nHost: {A}\n\n");
    table.refused("a line feed ends the head", "GET {P} HTTP/1.1\r\nHost: {A}\r\n\n");
    table.refused("a line feed ends the first line", "GET {P} HTTP/1.1\nHost: {A}\r\n\r\n");
    table.refused("carriage returns only", "GET {P} HTTP/1.1\rHost: {A}\r\r\r\n\r\n");
    table.refused("two empty lines first", format!("\r\n\r\n{}", get("")));
    table.refused("an empty line of a line feed first", format!("\n{}", get("")));
    for (name, fields) in [
        ("UTF-8 in a value", "X: ü\r\n"),
        ("an empty value", "X:\r\n"),
        ("a tab in a value", "X: y\tz\r\n"),
        ("odd bytes of tokens in a name", "!#$%&'*+-.^_`|~1: y\r\n"),
        ("a field that says another method", "X-HTTP-Method-Override: DELETE\r\nX-Method-Override: PUT\r\n"),
        (
            "fields that say another host or path",
            "X-Forwarded-Host: evil.test\r\nX-Host: evil.test\r\nForwarded: host=evil.test\r\nX-Original-URL: /hidden\r\nX-Rewrite-URL: /hidden\r\n",
        ),
        ("Connection names the host", "Connection: host\r\n"),
        ("Connection names what we say", "Connection: x-forwarded-for, x-request-id, via, forwarded\r\n"),
        ("Connection names nonsense", "Connection: ,, \"close, @, keep-alive\r\n"),
        ("Proxy-Connection is nobody's business", "Proxy-Connection: close\r\n"),
        ("Keep-Alive", "Keep-Alive: timeout=0, max=0\r\n"),
        ("TE", "TE: chunked, trailers, gzip\r\nConnection: TE\r\n"),
    ] {
        table.is(name, get(fields), "GET", "");
    }
    table.is("an empty line first", format!("\r\n{}", get("")), "GET", "");
}

/// First lines and hosts (RFC 9112, sections 2.3, 3; RFC 9110, section 7.2).
fn targets(table: &mut Table) {
    for line in [
        "GET  {P} HTTP/1.1",
        "GET {P}  HTTP/1.1",
        "GET {P} HTTP/1.1 ",
        " GET {P} HTTP/1.1",
        "GET\t{P}\tHTTP/1.1",
        "GET {P}\tHTTP/1.1",
        "GET {P} HTTP/1.1\t",
        "GET\x0b{P} HTTP/1.1",
        "GET\r{P} HTTP/1.1",
        "GET {P} x HTTP/1.1",
        "GET {P}",
        "GET {P} ",
        "{P} HTTP/1.1",
        "GET HTTP/1.1",
        "GET {P} http/1.1",
        "GET {P} HTTP/1.1x",
        "GET {P} HTTP/01.1",
        "GET {P} HTTP/1.10",
        "GET {P} HTTP/1",
        "GET {P} HTTP/11",
        "GET {P} HTTP /1.1",
        "GET {P} HTTP/1.1\r",
        "GET {P} HTTP/0.9",
        "GET {P} HTTP/1.2",
        "GET {P} HTTP/2.0",
        "GET {P} HTTPS/1.1",
        "G(T {P} HTTP/1.1",
        "GE\0T {P} HTTP/1.1",
        "GET: {P} HTTP/1.1",
        "GET {P}#x HTTP/1.1",
        "GET {P}\0 HTTP/1.1",
        "GET {P}\x7f HTTP/1.1",
        "GET case HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET {A} HTTP/1.1",
        "GET {A}:80 HTTP/1.1",
        "GET :80 HTTP/1.1",
        "GET http://evil.test{P} HTTP/1.1",
        "GET http://evil.test@{A}{P} HTTP/1.1",
        "GET http://{A}@evil.test{P} HTTP/1.1",
        "GET http://{A}:81{P} HTTP/1.1",
        "GET http:///{P} HTTP/1.1",
        "GET http://{A}\\{P} HTTP/1.1",
        "GET \\{P} HTTP/1.1",
        "GET ?x HTTP/1.1",
    ] {
        table.refused(&format!("line {line:?}"), format!("{line}\r\nHost: {{A}}\r\n\r\n"));
    }
    table.refused("HTTP/0.9", "GET {P}\r\n");
    for hosts in [
        "",
        "Host: {A}\r\nHost: {A}\r\n",
        "Host: {A}\r\nHost: evil.test\r\n",
        "Host: evil.test\r\nhost: {A}\r\n",
        "Host:\r\n",
        "Host: {A}, evil.test\r\n",
        "Host: {A} evil.test\r\n",
        "Host: user@{A}\r\n",
        "Host: {A}/x\r\n",
        "Host: {A}?x\r\n",
        "Host: {A}#x\r\n",
        "Host: {A}\\x\r\n",
        "Host: {A}:port\r\n",
        "Host: {A}:65536\r\n",
        "Host: {A}:-1\r\n",
        "Host: {A}:80:80\r\n",
        "Host : {A}\r\n",
        "Host: {A}\0\r\n",
        "Host:\r\n {A}\r\n",
        "Host: {A}\r\n evil.test\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: http://{A}\r\n",
        "Host: \"{A}\"\r\n",
        "Host: {A}%00\r\n",
        "Host: {A};\r\n",
    ] {
        table.refused(&format!("hosts {hosts:?}"), format!("GET {{P}} HTTP/1.1\r\n{hosts}\r\n"));
    }
    table.refused("an absolute target and no host", "GET http://{A}{P} HTTP/1.1\r\n\r\n");
    table.refused(
        "an absolute target and two hosts",
        "GET http://{A}{P} HTTP/1.1\r\nHost: {A}\r\nHost: {A}\r\n\r\n",
    );
    table.refused("two hosts with HTTP/1.0", "GET {P} HTTP/1.0\r\nHost: {A}\r\nHost: evil.test\r\n\r\n");
    table.is("an absolute target", "GET http://{A}{P} HTTP/1.1\r\nHost: {A}\r\n\r\n", "GET", "");
    let encoded = "GET {P}%0d%0aX:%20y HTTP/1.1\r\nHost: {A}\r\n\r\n";
    table.add("encoded line ends in a path", encoded, Expect::Is(vec!["GET {P}%0d%0aX:%20y {A} ".into()]));
}

/// What clients want of connections (RFC 9110, sections 7.8, 10.1.1; RFC 9112, section 9).
fn intents(table: &mut Table) {
    for fields in [
        "Expect: 100-continue",
        "Expect:100-CONTINUE",
        "Expect:\t100-continue",
        "Expect: 100-continue\r\nExpect: x",
        "Expect: x 100-continue",
        "Expect: 100-continue, 100-continue",
        "Expect:",
        "Expect: 200-ok",
        "Expect: 100-continue\r\nConnection: expect",
    ] {
        table.is(
            &format!("{fields:?}"),
            post(&format!("{fields}\r\nContent-Length: 3"), "abc"),
            "POST",
            "abc",
        );
        table.is(
            &format!("{fields:?}, chunks"),
            post(&format!("{fields}\r\nTransfer-Encoding: chunked"), CHUNKS),
            "POST",
            "abc",
        );
    }
    table.is("an expectation without a body", get("Expect: 100-continue\r\n"), "GET", "");
    table.refused("an obscured expectation", post("Expect : 100-continue\r\nContent-Length: 3", "abc"));
    // The server declines; what was sent ahead is a request like any other (CVE-2026-2833).
    for (name, fields) in [
        (
            "WebSocket, declined",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
        (
            "HTTP/2 by upgrade, declined",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
        ("TLS by upgrade, declined", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"),
        ("an upgrade that Connection does not name", "Upgrade: websocket\r\n"),
    ] {
        table.is(name, get(fields), "GET", "");
    }
    for (name, fields) in [
        ("close", "Connection: close\r\n"),
        ("close among others", "Connection: keep-alive, x, Close\r\n"),
        ("close in a second field", "Connection: keep-alive\r\nConnection: close\r\n"),
    ] {
        table.add(name, get(fields), Expect::Last(vec!["GET {P} {A} ".into()]));
    }
    let old = |fields: &str| post(fields, "abc").replace("HTTP/1.1", "HTTP/1.0");
    table.add("HTTP/1.0", old("Content-Length: 3"), Expect::Last(vec!["POST {P} {A} abc".into()]));
    table.is("HTTP/1.0, to be kept open", old("Content-Length: 3\r\nConnection: keep-alive"), "POST", "abc");
    let two = [
        post("Content-Length: 3", "abc"),
        post("Transfer-Encoding: chunked", CHUNKS).replace("{P}", "{P}/2"),
    ]
    .concat();
    table.add("two ahead", two, Expect::Is(vec!["POST {P} {A} abc".into(), "POST {P}/2 {A} abc".into()]));
}
