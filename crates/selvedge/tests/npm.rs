//! Packages that were written for Node, in a worker with the flag `nodejs_compat`.

mod common;

use common::origin::{self, Authority, Origin, reply};
use common::{Selvedge, repository};
use serde_json::json;

fn deployed(origins: &[&Origin]) -> Selvedge {
    deployed_with(origins, "")
}

fn deployed_with(origins: &[&Origin], settings: &str) -> Selvedge {
    let dir = repository("crates/selvedge/tests/programs/npm");
    assert!(dir.join("node_modules").exists(), "run `npm ci` in {}", dir.display());
    let allowed: Vec<String> = origins.iter().map(|origin| format!("localhost:{}", origin.port)).collect();
    let selvedge = Selvedge::configured(&format!("[engine]\negress_allow = {allowed:?}\n{settings}"));
    let answer = selvedge.json(&["deploy", dir.to_str().unwrap()]);
    assert_eq!(answer["warnings"], json!([]));
    selvedge
}

#[test]
fn jsonwebtoken() {
    let selvedge = deployed(&[]);
    for algorithm in ["HS256", "HS512", "RS256", "RS384", "PS256", "ES256"] {
        let answer = selvedge.get("npm", &format!("/jwt/{algorithm}"));
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.body);
        assert_eq!(
            answer.json(),
            json!({
                "role": "admin", "iss": "me", "aud": ["you"], "sub": "a", "lasts": 3600, "kid": "k1",
                "forged": "JsonWebTokenError: invalid signature",
                "old": "TokenExpiredError: jwt expired",
                "other": "JsonWebTokenError: jwt issuer invalid. expected: you",
            }),
            "{algorithm}"
        );
    }
}

#[test]
fn bcryptjs_lodash_uuid_and_nanoid() {
    let selvedge = deployed(&[]);
    assert_eq!(selvedge.get("npm", "/bcrypt").json(), json!([60, 5, true, false, true]));
    assert_eq!(
        selvedge.get("npm", "/values").json(),
        json!({
            "lodash": [{"a": {"b": 1, "c": [1, 2]}}, {"odd": [1, 3], "even": [2]}, "foo-bar-baz", true, {"a": 1}, [2]],
            // RFC 9562, section 5.5: the name's digest.
            "uuid": [true, 7, "dd2c1780-811a-5296-81c5-178a0ef488bc", true],
            "nanoid": [21, true],
        })
    );
}

#[test]
fn busboy_reads_forms_as_streams() {
    let selvedge = deployed(&[]);
    let file = "0123456789".repeat(30_000);
    let form = format!(
        "--edge\r\ncontent-disposition: form-data; name=\"title\"\r\n\r\nT\u{fc}r\r\n\
         --edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\ncontent-type: text/plain\r\n\r\n{file}\r\n\
         --edge--\r\n"
    );
    let answer = selvedge.raw(&format!(
        "POST /upload HTTP/1.1\r\nhost: npm.localhost\r\nconnection: close\r\ncontent-type: multipart/form-data; boundary=edge\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let sha256 = "91c304e4daed16d1ac074867c3a7b6b25f113684822bb9cb5db2535cf6b21c8c";
    let seen = json!({"title": "T\u{fc}r", "file": {"filename": "a.txt", "mimeType": "text/plain", "size": 300_000, "cut": false, "sha256": sha256}});
    assert_eq!(answer.json(), seen);
}

#[test]
fn csv_parse_and_iconv_lite_transform_streams() {
    let selvedge = deployed(&[]);
    let rows: String = (0..3000).map(|n| format!("name {n}; {n}\n")).collect();
    let answer = selvedge.post("npm", "/csv", &format!("name;count\n{rows}"));
    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(lines.len(), 3001, "{}", &answer.body[..answer.body.len().min(500)]);
    assert_eq!(
        (lines[0], lines[2999]),
        (r#"{"name":"name 0","count":0}"#, r#"{"name":"name 2999","count":2999}"#)
    );
    assert_eq!(lines[3000], "3000 rows");
    // In Latin-1, the two bytes of an umlaut in UTF-8 are two characters.
    assert_eq!(selvedge.post("npm", "/csv", "n\n\u{fc}\n").body, "{\"n\":\"\u{c3}\u{bc}\"}\n1 rows\n");
    let broken = selvedge.post("npm", "/csv", "a;b\n1;2;3\n");
    assert!(broken.body.contains("CSV_RECORD_INCONSISTENT_COLUMNS"), "{}", broken.body);
}

#[test]
fn jszip_packs_and_unpacks() {
    let selvedge = deployed(&[]);
    assert_eq!(selvedge.get("npm", "/zip/round").json(), json!({"hello.txt": 5, "deep/long.bin": 300_000}));
}

#[test]
fn follow_redirects_and_axios_ask_an_origin() {
    let origin = origin::serve(None, |request, body| {
        let moved = |status: u16, to: &str| {
            let mut answer = reply("moved");
            *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
            answer.headers_mut().insert("location", to.parse().unwrap());
            answer
        };
        match request.uri().path() {
            "/twice" => moved(301, "/once"),
            "/once" => moved(302, "end"),
            "/keeps" => moved(307, "/end"),
            "/loop" => moved(302, "/loop"),
            "/missing" => {
                let mut answer = reply("nothing there");
                *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
                answer
            }
            _ => {
                let field =
                    |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                let told = json!({
                    "method": request.method().as_str(), "path": request.uri().to_string(), "body": String::from_utf8_lossy(&body),
                    "type": field("content-type"), "client": field("x-client"),
                });
                let mut answer = reply(told.to_string());
                answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
                answer
            }
        }
    });
    let selvedge = deployed(&[&origin]);
    let url = origin.url("http");
    let followed = selvedge.get("npm", &format!("/follow?origin={url}")).json();
    let told = |method: &str, body: &str| {
        json!({"method": method, "path": "/end", "body": body, "type": null, "client": null}).to_string()
    };
    assert_eq!(followed["twice"], json!([200, "/end", 3, told("GET", "")]));
    assert_eq!(followed["post"], json!([200, "/end", 2, told("POST", "the body")]));
    assert_eq!(followed["loop"], "ERR_FR_TOO_MANY_REDIRECTS");
    let asked = selvedge.get("npm", &format!("/axios?origin={url}")).json();
    let echoed = json!({"method": "POST", "path": "/echo?q%5B%5D=x&q%5B%5D=y", "body": r#"{"a":[1]}"#, "type": "application/json", "client": "axios", "seen": true});
    assert_eq!(asked["posted"], json!([200, echoed]));
    assert_eq!(asked["missing"], json!([true, "ERR_BAD_REQUEST", 404, "nothing there"]));
    assert_eq!((&asked["refused"], &asked["bytes"]), (&json!("egress_refused"), &json!(true)));
}

#[test]
fn web_push_encrypts_and_posts() {
    let authority = Authority::new(&["localhost"]);
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("egress_ca = {:?}\n", authority.write(dir.path()));
    let origin = origin::serve(Some((&authority, &["http/1.1"])), |request, body| {
        let field = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let vapid = field("authorization");
        assert!(vapid.starts_with("vapid t=") && vapid.contains(", k="), "{vapid}");
        let told = json!({"ttl": field("ttl"), "coding": field("content-encoding"), "type": field("content-type"), "length": body.len()});
        let mut answer = reply(told.to_string());
        let gone = request.uri().path() == "/gone";
        *answer.status_mut() = hyper::StatusCode::from_u16(if gone { 410 } else { 201 }).unwrap();
        answer
    });
    let selvedge = deployed_with(&[&origin], &settings);
    let seen = selvedge.get("npm", &format!("/push?origin={}/", origin.url("https"))).json();
    // RFC 8188: salt, record size, key length and key; the text, its delimiter and the tag.
    let length = 16 + 4 + 1 + 65 + "a message".len() + 1 + 16;
    let told =
        json!({"ttl": "60", "coding": "aes128gcm", "type": "application/octet-stream", "length": length});
    assert_eq!(seen, json!([201, told, "WebPushError", 410]));
}
