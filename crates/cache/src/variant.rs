//! Which of several stored responses of one address a request is meant to get: by the fields that `Vary` names (RFC 9111,
//! section 4.1), and by what the route's settings add.

use http::{HeaderMap, HeaderName, header};

use crate::directives::Split;
use crate::policy::Policy;

/// Fields that one response may depend on; more make it one that is not stored.
pub const FIELDS_MAX: usize = 16;

/// What a request had that its response depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// The route that answered, as a digest of its settings.
    pub scope: u64,
    pub(crate) fields: Vec<(HeaderName, Option<Vec<u8>>)>,
    pub(crate) cookies: Vec<(String, Option<Vec<u8>>)>,
}

impl Variant {
    /// Of a request and its response; nothing where the response depends on too much.
    pub fn of(scope: u64, request: &HeaderMap, response: &HeaderMap, policy: &Policy) -> Option<Self> {
        let mut names = policy.key_headers.clone();
        for line in response.get_all(header::VARY) {
            names.extend(Split(line.as_bytes()).filter_map(|name| HeaderName::from_bytes(name).ok()));
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if names.len() > FIELDS_MAX {
            return None;
        }
        let fields = names.into_iter().map(|name| {
            let value = value(request, &name);
            (name, value)
        });
        let cookies = policy.config.key_cookies.iter().map(|name| (name.clone(), cookie(request, name)));
        Some(Self { scope, fields: fields.collect(), cookies: cookies.collect() })
    }

    /// Of all requests that a route answers.
    pub fn all(scope: u64) -> Self {
        Self { scope, ..Self::default() }
    }

    /// Whether a request is meant.
    pub fn matches(&self, scope: u64, request: &HeaderMap) -> bool {
        self.scope == scope
            && self.fields.iter().all(|(name, stored)| {
                let lines = request.get_all(name);
                let mut lines = lines.iter();
                match (stored, lines.next(), lines.next()) {
                    (None, None, _) => true,
                    // The same bytes mean the same, however they are normalised.
                    (Some(stored), Some(one), None) if stored == one.as_bytes() => true,
                    (Some(stored), Some(_), _) => value(request, name).as_ref() == Some(stored),
                    _ => false,
                }
            })
            && self.cookies.iter().all(|(name, stored)| cookie(request, name) == *stored)
    }

    /// Bytes in memory, about.
    pub fn size(&self) -> usize {
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, Vec::len) + 64);
        let cookies =
            self.cookies.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) + 64);
        fields.chain(cookies).sum()
    }
}

/// A field's value in one spelling: lines joined, and what is known of its meaning used.
fn value(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = request.get_all(name).into_iter().map(http::HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return None;
    }
    let members = || lines.iter().flat_map(|line| Split(line));
    let mut members: Vec<Vec<u8>> = match *name {
        header::ACCEPT_ENCODING | header::ACCEPT_LANGUAGE => {
            let mut all: Vec<_> = members()
                .map(|member| {
                    let letters = member.iter().filter(|byte| !byte.is_ascii_whitespace());
                    letters.map(u8::to_ascii_lowercase).collect::<Vec<u8>>()
                })
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        }
        _ => members().map(<[u8]>::to_vec).collect(),
    };
    if members.len() == 1 {
        return members.pop();
    }
    Some(members.join(&b", "[..]))
}

/// The value of the first cookie of this name.
pub fn cookie(request: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let fields = request.get_all(header::COOKIE).into_iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let value =
        pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    value.map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::CacheConfig;
    use http::HeaderValue;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_vary_names_is_compared() {
        let policy = Policy::new(&CacheConfig::default()).unwrap();
        let of = |request, vary: &'static str| {
            Variant::of(1, &map(request), &map(&[("vary", vary)]), &policy).unwrap()
        };
        let stored = of(&[("foo", "1"), ("bar", "x")], "Foo, baz");
        assert!(stored.matches(1, &map(&[("foo", "1"), ("bar", "y")])));
        for other in [map(&[("foo", "2")]), map(&[]), map(&[("foo", "1"), ("baz", "1")])] {
            assert!(!stored.matches(1, &other));
        }
        assert!(!stored.matches(2, &map(&[("foo", "1")])));
        assert!(of(&[("foo", "1, 2")], "foo").matches(1, &map(&[("foo", "1"), ("foo", "2")])));
        let language = of(&[("accept-language", "en, de")], "accept-language");
        assert!(language.matches(1, &map(&[("accept-language", "DE ,en")])));
        assert!(!language.matches(1, &map(&[("accept-language", "de")])));
    }

    #[test]
    fn settings_add_to_it() {
        let config = CacheConfig {
            key_cookies: vec!["lang".into()],
            key_headers: vec!["x-tenant".into()],
            ..CacheConfig::default()
        };
        let policy = Policy::new(&config).unwrap();
        let stored =
            Variant::of(1, &map(&[("cookie", "a=1; lang=de"), ("x-tenant", "t")]), &map(&[]), &policy)
                .unwrap();
        assert!(stored.matches(1, &map(&[("cookie", "lang=de; a=2"), ("x-tenant", "t")])));
        assert!(!stored.matches(1, &map(&[("cookie", "lang=en"), ("x-tenant", "t")])));
        assert!(!stored.matches(1, &map(&[("cookie", "lang=de")])));
    }
}
