//! What a request pays for its credentials: `cargo run --release -p selvedge-auth --example cost`.
#![allow(clippy::print_stdout, missing_docs, reason = "a program for people")]

use std::path::Path;
use std::time::Instant;

use http::{HeaderMap, Uri};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use selvedge_auth::api_key::{ApiKeyConfig, ApiKeys, KeyConfig, NewKey};
use selvedge_auth::fetch::Fetcher;
use selvedge_auth::jwt::{Jwt, JwtConfig};
use selvedge_auth::secret::Hidden;
use selvedge_auth::unix_now;
use serde_json::json;

const ROUNDS: u32 = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let claims = json!({"iss": "https://issuer", "aud": "api", "sub": "ann", "exp": unix_now() + 3600, "scope": "read write",
        "roles": ["staff", "admin"], "email": "ann@example.com", "name": "Ann Example", "sid": "0123456789abcdef0123456789abcdef"});
    let directory = tempfile::tempdir().expect("a directory");
    for (name, algorithm, kind) in [
        ("RS256", Algorithm::RS256, &rcgen::PKCS_RSA_SHA256),
        ("ES256", Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256),
        ("EdDSA", Algorithm::EdDSA, &rcgen::PKCS_ED25519),
    ] {
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key");
        let pem = pair.serialize_pem();
        let private = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_ed_pem(pem.as_bytes()),
        };
        let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &private.expect("a key"))
            .expect("a token");
        std::fs::write(directory.path().join("key.pem"), pair.public_key_pem()).expect("a file");
        for cache_s in [300, 0] {
            let mut config =
                JwtConfig { public_key: Some("key.pem".into()), cache_s, ..JwtConfig::default() };
            config.forward.0.insert("x-user".into(), "sub".into());
            let fetcher = Fetcher::new(&[]).expect("a client");
            let jwt = Jwt::new(&config, directory.path(), &fetcher).expect("settings");
            let headers = headers(&format!("Bearer {token}"));
            let cached = if cache_s > 0 { "kept" } else { "verified each time" };
            measure(&format!("jwt {name}, {} bytes, {cached}", token.len()), || {
                let mut headers = headers.clone();
                let checked =
                    runtime.block_on(jwt.check(&mut Uri::from_static("/"), &mut headers, unix_now()));
                assert!(checked.is_ok());
            });
        }
    }
    let key = NewKey::make().expect("a key");
    let keys = (0..10_000).map(|n| KeyConfig {
        name: format!("client {n}"),
        hash: Hidden(if n == 0 { key.hash.clone() } else { selvedge_auth::api_key::hash(&n.to_string()) }),
        roles: vec![],
        scopes: vec![],
        expires: None,
    });
    let keys = ApiKeys::new(&ApiKeyConfig { keys: keys.collect(), ..ApiKeyConfig::default() }, Path::new(""))
        .expect("settings");
    let headers = headers(&format!("Bearer {}", key.key.as_str()));
    measure("api key, one of 10000", || {
        let mut headers = headers.clone();
        assert!(keys.check(&mut Uri::from_static("/"), &mut headers, unix_now()).is_ok());
    });
    measure("(of these, to copy the header fields)", || {
        std::hint::black_box(headers.clone());
    });
}

/// As a browser sends them.
fn headers(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "a.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "application/json"),
        ("accept-language", "en"),
        ("accept-encoding", "gzip, deflate, br"),
        ("authorization", authorization),
    ] {
        headers.insert(name, value.parse().expect("a value"));
    }
    headers
}

fn measure(name: &str, mut once: impl FnMut()) {
    for _ in 0..100 {
        once();
    }
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        once();
    }
    println!("{name}: {:.2} µs", begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}
