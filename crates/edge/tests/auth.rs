//! Tokens, API keys and passwords at the edge, over real sockets.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::{Reply, Server, sites, start_sites};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Stands for the hash of the key `sv_test`.
const KEY_HASH: &str = "KEY_HASH";

fn settings() -> String {
    let password = bcrypt::hash("pa:ss", 4).unwrap();
    format!(
        r#"
[middleware.token.jwt]
secret = "{SECRET}"
issuer = "https://issuer"
audience = "api"
forward = {{ x-user = "sub", x-roles = "roles" }}
hide = true

[middleware.maybe-token.jwt]
secret = "{SECRET}"
optional = true
forward = {{ x-user = "sub" }}

[middleware.key.api_key]
from = ["header x-api-key", "query key"]
keys = [{{ name = "partner", hash = "{KEY_HASH}", roles = ["reader"] }}]
forward = {{ x-client = "subject", x-roles = "roles" }}

[middleware.maybe-key.api_key]
optional = true
keys = [{{ name = "partner", hash = "{KEY_HASH}" }}]
forward = {{ x-client = "subject" }}

[middleware.staff.basic]
realm = "Staff"
users = [{{ name = "ann", hash = "{password}", roles = ["admin"] }}]
forward = {{ x-user = "subject" }}

[[sites]]
hosts = ["a.example"]

[[sites.routes]]
path = "/token/*"
use = ["token"]
respond = {{ body = "{{header.x-user}}|{{header.x-roles}}|{{header.authorization}}" }}

[[sites.routes]]
path = "/head"
use = ["token"]
worker = "test"

[[sites.routes]]
path = "/key"
use = ["key"]
respond = {{ body = "{{header.x-client}}|{{header.x-roles}}|{{header.x-api-key}}|{{uri}}" }}

[[sites.routes]]
path = "/either"
use = ["maybe-key", "maybe-token"]
respond = {{ body = "{{header.x-client}}|{{header.x-user}}" }}

[[sites.routes]]
path = "/staff"
use = ["staff"]
respond = {{ body = "{{header.x-user}}" }}
"#
    )
    .replace(KEY_HASH, &selvedge_auth::api_key::hash("sv_test"))
}

fn ask(server: &Server, path: &str, fields: &str) -> Reply {
    server.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n"))
}

fn token(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn bearer(claims: &Value) -> String {
    format!("authorization: Bearer {}\r\n", token(claims))
}

fn good() -> Value {
    json!({"iss": "https://issuer", "aud": "api", "sub": "ann", "exp": 9_999_999_999_u64, "roles": ["a", "b"]})
}

#[test]
fn tokens_let_pass_and_tell_who_it_is() {
    let server = start_sites(&settings());
    for _ in 0..3 {
        let reply =
            ask(&server, "/token/x", &format!("{}x-user: root\r\nX_Roles: root\r\n", bearer(&good())));
        assert_eq!((reply.status, reply.text()), (200, "ann|a,b|"));
    }
    let reply = ask(&server, "/token/x", "x-user: root\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (401, "token_required"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    for (name, value) in [("exp", json!(1)), ("aud", json!("web")), ("iss", json!("https://evil"))] {
        let mut claims = good();
        claims[name] = value;
        let reply = ask(&server, "/token/x", &bearer(&claims));
        assert_eq!((reply.status, reply.code().as_str()), (401, "token_invalid"), "{name}");
        assert!(reply.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    }
    let unsigned = token(&good()).rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(ask(&server, "/token/x", &format!("authorization: Bearer {unsigned}.\r\n")).status, 401);
    let both = format!("{0}{0}", bearer(&good()));
    assert_eq!(ask(&server, "/token/x", &both).status, 400);
    let huge = format!("authorization: Bearer {}\r\n", "a.".repeat(9_000));
    assert_eq!(ask(&server, "/token/x", &huge).status, 401);
}

#[test]
fn clients_can_neither_add_nor_remove_what_workers_are_told() {
    let server = start_sites(&settings());
    let fields =
        format!("{}x-user: root\r\nx_user: root\r\nconnection: close, x-user, x-roles\r\n", bearer(&good()));
    let reply = ask(&server, "/head", &fields);
    let told: Vec<&str> = reply
        .text()
        .lines()
        .filter(|line| line.starts_with("x-user") || line.starts_with("x_user"))
        .collect();
    assert_eq!(told, ["x-user: ann"], "{}", reply.text());
    assert!(reply.text().contains("x-roles: a,b"));
}

#[test]
fn keys_let_pass_and_go_no_further() {
    let server = start_sites(&settings());
    let reply = ask(&server, "/key?a=1", "x-api-key: sv_test\r\nx-client: root\r\n");
    assert_eq!((reply.status, reply.text()), (200, "partner|reader||/key?a=1"));
    let reply = ask(&server, "/key?a=1&key=sv_test", "");
    assert_eq!((reply.status, reply.text()), (200, "partner|reader||/key?a=1"));
    for fields in [
        "x-api-key: sv_other\r\n",
        "x-api-key: \u{ff}\r\n",
        "x-api-key: sv_test\r\nx-api-key: sv_test\r\n",
        "",
    ] {
        let status = ask(&server, "/key", fields).status;
        assert!([400, 401].contains(&status), "{fields}: {status}");
    }
}

#[test]
fn one_of_several_credentials_is_enough_where_each_is_optional() {
    let server = start_sites(&settings());
    assert_eq!(ask(&server, "/either", &bearer(&good())).text(), "|ann");
    assert_eq!(ask(&server, "/either", "x-api-key: sv_test\r\n").text(), "partner|");
    assert_eq!(ask(&server, "/either", "authorization: Bearer sv_test\r\n").text(), "partner|");
    assert_eq!(ask(&server, "/either", "x-client: root\r\nx-user: root\r\n").text(), "|");
    assert_eq!(ask(&server, "/either", "authorization: Bearer nonsense\r\n").status, 401);
}

#[test]
fn passwords_let_pass() {
    let server = start_sites(&settings());
    let basic = |text: &str| format!("authorization: Basic {}\r\nx-user: root\r\n", STANDARD.encode(text));
    for _ in 0..2 {
        let reply = ask(&server, "/staff", &basic("ann:pa:ss"));
        assert_eq!((reply.status, reply.text()), (200, "ann"));
        let reply = ask(&server, "/staff", &basic("ann:pa"));
        assert_eq!((reply.status, reply.code().as_str()), (401, "credentials_invalid"));
        assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"Staff\", charset=\"UTF-8\""));
    }
    assert_eq!(ask(&server, "/staff", "").code(), "credentials_required");
}

#[test]
fn mistakes_in_settings_are_told_where_they_are() {
    let wrong = |text: &str| sites(text).unwrap_err().remove(0);
    let problem = wrong("[middleware.t.jwt]\nissuer = \"x\"");
    assert_eq!(problem.setting, "middleware.t");
    assert!(problem.message.contains("jwks"), "{problem:?}");
    assert!(
        wrong("[middleware.t.basic]\nusers = [{ name = \"a\", hash = \"secret\" }]")
            .message
            .contains("hash-password")
    );
    assert!(
        wrong("[middleware.t.api_key]\nkeys = [{ name = \"a\", hash = \"x\" }]").message.contains("sha256:")
    );
}

const GATES: &str = r#"
[middleware.token.jwt]
secret = "0123456789abcdef0123456789abcdef"
optional = true

[middleware.writers.roles]
require = { roles = ["admin"] }
rules = [
    { methods = ["GET"], require = { nobody = true } },
    { methods = ["POST"], require = { scopes = ["write"] } },
]

[middleware.same-site.csrf]
trusted_origins = ["https://friend.example"]

[middleware.csrf-token.csrf]
token = { secret = "0123456789abcdef0123456789abcdef" }

[[sites]]
hosts = ["a.example"]

[[sites.routes]]
path = "/roles"
use = ["token", "writers"]
respond = { body = "in" }

[[sites.routes]]
path = "/form"
use = ["same-site"]
respond = { body = "in" }

[[sites.routes]]
path = "/form-token"
use = ["csrf-token"]
respond = { body = "in" }

[[sites.routes]]
path = "/asked"
use = ["ask"]
respond = { body = "{header.remote-user}|{header.x-evil}" }

[[sites.routes]]
path = "/asked-admins"
use = ["ask", "admins"]
respond = { body = "in" }

[[sites.routes]]
path = "/nobody-decides"
use = ["ask-nobody"]
respond = { body = "in" }

[[sites.routes]]
path = "/slow"
use = ["ask-slow"]
respond = { body = "in" }

[middleware.admins.roles]
require = { roles = ["admin"] }

[middleware.ask.forward_auth]
to = "http://ADDRESS/decide"
copy = ["remote-user", "remote-groups"]
copy_to_client = ["set-cookie"]
subject = "remote-user"
roles = "remote-groups"

[middleware.ask-nobody.forward_auth]
to = "http://127.0.0.1:1/"

[middleware.ask-slow.forward_auth]
to = "http://ADDRESS/never"
timeout_ms = 200
"#;

fn send(server: &Server, method: &str, path: &str, fields: &str) -> Reply {
    server.send(format!("{method} {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n{fields}\r\n"))
}

#[test]
fn roles_and_scopes_decide_by_method() {
    let server = start_sites(GATES);
    let scoped =
        |scope: &str| bearer(&json!({"sub": "x", "exp": 9_999_999_999_u64, "scope": scope, "roles": []}));
    let admin = bearer(&json!({"sub": "x", "exp": 9_999_999_999_u64, "roles": "admin"}));
    assert_eq!(send(&server, "GET", "/roles", "").status, 200);
    assert_eq!(send(&server, "POST", "/roles", &scoped("read write")).status, 200);
    let reply = send(&server, "POST", "/roles", &scoped("read"));
    assert_eq!((reply.status, reply.code().as_str()), (403, "insufficient_scope"));
    assert_eq!(
        reply.header("www-authenticate"),
        Some("Bearer error=\"insufficient_scope\", scope=\"write\"")
    );
    let reply = send(&server, "POST", "/roles", "");
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(send(&server, "DELETE", "/roles", &admin).status, 200);
    assert_eq!(send(&server, "DELETE", "/roles", &scoped("write")).code(), "insufficient_role");
}

#[test]
fn pages_of_other_sites_cannot_change_anything() {
    let server = start_sites(GATES);
    assert_eq!(send(&server, "POST", "/form", "").status, 200);
    assert_eq!(send(&server, "POST", "/form", "sec-fetch-site: same-origin\r\n").status, 200);
    assert_eq!(send(&server, "POST", "/form", "origin: http://a.example\r\n").status, 200);
    assert_eq!(
        send(&server, "POST", "/form", "origin: https://friend.example\r\nsec-fetch-site: cross-site\r\n")
            .status,
        200
    );
    for fields in ["sec-fetch-site: cross-site\r\n", "origin: https://evil.example\r\n", "origin: null\r\n"] {
        assert_eq!(send(&server, "POST", "/form", fields).code(), "cross_site_request", "{fields}");
        assert_eq!(send(&server, "GET", "/form", fields).status, 200, "{fields}");
        let handshake = format!(
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}"
        );
        assert_eq!(send(&server, "GET", "/form", &handshake).status, 403, "{fields}");
    }
    let cookie = send(&server, "GET", "/form-token", "")
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let token = cookie.split_once('=').unwrap().1;
    let with =
        |field: &str| send(&server, "POST", "/form-token", &format!("cookie: {cookie}\r\n{field}")).status;
    assert_eq!(with(&format!("x-csrf-token: {token}\r\n")), 200);
    assert_eq!(with(""), 403);
    assert_eq!(with("x-csrf-token: x\r\n"), 403);
}

/// A server that decides by the client's cookie.
fn decider() -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                if head.starts_with("get /never ") {
                    let _ = stream.read(&mut [0]);
                    return;
                }
                let right = head.starts_with("get /decide ")
                    && head.contains("x-forwarded-method: post\r\n")
                    && head.contains("x-forwarded-uri: /asked")
                    && head.contains("x-forwarded-host: a.example\r\n")
                    && head.contains("x-forwarded-for: 127.0.0.1\r\n")
                    && !head.contains("6.6.6.6")
                    && !head.contains("content-length");
                let answer = match () {
                    () if !right => "HTTP/1.1 500 Wrong\r\n",
                    () if head.contains("cookie: s=ann\r\n") => {
                        "HTTP/1.1 200 OK\r\nremote-user: ann\r\nremote-groups: users,staff\r\nset-cookie: s=ann2\r\nx-evil: 1\r\n"
                    }
                    () if head.contains("cookie: s=shy\r\n") => "HTTP/1.1 204 OK\r\n",
                    () => "HTTP/1.1 302 Found\r\nlocation: https://login.example/\r\nset-cookie: l=1\r\n",
                };
                let length = if answer.contains(" 204 ") { "" } else { "content-length: 2\r\n" };
                let body = if length.is_empty() { "" } else { "no" };
                let _ =
                    stream.write_all(format!("{answer}{length}connection: close\r\n\r\n{body}").as_bytes());
            });
        }
    });
    address
}

#[test]
fn another_server_decides() {
    let server = start_sites(&GATES.replace("ADDRESS", &decider().to_string()));
    let forged =
        "remote-user: root\r\nremote_user: root\r\nx-forwarded-for: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\n";
    let reply = send(&server, "POST", "/asked?a=b", &format!("cookie: s=ann\r\n{forged}"));
    assert_eq!((reply.status, reply.text()), (200, "ann|"), "{reply:?}");
    assert_eq!(reply.header("set-cookie"), Some("s=ann2"));
    let reply = send(&server, "POST", "/asked", &format!("cookie: s=shy\r\n{forged}"));
    assert_eq!((reply.status, reply.text()), (200, "|"), "what the other server does not say is not there");
    let reply = send(&server, "POST", "/asked", forged);
    assert_eq!((reply.status, reply.text()), (302, "no"));
    assert_eq!(
        (reply.header("location"), reply.header("set-cookie")),
        (Some("https://login.example/"), Some("l=1"))
    );
    assert_eq!(send(&server, "POST", "/asked-admins", "cookie: s=ann\r\n").code(), "insufficient_role");
    // It fails closed.
    assert_eq!(send(&server, "GET", "/asked", "cookie: s=ann\r\n").status, 500, "its answer is the client's");
    assert_eq!(send(&server, "POST", "/nobody-decides", "").code(), "forward_auth_unavailable");
    assert_eq!(send(&server, "POST", "/slow", "").status, 503);
}

/// The documentation's settings are settings.
#[test]
fn examples_of_the_documentation_are_taken() {
    let text = include_str!("../../../docs/auth.md");
    let mut count = 0;
    for block in text.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        // What stands for something of the reader's own.
        if !block.contains('…') && !block.contains("file = ") && !block.contains("env = ") {
            sites(block).unwrap_or_else(|problems| panic!("{problems:?}\n{block}"));
            count += 1;
        }
    }
    assert!(count >= 4);
}

/// Keys over TLS, from a server (OpenSSL's) whose authority is one's own.
#[test]
fn keys_come_from_servers_of_private_authorities() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("server.pem", made.cert.pem());
    write("server.key", made.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    write("other.pem", other.cert.pem());
    let signing = rcgen::KeyPair::generate().unwrap();
    let point = signing.public_key_raw();
    let coordinate = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let (x, y) = (coordinate(&point[1..33]), coordinate(&point[33..65]));
    let keys =
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "a", "x": x, "y": y }] });
    write("keys.json", keys.to_string());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut openssl = std::process::Command::new("openssl")
        .args(["s_server", "-quiet", "-WWW", "-accept", &port.to_string()])
        .args(["-cert", "server.pem", "-key", "server.key"])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let header = Header { alg: jsonwebtoken::Algorithm::ES256, kid: Some("a".into()), ..Header::default() };
    let key = EncodingKey::from_ec_pem(signing.serialize_pem().as_bytes()).unwrap();
    let token = jsonwebtoken::encode(&header, &good(), &key).unwrap();
    let asked = |ca: &str| {
        let server = start_sites(&format!(
            "[middleware.it.jwt]\njwks = \"https://127.0.0.1:{port}/keys.json\"\nissuer = \"https://issuer\"\n{ca}\n\
             [[sites]]\nhosts = [\"a.example\"]\nuse = [\"it\"]\n[[sites.routes]]\nrespond = {{ body = \"in\" }}\n"
        ));
        ask(&server, "/", &format!("authorization: Bearer {token}\r\n")).status
    };
    let file = |name: &str| format!("ca = {:?}", dir.path().join(name));
    let statuses = [asked(&file("server.pem")), asked(&file("other.pem")), asked("")];
    openssl.kill().unwrap();
    openssl.wait().unwrap();
    assert_eq!(statuses, [200, 503, 503]);
    for (name, said) in [("keys.json", "no certificate"), ("none.pem", "ca: ")] {
        let settings = format!(
            "[middleware.it.jwt]\njwks = \"https://a/\"\n{}\n[[sites]]\nhosts = [\"a.example\"]\nuse = [\"it\"]\n",
            file(name)
        );
        let problems = format!("{:?}", sites(&settings).err());
        assert!(problems.contains(said), "{problems}");
    }
}
