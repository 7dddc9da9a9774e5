//! Requests that a page of another site makes a browser send, with the cookies it has. Browsers say where requests come from
//! (`Sec-Fetch-Site`, `Origin`); that is believed. A token in a cookie and a header field is there for those who want it besides.

use std::path::Path;

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::{Place, one};
use crate::denial::Denial;
use crate::identity::Identity;
use crate::secret::Secret;

/// Refuses requests that change something and come from pages of other sites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsrfConfig {
    /// Origins whose pages may, such as `https://app.example`.
    pub trusted_origins: Vec<String>,
    /// Looks at the handshakes of WebSockets as well, which are GET requests.
    pub websockets: bool,
    /// Asks for a token besides.
    pub token: Option<TokenConfig>,
}

impl Default for CsrfConfig {
    fn default() -> Self {
        Self { trusted_origins: Vec::new(), websockets: true, token: None }
    }
}

/// A token that pages read from a cookie and send in a header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Signs tokens; at least 32 bytes.
    pub secret: Secret,
    /// The cookie. Without TLS its name must not begin with `__Host-`.
    #[serde(default = "cookie_name")]
    pub cookie: String,
    /// The header field.
    #[serde(default = "header_name")]
    pub header: String,
}

fn cookie_name() -> String {
    "__Host-csrf".into()
}

fn header_name() -> String {
    "x-csrf-token".into()
}

/// Refuses such requests.
#[derive(Debug)]
pub struct Csrf {
    trusted: Vec<String>,
    websockets: bool,
    token: Option<Token>,
}

struct Token {
    key: hmac::Key,
    cookie: Place,
    name: String,
    header: HeaderName,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Random bytes of a token.
const TOKEN_BYTES: usize = 16;
/// And of its signature.
const TAG_BYTES: usize = 32;
/// Least bytes of the secret.
const SECRET_BYTES: usize = 32;

impl Csrf {
    /// Checks the settings; secret files are looked for in `directory`. The error is a sentence.
    pub fn new(config: &CsrfConfig, directory: &Path) -> Result<Self, String> {
        for origin in &config.trusted_origins {
            let uri: Option<Uri> = origin.parse().ok();
            let is_origin = uri.is_some_and(|uri| {
                let parts = (uri.scheme_str(), uri.authority());
                matches!(parts, (Some(scheme), Some(host)) if format!("{scheme}://{host}") == *origin)
            });
            if !is_origin {
                return Err(format!(
                    "{origin:?} is no origin: those have a scheme, a host and no path, as https://app.example"
                ));
            }
        }
        let token = config.token.as_ref().map(|token| Token::new(token, directory)).transpose()?;
        Ok(Self { trusted: config.trusted_origins.clone(), websockets: config.websockets, token })
    }

    /// Judges a request. What is returned is a cookie to set.
    pub fn check(
        &self,
        method: &Method,
        headers: &HeaderMap,
        host: &str,
        websocket: bool,
        identity: Option<&Identity>,
    ) -> Result<Option<HeaderValue>, Denial> {
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        if safe && !(websocket && self.websockets) {
            return match &self.token {
                Some(token) => token.offer(headers, identity),
                None => Ok(None),
            };
        }
        self.check_origin(headers, host)?;
        // Scripts cannot add fields to handshakes.
        match &self.token {
            Some(token) if !safe => token.check(headers, identity).map(|()| None),
            _ => Ok(None),
        }
    }

    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Denial> {
        let refused = || {
            let message = "This request comes from a page of another site. If it may, add its origin to trusted_origins.";
            Denial::new(StatusCode::FORBIDDEN, "cross_site_request", message)
        };
        let origin = one(headers, &header::ORIGIN).map_err(|_| refused())?;
        // A field that is no text is none that a browser sends.
        if origin.is_none() && headers.contains_key(header::ORIGIN) {
            return Err(refused());
        }
        if origin.is_some_and(|origin| self.trusted.iter().any(|trusted| trusted == origin)) {
            return Ok(());
        }
        let site = one(headers, &HeaderName::from_static("sec-fetch-site")).map_err(|_| refused())?;
        match (site, origin) {
            (Some("same-origin" | "none"), _) => Ok(()),
            (Some(_), _) => Err(refused()),
            // Not a browser, or one from before 2020 with a request that is not across origins.
            (None, None) if !headers.contains_key("sec-fetch-site") => Ok(()),
            (None, None) => Err(refused()),
            // The scheme is not compared: it is the client's, which a proxy in between may have changed.
            (None, Some(origin)) => {
                let from = origin.split_once("://").map(|(_, host)| host);
                if from.is_some_and(|from| from.eq_ignore_ascii_case(host)) { Ok(()) } else { Err(refused()) }
            }
        }
    }
}

impl Token {
    fn new(config: &TokenConfig, directory: &Path) -> Result<Self, String> {
        let secret = config.secret.load(directory).map_err(|error| error.to_string())?;
        if secret.len() < SECRET_BYTES {
            return Err(format!("token.secret must have at least {SECRET_BYTES} bytes"));
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            cookie: format!("cookie {}", config.cookie).parse()?,
            name: config.cookie.clone(),
            header: config
                .header
                .parse()
                .map_err(|_| format!("{:?} is no name of a header field", config.header))?,
        })
    }

    /// A cookie with a new token where there is none that is good.
    fn offer(&self, headers: &HeaderMap, identity: Option<&Identity>) -> Result<Option<HeaderValue>, Denial> {
        if let Ok(Some(there)) = self.cookie.find(&Uri::default(), headers)
            && self.is_ours(there, identity)
        {
            return Ok(None);
        }
        let mut random = [0; TOKEN_BYTES];
        rand::fill(&mut random)
            .map_err(|_| Denial::unavailable("csrf_unavailable", "No token can be made."))?;
        let tag = self.tag(&random, identity);
        let token = URL_SAFE_NO_PAD.encode([&random[..], tag.as_ref()].concat());
        let secure = if self.name.starts_with("__") { "; Secure" } else { "" };
        let cookie = format!("{}={token}; Path=/; SameSite=Lax{secure}", self.name);
        Ok(HeaderValue::from_str(&cookie).ok())
    }

    fn check(&self, headers: &HeaderMap, identity: Option<&Identity>) -> Result<(), Denial> {
        let nowhere = Uri::default();
        let cookie = self.cookie.find(&nowhere, headers).ok().flatten();
        let field = one(headers, &self.header).ok().flatten();
        let same = |a: &str, b: &str| bool::from(subtle::ConstantTimeEq::ct_eq(a.as_bytes(), b.as_bytes()));
        match (cookie, field) {
            (Some(cookie), Some(field)) if same(cookie, field) && self.is_ours(cookie, identity) => Ok(()),
            _ => {
                let message = "The token against forged requests is missing, is another's or is of another login; reload the page.";
                Err(Denial::new(StatusCode::FORBIDDEN, "csrf_token_invalid", message))
            }
        }
    }

    fn is_ours(&self, token: &str, identity: Option<&Identity>) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
        if bytes.len() != TOKEN_BYTES + TAG_BYTES {
            return false;
        }
        let (random, tag) = bytes.split_at(TOKEN_BYTES);
        hmac::verify(&self.key, &signed(random, identity), tag).is_ok()
    }

    fn tag(&self, random: &[u8], identity: Option<&Identity>) -> hmac::Tag {
        hmac::sign(&self.key, &signed(random, identity))
    }
}

/// Tokens belong to who was known when they were made: one's own token is of no use in another's browser.
fn signed(random: &[u8], identity: Option<&Identity>) -> Vec<u8> {
    let subject = identity.map_or("", |identity| &identity.subject);
    [random, subject.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn csrf(text: &str) -> Csrf {
        Csrf::new(&serde_json::from_str(text).unwrap(), Path::new("")).unwrap()
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn passes(csrf: &Csrf, method: &Method, fields: &[(&str, &str)]) -> bool {
        csrf.check(method, &map(fields), "a.example:8080", false, None).is_ok()
    }

    #[test]
    fn browsers_are_believed_where_a_request_comes_from() {
        let csrf = csrf(r#"{"trusted_origins": ["https://friend.example"]}"#);
        for (fields, good) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            (&[("origin", "https://a.example:8080")], true),
            (&[("origin", "http://A.example:8080")], true),
            (&[("origin", "https://a.example")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://a.example:8080.evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "https://a.example:8080"), ("origin", "https://evil.example")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://a.example:8080")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://friend.example")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://friend.example.evil.example")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://friend.example")], false),
            (&[("origin", "https://friend.example")], true),
        ] {
            assert_eq!(passes(&csrf, &Method::POST, fields), good, "{fields:?}");
            assert_eq!(passes(&csrf, &Method::DELETE, fields), good, "{fields:?}");
            assert!(passes(&csrf, &Method::GET, fields), "{fields:?}");
            let socket = csrf.check(&Method::GET, &map(fields), "a.example:8080", true, None);
            assert_eq!(socket.is_ok(), good, "{fields:?}");
        }
        assert!(!passes(&csrf, &"get".parse().unwrap(), &[("origin", "https://evil.example")]));
    }

    #[test]
    fn tokens_are_in_the_cookie_and_in_the_field_and_ours() {
        let config = format!(r#"{{"token": {{"secret": "{}"}}}}"#, "s".repeat(32));
        let guard = csrf(&config);
        let ann = Identity { subject: "ann".into(), ..Identity::default() };
        let made = |identity: Option<&Identity>| {
            let cookie = guard.check(&Method::GET, &HeaderMap::new(), "a", false, identity).unwrap().unwrap();
            let cookie = cookie.to_str().unwrap().to_owned();
            assert!(
                cookie.starts_with("__Host-csrf=") && cookie.ends_with("; Path=/; SameSite=Lax; Secure"),
                "{cookie}"
            );
            cookie["__Host-csrf=".len()..].split(';').next().unwrap().to_owned()
        };
        let token = made(Some(&ann));
        let post = |cookie: &str, field: &str, identity: Option<&Identity>| {
            let cookie = format!("__Host-csrf={cookie}");
            let headers = map(&[("cookie", &cookie), ("x-csrf-token", field)]);
            guard.check(&Method::POST, &headers, "a", false, identity).map_err(|denial| denial.code)
        };
        assert_eq!(post(&token, &token, Some(&ann)), Ok(None));
        for (cookie, field, identity) in [
            (token.as_str(), "", Some(&ann)),
            ("", token.as_str(), Some(&ann)),
            ("x", "x", Some(&ann)),
            ("", "", Some(&ann)),
            (&token, &token, None),
            (&token, &made(Some(&ann)), Some(&ann)),
            (&made(None), &made(None), Some(&ann)),
        ] {
            assert_eq!(post(cookie, field, identity), Err("csrf_token_invalid"), "{cookie} {field}");
        }
        let headers = map(&[("cookie", &format!("__Host-csrf={token}"))]);
        assert_eq!(guard.check(&Method::GET, &headers, "a", false, Some(&ann)), Ok(None), "kept");
        assert!(guard.check(&Method::GET, &headers, "a", false, None).unwrap().is_some(), "another login");
        let other = csrf(&config.replace("ssss", "tttt"));
        assert!(
            other.check(&Method::GET, &headers, "a", false, Some(&ann)).unwrap().is_some(),
            "another secret"
        );
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for bad in [
            r#"{"trusted_origins": ["a.example"]}"#,
            r#"{"trusted_origins": ["https://a.example/"]}"#,
            r#"{"trusted_origins": ["*"]}"#,
            r#"{"token": {"secret": "short"}}"#,
        ] {
            assert!(Csrf::new(&serde_json::from_str(bad).unwrap(), Path::new("")).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_field_panics(origin in any::<Vec<u8>>(), site in any::<Vec<u8>>(), cookie in any::<Vec<u8>>(), host in ".*") {
            let csrf = csrf(&format!(r#"{{"token": {{"secret": "{}"}}}}"#, "s".repeat(32)));
            let mut headers = HeaderMap::new();
            for (name, bytes) in [("origin", origin), ("sec-fetch-site", site), ("cookie", cookie.clone()), ("x-csrf-token", cookie)] {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.insert(name, value);
                }
            }
            prop_assert!(csrf.check(&Method::POST, &headers, &host, false, None).is_err());
        }
    }
}
