use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A key pair with its public parts in the forms issuers give them.
struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    pem: String,
    jwk: Value,
}

impl Pair {
    fn make(algorithm: Algorithm, kid: &str) -> Self {
        let kind = match algorithm {
            Algorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::ES384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            _ => &rcgen::PKCS_ED25519,
        };
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let (private, pem) = (pair.serialize_pem(), pair.public_key_pem());
        let (private, public) = match algorithm {
            Algorithm::RS256 => {
                (EncodingKey::from_rsa_pem(private.as_bytes()), DecodingKey::from_rsa_pem(pem.as_bytes()))
            }
            Algorithm::EdDSA => {
                (EncodingKey::from_ed_pem(private.as_bytes()), DecodingKey::from_ed_pem(pem.as_bytes()))
            }
            _ => (EncodingKey::from_ec_pem(private.as_bytes()), DecodingKey::from_ec_pem(pem.as_bytes())),
        };
        let jwk = Jwk::from_decoding_key(&public.unwrap(), Some(algorithm.library())).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = kid.into();
        Self { algorithm, private: private.unwrap(), pem, jwk }
    }

    fn sign(&self, header: Value, claims: &Value) -> String {
        sign(header, &claims.to_string(), &self.private, self.algorithm)
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(json!({"alg": format!("{:?}", self.algorithm), "kid": self.jwk["kid"]}), claims)
    }
}

fn sign(header: Value, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm.library()).unwrap();
    format!("{signed}.{signature}")
}

fn hmac(claims: &str) -> String {
    sign(json!({"alg": "HS256"}), claims, &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256)
}

fn good() -> Value {
    json!({"iss": "https://issuer", "aud": "api", "sub": "ann", "exp": NOW + 60})
}

fn jwks(pairs: &[&Pair]) -> Vec<u8> {
    json!({"keys": pairs.iter().map(|pair| pair.jwk.clone()).collect::<Vec<_>>()}).to_string().into_bytes()
}

fn demands() -> Demands {
    Demands {
        issuers: vec!["https://issuer".into()],
        audiences: vec!["api".into()],
        leeway_s: 10,
        roles: vec!["realm_access.roles".into()],
        ..Demands::default()
    }
}

fn judge(keys: &KeySet, token: &str) -> Result<Identity, TokenError> {
    verify_with(token, keys, Algorithm::PUBLIC, &demands(), NOW)
}

fn with_secret(config: JwtConfig) -> Jwt {
    let config = JwtConfig { secret: Some(SECRET.into()), ..config };
    Jwt::new(&config, Path::new("/"), &Fetcher::new(&[]).unwrap()).unwrap()
}

async fn code(jwt: &Jwt, token: &str) -> Result<String, TokenError> {
    match jwt.verify(token, NOW).await {
        Ok(verified) => Ok(verified.identity.subject.clone()),
        Err(Refused::Token(error)) => Err(error),
        Err(Refused::NoKeys) => panic!("no keys"),
    }
}

#[test]
fn tokens_of_every_kind_of_key_are_verified() {
    let pairs =
        [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA].map(|a| Pair::make(a, "k"));
    for pair in &pairs {
        let token = pair.token(&good());
        let keys = KeySet::from_jwks(&jwks(&[pair]), Algorithm::PUBLIC).unwrap();
        assert_eq!(judge(&keys, &token).unwrap().subject, "ann", "{:?}", pair.algorithm);
        let keys = KeySet::from_pem(&pair.pem, Algorithm::PUBLIC).unwrap();
        assert_eq!(judge(&keys, &token).unwrap().subject, "ann", "{:?}", pair.algorithm);
        let other = KeySet::from_jwks(&jwks(&[&Pair::make(pair.algorithm, "k")]), Algorithm::PUBLIC).unwrap();
        assert_eq!(judge(&other, &token), Err(TokenError::Signature));
        // Each byte of what is signed counts.
        let mut bent = token.clone().into_bytes();
        let middle = token.find('.').unwrap() + 5;
        bent[middle] = if bent[middle] == b'A' { b'B' } else { b'A' };
        assert_eq!(judge(&keys, &String::from_utf8(bent).unwrap()), Err(TokenError::Signature));
    }
}

#[test]
fn keys_verify_their_own_algorithm_only() {
    let (rsa, ec) = (Pair::make(Algorithm::RS256, "r"), Pair::make(Algorithm::ES256, "e"));
    let keys = KeySet::from_jwks(&jwks(&[&rsa, &ec]), Algorithm::PUBLIC).unwrap();
    // Neither `none` in any spelling, nor a signature that is not there.
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS1", "PS512", "dir"] {
        let header = json!({"alg": algorithm, "kid": "r"});
        assert_eq!(
            judge(&keys, &rsa.sign(header.clone(), &good())),
            Err(TokenError::Algorithm),
            "{algorithm}"
        );
        let unsigned = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(good().to_string())
        );
        assert!(judge(&keys, &unsigned).is_err());
    }
    // The public key as a secret (CVE-2015-9235), in every form an attacker has it.
    for secret in [rsa.pem.as_bytes(), rsa.pem.trim().as_bytes(), rsa.jwk["n"].as_str().unwrap().as_bytes()] {
        let token = sign(
            json!({"alg": "HS256"}),
            &good().to_string(),
            &EncodingKey::from_secret(secret),
            Algorithm::HS256,
        );
        assert_eq!(judge(&keys, &token), Err(TokenError::Algorithm));
        let both = [Algorithm::RS256, Algorithm::HS256];
        let keys = KeySet::from_pem(&rsa.pem, &both).unwrap();
        assert_eq!(verify_with(&token, &keys, &both, &demands(), NOW), Err(TokenError::UnknownKey));
    }
    // A key's `alg` limits it: RS256 keys do not verify PS256.
    let header = json!({"alg": "PS256", "kid": "r"});
    let ps = sign(header, &good().to_string(), &rsa.private, Algorithm::PS256);
    assert_eq!(judge(&keys, &ps), Err(TokenError::UnknownKey));
    // A token that names another kind of key.
    assert_eq!(
        judge(&keys, &rsa.sign(json!({"alg": "RS256", "kid": "e"}), &good())),
        Err(TokenError::UnknownKey)
    );
}

#[test]
fn keys_in_tokens_do_not_count() {
    let (ours, theirs) = (Pair::make(Algorithm::ES256, "k"), Pair::make(Algorithm::ES256, "k"));
    let keys = KeySet::from_jwks(&jwks(&[&ours]), Algorithm::PUBLIC).unwrap();
    for (name, value) in [
        ("jwk", theirs.jwk.clone()),
        ("jku", json!("https://evil/jwks")),
        ("x5u", json!("https://evil/cert")),
        ("x5c", json!(["MIIB"])),
    ] {
        for kid in ["k", "../../../dev/null", "k' OR '1'='1", "k\0", ""] {
            let mut header = json!({"alg": "ES256", "kid": kid});
            header[name] = value.clone();
            let expected = if kid == "k" { TokenError::Signature } else { TokenError::UnknownKey };
            assert_eq!(judge(&keys, &theirs.sign(header.clone(), &good())), Err(expected), "{name} {kid}");
            assert_eq!(judge(&keys, &ours.sign(header, &good())).is_ok(), kid == "k");
        }
    }
    assert_eq!(
        judge(&keys, &ours.sign(json!({"alg": "ES256", "kid": ["k"]}), &good())),
        Err(TokenError::Malformed)
    );
    // Tokens without a name try the keys there are.
    assert!(judge(&keys, &ours.sign(json!({"alg": "ES256"}), &good())).is_ok());
}

#[test]
fn sets_of_keys_are_read_with_care() {
    let pair = Pair::make(Algorithm::ES256, "k");
    let with = |name: &str, value: Value| {
        let mut jwk = pair.jwk.clone();
        jwk[name] = value;
        KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes(), Algorithm::PUBLIC)
    };
    assert!(with("use", json!("sig")).is_ok());
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("alg", json!("ES384")),
        ("alg", json!("ECDH-ES")),
        ("alg", json!(5)),
        ("kty", json!("oct")),
        ("crv", json!("secp256k1")),
        ("crv", json!("P-384")),
        ("x", json!("!")),
    ] {
        let keys = with(name, value.clone());
        let taken = keys.is_ok_and(|keys| judge(&keys, &pair.token(&good())).is_ok());
        assert!(!taken, "{name} {value}");
    }
    let everybody =
        json!({"keys": [{"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256"}]}).to_string();
    let all = [Algorithm::HS256, Algorithm::RS256];
    assert_eq!(
        KeySet::from_jwks(everybody.as_bytes(), &all),
        Err(KeyError::NoneFits),
        "secrets are not public"
    );
    let weak =
        json!({"keys": [{"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"}]}).to_string();
    assert_eq!(KeySet::from_jwks(weak.as_bytes(), Algorithm::PUBLIC), Err(KeyError::NoneFits), "1024 bits");
    for bad in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[1,null,{}]}"#] {
        assert!(KeySet::from_jwks(bad.as_bytes(), Algorithm::PUBLIC).is_err(), "{bad}");
    }
    // A key that is not understood does not take the others with it.
    let mixed = json!({"keys": [{"kty": "AKP", "alg": "ML-DSA-65"}, 5, pair.jwk]}).to_string();
    assert!(
        judge(&KeySet::from_jwks(mixed.as_bytes(), Algorithm::PUBLIC).unwrap(), &pair.token(&good())).is_ok()
    );
}

#[tokio::test]
async fn claims_are_judged() {
    let jwt = with_secret(JwtConfig {
        issuer: OneOrMore::One("https://issuer".into()),
        audience: OneOrMore::More(vec!["api".into(), "web".into()]),
        leeway_s: 10,
        required: [
            ("tenant".to_owned(), OneOrMore::More(vec!["a".into(), "b".into()])),
            ("sub".to_owned(), OneOrMore::default()),
        ]
        .into(),
        ..JwtConfig::default()
    });
    let mut base = good();
    base["tenant"] = "a".into();
    let with = |name: &str, value: Value| {
        let mut claims = base.clone();
        claims[name] = value;
        hmac(&claims.to_string())
    };
    let without = |name: &str| {
        let mut claims = base.clone();
        claims.as_object_mut().unwrap().remove(name);
        hmac(&claims.to_string())
    };
    assert_eq!(code(&jwt, &hmac(&base.to_string())).await, Ok("ann".into()));
    for (name, value, expected) in [
        ("iss", json!("https://issuer/"), Some(TokenError::Issuer)),
        ("iss", json!(["https://issuer"]), Some(TokenError::Malformed)),
        ("aud", json!(["x", "web"]), None),
        ("aud", json!(["x"]), Some(TokenError::Audience)),
        ("aud", json!([]), Some(TokenError::Audience)),
        ("aud", json!([["api"]]), Some(TokenError::Malformed)),
        ("aud", json!({"api": 1}), Some(TokenError::Malformed)),
        ("exp", json!(NOW - 9), None),
        ("exp", json!(NOW - 10), Some(TokenError::Expired)),
        ("exp", json!(NOW as f64 + 0.5), None),
        ("exp", json!(-1), Some(TokenError::Expired)),
        ("exp", json!(1e300), None),
        ("exp", json!("9999999999"), Some(TokenError::Malformed)),
        ("exp", json!(null), Some(TokenError::Malformed)),
        ("nbf", json!(NOW + 10), None),
        ("nbf", json!(NOW + 11), Some(TokenError::TooEarly)),
        ("nbf", json!(true), Some(TokenError::Malformed)),
        ("iat", json!("now"), Some(TokenError::Malformed)),
        ("sub", json!(5), Some(TokenError::Malformed)),
        ("tenant", json!("c"), Some(TokenError::Claim)),
        ("tenant", json!(["c", "b"]), None),
        ("tenant", json!(null), Some(TokenError::Claim)),
    ] {
        assert_eq!(code(&jwt, &with(name, value.clone())).await.err(), expected, "{name} {value}");
    }
    for (name, expected) in [
        ("iss", TokenError::Issuer),
        ("aud", TokenError::Audience),
        ("exp", TokenError::NoExpiry),
        ("sub", TokenError::Claim),
        ("tenant", TokenError::Claim),
    ] {
        assert_eq!(code(&jwt, &without(name)).await, Err(expected), "without {name}");
    }
}

#[tokio::test]
async fn tokens_are_read_strictly() {
    let jwt = with_secret(JwtConfig::default());
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let header = |more: Value| {
        let mut header = json!({"alg": "HS256"});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        sign(header, &good().to_string(), &key, Algorithm::HS256)
    };
    for (more, expected) in [
        (json!({"typ": "JWT"}), None),
        (json!({"typ": "application/at+JWT"}), None),
        (json!({"typ": "dpop+jwt"}), Some(TokenError::Type)),
        (json!({"typ": "logout+jwt"}), Some(TokenError::Type)),
        (json!({"typ": 1}), Some(TokenError::Malformed)),
        (json!({"crit": ["b64"], "b64": false}), Some(TokenError::Malformed)),
        (json!({"crit": []}), Some(TokenError::Malformed)),
        (json!({"cty": "JWT"}), Some(TokenError::Malformed)),
        (json!({"zip": "DEF"}), Some(TokenError::Malformed)),
    ] {
        assert_eq!(code(&jwt, &header(more.clone())).await.err(), expected, "{more}");
    }
    let pinned = with_secret(JwtConfig { types: vec!["at+jwt".into()], ..JwtConfig::default() });
    assert!(code(&pinned, &header(json!({"typ": "at+jwt"}))).await.is_ok());
    assert_eq!(code(&pinned, &header(json!({"typ": "JWT"}))).await, Err(TokenError::Type));
    assert_eq!(code(&pinned, &header(json!({}))).await, Err(TokenError::Type));

    // Two claims of one name, told apart by some readers and not by others.
    let twice = format!(r#"{{"sub":"ann","exp":{0},"sub":"root"}}"#, NOW + 9);
    assert_eq!(code(&jwt, &hmac(&twice)).await, Err(TokenError::Malformed));
    let token = hmac(&good().to_string());
    for bad in [
        format!("{token}="),
        format!("{token}.x"),
        format!("{token}.x.y"),
        format!(" {token}"),
        format!("{token}\n"),
        token.replace('.', ".."),
        token[..token.len() - 1].to_owned(),
        token.rsplit_once('.').unwrap().0.to_owned(),
        String::new(),
        "..".to_owned(),
        hmac("[]"),
        hmac("{} "),
        hmac("null"),
        hmac("\u{feff}{}"),
    ] {
        assert!(code(&jwt, &bad).await.is_err(), "{bad}");
    }
    assert_eq!(code(&jwt, &"a.b.c".repeat(10_000)).await, Err(TokenError::TooLong));
    assert_eq!(
        code(&jwt, &hmac(&format!("{{\"a\":{}1{}}}", "[".repeat(3000), "]".repeat(3000)))).await,
        Err(TokenError::Malformed)
    );
    let longest = hmac(&format!("{{\"exp\":{},\"a\":\"{}\"}}", NOW + 9, "x".repeat(11_000)));
    assert!(code(&jwt, &longest).await.is_ok());
}

#[tokio::test]
async fn verified_tokens_are_kept_until_they_end() {
    let jwt = with_secret(JwtConfig { leeway_s: 0, ..JwtConfig::default() });
    let token = hmac(&good().to_string());
    assert!(jwt.verify(&token, NOW).await.is_ok());
    assert_eq!(jwt.cache.len(), 1);
    assert!(jwt.verify(&token, NOW + 59).await.is_ok());
    assert!(matches!(jwt.verify(&token, NOW + 60).await, Err(Refused::Token(TokenError::Expired))));
    for n in 0..300 {
        assert!(code(&jwt, &format!("{token}{n}")).await.is_err());
    }
    assert_eq!(jwt.cache.len(), 1, "bad ones take no place");
}

#[tokio::test]
async fn requests_carry_tokens_and_workers_are_told_of_them() {
    let jwt = with_secret(JwtConfig {
        from: ["cookie t", "bearer"].map(|place| place.parse().unwrap()).into(),
        forward: ForwardConfig(
            [("x-user".to_owned(), "sub".to_owned()), ("x-none".to_owned(), "none".to_owned())].into(),
        ),
        hide: true,
        realm: Some("shop".into()),
        ..JwtConfig::default()
    });
    let mut uri = Uri::from_static("/");
    let mut headers = HeaderMap::new();
    headers.insert("x-user", HeaderValue::from_static("root"));
    headers.insert("x-none", HeaderValue::from_static("root"));
    let denial = jwt.check(&mut uri, &mut headers, NOW).await.unwrap_err();
    assert_eq!((denial.status.as_u16(), denial.code), (401, "token_required"));
    assert_eq!(denial.challenge.unwrap(), "Bearer realm=\"shop\"");
    headers.insert("x-user", HeaderValue::from_static("root"));
    headers.insert("cookie", format!("a=1; t={}", hmac(&good().to_string())).parse().unwrap());
    let identity = jwt.check(&mut uri, &mut headers, NOW).await.unwrap().unwrap();
    assert_eq!((identity.subject.as_str(), identity.issuer.as_deref()), ("ann", Some("https://issuer")));
    assert_eq!(headers.len(), 2);
    assert_eq!(
        (&headers["x-user"], &headers["cookie"]),
        (&HeaderValue::from_static("ann"), &HeaderValue::from_static("a=1"))
    );
    headers.insert("authorization", HeaderValue::from_static("Bearer nonsense"));
    let denial = jwt.check(&mut uri, &mut headers, NOW).await.unwrap_err();
    assert_eq!(
        denial.challenge.unwrap(),
        "Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"The token is not a signed JSON Web Token.\""
    );
    headers.append("authorization", HeaderValue::from_static("Bearer other"));
    assert_eq!(jwt.check(&mut uri, &mut headers, NOW).await.unwrap_err().status, 400);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |config: JwtConfig| {
        Jwt::new(&config, Path::new("/"), &Fetcher::new(&[]).unwrap()).unwrap_err().to_string()
    };
    let secret = || Some(Secret::from(SECRET));
    assert!(refused(JwtConfig::default()).contains("exactly one"));
    assert!(
        refused(JwtConfig { secret: secret(), jwks: Some("https://a/".into()), ..JwtConfig::default() })
            .contains("exactly one")
    );
    assert!(refused(JwtConfig { secret: Some("short".into()), ..JwtConfig::default() }).contains("32 bytes"));
    assert!(
        refused(JwtConfig { secret: secret(), algorithms: vec![Algorithm::HS512], ..JwtConfig::default() })
            .contains("64 bytes")
    );
    assert!(
        refused(JwtConfig { secret: secret(), algorithms: vec![Algorithm::RS256], ..JwtConfig::default() })
            .contains("RS256")
    );
    let mixed = vec![Algorithm::RS256, Algorithm::HS256];
    assert!(
        refused(JwtConfig { jwks: Some("https://a/".into()), algorithms: mixed, ..JwtConfig::default() })
            .contains("HS256")
    );
    assert!(
        refused(JwtConfig { jwks: Some("http://a.example/".into()), ..JwtConfig::default() })
            .contains("insecure_http")
    );
    assert!(refused(JwtConfig { secret: secret(), from: vec![], ..JwtConfig::default() }).contains("from"));
    assert!(serde_json::from_str::<JwtConfig>(r#"{"algorithms":["none"]}"#).is_err());
    let shown = format!("{:?}", JwtConfig { secret: secret(), ..JwtConfig::default() });
    assert!(!shown.contains(SECRET));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let config = JwtConfig { public_key: Some("k".into()), ..JwtConfig::default() };
    assert!(Jwt::new(&config, dir.path(), &Fetcher::new(&[]).unwrap()).is_err(), "a private key");
}

proptest! {
    #[test]
    fn nothing_in_a_token_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), dots in 0..5usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let jwt = with_secret(JwtConfig::default());
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for _ in 0..dots {
            text.push('.');
            text.push_str(&URL_SAFE_NO_PAD.encode(&bytes));
        }
        prop_assert!(runtime.block_on(code(&jwt, &text)).is_err());
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ", &bytes[..]].concat()) {
            headers.insert("authorization", value);
        }
        prop_assert!(runtime.block_on(jwt.check(&mut Uri::from_static("/"), &mut headers, NOW)).is_err());
    }

    #[test]
    fn nothing_signed_panics(claims in "\\PC{0,80}", name in "exp|aud|nbf|iss|sub|roles", value in "-?[0-9]{1,30}(e[0-9]{1,3})?|\"[a-z]*\"|\\[[0-9,]*\\]|null|\\{\\}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let jwt = with_secret(JwtConfig::default());
        let _ = runtime.block_on(code(&jwt, &hmac(&claims)));
        let _ = runtime.block_on(code(&jwt, &hmac(&format!("{{\"{name}\":{value},\"jti\":1}}"))));
    }
}
