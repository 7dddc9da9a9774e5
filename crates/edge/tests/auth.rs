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
