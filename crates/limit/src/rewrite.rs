//! Changes of a request's path and query.

use std::borrow::Cow;

use http::uri::{PathAndQuery, Uri};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Changes of the address that is asked for, in this order: `strip_prefix`, `replace`, `add_prefix`, then the query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RewriteConfig {
    /// Taken from the front of paths that have it as whole segments.
    pub strip_prefix: Option<String>,
    /// Expressions, and what stands in the place of the first match: `$1` and `${name}` are groups.
    pub replace: Vec<Replacement>,
    /// Put before the path.
    pub add_prefix: Option<String>,
    /// Parameters of the query that are set, in the place of all of that name. They are written as they are to be sent.
    pub set_query: std::collections::BTreeMap<String, String>,
    /// Parameters of the query that are removed; `utm_*` removes all that begin so.
    pub remove_query: Vec<String>,
}

/// An expression and what stands in the place of what it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// An expression that is looked for in the path as it was sent, with its `%` codes.
    pub pattern: String,
    /// In its place. With a `?`, what follows goes before the query.
    pub to: String,
}

/// Replacements of one step.
const REPLACEMENTS_MAX: usize = 64;
/// Longest address that a rewrite may make, bytes.
const TARGET_MAX: usize = 32 << 10;

/// [`RewriteConfig`], ready to use.
#[derive(Debug)]
pub struct Rewrite {
    strip_prefix: Option<String>,
    replace: Vec<(Regex, String)>,
    add_prefix: Option<String>,
    set_query: Vec<(String, String)>,
    remove_query: Vec<String>,
}

impl Rewrite {
    /// # Errors
    /// A sentence that says which setting is wrong.
    pub fn new(config: &RewriteConfig) -> Result<Self, String> {
        let prefix = |text: &Option<String>| match text {
            Some(text) if !text.starts_with('/') => Err(format!("{text:?} does not begin with /")),
            Some(text) => Ok(Some(text.trim_end_matches('/').to_owned())),
            None => Ok(None),
        };
        if config.replace.len() > REPLACEMENTS_MAX {
            return Err(format!("more than {REPLACEMENTS_MAX} replacements"));
        }
        for text in config.set_query.iter().flat_map(|(name, value)| [name, value]) {
            if text.parse::<PathAndQuery>().is_err() && format!("/?{text}").parse::<PathAndQuery>().is_err()
                || text.contains(['&', '#'])
            {
                return Err(format!("{text:?} cannot stand in a query as it is; use % codes"));
            }
        }
        let compiled = |one: &Replacement| Ok::<_, String>((pattern::compile(&one.pattern)?, one.to.clone()));
        Ok(Self {
            strip_prefix: prefix(&config.strip_prefix)?,
            replace: config.replace.iter().map(compiled).collect::<Result<_, _>>()?,
            add_prefix: prefix(&config.add_prefix)?,
            set_query: config.set_query.clone().into_iter().collect(),
            remove_query: config.remove_query.clone(),
        })
    }

    /// The address that is asked for instead. `None` when the changes make none of it.
    pub fn apply(&self, uri: &Uri) -> Option<Uri> {
        let mut path = Cow::Borrowed(uri.path());
        if let Some(rest) = self.strip_prefix.as_ref().and_then(|prefix| path.strip_prefix(&**prefix))
            && (rest.is_empty() || rest.starts_with('/'))
        {
            path = Cow::Owned(rest.to_owned());
        }
        for (pattern, to) in &self.replace {
            if let Cow::Owned(changed) = pattern.replace(&path, &**to) {
                path = Cow::Owned(changed);
            }
            if path.len() > TARGET_MAX {
                return None;
            }
        }
        let (path, more) = match path.split_once('?') {
            Some((path, more)) => (path, more),
            None => (&*path, ""),
        };
        // Two slashes in front would name a host where the path is made into an address again.
        let path = path.trim_start_matches(['/', '\\']);
        let prefix = self.add_prefix.as_deref().unwrap_or_default();
        let mut target = format!("{prefix}/{path}");
        let query = self.query(more, uri.query().unwrap_or_default());
        if !query.is_empty() {
            target.push('?');
            target.push_str(&query);
        }
        if target.len() > TARGET_MAX {
            return None;
        }
        let target: PathAndQuery = target.parse().ok()?;
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).ok()
    }

    fn query(&self, more: &str, query: &str) -> String {
        let kept = [more, query].into_iter().flat_map(|part| part.split('&')).filter(|pair| !pair.is_empty());
        let kept = kept.filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !self.set_query.iter().any(|(set, _)| set == name)
                && !self.remove_query.iter().any(|removed| match removed.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => name == removed,
                })
        });
        let mut pairs: Vec<Cow<'_, str>> = kept.map(Cow::Borrowed).collect();
        pairs.extend(self.set_query.iter().map(|(name, value)| Cow::Owned(format!("{name}={value}"))));
        pairs.join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: &str, uri: &str) -> Option<String> {
        let rewrite = Rewrite::new(&serde_json::from_str(config).unwrap()).unwrap();
        rewrite.apply(&uri.parse().unwrap()).map(|uri| uri.to_string())
    }

    #[test]
    fn addresses_change_as_told() {
        for (config, from, to) in [
            (r#"{"strip_prefix": "/api"}"#, "/api/x?a=1", "/x?a=1"),
            (r#"{"strip_prefix": "/api/"}"#, "/api", "/"),
            (r#"{"strip_prefix": "/api"}"#, "/apix/y", "/apix/y"),
            (r#"{"strip_prefix": "/api"}"#, "/api//evil.example", "/evil.example"),
            (r#"{"add_prefix": "/v1"}"#, "/", "/v1/"),
            (r#"{"add_prefix": "/v1/"}"#, "http://a.example/x", "http://a.example/v1/x"),
            (
                r#"{"replace": [{"pattern": "^/users/([0-9]+)$", "to": "/user?id=$1"}]}"#,
                "/users/7?x=1",
                "/user?id=7&x=1",
            ),
            (
                r#"{"replace": [{"pattern": "^/(?<a>[^/]+)/(?<b>.*)$", "to": "/${b}/${a}"}]}"#,
                "/x/y%2Fz",
                "/y%2Fz/x",
            ),
            (r#"{"replace": [{"pattern": "^/go/", "to": "//"}]}"#, "/go/evil.example", "/evil.example"),
            (
                r#"{"replace": [{"pattern": "^/", "to": "https://evil.example/"}]}"#,
                "/x",
                "/https://evil.example/x",
            ),
            (
                r#"{"set_query": {"v": "2"}, "remove_query": ["utm_*", "x"]}"#,
                "/?utm_a=1&x&v=1&v=3&y=%26",
                "/?y=%26&v=2",
            ),
            (r#"{"remove_query": ["*"]}"#, "/a?b=1", "/a"),
            ("{}", "/a?b", "/a?b"),
        ] {
            assert_eq!(run(config, from).as_deref(), Some(to), "{config} {from}");
        }
    }

    #[test]
    fn what_makes_no_address_is_none() {
        let long = "a".repeat(20_000);
        assert_eq!(run(r#"{"replace": [{"pattern": "^/(.*)$", "to": "/$1$1"}]}"#, &format!("/{long}")), None);
        assert_eq!(run(r#"{"replace": [{"pattern": "x", "to": "a b"}]}"#, "/x"), None);
        for wrong in [
            r#"{"strip_prefix": "api"}"#,
            r#"{"replace": [{"pattern": "(", "to": ""}]}"#,
            r#"{"replace": [{"pattern": "(a{1000}){1000}", "to": ""}]}"#,
            r#"{"set_query": {"a": "b&c"}}"#,
            r#"{"set_query": {"a": "b c"}}"#,
        ] {
            assert!(Rewrite::new(&serde_json::from_str(wrong).unwrap()).is_err(), "{wrong}");
        }
    }

    /// An expression that backtracking would never finish.
    #[test]
    fn expressions_take_linear_time() {
        let text = format!("/{}!", "a".repeat(30_000));
        assert_eq!(run(r#"{"replace": [{"pattern": "^/(a+)+$", "to": "/"}]}"#, &text), Some(text));
    }
}
