//! Calls of the APIs of networks in front, as they come over the wire.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use selvedge_cache::settings::Secret;
use selvedge_cache::store::Purge;
use selvedge_cache::targets::{PurgeTarget, TargetKind, tell_all};
use serde_json::{Value, json};

/// A request: its line, its fields in small letters, and its body.
type Asked = (String, Vec<String>, String);

/// An API that gives these answers, one after the other, the last again and again.
fn api(answers: &[(u16, &str)]) -> (String, Arc<Mutex<Vec<Asked>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let noted = asked.clone();
    let answers: Vec<(u16, String)> =
        answers.iter().map(|(status, text)| (*status, (*text).to_owned())).collect();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().flatten().enumerate() {
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut head) = (String::new(), Vec::new());
            while lines.read_line(&mut line).unwrap() > 2 {
                head.push(std::mem::take(&mut line).trim().to_owned());
            }
            let fields: Vec<String> = head[1..]
                .iter()
                .map(|field| {
                    let (name, value) = field.split_once(": ").unwrap();
                    format!("{}: {value}", name.to_ascii_lowercase())
                })
                .collect();
            let length = fields.iter().find_map(|field| field.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            lines.read_exact(&mut body).unwrap();
            noted.lock().unwrap().push((head[0].clone(), fields, String::from_utf8(body).unwrap()));
            let (status, text) = &answers[count.min(answers.len() - 1)];
            let mut stream = stream;
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\nretry-after: 0\r\n\r\n{text}",
                text.len()
            );
        }
    });
    (url, asked)
}

fn cloudflare(url: &str) -> PurgeTarget {
    PurgeTarget {
        kind: TargetKind::Cloudflare,
        zone: Some("023e105f4ecef8ad9ca31a8372d0c353".into()),
        token: Secret("very-secret".into()),
        url: Some(url.to_owned()),
        ..PurgeTarget::default()
    }
}

fn fastly(url: &str) -> PurgeTarget {
    PurgeTarget {
        kind: TargetKind::Fastly,
        service: Some("SU1Z0isxPaozGVKXdv0eY".into()),
        token: Secret("very-secret".into()),
        url: Some(url.to_owned()),
        ..PurgeTarget::default()
    }
}

const PURGES: fn() -> [Purge; 4] = || {
    [
        Purge::Address("https://a.example/x?y=1".into()),
        Purge::Prefix("https://a.example/x/".into()),
        Purge::Tag("pro duct/7".into()),
        Purge::All,
    ]
};

#[test]
fn cloudflare_is_told_as_its_api_wants_it() {
    let (url, asked) = api(&[(200, r#"{"success":true,"errors":[],"messages":[],"result":{"id":"x"}}"#)]);
    let target = [cloudflare(&url)];
    assert_eq!(target[0].problem(), None);
    for purge in PURGES() {
        assert!(tell_all(&target, &purge, false)[0].ok);
    }
    assert!(tell_all(&target, &Purge::All, true)[0].message.as_ref().unwrap().contains("purged hard"));
    let asked = asked.lock().unwrap();
    for (request, fields, _) in asked.iter() {
        assert_eq!(request, "POST /client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache HTTP/1.1");
        for field in ["authorization: Bearer very-secret", "content-type: application/json"] {
            assert!(fields.iter().any(|own| own == field), "{fields:?}");
        }
    }
    let bodies: Vec<Value> = asked.iter().map(|(_, _, body)| serde_json::from_str(body).unwrap()).collect();
    let all = json!({ "purge_everything": true });
    assert_eq!(
        bodies,
        [
            json!({ "files": ["https://a.example/x?y=1"] }),
            json!({ "prefixes": ["a.example/x/"] }),
            json!({ "tags": ["pro duct/7"] }),
            all.clone(),
            all
        ]
    );
}

#[test]
fn fastly_is_told_as_its_api_wants_it() {
    let (url, asked) = api(&[(200, r#"{"status":"ok","id":"108-1391560174-974124"}"#)]);
    let target = [fastly(&url)];
    assert_eq!(target[0].problem(), None);
    let told: Vec<bool> = PURGES().iter().map(|purge| tell_all(&target, purge, false)[0].ok).collect();
    assert_eq!(told, [true, false, true, true], "there is no purge by prefix");
    assert!(tell_all(&target, &Purge::Tag("x".into()), true)[0].ok);
    let asked = asked.lock().unwrap();
    let lines: Vec<&str> = asked.iter().map(|(line, ..)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "POST /purge/a.example/x?y=1 HTTP/1.1",
            "POST /service/SU1Z0isxPaozGVKXdv0eY/purge/pro%20duct%2F7 HTTP/1.1",
            "POST /service/SU1Z0isxPaozGVKXdv0eY/purge_all HTTP/1.1",
            "POST /service/SU1Z0isxPaozGVKXdv0eY/purge/x HTTP/1.1",
        ]
    );
    let soft: Vec<bool> = asked
        .iter()
        .map(|(_, fields, _)| {
            assert!(fields.iter().any(|field| field == "fastly-key: very-secret"), "{fields:?}");
            fields.iter().any(|field| field == "fastly-soft-purge: 1")
        })
        .collect();
    assert_eq!(soft, [false, false, false, true]);
}

#[test]
fn failures_are_tried_again_where_that_helps_and_told() {
    let fine = (200, r#"{"success":true}"#);
    let (url, asked) = api(&[(503, "down"), (429, "{}"), fine]);
    assert!(tell_all(&[cloudflare(&url)], &Purge::All, false)[0].ok);
    assert_eq!(asked.lock().unwrap().len(), 3);
    let denied = r#"{"success":false,"errors":[{"code":10000,"message":"no very-secret here\u0007"}]}"#;
    let (url, asked) = api(&[(403, denied)]);
    let told = tell_all(&[cloudflare(&url)], &Purge::All, false).remove(0);
    assert_eq!((told.ok, told.message.as_deref()), (false, Some("status 403: no … here")));
    assert_eq!(asked.lock().unwrap().len(), 1, "trying again does not help");
    // It says that it failed with a status of success; it answers with too much; it is not there.
    let long = format!("{{\"msg\":\"{}\"}}", "x".repeat(100_000));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let targets = [
        cloudflare(&api(&[(200, denied)]).0),
        fastly(&api(&[(400, &long)]).0),
        fastly(&format!("http://{gone}")),
    ];
    for told in tell_all(&targets, &Purge::All, false) {
        let message = told.message.unwrap();
        assert!(!told.ok && message.len() < 400 && !message.contains("very-secret"), "{message}");
    }
}

#[test]
fn secrets_are_not_shown_and_mistakes_are() {
    assert!(!format!("{:?}", cloudflare("https://x")).contains("very-secret"));
    for wrong in [
        PurgeTarget { zone: None, ..cloudflare("https://x") },
        PurgeTarget { zone: Some("../x".into()), ..cloudflare("https://x") },
        PurgeTarget { token: Secret("a\r\nb".into()), ..cloudflare("https://x") },
        PurgeTarget { service: None, ..fastly("https://x") },
        fastly("ftp://x"),
    ] {
        assert!(wrong.problem().is_some(), "{wrong:?}");
    }
}
