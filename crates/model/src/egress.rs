//! Which hosts a worker may reach, as its own configuration says. The operator's policy stands behind it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most patterns in one list.
pub const PATTERNS_MAX: usize = 128;

/// A worker's rules for what it reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// When not empty: the only hosts that may be reached.
    pub allow: Vec<HostPattern>,
    /// Hosts that may not be reached, also where `allow` lists them.
    pub deny: Vec<HostPattern>,
}

/// What the rules say about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It may be reached.
    Allowed,
    /// This pattern denies it.
    Denied(&'a HostPattern),
    /// There is a list of what is allowed, and it is not there.
    NotListed,
}

impl Egress {
    /// Looks at a host name, or at an address as the URL gives it, without brackets.
    pub fn verdict(&self, host: &str, port: u16) -> Verdict<'_> {
        let host = normalize(host);
        if let Some(rule) = self.deny.iter().find(|rule| rule.matches(&host, port)) {
            return Verdict::Denied(rule);
        }
        if self.allow.is_empty() || self.allow.iter().any(|rule| rule.matches(&host, port)) {
            return Verdict::Allowed;
        }
        Verdict::NotListed
    }

    /// The pattern that denies an address, whatever name led there.
    pub fn denies_address(&self, ip: IpAddr, port: u16) -> Option<&HostPattern> {
        if self.deny.is_empty() {
            return None;
        }
        let host = ip.to_string();
        self.deny.iter().find(|rule| rule.matches(&host, port))
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// In lower case, without the dot that ends an absolute name, addresses in their usual form.
fn normalize(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return ip.to_string();
    }
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// `example.com`, `*.example.com` (everything below it, not itself), `*`, or an address; each with `:port` or for every port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    /// For `*.example.com` it is `.example.com`; for `*` it is empty.
    host: String,
    wild: bool,
    port: Option<u16>,
}

impl HostPattern {
    /// `host` in the form that `normalize` gives.
    fn matches(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
            && if self.wild {
                host.ends_with(&self.host) && host.len() > self.host.len()
            } else {
                host == self.host
            }
    }
}

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} must be a host name, \"*.\" and a host name, \"*\" or an IP address, with or without \":port\""
)]
pub struct PatternError(String);

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = || PatternError(text.chars().take(300).collect());
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { host: ip.to_string(), wild: false, port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let number = port.parse::<u16>().map_err(|_| bad())?;
                if number == 0 || port.starts_with('+') {
                    return Err(bad());
                }
                (host, Some(number))
            }
            _ => (text, None),
        };
        if host == "*" {
            return Ok(Self { host: String::new(), wild: true, port });
        }
        if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let ip: std::net::Ipv6Addr = inner.parse().map_err(|_| bad())?;
            return Ok(Self { host: ip.to_string(), wild: false, port });
        }
        let (wild, name) = host.strip_prefix("*.").map_or((false, host), |name| (true, name));
        let name = normalize(name);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
            return Err(bad());
        }
        Ok(Self { host: if wild { format!(".{name}") } else { name }, wild, port })
    }
}

impl TryFrom<String> for HostPattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) =
            if self.host.contains(':') && self.port.is_some() { ("[", "]") } else { ("", "") };
        write!(f, "{}{open}{}{close}", if self.wild { "*" } else { "" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(allow: &[&str], deny: &[&str]) -> Egress {
        let list = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Egress { allow: list(allow), deny: list(deny) }
    }

    #[test]
    fn hosts_are_matched() {
        let rules = rules(
            &["example.com", "*.example.org:443", "192.0.2.1", "[2001:db8::1]:80"],
            &["bad.example.org"],
        );
        for (host, port, allowed) in [
            ("example.com", 80, true),
            ("EXAMPLE.com.", 80, true),
            ("www.example.com", 80, false),
            ("a.example.org", 443, true),
            ("a.b.example.org", 443, true),
            ("a.example.org", 80, false),
            ("example.org", 443, false),
            ("evilexample.org", 443, false),
            ("bad.example.org", 443, false),
            ("bad.example.org.", 443, false),
            ("192.0.2.1", 1, true),
            ("[2001:DB8:0::1]", 80, true),
            ("2001:db8::1", 81, false),
        ] {
            assert_eq!(rules.verdict(host, port) == Verdict::Allowed, allowed, "{host}:{port}");
        }
    }

    #[test]
    fn everything_can_be_denied_and_addresses_are() {
        let none = rules(&[], &["*"]);
        assert!(matches!(none.verdict("example.com", 1), Verdict::Denied(_)));
        let one = rules(&[], &["203.0.113.9"]);
        assert_eq!(one.verdict("example.com", 1), Verdict::Allowed);
        assert!(one.denies_address("203.0.113.9".parse().unwrap(), 5).is_some());
        assert_eq!(Egress::default().verdict("anything", 9), Verdict::Allowed);
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for text in [
            "", "*.", "a b", "http://a", "a/b", "a:0", "a:65536", "a:", "*a.com", "a..b", "a.*.b", "[::1",
            "::1:x", "a:+1", "*.*",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn patterns_survive_their_text(text in "(\\*\\.)?[a-zA-Z0-9-]{1,9}(\\.[a-z0-9]{1,5}){0,3}(:[1-9][0-9]{0,3})?") {
            let pattern: HostPattern = text.parse().unwrap();
            prop_assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
        }

        #[test]
        fn what_is_denied_is_never_allowed(host in "[a-z]{1,3}(\\.[a-z]{1,3}){1,3}", port in 1u16..) {
            let parent = host.split_once('.').unwrap().1;
            for deny in [host.clone(), format!("*.{parent}"), "*".into(), format!("{host}:{port}")] {
                let rules = rules(&[&host, "*"], &[&deny]);
                for spelling in [host.clone(), host.to_uppercase(), format!("{host}.")] {
                    prop_assert!(matches!(rules.verdict(&spelling, port), Verdict::Denied(_)), "{} {}", deny, spelling);
                }
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,40}", host in ".{0,40}", port: u16) {
            if let Ok(pattern) = text.parse::<HostPattern>() {
                let rules = Egress { allow: vec![pattern.clone()], deny: vec![pattern] };
                let _ = rules.verdict(&host, port);
            }
        }
    }
}
