//! JSON Web Tokens (RFC 7519), judged as RFC 8725 asks for: pinned algorithms, keys of their own kind only.

mod algorithm;
pub mod claims;
mod jwks;
mod keys;
mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use algorithm::Algorithm;
pub use claims::{Demands, OneOrMore};
pub use jwks::Jwks;
pub use keys::{KeyError, KeySet};
pub use token::MAX_TOKEN_BYTES;

use crate::bounded::{Bounded, Digest};
use crate::credential::{Place, Twice};
use crate::denial::{Denial, quoted};
use crate::fetch::{FetchError, Fetcher};
use crate::identity::{Forward, ForwardConfig, Identity};
use crate::secret::{Secret, SecretError};
use token::Token;

/// Verified tokens that are kept.
const CACHED_TOKENS: usize = 16 * 1024;

/// Takes requests with a JSON Web Token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// Where the token is: `bearer`, `header NAME`, `cookie NAME`, `query NAME`; the first place that has one counts.
    pub from: Vec<Place>,
    /// `iss` must be this, or one of these.
    pub issuer: OneOrMore,
    /// `aud` must have this, or one of these.
    pub audience: OneOrMore,
    /// Algorithms that are taken. Without any: HS256 with a secret, else RS256, PS256, ES256, ES384 and EdDSA.
    pub algorithms: Vec<Algorithm>,
    /// Address or file of a JSON Web Key Set.
    pub jwks: Option<String>,
    /// A secret shared with the issuer, for HS256, HS384 and HS512.
    pub secret: Option<Secret>,
    /// File with the issuer's public key, PEM.
    pub public_key: Option<PathBuf>,
    /// How much the issuer's clock may differ, seconds.
    pub leeway_s: u64,
    /// `typ` must be one of these; without any, `JWT`, `at+jwt` and none at all are taken.
    pub types: Vec<String>,
    /// Claims that must be there, by name or path, each with a value or one of several; an empty list takes any value.
    pub required: std::collections::BTreeMap<String, OneOrMore>,
    /// Takes tokens that never end (without `exp`).
    pub allow_eternal: bool,
    /// Claims with roles, by name or path (`realm_access.roles`).
    pub roles_claim: OneOrMore,
    /// Header fields that tell of claims, by name or path: `{ x-user = "sub" }`.
    pub forward: ForwardConfig,
    /// Takes the token out of the request before it goes on.
    pub hide: bool,
    /// Requests without a token go on, as nobody's; those with a bad one do not.
    pub optional: bool,
    /// Named in challenges.
    pub realm: Option<String>,
    /// How long a verified token is not verified again, seconds; 0 verifies each time. It ends with the token in any case.
    pub cache_s: u64,
    /// How long keys are used before they are fetched again where their server does not say, seconds.
    pub jwks_max_age_s: u64,
    /// Least time between two fetches for the sake of keys that are not known, seconds.
    pub jwks_min_interval_s: u64,
    /// Fetches keys without TLS from servers that are not on this machine.
    pub insecure_http: bool,
    /// PEM file of the authorities that the server of `jwks` is verified by, in place of the public ones.
    pub ca: Option<PathBuf>,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            from: vec![Place::Bearer],
            issuer: OneOrMore::default(),
            audience: OneOrMore::default(),
            algorithms: Vec::new(),
            jwks: None,
            secret: None,
            public_key: None,
            leeway_s: 30,
            types: Vec::new(),
            required: Default::default(),
            allow_eternal: false,
            roles_claim: OneOrMore::One("roles".into()),
            forward: ForwardConfig::default(),
            hide: false,
            optional: false,
            realm: None,
            cache_s: 300,
            jwks_max_age_s: 600,
            jwks_min_interval_s: 10,
            insecure_http: false,
            ca: None,
        }
    }
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum JwtConfigError {
    /// None, or more than one.
    #[error("a jwt step needs exactly one of `jwks`, `secret` and `public_key`")]
    Source,
    /// What everybody can read must not verify what only the issuer may sign.
    #[error("{0:?} needs a `secret`, and a `secret` needs HS256, HS384 or HS512")]
    Mixed(Algorithm),
    /// Nothing keeps tokens of other services out.
    #[error("`from` is empty: no token would be found")]
    Nowhere,
    /// A name of a header field.
    #[error("forward: {0}")]
    Forward(String),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file of keys.
    #[error("cannot read the keys in {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The address of keys.
    #[error("jwks: {0}")]
    Address(#[from] FetchError),
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says it itself")]
pub enum TokenError {
    #[error("The token is longer than 16 KiB.")]
    TooLong,
    #[error("The token is not a signed JSON Web Token.")]
    Malformed,
    #[error("The token is signed with an algorithm that is not allowed here.")]
    Algorithm,
    #[error("The token is of a type that is not taken here.")]
    Type,
    #[error("The token is signed with a key that is not known here.")]
    UnknownKey,
    #[error("The token's signature does not fit.")]
    Signature,
    #[error("The token is from another issuer.")]
    Issuer,
    #[error("The token is meant for another audience.")]
    Audience,
    #[error("The token does not say when it expires.")]
    NoExpiry,
    #[error("The token has expired.")]
    Expired,
    #[error("The token is not valid yet.")]
    TooEarly,
    #[error("The token lacks a claim that is asked for here.")]
    Claim,
}

impl TokenError {
    /// The sentence for the client.
    pub fn message(self) -> &'static str {
        match self {
            Self::TooLong => "The token is longer than 16 KiB.",
            Self::Malformed => "The token is not a signed JSON Web Token.",
            Self::Algorithm => "The token is signed with an algorithm that is not allowed here.",
            Self::Type => "The token is of a type that is not taken here.",
            Self::UnknownKey => "The token is signed with a key that is not known here.",
            Self::Signature => "The token's signature does not fit.",
            Self::Issuer => "The token is from another issuer.",
            Self::Audience => "The token is meant for another audience.",
            Self::NoExpiry => "The token does not say when it expires.",
            Self::Expired => "The token has expired.",
            Self::TooEarly => "The token is not valid yet.",
            Self::Claim => "The token lacks a claim that is asked for here.",
        }
    }
}

/// A token that was taken.
#[derive(Debug)]
pub struct Verified {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// Fields that tell of it.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Of the keys that verified it.
    generation: u64,
}

/// What was found in a request.
#[derive(Debug)]
pub enum Found {
    /// A good token, and where it was.
    Token(Arc<Verified>, Place),
    /// None, which is allowed.
    Nobody,
}

/// Takes tokens.
pub struct Jwt {
    from: Vec<Place>,
    algorithms: Vec<Algorithm>,
    types: Vec<String>,
    demands: Demands,
    forward: Forward,
    keys: Keys,
    cache: Bounded<Arc<Verified>>,
    cache_s: u64,
    hide: bool,
    optional: bool,
    challenge: String,
}

enum Keys {
    Fixed(Arc<KeySet>),
    Remote(Arc<Jwks>),
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("demands", &self.demands).finish_non_exhaustive()
    }
}

impl Jwt {
    /// Checks the settings and reads secrets and files, relative ones in `directory`. Fetches nothing yet.
    pub fn new(config: &JwtConfig, directory: &Path, fetcher: &Fetcher) -> Result<Self, JwtConfigError> {
        if config.from.is_empty() {
            return Err(JwtConfigError::Nowhere);
        }
        let algorithms = match (&config.algorithms[..], &config.secret) {
            ([], Some(_)) => vec![Algorithm::HS256],
            ([], None) => Algorithm::PUBLIC.to_vec(),
            (named, _) => named.to_vec(),
        };
        if let Some(mixed) = algorithms.iter().find(|one| one.is_symmetric() != config.secret.is_some()) {
            return Err(JwtConfigError::Mixed(*mixed));
        }
        let read = |path: &Path| {
            let path = directory.join(path);
            std::fs::read_to_string(&path).map_err(|reason| JwtConfigError::File(path, reason))
        };
        let keys = match (&config.jwks, &config.secret, &config.public_key) {
            (Some(url), None, None) if url.contains("://") => {
                Keys::Remote(Arc::new(Jwks::new(url, &algorithms, config, fetcher.clone())?))
            }
            (Some(file), None, None) => {
                Keys::Fixed(Arc::new(KeySet::from_jwks(read(Path::new(file))?.as_bytes(), &algorithms)?))
            }
            (None, Some(secret), None) => {
                Keys::Fixed(Arc::new(KeySet::from_secret(secret.load(directory)?.as_bytes(), &algorithms)?))
            }
            (None, None, Some(file)) => Keys::Fixed(Arc::new(KeySet::from_pem(&read(file)?, &algorithms)?)),
            _ => return Err(JwtConfigError::Source),
        };
        let realm = config.realm.as_ref().map(|realm| format!("realm={}", quoted(realm)));
        Ok(Self {
            from: config.from.clone(),
            algorithms,
            types: config.types.clone(),
            demands: Demands {
                issuers: config.issuer.all().to_vec(),
                audiences: config.audience.all().to_vec(),
                allow_eternal: config.allow_eternal,
                leeway_s: config.leeway_s,
                required: config.required.clone(),
                roles: config.roles_claim.all().to_vec(),
            },
            forward: Forward::new(&config.forward).map_err(JwtConfigError::Forward)?,
            keys,
            cache: Bounded::new(CACHED_TOKENS),
            cache_s: config.cache_s,
            hide: config.hide,
            optional: config.optional,
            challenge: realm.map_or_else(|| "Bearer".to_owned(), |realm| format!("Bearer {realm}")),
        })
    }

    /// Finds and judges the token of a request, removes what the client says of itself and says what is known instead.
    /// Waits only for keys that have yet to be fetched.
    pub async fn check(
        &self,
        uri: &mut Uri,
        headers: &mut HeaderMap,
        now: u64,
    ) -> Result<Option<Arc<Identity>>, Denial> {
        self.forward.strip(headers);
        let Found::Token(verified, place) = self.find(uri, headers, now).await? else { return Ok(None) };
        if self.hide {
            place.remove(uri, headers);
        }
        for (name, value) in &verified.fields {
            headers.insert(name, value.clone());
        }
        Ok(Some(Arc::clone(&verified.identity)))
    }

    async fn find(&self, uri: &Uri, headers: &HeaderMap, now: u64) -> Result<Found, Denial> {
        let (place, token) = match Place::first(&self.from, uri, headers) {
            Ok(Some(found)) => found,
            Ok(None) if self.optional => return Ok(Found::Nobody),
            Ok(None) => {
                let message =
                    "A token is needed: send it as `Authorization: Bearer …`, or where this site expects it.";
                return Err(Denial::unauthorized("token_required", message).challenge(&self.challenge));
            }
            Err(Twice) => {
                let denial = Denial::new(
                    http::StatusCode::BAD_REQUEST,
                    "token_twice",
                    "There is more than one token.",
                );
                return Err(
                    denial.challenge(&self.challenge_for("invalid_request", "There is more than one token."))
                );
            }
        };
        match self.verify(token, now).await {
            Ok(verified) => Ok(Found::Token(verified, place.clone())),
            Err(Refused::Token(error)) => {
                let challenge = self.challenge_for("invalid_token", error.message());
                Err(Denial::unauthorized("token_invalid", error.message()).challenge(&challenge))
            }
            Err(Refused::NoKeys) => Err(Denial::unavailable(
                "token_keys_unavailable",
                "The keys that verify tokens cannot be fetched at the moment.",
            )),
        }
    }

    fn challenge_for(&self, error: &str, description: &str) -> String {
        let comma = if self.challenge.contains('=') { "," } else { "" };
        format!("{}{comma} error=\"{error}\", error_description={}", self.challenge, quoted(description))
    }

    /// Judges a token.
    async fn verify(&self, text: &str, now: u64) -> Result<Arc<Verified>, Refused> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refused::Token(TokenError::TooLong));
        }
        let digest = sha256(text);
        if self.cache_s > 0 {
            let generation = self.generation();
            if let Some(found) = self.cache.get(&digest, now).filter(|found| found.generation == generation) {
                self.refresh_when_due();
                return Ok(found);
            }
        }
        let token = Token::parse(text, &self.algorithms, &self.types)?;
        let (claims, generation) = match &self.keys {
            Keys::Fixed(keys) => (token.verify(keys)?, 0),
            Keys::Remote(jwks) => verify_remote(&token, jwks).await?,
        };
        let (identity, ends) = self.demands.judge(claims, now)?;
        let fields = self.forward.fields(&identity);
        let verified = Arc::new(Verified { identity: Arc::new(identity), fields, generation });
        if self.cache_s > 0 {
            self.cache.put(digest, ends.min(now.saturating_add(self.cache_s)), Arc::clone(&verified));
        }
        Ok(verified)
    }

    fn generation(&self) -> u64 {
        match &self.keys {
            Keys::Fixed(_) => 0,
            Keys::Remote(jwks) => jwks.generation(),
        }
    }

    fn refresh_when_due(&self) {
        if let Keys::Remote(jwks) = &self.keys {
            jwks.refresh_when_due();
        }
    }
}

/// Verifies with fetched keys; when none fits, with those that are there after another fetch.
async fn verify_remote(token: &Token<'_>, jwks: &Arc<Jwks>) -> Result<(Map<String, Value>, u64), Refused> {
    let (keys, generation) = jwks.keys().await.ok_or(Refused::NoKeys)?;
    match token.verify(&keys) {
        Err(TokenError::UnknownKey) if token.kid.is_some() => {
            if !jwks.refresh_for_unknown().await {
                return Err(TokenError::UnknownKey.into());
            }
            let (keys, generation) = jwks.keys().await.ok_or(Refused::NoKeys)?;
            Ok((token.verify(&keys)?, generation))
        }
        verified => Ok((verified?, generation)),
    }
}

/// Verifies and judges one token with fetched keys, without any cache: ID tokens.
pub(crate) async fn verify_fetched(
    text: &str,
    jwks: &Arc<Jwks>,
    algorithms: &[Algorithm],
    demands: &Demands,
    now: u64,
) -> Result<Identity, Refused> {
    let token = Token::parse(text, algorithms, &[])?;
    let (claims, _) = verify_remote(&token, jwks).await?;
    Ok(demands.judge(claims, now)?.0)
}

/// Why a token is not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    Token(TokenError),
    NoKeys,
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

fn sha256(text: &str) -> Digest {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(digest.as_ref());
    key
}

/// Verifies and judges one token with given keys, without any cache: ID tokens.
pub fn verify_with(
    text: &str,
    keys: &KeySet,
    algorithms: &[Algorithm],
    demands: &Demands,
    now: u64,
) -> Result<Identity, TokenError> {
    let token = Token::parse(text, algorithms, &[])?;
    Ok(demands.judge(token.verify(keys)?, now)?.0)
}

/// How long one waits for keys.
pub(crate) const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
