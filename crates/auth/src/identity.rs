//! Who somebody is, once it is known, and how those who answer the request are told.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who sends a request, as one of the steps found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `sub` of a token, the name of a key or user.
    pub subject: String,
    /// `iss` of a token; nothing for keys and passwords.
    pub issuer: Option<String>,
    /// What they are.
    pub roles: Vec<String>,
    /// What this token or key may be used for.
    pub scopes: Vec<String>,
    /// All claims of a token, or what else is known.
    pub claims: Map<String, Value>,
}

impl Identity {
    /// A claim, by its name or by its path: `realm_access.roles`. The subject, issuer, roles and scopes that were found
    /// have these names, too.
    pub fn claim(&self, path: &str) -> Option<Value> {
        let list = |names: &[String]| Value::Array(names.iter().map(|name| name.as_str().into()).collect());
        match path {
            "subject" => Some(self.subject.as_str().into()),
            "issuer" => self.issuer.as_deref().map(Value::from),
            "roles" if !self.roles.is_empty() => Some(list(&self.roles)),
            "scopes" => Some(list(&self.scopes)),
            _ => claim(&self.claims, path).cloned(),
        }
    }
}

/// A claim by its name, which may have dots in it (`https://example.com/roles`), or by its path.
pub fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut steps = path.split('.');
    let mut value = claims.get(steps.next()?)?;
    for step in steps {
        value = value.as_object()?.get(step)?;
    }
    Some(value)
}

/// Names in a claim: a list of strings, or a string with white space (or commas) between them.
pub fn names(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => {
            let parts = text.split(|c: char| c.is_whitespace() || c == ',');
            parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
        }
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Which header fields tell whoever answers the request who it is from: `{ x-user = "sub", x-roles = "roles" }`.
/// Fields of these names that the client sent are removed, whether or not there is a value for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ForwardConfig(pub BTreeMap<String, String>);

/// Fields that are told, compiled.
#[derive(Clone, Debug, Default)]
pub struct Forward(Vec<(HeaderName, String)>);

/// Longest value of a field that tells of an identity, bytes. Longer ones are left out.
const MAX_VALUE_BYTES: usize = 4096;
/// Fields that say how a message travels or where to; no claim may become one of them.
const NEVER: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];

impl Forward {
    /// Checks the names.
    ///
    /// # Errors
    /// A sentence about the first name that cannot be used.
    pub fn new(config: &ForwardConfig) -> Result<Self, String> {
        let parse = |(name, claim): (&String, &String)| {
            let name: HeaderName =
                name.parse().map_err(|_| format!("{name:?} is no name of a header field"))?;
            if NEVER.contains(&name.as_str()) {
                return Err(format!("{name} says how a message travels and cannot tell of an identity"));
            }
            Ok((name, claim.clone()))
        };
        config.0.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The fields for one identity.
    pub fn fields(&self, identity: &Identity) -> Vec<(HeaderName, HeaderValue)> {
        let value = |claim: &str| {
            let text = match identity.claim(claim)? {
                Value::Null => return None,
                Value::String(text) => text,
                Value::Array(items) if items.iter().all(Value::is_string) => {
                    names(&Value::Array(items)).join(",")
                }
                other => other.to_string(),
            };
            // Bytes beyond ASCII pass, control characters do not.
            HeaderValue::from_bytes(text.as_bytes()).ok().filter(|value| value.len() <= MAX_VALUE_BYTES)
        };
        self.0.iter().filter_map(|(name, claim)| Some((name.clone(), value(claim)?))).collect()
    }

    /// Removes what the client sent under these names, also in the spelling with `_` that CGI cannot tell apart.
    pub fn strip(&self, headers: &mut HeaderMap) {
        strip(headers, self.0.iter().map(|(name, _)| name));
    }
}

/// Removes fields from a request, also those whose names differ in `-` and `_` only.
pub fn strip<'a>(headers: &mut HeaderMap, names: impl Iterator<Item = &'a HeaderName> + Clone) {
    let same = |a: &str, b: &str| {
        a.len() == b.len()
            && a.bytes().zip(b.bytes()).all(|(a, b)| a == b || (b"-_".contains(&a) && b"-_".contains(&b)))
    };
    let alike: Vec<HeaderName> = headers
        .keys()
        .filter(|sent| {
            sent.as_str().contains('_') && names.clone().any(|name| same(sent.as_str(), name.as_str()))
        })
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
    for name in alike {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn forward(fields: &[(&str, &str)]) -> Forward {
        let pairs = fields.iter().map(|(name, claim)| ((*name).to_owned(), (*claim).to_owned()));
        Forward::new(&ForwardConfig(pairs.collect())).unwrap()
    }

    #[test]
    fn claims_are_found_by_name_and_path() {
        let claims = json!({"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "e": 4});
        let claims = claims.as_object().unwrap();
        assert_eq!(claim(claims, "a.b"), Some(&json!(1)));
        assert_eq!(claim(claims, "a.c.d"), Some(&json!(3)));
        assert_eq!(claim(claims, "e.f"), None);
        assert_eq!(claim(claims, ""), None);
        assert_eq!(names(&json!("read  write,admin")), ["read", "write", "admin"]);
        assert_eq!(names(&json!(["a b", 1, "c"])), ["a b", "c"]);
    }

    #[test]
    fn what_the_client_claims_of_itself_goes() {
        let mut headers = HeaderMap::new();
        for name in ["x-user", "X-User", "x_user", "x-role", "x-users"] {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("root"));
        }
        forward(&[("x-user", "sub"), ("X-Role", "none")]).strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-users"]);
    }

    #[test]
    fn fields_are_made_of_claims() {
        let claims =
            json!({"sub": "ann", "n": 5, "evil": "a\r\nb: c", "list": ["a", "b"], "long": "x".repeat(5000)});
        let claims = claims.as_object().unwrap().clone();
        let identity = Identity {
            subject: "ann".into(),
            roles: vec!["r".into(), "s".into()],
            claims,
            ..Identity::default()
        };
        let fields = forward(&[
            ("a", "sub"),
            ("b", "n"),
            ("c", "evil"),
            ("d", "list"),
            ("e", "long"),
            ("f", "roles"),
            ("g", "none"),
            ("h", "subject"),
        ])
        .fields(&identity);
        let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("a", "ann"), ("b", "5"), ("d", "a,b"), ("f", "r,s"), ("h", "ann")]);
        assert!(Forward::new(&ForwardConfig([("Host".to_owned(), "sub".to_owned())].into())).is_err());
        assert!(Forward::new(&ForwardConfig([("a b".to_owned(), "sub".to_owned())].into())).is_err());
    }
}
