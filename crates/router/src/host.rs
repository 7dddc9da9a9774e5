//! Names of hosts, exact and with a wildcard in front.

use std::str::FromStr;

use foldhash::{HashMap, HashMapExt};

/// A host that a site answers for: `example.com`, `*.example.com` (any name under it, at any depth), or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one name, in lower case.
    Exact(String),
    /// Names that end in this, which begins with a dot.
    Under(String),
    /// Any.
    Any,
}

/// Text that is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no host: write a name such as example.com, *.example.com or *, without scheme, port and path"
)]
pub struct BadHost(String);

impl FromStr for HostPattern {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        let lower = lower.strip_suffix('.').unwrap_or(&lower);
        let (name, wild) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower, false),
        };
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_address = address.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        let label = |label: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(plain)
        };
        let is_name = name.len() <= 253 && name.split('.').all(label);
        if !is_name && (wild || !is_address) {
            return Err(BadHost(text.into()));
        }
        Ok(if wild { Self::Under(format!(".{name}")) } else { Self::Exact(name.into()) })
    }
}

/// Values by host; the most specific pattern wins.
#[derive(Clone, Debug)]
pub struct Hosts<T> {
    exact: HashMap<String, T>,
    under: HashMap<String, T>,
    any: Option<T>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), under: HashMap::new(), any: None }
    }
}

impl<T> Hosts<T> {
    /// Adds a value; false when the pattern had one, which stays.
    pub fn insert(&mut self, pattern: &HostPattern, value: T) -> bool {
        let (map, name) = match pattern {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Under(name) => (&mut self.under, name),
            HostPattern::Any if self.any.is_some() => return false,
            HostPattern::Any => {
                self.any = Some(value);
                return true;
            }
        };
        if map.contains_key(name) {
            return false;
        }
        map.insert(name.clone(), value);
        true
    }

    /// The value for a host, without port, in any case.
    pub fn get(&self, host: &str) -> Option<&T> {
        if self.exact.is_empty() && self.under.is_empty() {
            return self.any.as_ref();
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.find(&host.to_ascii_lowercase());
        }
        self.find(host)
    }

    fn find(&self, host: &str) -> Option<&T> {
        if let Some(found) = self.exact.get(host) {
            return Some(found);
        }
        if !self.under.is_empty() {
            let mut rest = host;
            while let Some(dot) = rest.find('.') {
                if let Some(found) = self.under.get(&rest[dot..]) {
                    return Some(found);
                }
                rest = &rest[dot + 1..];
            }
        }
        self.any.as_ref()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.under.is_empty() && self.any.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_host_wins() {
        let mut hosts = Hosts::default();
        for pattern in ["a.example", "*.example", "*.b.example", "*", "[::1]"] {
            assert!(hosts.insert(&pattern.parse().unwrap(), pattern), "{pattern}");
        }
        assert!(!hosts.insert(&HostPattern::Any, "again"));
        for (host, pattern) in [
            ("a.example", "a.example"),
            ("A.Example.", "a.example"),
            ("c.example", "*.example"),
            ("b.example", "*.example"),
            ("x.y.b.example", "*.b.example"),
            ("example", "*"),
            ("[::1]", "[::1]"),
            ("", "*"),
        ] {
            assert_eq!(hosts.get(host), Some(&pattern), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.example", "x".repeat(64));
        let all: String = "abc.".repeat(64);
        for bad in ["", "*.", "a..b", "http://a", "a:80", "a/b", "*a.b", "a.*.b", "ü.de", "[::1", &long, &all]
        {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
