//! Which path servers see.

use std::borrow::Cow;

use regex::Regex;
use selvedge_upstream::config::ProxyConfig;

use crate::refusal::Refusal;

/// How paths change on the way.
#[derive(Debug)]
pub(super) struct Path {
    strip: Option<String>,
    rewrite: Option<(Regex, String)>,
}

impl Path {
    /// The error is a sentence.
    pub(super) fn new(config: &ProxyConfig) -> Result<Self, String> {
        let rewrite = config.rewrite.as_ref().map(|rewrite| {
            let pattern = Regex::new(&rewrite.pattern).map_err(|error| format!("rewrite: {error}"))?;
            Ok::<_, String>((pattern, rewrite.to.clone()))
        });
        let strip = config.strip_prefix.as_ref().map(|prefix| prefix.trim_end_matches('/').to_owned());
        Ok(Self { strip: strip.filter(|prefix| !prefix.is_empty()), rewrite: rewrite.transpose()? })
    }

    /// The path and query that servers see for those that the client asked for. The query stays as it is.
    pub(super) fn of<'t>(&self, target: &'t str) -> Result<Cow<'t, str>, Refusal> {
        if self.strip.is_none() && self.rewrite.is_none() {
            return Ok(Cow::Borrowed(target));
        }
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let mut path = Cow::Borrowed(path);
        if let Some(rest) = self.strip.as_ref().and_then(|strip| path.strip_prefix(strip.as_str())) {
            // `/apiary` is not below `/api`.
            if rest.is_empty() || rest.starts_with('/') {
                path = Cow::Owned(rest.to_owned());
            }
        }
        if let Some((pattern, to)) = &self.rewrite {
            path = Cow::Owned(pattern.replace(&path, to).into_owned());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{path}{query}");
        // What the pattern puts in comes from the settings, but in parts from the client.
        match target.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'#') {
            true => Ok(Cow::Owned(target)),
            false => Err(Refusal::bad_request("The request's path cannot be rewritten.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_upstream::config::RewriteConfig;

    use super::*;

    #[test]
    fn prefixes_and_patterns() {
        let path = |strip: Option<&str>, rewrite: Option<(&str, &str)>| {
            let rewrite =
                rewrite.map(|(pattern, to)| RewriteConfig { pattern: pattern.into(), to: to.into() });
            let config =
                ProxyConfig { strip_prefix: strip.map(str::to_owned), rewrite, ..ProxyConfig::default() };
            Path::new(&config).unwrap()
        };
        for (strip, rewrite, asked, seen) in [
            (None, None, "/a?b", "/a?b"),
            (Some("/api"), None, "/api/users?x=/api", "/users?x=/api"),
            (Some("/api/"), None, "/api", "/"),
            (Some("/api"), None, "/api?x", "/?x"),
            (Some("/api"), None, "/apiary", "/apiary"),
            (Some("/api"), None, "/api//x", "//x"),
            (None, Some(("^/v1/(.*)$", "/v2/$1")), "/v1/a?b=/v1/", "/v2/a?b=/v1/"),
            (Some("/a"), Some(("^/b", "c")), "/a/b", "/c"),
        ] {
            assert_eq!(path(strip, rewrite).of(asked).unwrap(), seen, "{asked}");
        }
        assert!(path(None, Some(("x", " "))).of("/x").is_err());
    }
}
