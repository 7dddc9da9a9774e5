//! Cookies that only this server can read and write: AES-256-GCM, under a key that may be changed while sessions last.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::credential::cookies;
use crate::secret::Secret;

/// Longest value of one cookie, bytes; browsers take 4096 with name and attributes.
const CHUNK_BYTES: usize = 3600;
/// Cookies of one value. More do not fit into the request heads that servers take.
const MAX_CHUNKS: usize = 4;
/// Keys that are tried.
const MAX_KEYS: usize = 8;
/// Least bytes of a key's text.
const KEY_BYTES: usize = 32;

/// Keys; the first seals, all open.
pub(crate) struct Sealer(Vec<RandomizedNonceKey>);

impl Sealer {
    pub(crate) fn new(secrets: &[Secret], directory: &Path) -> Result<Self, String> {
        if secrets.is_empty() || secrets.len() > MAX_KEYS {
            return Err(format!("session_keys needs from 1 to {MAX_KEYS} keys"));
        }
        let key = |secret: &Secret| {
            let text = secret.load(directory).map_err(|error| error.to_string())?;
            if text.len() < KEY_BYTES {
                return Err(format!("each of session_keys must have at least {KEY_BYTES} bytes"));
            }
            let mut bytes = zeroize::Zeroizing::new([0; 32]);
            let derived = Salt::new(HKDF_SHA256, b"selvedge session cookies").extract(text.as_bytes());
            let filled =
                derived.expand(&[b"aes-256-gcm"], HKDF_SHA256).and_then(|okm| okm.fill(&mut bytes[..]));
            let key = filled.and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, &bytes[..]));
            key.map_err(|_| "session_keys: a key cannot be made".to_owned())
        };
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Sealed text, for a cookie. `context` says what it is: it opens only as that.
    pub(crate) fn seal(&self, context: &str, value: &impl Serialize) -> Option<String> {
        let mut body = serde_json::to_vec(value).ok()?;
        let nonce = self.0.first()?.seal_in_place_append_tag(Aad::from(context), &mut body).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &body].concat()))
    }

    pub(crate) fn open<T: DeserializeOwned>(&self, context: &str, text: &str) -> Option<T> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut body = body.to_vec();
            let plain = key.open_in_place(nonce, Aad::from(context), &mut body).ok()?;
            serde_json::from_slice(plain).ok()
        })
    }
}

/// A cookie of this server, in several parts where it is long.
pub(crate) struct Jar {
    /// With `__Host-` where there is TLS.
    name: String,
    secure: bool,
    /// Requests for other paths do not have it.
    path: String,
}

impl Jar {
    pub(crate) fn new(name: &str, secure: bool) -> Self {
        let prefix = if secure { "__Host-" } else { "" };
        Self { name: format!("{prefix}{name}"), secure, path: "/".into() }
    }

    /// A cookie for one path only, for what need not burden all requests.
    pub(crate) fn at(name: &str, secure: bool, path: &str) -> Self {
        let prefix = if secure { "__Secure-" } else { "" };
        Self { name: format!("{prefix}{name}"), secure, path: path.into() }
    }

    /// Whether a cookie is this or a part of it.
    pub(crate) fn owns(&self, name: &str) -> bool {
        name.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || self.part(rest).is_some())
    }

    fn part(&self, rest: &str) -> Option<usize> {
        rest.strip_prefix('.')?.parse().ok().filter(|part| (1..MAX_CHUNKS).contains(part))
    }

    /// The value in a request, put together.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Option<String> {
        let mut parts: [Option<&str>; MAX_CHUNKS] = [None; MAX_CHUNKS];
        for (name, value) in cookies(headers) {
            let Some(rest) = name.strip_prefix(&self.name) else { continue };
            let place = if rest.is_empty() { Some(0) } else { self.part(rest) };
            if let Some(place) = place {
                parts[place] = Some(value);
            }
        }
        let (count, first) = parts[0]?.split_once('~')?;
        let count: usize = count.parse().ok().filter(|count| (1..=MAX_CHUNKS).contains(count))?;
        let mut whole = first.to_owned();
        for part in &parts[1..count] {
            whole.push_str((*part)?);
        }
        Some(whole)
    }

    /// Fields that set the value for some seconds; `None` when it is too long.
    pub(crate) fn write(&self, value: &str, seconds: u64) -> Option<Vec<HeaderValue>> {
        let chunks: Vec<&str> = value
            .as_bytes()
            .chunks(CHUNK_BYTES)
            .filter_map(|chunk| std::str::from_utf8(chunk).ok())
            .collect();
        if chunks.is_empty() || chunks.len() > MAX_CHUNKS {
            return None;
        }
        let cookie = |(place, chunk): (usize, &&str)| match place {
            0 => self.cookie(&self.name, &format!("{}~{chunk}", chunks.len()), seconds),
            _ => self.cookie(&format!("{}.{place}", self.name), chunk, seconds),
        };
        chunks.iter().enumerate().map(cookie).collect()
    }

    /// Fields that remove what a request has of it.
    pub(crate) fn clear(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        let mut names: Vec<&str> =
            cookies(headers).map(|(name, _)| name).filter(|name| self.owns(name)).collect();
        names.dedup();
        names.iter().filter_map(|name| self.cookie(name, "", 0)).collect()
    }

    fn cookie(&self, name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let path = &self.path;
        let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(keys: &[&str]) -> Sealer {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::from(key.repeat(32).as_str())).collect();
        Sealer::new(&keys, Path::new("")).unwrap()
    }

    fn sent_back(set: &[HeaderValue]) -> HeaderMap {
        let pairs: Vec<&str> =
            set.iter().map(|value| value.to_str().unwrap().split(';').next().unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.insert("cookie", pairs.join("; ").parse().unwrap());
        headers
    }

    #[test]
    fn cookies_open_with_any_key_as_what_they_are_only() {
        let sealed = sealer(&["a"]).seal("session", &"secret").unwrap();
        assert_eq!(sealer(&["b", "a"]).open("session", &sealed), Some("secret".to_owned()));
        assert_eq!(sealer(&["b"]).open::<String>("session", &sealed), None);
        assert_eq!(sealer(&["a"]).open::<String>("login", &sealed), None);
        for place in [0, 5, sealed.len() - 1] {
            let mut bent = sealed.clone().into_bytes();
            bent[place] ^= 1;
            assert_eq!(sealer(&["a"]).open::<String>("session", &String::from_utf8(bent).unwrap()), None);
        }
        assert_ne!(sealer(&["a"]).seal("session", &"secret").unwrap(), sealed);
        assert!(Sealer::new(&[], Path::new("")).is_err());
        assert!(Sealer::new(&["short".into()], Path::new("")).is_err());
    }

    #[test]
    fn long_values_are_parted() {
        let jar = Jar::new("session", true);
        for length in [1, 3600, 3601, 14_000] {
            let value = "x".repeat(length);
            let set = jar.write(&value, 60).unwrap();
            assert_eq!(set.len(), length.div_ceil(3600));
            for cookie in &set {
                let cookie = cookie.to_str().unwrap();
                assert!(cookie.len() < 4096 && cookie.starts_with("__Host-session"), "{cookie}");
                assert!(cookie.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"));
            }
            let headers = sent_back(&set);
            assert_eq!(jar.read(&headers), Some(value));
            assert_eq!(jar.clear(&headers).len(), set.len());
        }
        assert!(jar.write(&"x".repeat(15_000), 60).is_none());
        let mut headers = sent_back(&jar.write(&"x".repeat(8000), 60).unwrap());
        crate::credential::remove_cookies(&mut headers, |name| name.ends_with(".1"));
        assert_eq!(jar.read(&headers), None, "a part is missing");
        assert!(
            !jar.owns("__Host-session.9") && !jar.owns("__Host-sessions") && jar.owns("__Host-session.3")
        );
        assert!(!Jar::new("session", false).write("x", 1).unwrap()[0].to_str().unwrap().contains("Secure"));
    }

    proptest! {
        #[test]
        fn no_cookie_panics(text in "\\PC{0,60}", count in "[0-9]{0,3}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&format!("session={count}~{text}; session.1={text}")) {
                headers.insert("cookie", value);
            }
            let read = Jar::new("session", false).read(&headers).unwrap_or_default();
            prop_assert_eq!(sealer(&["a"]).open::<String>("x", &read), None);
        }
    }
}
