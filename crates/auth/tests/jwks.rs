//! Keys that are fetched from a server: rotation, outages, floods of unknown names.
#![allow(missing_docs, reason = "a test crate")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use selvedge_auth::fetch::Fetcher;
use selvedge_auth::jwt::{Jwt, JwtConfig};
use selvedge_auth::{Denial, unix_now};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A server of keys.
struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<(StatusCode, Vec<u8>)>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new((StatusCode::OK, Vec::new())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared, count) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, count) = (shared.clone(), count.clone());
                let service = service_fn(move |_| {
                    count.fetch_add(1, Ordering::SeqCst);
                    let (status, body) = shared.lock().unwrap().clone();
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    async { Ok::<_, std::convert::Infallible>(response) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, answer, asked }
    }

    fn gives(&self, status: u16, body: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body.into());
    }

    fn has(&self, keys: &[&Key]) {
        self.gives(200, json!({"keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>()}).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn verifier(&self, change: impl Fn(&mut JwtConfig)) -> Arc<Jwt> {
        let mut config =
            JwtConfig { jwks: Some(format!("http://{}/keys", self.address)), ..JwtConfig::default() };
        change(&mut config);
        Arc::new(Jwt::new(&config, Path::new(""), &Fetcher::new(&[]).unwrap()).unwrap())
    }
}

struct Key {
    private: EncodingKey,
    jwk: Value,
}

impl Key {
    fn make(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let public = DecodingKey::from_ec_pem(pair.public_key_pem().as_bytes()).unwrap();
        let mut jwk =
            serde_json::to_value(Jwk::from_decoding_key(&public, Some(Algorithm::ES256)).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        Self { private, jwk }
    }

    fn token(&self, kid: &str) -> String {
        let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::ES256) };
        let claims = json!({"sub": "ann", "exp": unix_now() + 600, "n": URL_SAFE_NO_PAD.encode(kid)});
        jsonwebtoken::encode(&header, &claims, &self.private).unwrap()
    }
}

async fn check(jwt: &Jwt, token: &str) -> Result<(), Denial> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    jwt.check(&mut Uri::from_static("/"), &mut headers, unix_now())
        .await
        .map(|identity| assert!(identity.is_some()))
}

fn code(result: Result<(), Denial>) -> &'static str {
    result.err().map_or("passed", |denial| denial.code)
}

#[tokio::test]
async fn keys_are_fetched_once_for_many_and_again_when_they_rotate() {
    let issuer = Issuer::start().await;
    let (old, new) = (Key::make("old"), Key::make("new"));
    issuer.has(&[&old]);
    let jwt = issuer.verifier(|_| {});
    let mut many = Vec::new();
    for _ in 0..50 {
        let (jwt, token) = (jwt.clone(), old.token("old"));
        many.push(tokio::spawn(async move { code(check(&jwt, &token).await) }));
    }
    for one in many {
        assert_eq!(one.await.unwrap(), "passed");
    }
    assert_eq!(issuer.asked(), 1);
    issuer.has(&[&old, &new]);
    assert_eq!(code(check(&jwt, &new.token("new")).await), "passed");
    assert_eq!(issuer.asked(), 2);
    assert_eq!(code(check(&jwt, &old.token("old")).await), "passed");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn unknown_names_do_not_make_floods_of_fetches() {
    let issuer = Issuer::start().await;
    let key = Key::make("k");
    issuer.has(&[&key]);
    let jwt = issuer.verifier(|config| config.jwks_min_interval_s = 3600);
    for n in 0..100 {
        assert_eq!(code(check(&jwt, &key.token(&format!("unknown{n}"))).await), "token_invalid");
    }
    assert_eq!(issuer.asked(), 2, "the first and one for an unknown name");
    assert_eq!(code(check(&jwt, &key.token("k")).await), "passed");
}

#[tokio::test]
async fn keys_that_were_withdrawn_verify_nothing_even_what_is_remembered() {
    let issuer = Issuer::start().await;
    let (old, new) = (Key::make("old"), Key::make("new"));
    issuer.has(&[&old]);
    let jwt = issuer.verifier(|config| config.jwks_min_interval_s = 0);
    let token = old.token("old");
    assert_eq!(code(check(&jwt, &token).await), "passed");
    issuer.has(&[&new]);
    assert_eq!(code(check(&jwt, &new.token("new")).await), "passed");
    assert_eq!(code(check(&jwt, &token).await), "token_invalid");
}

#[tokio::test]
async fn old_keys_are_kept_while_their_server_is_down() {
    let issuer = Issuer::start().await;
    let key = Key::make("k");
    issuer.has(&[&key]);
    let jwt = issuer.verifier(|config| {
        config.jwks_min_interval_s = 0;
        config.cache_s = 0;
    });
    assert_eq!(code(check(&jwt, &key.token("k")).await), "passed");
    for (status, body) in [(500, "{}"), (200, "<html>"), (200, "{\"keys\":[]}"), (302, ""), (404, "{}")] {
        issuer.gives(status, body);
        assert_eq!(code(check(&jwt, &key.token("other")).await), "token_invalid");
        assert_eq!(code(check(&jwt, &key.token("k")).await), "passed", "{status} {body}");
    }
    issuer.gives(200, vec![b' '; 4 << 20]);
    assert_eq!(code(check(&jwt, &key.token("other")).await), "token_invalid");
    assert_eq!(code(check(&jwt, &key.token("k")).await), "passed");
}

#[tokio::test]
async fn without_keys_nobody_passes() {
    let issuer = Issuer::start().await;
    issuer.gives(503, "");
    let jwt = issuer.verifier(|_| {});
    let key = Key::make("k");
    for _ in 0..20 {
        let denial = check(&jwt, &key.token("k")).await.unwrap_err();
        assert_eq!((denial.status.as_u16(), denial.code), (503, "token_keys_unavailable"));
    }
    assert!(issuer.asked() < 20, "a pause follows a failure");
}
