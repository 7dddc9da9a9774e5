//! Patterns of paths.

use std::str::FromStr;

use regex::Regex;

use crate::plain::plain;

/// Longest pattern, bytes.
const LENGTH_MAX: usize = 2048;

/// What the path of a request is compared with.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// `/about`: this path and no other.
    Exact(String),
    /// `/users/{id}`, `/files/{*rest}`: a name in braces takes one segment, with a star all that follows.
    Parameters(String),
    /// `~^/v[0-9]+/`: an expression, found anywhere unless it says where. Named groups become parameters.
    Expression(Regex),
    /// `/assets/*`: all paths that begin so. `/assets/*` takes `/assets`, too.
    Prefix(String),
}

/// Text that is no pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is no path: {problem}")]
pub struct BadPath {
    pub(crate) pattern: String,
    pub(crate) problem: String,
}

impl FromStr for PathPattern {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let bad = |problem: &str| BadPath { pattern: text.into(), problem: problem.into() };
        if text.len() > LENGTH_MAX {
            return Err(bad("longer than 2048 characters"));
        }
        if let Some(expression) = text.strip_prefix('~') {
            let expression = Regex::new(expression).map_err(|error| bad(&error.to_string()))?;
            return Ok(Self::Expression(expression));
        }
        if !text.starts_with('/') {
            return Err(bad("it must begin with / (or with ~ for an expression)"));
        }
        if text.contains(['?', '#']) {
            return Err(bad("a query is matched by `query`, not by the path"));
        }
        if text.contains(['{', '}']) {
            matchit::Router::new().insert(text, ()).map_err(|error| bad(&error.to_string()))?;
            return Ok(Self::Parameters(plain(text).into_owned()));
        }
        let (path, prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if path.contains('*') {
            return Err(bad("a * may stand at its end only; {name} takes a segment"));
        }
        let path = plain(path).into_owned();
        Ok(if prefix { Self::Prefix(path) } else { Self::Exact(path) })
    }
}

impl PathPattern {
    /// Names of its parameters, none twice.
    pub fn parameters(&self) -> Vec<String> {
        match self {
            Self::Parameters(text) => text
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split_once('}'))
                .map(|(name, _)| name.trim_start_matches('*').to_owned())
                .collect(),
            Self::Expression(expression) => expression.capture_names().flatten().map(str::to_owned).collect(),
            Self::Exact(_) | Self::Prefix(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_apart() {
        let parsed = |text: &str| text.parse::<PathPattern>().unwrap();
        assert!(matches!(parsed("/"), PathPattern::Exact(path) if path == "/"));
        assert!(matches!(parsed("/a/*"), PathPattern::Prefix(path) if path == "/a/"));
        assert!(matches!(parsed("/*"), PathPattern::Prefix(path) if path == "/"));
        assert!(matches!(parsed("/caf%c3%a9"), PathPattern::Exact(path) if path == "/caf%C3%A9"));
        assert_eq!(parsed("/u/{id}/{*rest}").parameters(), ["id", "rest"]);
        assert_eq!(parsed("~^/v(?<version>[0-9]+)/").parameters(), ["version"]);
        let long = format!("/{}", "x".repeat(3000));
        for bad in ["", "a", "/a*b", "/{", "/{id}{id}", "/{}", "~(", "/a?b=1", "/{*a}/b", &long] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }
}
