//! API keys: random, shown once, kept as digests.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDate};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::bounded::Digest;
use crate::credential::{Place, Twice};
use crate::denial::{Denial, quoted};
use crate::identity::{Forward, ForwardConfig, Identity};
use crate::secret::Hidden;

/// What keys made here begin with, so that scanners of leaked secrets find them.
pub const PREFIX: &str = "sv_";
/// Longest key, bytes.
const MAX_KEY_BYTES: usize = 512;
/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// What hashes begin with.
const HASH_PREFIX: &str = "sha256:";
/// Largest file of keys, bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Takes requests with an API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// Where the key is: `header NAME`, `bearer`, `query NAME`, `cookie NAME`; the first place that has one counts.
    pub from: Vec<Place>,
    /// The keys.
    pub keys: Vec<KeyConfig>,
    /// JSON file with a list of more keys, in the form of `keys`.
    pub file: Option<PathBuf>,
    /// Header fields that tell of the key's owner: `{ x-client = "subject", x-roles = "roles" }`.
    pub forward: ForwardConfig,
    /// Takes the key out of the request before it goes on.
    pub hide: bool,
    /// Requests without a key go on, as nobody's; those with a bad one do not, unless it is a bearer token of another kind.
    pub optional: bool,
    /// Named in challenges.
    pub realm: Option<String>,
}

impl Default for ApiKeyConfig {
    fn default() -> Self {
        Self {
            from: vec![Place::Header(HeaderName::from_static("x-api-key")), Place::Bearer],
            keys: Vec::new(),
            file: None,
            forward: ForwardConfig::default(),
            hide: true,
            optional: false,
            realm: None,
        }
    }
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Whose it is.
    pub name: String,
    /// `sha256:` and the digest of the key in hexadecimal, as `selvedge key new` prints it.
    pub hash: Hidden,
    /// What its owner is.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What it may be used for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it ends: `2027-01-31` or `2027-01-31T12:00:00Z`.
    #[serde(default)]
    pub expires: Option<String>,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyConfigError {
    /// No place.
    #[error("`from` is empty: no key would be found")]
    Nowhere,
    /// A hash.
    #[error("the hash of the key {0:?} is not `sha256:` and 64 hexadecimal digits")]
    Hash(String),
    /// A date.
    #[error("the key {0:?} expires at {1:?}, which is no date like 2027-01-31 or 2027-01-31T12:00:00Z")]
    Date(String, String),
    /// Twice the same.
    #[error("the keys {0:?} and {1:?} are the same")]
    Same(String, String),
    /// The file.
    #[error("cannot read the keys in {0}: {1}")]
    File(PathBuf, String),
    /// A name of a header field.
    #[error("forward: {0}")]
    Forward(String),
}

/// A new key, and what is kept of it.
pub struct NewKey {
    /// For its owner; it is never shown again.
    pub key: Zeroizing<String>,
    /// For the settings.
    pub hash: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl NewKey {
    /// Makes a key of 256 random bits.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn make() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(&mut bytes[..])?;
        let key = Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes[..])));
        let hash = hash(&key);
        Ok(Self { key, hash })
    }
}

/// What the settings keep of a key.
pub fn hash(key: &str) -> String {
    use fmt::Write;
    let mut text = String::from(HASH_PREFIX);
    for byte in digest_of(key) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Takes keys.
pub struct ApiKeys {
    from: Vec<Place>,
    /// By the first bytes of the digest; the rest is compared in constant time.
    keys: HashMap<[u8; 8], Key>,
    forward: Forward,
    hide: bool,
    optional: bool,
    challenge: String,
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

struct Key {
    digest: Digest,
    expires: u64,
    identity: Arc<Identity>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl ApiKeys {
    /// Checks the settings and reads the file, a relative one in `directory`.
    pub fn new(config: &ApiKeyConfig, directory: &Path) -> Result<Self, ApiKeyConfigError> {
        if config.from.is_empty() {
            return Err(ApiKeyConfigError::Nowhere);
        }
        let forward = Forward::new(&config.forward).map_err(ApiKeyConfigError::Forward)?;
        let more = match &config.file {
            Some(file) => {
                let path = directory.join(file);
                read_keys(&path).map_err(|reason| ApiKeyConfigError::File(path, reason))?
            }
            None => Vec::new(),
        };
        let mut keys: HashMap<[u8; 8], Key> = HashMap::new();
        for config in config.keys.iter().chain(&more) {
            let digest =
                parse_hash(&config.hash.0).ok_or_else(|| ApiKeyConfigError::Hash(config.name.clone()))?;
            let expires = match &config.expires {
                Some(date) => parse_date(date)
                    .ok_or_else(|| ApiKeyConfigError::Date(config.name.clone(), date.clone()))?,
                None => u64::MAX,
            };
            let identity = Identity {
                subject: config.name.clone(),
                roles: config.roles.clone(),
                scopes: config.scopes.clone(),
                ..Identity::default()
            };
            let fields = forward.fields(&identity);
            let key = Key { digest, expires, identity: Arc::new(identity), fields };
            if let Some(other) = keys.insert(first(&digest), key) {
                return Err(ApiKeyConfigError::Same(other.identity.subject.clone(), config.name.clone()));
            }
        }
        let realm = config.realm.as_deref().unwrap_or("api");
        let challenge = format!("Bearer realm={}", quoted(realm));
        let (from, hide, optional) = (config.from.clone(), config.hide, config.optional);
        Ok(Self { from, keys, forward, hide, optional, challenge })
    }

    /// Finds and judges the key of a request, removes what the client says of itself and says what is known instead.
    pub fn check(
        &self,
        uri: &mut Uri,
        headers: &mut HeaderMap,
        now: u64,
    ) -> Result<Option<Arc<Identity>>, Denial> {
        self.forward.strip(headers);
        let (place, text) = match Place::first(&self.from, uri, headers) {
            Ok(Some(found)) => found,
            Ok(None) if self.optional => return Ok(None),
            Ok(None) => {
                let message = "An API key is needed.";
                return Err(Denial::unauthorized("api_key_required", message).challenge(&self.challenge));
            }
            Err(Twice) => {
                return Err(Denial::new(
                    StatusCode::BAD_REQUEST,
                    "api_key_twice",
                    "There is more than one API key.",
                ));
            }
        };
        let key = match self.find(text) {
            // Perhaps it is a token, which another step takes.
            None if self.optional && *place == Place::Bearer && !text.starts_with(PREFIX) => return Ok(None),
            None => return Err(self.refuse("The API key is not known here.")),
            Some(key) if now >= key.expires => return Err(self.refuse("The API key has expired.")),
            Some(key) => key,
        };
        if self.hide {
            place.remove(uri, headers);
        }
        for (name, value) in &key.fields {
            headers.insert(name, value.clone());
        }
        Ok(Some(Arc::clone(&key.identity)))
    }

    fn find(&self, text: &str) -> Option<&Key> {
        if text.len() > MAX_KEY_BYTES {
            return None;
        }
        let digest = digest_of(text);
        self.keys.get(&first(&digest)).filter(|key| bool::from(key.digest.ct_eq(&digest)))
    }

    fn refuse(&self, message: &'static str) -> Denial {
        let challenge = format!("{}, error=\"invalid_token\"", self.challenge);
        Denial::unauthorized("api_key_invalid", message).challenge(&challenge)
    }
}

fn digest_of(text: &str) -> Digest {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    key
}

fn first(digest: &Digest) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}

fn parse_hash(text: &str) -> Option<Digest> {
    let hex = text.strip_prefix(HASH_PREFIX)?.as_bytes();
    let mut digest = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |c: u8| (c as char).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(digest)
}

/// The end of a day, or a moment, in seconds since 1970.
fn parse_date(text: &str) -> Option<u64> {
    let seconds = match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(day) => day.succ_opt()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp(),
        Err(_) => DateTime::parse_from_rfc3339(text).ok()?.timestamp(),
    };
    u64::try_from(seconds).ok()
}

fn read_keys(path: &Path) -> Result<Vec<KeyConfig>, String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(keys: Vec<KeyConfig>) -> ApiKeyConfig {
        ApiKeyConfig {
            keys,
            from: ["header x-api-key", "bearer", "query k"].map(|p| p.parse().unwrap()).into(),
            ..ApiKeyConfig::default()
        }
    }

    fn key(name: &str, key: &str) -> KeyConfig {
        KeyConfig {
            name: name.into(),
            hash: Hidden(hash(key)),
            roles: vec!["r".into()],
            scopes: vec![],
            expires: None,
        }
    }

    fn check(keys: &ApiKeys, header: &str, value: &str, now: u64) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_bytes(header.as_bytes()).unwrap(), value.parse().unwrap());
        let found = keys.check(&mut Uri::from_static("/"), &mut headers, now);
        found.map(|found| found.map(|identity| identity.subject.clone())).map_err(|denial| denial.message)
    }

    #[test]
    fn new_keys_are_random_and_hidden() {
        let (one, two) = (NewKey::make().unwrap(), NewKey::make().unwrap());
        assert_ne!(*one.key, *two.key);
        assert_eq!(one.key.len(), 3 + 43);
        assert_eq!(hash(&one.key), one.hash);
        assert!(!format!("{one:?}").contains(one.key.as_str()));
        // What `sha256sum` says.
        assert_eq!(hash("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn keys_name_their_owners() {
        let (ann, bob) = (NewKey::make().unwrap(), NewKey::make().unwrap());
        let mut ended = key("bob", &bob.key);
        ended.expires = Some("1970-01-02".into());
        let keys = ApiKeys::new(&config(vec![key("ann", &ann.key), ended]), Path::new("/")).unwrap();
        assert_eq!(check(&keys, "x-api-key", &ann.key, 5), Ok(Some("ann".into())));
        assert_eq!(check(&keys, "authorization", &format!("Bearer {}", *ann.key), 5), Ok(Some("ann".into())));
        assert_eq!(check(&keys, "x-api-key", &bob.key, 172_799), Ok(Some("bob".into())));
        assert_eq!(check(&keys, "x-api-key", &bob.key, 172_800), Err("The API key has expired."));
        let unknown = Err("The API key is not known here.");
        assert_eq!(check(&keys, "x-api-key", &ann.key[..45], 5), unknown);
        assert_eq!(check(&keys, "x-api-key", &ann.hash, 5), unknown);
        assert_eq!(check(&keys, "x-api-key", &"x".repeat(100_000), 5), unknown);
        assert_eq!(check(&keys, "other", "x", 5), Err("An API key is needed."));
    }

    #[test]
    fn keys_go_no_further_and_fields_are_ours() {
        let ann = NewKey::make().unwrap();
        let mut config = config(vec![key("ann", &ann.key)]);
        config.forward.0.insert("x-client".into(), "subject".into());
        let keys = ApiKeys::new(&config, Path::new("/")).unwrap();
        let mut uri: Uri = format!("/a?k={}&b=1", *ann.key).parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-client", HeaderValue::from_static("root"));
        headers.insert("x_client", HeaderValue::from_static("root"));
        assert!(keys.check(&mut uri, &mut headers, 0).unwrap().is_some());
        assert_eq!(uri, "/a?b=1");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-client"], "ann");
    }

    #[test]
    fn other_tokens_are_left_to_other_steps_only_when_keys_are_optional() {
        let config = ApiKeyConfig { optional: true, ..config(vec![]) };
        let keys = ApiKeys::new(&config, Path::new("/")).unwrap();
        assert_eq!(check(&keys, "authorization", "Bearer a.b.c", 0), Ok(None));
        assert!(check(&keys, "authorization", "Bearer sv_x", 0).is_err());
        assert!(check(&keys, "x-api-key", "a.b.c", 0).is_err());
        assert_eq!(check(&keys, "other", "x", 0), Ok(None));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let with = |change: &dyn Fn(&mut KeyConfig)| {
            let mut one = key("ann", "k");
            change(&mut one);
            ApiKeys::new(&config(vec![one]), Path::new("/"))
        };
        assert!(with(&|key| key.hash = Hidden("abc".into())).is_err());
        assert!(with(&|key| key.hash = Hidden(format!("sha256:{}", "g".repeat(64)))).is_err());
        assert!(with(&|key| key.expires = Some("tomorrow".into())).is_err());
        assert!(with(&|key| key.expires = Some("2027-02-31".into())).is_err());
        assert!(with(&|key| key.expires = Some("2027-01-31T12:00:00+02:00".into())).is_ok());
        assert!(ApiKeys::new(&config(vec![key("a", "k"), key("b", "k")]), Path::new("/")).is_err());
    }

    #[test]
    fn keys_may_be_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let text = serde_json::json!([{"name": "ann", "hash": hash("k"), "scopes": ["read"]}]).to_string();
        std::fs::write(directory.path().join("keys.json"), text).unwrap();
        let config = ApiKeyConfig { file: Some("keys.json".into()), ..config(vec![]) };
        let keys = ApiKeys::new(&config, directory.path()).unwrap();
        assert_eq!(check(&keys, "x-api-key", "k", 5), Ok(Some("ann".into())));
        std::fs::write(directory.path().join("keys.json"), "{").unwrap();
        assert!(ApiKeys::new(&config, directory.path()).is_err());
    }
}
