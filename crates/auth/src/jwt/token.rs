//! The three parts of a signed token (RFC 7515, section 7.1), read strictly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::{KeySet, TokenError};
use crate::strict_json;

/// Longest token, bytes. Requests with longer fields are rare, and refused before anything of it is decoded.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest header of a token, bytes, in its base64.
const MAX_HEADER_BYTES: usize = 4 * 1024;

/// A token whose signature nobody has looked at.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// Header and claims, which the signature is over.
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
}

impl<'a> Token<'a> {
    /// Reads the header. Keys and addresses of keys in it (`jwk`, `jku`, `x5c`, `x5u`) are the sender's word and do not count.
    pub(crate) fn parse(
        text: &'a str,
        algorithms: &[Algorithm],
        types: &[String],
    ) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        // Five parts are an encrypted token.
        if claims.contains('.') || header.len() > MAX_HEADER_BYTES || signature.is_empty() {
            return Err(TokenError::Malformed);
        }
        let header = decode(header)?;
        let string = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Malformed),
        };
        let algorithm = string("alg")?.ok_or(TokenError::Malformed)?;
        let algorithm = algorithm.parse().map_err(|_| TokenError::Algorithm)?;
        if !algorithms.contains(&algorithm) {
            return Err(TokenError::Algorithm);
        }
        // Extensions that must be understood (RFC 7515, section 4.1.11), of which there are none here; and tokens in tokens.
        if ["crit", "b64", "zip", "enc", "cty"].iter().any(|name| header.contains_key(*name)) {
            return Err(TokenError::Malformed);
        }
        check_type(string("typ")?.map(String::as_str), types)?;
        let kid = string("kid")?.cloned();
        Ok(Self { signed, claims, signature, algorithm, kid })
    }

    /// The claims, once a key of `keys` confirms them.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<Map<String, Value>, TokenError> {
        let mut found = false;
        for key in keys.candidates(self.kid.as_deref(), self.algorithm) {
            found = true;
            if key.verifies(self.signed, self.signature, self.algorithm) {
                return decode(self.claims);
            }
        }
        Err(if found { TokenError::Signature } else { TokenError::UnknownKey })
    }
}

fn decode(part: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    strict_json::object(&bytes).map_err(|_| TokenError::Malformed)
}

/// `typ` keeps tokens that were made for something else apart (RFC 8725, section 3.11).
fn check_type(found: Option<&str>, allowed: &[String]) -> Result<(), TokenError> {
    let short = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("application/").map_or(name.clone(), str::to_owned)
    };
    let fits = match (found, allowed) {
        (None, []) => true,
        (None, _) => false,
        (Some(found), []) => ["jwt", "at+jwt"].contains(&short(found).as_str()),
        (Some(found), allowed) => allowed.iter().any(|name| short(name) == short(found)),
    };
    if fits { Ok(()) } else { Err(TokenError::Type) }
}
