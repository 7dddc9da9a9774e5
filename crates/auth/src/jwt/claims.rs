//! What a token must claim to be taken.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::TokenError;
use crate::identity::{Identity, claim, names};

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several, any of which will do.
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

impl OneOrMore {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

/// Compiled demands.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// `iss`, any of these; empty: whatever.
    pub issuers: Vec<String>,
    /// `aud`, any of these; empty: whatever.
    pub audiences: Vec<String>,
    /// Tokens without `exp` are taken.
    pub allow_eternal: bool,
    /// Clocks differ, seconds.
    pub leeway_s: u64,
    /// Claims that must be there, with one of the values where there are any.
    pub required: BTreeMap<String, OneOrMore>,
    /// Claims with roles.
    pub roles: Vec<String>,
}

impl Demands {
    /// Judges claims whose signature was found good. The time is in seconds since 1970. Returns who it is, and when
    /// the token ends.
    pub fn judge(&self, claims: Map<String, Value>, now: u64) -> Result<(Identity, u64), TokenError> {
        let string = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TokenError::Malformed),
        };
        let issuer = string("iss")?;
        if !self.issuers.is_empty() && !issuer.as_ref().is_some_and(|issuer| self.issuers.contains(issuer)) {
            return Err(TokenError::Issuer);
        }
        if !self.audiences.is_empty() && !audience(&claims)?.iter().any(|aud| self.audiences.contains(aud)) {
            return Err(TokenError::Audience);
        }
        let ends = match date(&claims, "exp")? {
            Some(exp) => exp.saturating_add(self.leeway_s),
            None if self.allow_eternal => u64::MAX,
            None => return Err(TokenError::NoExpiry),
        };
        if now >= ends {
            return Err(TokenError::Expired);
        }
        if date(&claims, "nbf")?.is_some_and(|nbf| now.saturating_add(self.leeway_s) < nbf) {
            return Err(TokenError::TooEarly);
        }
        date(&claims, "iat")?;
        for (name, values) in &self.required {
            let found = claim(&claims, name).filter(|value| !value.is_null()).ok_or(TokenError::Claim)?;
            if !values.all().is_empty() && !values.all().iter().any(|wanted| has(found, wanted)) {
                return Err(TokenError::Claim);
            }
        }
        let subject = string("sub")?.unwrap_or_default();
        let roles = self.roles.iter().filter_map(|name| claim(&claims, name)).flat_map(names).collect();
        let scopes = ["scope", "scp"].iter().filter_map(|name| claims.get(*name)).flat_map(names).collect();
        Ok((Identity { subject, issuer, roles, scopes, claims }, ends))
    }
}

/// A string, or a list of strings (RFC 7519, section 4.1.3).
pub(crate) fn audience(claims: &Map<String, Value>) -> Result<Vec<String>, TokenError> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(items)) => {
            let text = |item: &Value| item.as_str().map(str::to_owned).ok_or(TokenError::Malformed);
            items.iter().map(text).collect()
        }
        Some(_) => Err(TokenError::Malformed),
    }
}

/// A date (RFC 7519, section 2): seconds, perhaps with a fraction.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(seconds));
    }
    // Casts saturate; what is before 1970 is over.
    value
        .as_f64()
        .filter(|seconds| seconds.is_finite())
        .map(|seconds| Some(seconds as u64))
        .ok_or(TokenError::Malformed)
}

/// Whether a claim is `wanted`, or a list with it.
fn has(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text == wanted,
        Value::Array(items) => items.iter().any(|item| has(item, wanted)),
        Value::Bool(yes) => wanted == if *yes { "true" } else { "false" },
        Value::Number(number) => number.to_string().as_str() == wanted,
        _ => false,
    }
}
