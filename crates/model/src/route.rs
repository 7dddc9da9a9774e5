//! Which worker answers a host and path.
//!
//! Patterns are those of Workers routes: `example.com/api/*`, `*.example.com/*`, `*/health`. A `*` may stand
//! at the start of the host and at the end of the path. The most specific pattern wins: exact host before
//! wildcard, longer before shorter, exact path before prefix.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};

use crate::{AccountId, ScriptDeployment, ScriptName, Snapshot};

/// A parsed route pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePattern {
    host: HostPattern,
    path: PathPattern,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HostPattern {
    Exact(String),
    /// What follows the `*`: `.example.com`, `example.com`, or nothing for any host.
    Suffix(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PathPattern {
    Exact(String),
    Prefix(String),
}

/// Why a pattern was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("route pattern {pattern:?}: {problem}")]
pub struct RoutePatternError {
    pattern: String,
    problem: &'static str,
}

impl FromStr for RoutePattern {
    type Err = RoutePatternError;

    fn from_str(pattern: &str) -> Result<Self, RoutePatternError> {
        let refuse = |problem| RoutePatternError { pattern: pattern.into(), problem };
        let rest =
            pattern.strip_prefix("https://").or_else(|| pattern.strip_prefix("http://")).unwrap_or(pattern);
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/*"),
        };
        if pattern.len() > 2048 {
            return Err(refuse("longer than 2048 characters"));
        }
        if host.is_empty() {
            return Err(refuse("the host is missing"));
        }
        if path.contains(['?', '#']) {
            return Err(refuse("a query or fragment cannot be matched"));
        }
        let host = host.to_ascii_lowercase();
        let host = match host.strip_prefix('*') {
            Some(suffix) => HostPattern::Suffix(suffix.into()),
            None => HostPattern::Exact(host),
        };
        let (HostPattern::Exact(name) | HostPattern::Suffix(name)) = &host;
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_') {
            return Err(refuse("a host holds letters, digits, '.', '-' and one '*' at its start; no port"));
        }
        let path = match path.strip_suffix('*') {
            Some(prefix) => PathPattern::Prefix(prefix.into()),
            None => PathPattern::Exact(path.into()),
        };
        let (PathPattern::Exact(text) | PathPattern::Prefix(text)) = &path;
        if text.contains('*') {
            return Err(refuse("a path may hold one '*', at its end"));
        }
        Ok(Self { host, path })
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Exact(host) => f.write_str(host)?,
            HostPattern::Suffix(suffix) => write!(f, "*{suffix}")?,
        }
        match &self.path {
            PathPattern::Exact(path) => f.write_str(path),
            PathPattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl TryFrom<String> for RoutePattern {
    type Error = RoutePatternError;
    fn try_from(value: String) -> Result<Self, RoutePatternError> {
        value.parse()
    }
}

impl From<RoutePattern> for String {
    fn from(value: RoutePattern) -> Self {
        value.to_string()
    }
}

impl PathPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }

    /// Larger is more specific.
    fn rank(&self) -> (usize, bool) {
        match self {
            Self::Exact(exact) => (exact.len(), true),
            Self::Prefix(prefix) => (prefix.len(), false),
        }
    }
}

/// A pattern and the script it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What it matches.
    pub pattern: RoutePattern,
    /// Owner of the script.
    pub account: AccountId,
    /// The script.
    pub script: ScriptName,
}

impl RoutePattern {
    /// Whether both match some host by a name of it. `*` alone names none: it takes what is left over.
    pub fn shares_host(&self, other: &Self) -> bool {
        let within = |suffix: &str, host: &str| !suffix.is_empty() && host.ends_with(suffix);
        match (&self.host, &other.host) {
            (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
            (HostPattern::Exact(host), HostPattern::Suffix(suffix))
            | (HostPattern::Suffix(suffix), HostPattern::Exact(host)) => within(suffix, host),
            (HostPattern::Suffix(a), HostPattern::Suffix(b)) => a == b || within(a, b) || within(b, a),
        }
    }

    /// Whether the hosts under `domain` that it matches are the account's own: see [`RouteTable::new`].
    pub fn may_name(&self, account: &AccountId, domain: &str) -> bool {
        let name = match &self.host {
            HostPattern::Exact(host) => host.as_str(),
            HostPattern::Suffix(suffix) if suffix.is_empty() => return true,
            HostPattern::Suffix(suffix) if domain.ends_with(suffix.as_str()) => domain,
            HostPattern::Suffix(suffix) => suffix.as_str(),
        };
        let Some(below) = name.strip_suffix(domain) else { return true };
        let Some(below) = below.strip_suffix('.').or(below.is_empty().then_some("")) else { return true };
        // Of `*.a.localhost` and `*x.a.localhost` and `x.a.localhost`, `a` is the account; of `x.localhost` it is the default one.
        let owner = below.rsplit_once('.').map(|(_, owner)| owner);
        owner.map_or(*account == AccountId::default_account(), |owner| owner == account.as_str())
    }
}

type Paths = Vec<(PathPattern, Arc<ScriptDeployment>)>;

/// A [`Snapshot`] compiled for lookup: one hash for the host, then the few paths of that host.
#[derive(Debug, Default)]
pub struct RouteTable {
    hosts: HashMap<String, Paths>,
    /// Longest suffix first.
    suffixes: Vec<(String, Paths)>,
    snapshot: Arc<Snapshot>,
}

impl RouteTable {
    /// Compiles `snapshot`. Under each base domain (such as `localhost`) a script answers as
    /// `<script>.<domain>`, or `<script>.<account>.<domain>` outside the default account; routes of other accounts
    /// for such hosts have no effect.
    pub fn new(snapshot: Arc<Snapshot>, base_domains: &[String]) -> Self {
        let mut hosts: HashMap<String, Paths> = HashMap::new();
        let mut suffixes: HashMap<String, Paths> = HashMap::new();
        for route in &snapshot.routes {
            let key = (route.account.clone(), route.script.clone());
            let Some(deployment) = snapshot.scripts.get(&key) else { continue };
            if !base_domains.iter().all(|domain| route.pattern.may_name(&route.account, domain)) {
                continue;
            }
            let paths = match &route.pattern.host {
                HostPattern::Exact(host) => hosts.entry(host.clone()).or_default(),
                HostPattern::Suffix(suffix) => suffixes.entry(suffix.clone()).or_default(),
            };
            paths.push((route.pattern.path.clone(), deployment.clone()));
        }
        let mut suffixes: Vec<_> = suffixes.into_iter().collect();
        suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        for ((account, script), deployment) in &snapshot.scripts {
            let everything = || (PathPattern::Prefix("/".into()), deployment.clone());
            for domain in base_domains {
                hosts.entry(format!("{script}.{account}.{domain}")).or_default().push(everything());
                if *account == AccountId::default_account() {
                    hosts.entry(format!("{script}.{domain}")).or_default().push(everything());
                }
            }
        }
        for paths in hosts.values_mut().chain(suffixes.iter_mut().map(|(_, paths)| paths)) {
            paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.rank()));
        }
        Self { hosts, suffixes, snapshot }
    }

    /// The deployment for a `Host` (port allowed, any case) and a path that starts with `/`.
    pub fn lookup(&self, host: &str, path: &str) -> Option<&Arc<ScriptDeployment>> {
        let name = without_port(host);
        let lowered;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lowered = name.to_ascii_lowercase();
            lowered.as_str()
        } else {
            name
        };
        if let Some(found) = self.hosts.get(name).and_then(|paths| first(paths, path)) {
            return Some(found);
        }
        let mut suffixes = self.suffixes.iter().filter(|(suffix, _)| {
            name.ends_with(suffix.as_str()) && (suffix.is_empty() || name.len() > suffix.len())
        });
        suffixes.find_map(|(_, paths)| first(paths, path))
    }

    /// The snapshot this table was compiled from.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
}

fn first<'a>(paths: &'a Paths, path: &str) -> Option<&'a Arc<ScriptDeployment>> {
    paths.iter().find(|(pattern, _)| pattern.matches(path)).map(|(_, deployment)| deployment)
}

/// `[::1]:80` → `[::1]`, `a.b:80` → `a.b`.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &str)]) -> RouteTable {
        let account = AccountId::default_account();
        let mut snapshot = Snapshot::default();
        for (pattern, script) in routes {
            let script: ScriptName = script.parse().unwrap();
            let deployment =
                ScriptDeployment { account: account.clone(), script: script.clone(), shares: vec![] };
            snapshot.scripts.insert((account.clone(), script.clone()), Arc::new(deployment));
            if !pattern.is_empty() {
                snapshot.routes.push(Route {
                    pattern: pattern.parse().unwrap(),
                    account: account.clone(),
                    script,
                });
            }
        }
        RouteTable::new(Arc::new(snapshot), &["localhost".into()])
    }

    fn hit(table: &RouteTable, host: &str, path: &str) -> String {
        table.lookup(host, path).map(|d| d.script.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let table = table(&[
            ("example.com/*", "site"),
            ("example.com/api/*", "api"),
            ("example.com/api/health", "health"),
            ("*.example.com/*", "sub"),
            ("*.a.example.com", "deep"),
            ("*/robots.txt", "robots"),
        ]);
        assert_eq!(hit(&table, "example.com", "/"), "site");
        assert_eq!(hit(&table, "EXAMPLE.com:8080", "/api/x"), "api");
        assert_eq!(hit(&table, "example.com", "/api/health"), "health");
        assert_eq!(hit(&table, "x.example.com", "/api/health"), "sub");
        assert_eq!(hit(&table, "x.a.example.com", "/"), "deep");
        assert_eq!(hit(&table, "other.org", "/robots.txt"), "robots");
        assert_eq!(hit(&table, "other.org", "/"), "");
    }

    #[test]
    fn every_script_has_a_name_under_localhost() {
        let table = table(&[("", "hello")]);
        assert_eq!(hit(&table, "hello.localhost:8080", "/x"), "hello");
        assert_eq!(hit(&table, "hello.default.localhost", "/x"), "hello");
        assert_eq!(hit(&table, "other.localhost", "/"), "");
        assert_eq!(hit(&table, "localhost", "/"), "");
        assert_eq!(hit(&table, "..localhost", "/"), "");
        assert_eq!(hit(&table, "[::1]:8080", "/"), "");
    }

    /// Of accounts that do not trust each other, each has the hosts under its own name.
    #[test]
    fn routes_do_not_take_hosts_of_another_account() {
        let owned = |account: &str, pattern: &str| {
            let pattern: RoutePattern = pattern.parse().unwrap();
            pattern.may_name(&account.parse().unwrap(), "localhost")
        };
        for pattern in [
            "w.localhost/",
            "*.localhost",
            "*localhost",
            "*host",
            "localhost",
            "w.a.localhost",
            "*.a.localhost",
            "*w.a.localhost",
            "*-b.localhost",
        ] {
            assert!(!owned("b", pattern), "{pattern}");
        }
        for pattern in [
            "w.b.localhost",
            "*.b.localhost",
            "*x.b.localhost",
            "*",
            "*/x",
            "example.com",
            "notlocalhost",
            "localhost.com",
        ] {
            assert!(owned("b", pattern), "{pattern}");
        }
        for pattern in ["w.localhost/", "*.localhost", "*localhost", "w.default.localhost"] {
            assert!(owned("default", pattern), "{pattern}");
        }
        assert!(!owned("default", "w.b.localhost"));

        let mut snapshot = (*table(&[("", "w")]).snapshot).clone();
        let (account, script): (AccountId, ScriptName) = ("b".parse().unwrap(), "w".parse().unwrap());
        let deployment =
            ScriptDeployment { account: account.clone(), script: script.clone(), shares: vec![] };
        snapshot.scripts.insert((account.clone(), script.clone()), Arc::new(deployment));
        for pattern in ["w.localhost/", "w.localhost/more/exact", "*.localhost", "free.example/*"] {
            let pattern = pattern.parse().unwrap();
            snapshot.routes.push(Route { pattern, account: account.clone(), script: script.clone() });
        }
        let table = RouteTable::new(Arc::new(snapshot), &["localhost".into()]);
        let owner = |host: &str, path: &str| table.lookup(host, path).map(|found| found.account.to_string());
        assert_eq!(owner("w.localhost", "/").unwrap(), "default");
        assert_eq!(owner("w.localhost", "/more/exact").unwrap(), "default");
        assert_eq!(owner("w.b.localhost", "/").unwrap(), "b");
        assert_eq!(owner("free.example", "/").unwrap(), "b");
        assert_eq!(owner("nobody.localhost", "/"), None);
    }

    #[test]
    fn patterns_that_share_a_host_are_known() {
        let shares = |a: &str, b: &str| {
            let (a, b): (RoutePattern, RoutePattern) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(a.shares_host(&b), b.shares_host(&a));
            a.shares_host(&b)
        };
        for (a, b) in [
            ("a.com/x", "a.com/y/*"),
            ("*.a.com", "x.a.com/y"),
            ("*.a.com", "*.x.a.com"),
            ("*a.com", "*.a.com"),
            ("*/x", "*/y"),
        ] {
            assert!(shares(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("a.com", "b.com"),
            ("*.a.com", "a.com"),
            ("*", "a.com"),
            ("*.a.com", "*.b.com"),
            ("*", "*.a.com"),
        ] {
            assert!(!shares(a, b), "{a} {b}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in
            ["", "/x", "a b/", "exa*mple.com/", "example.com/*/x", "example.com/?q=1", "example.com:80/"]
        {
            assert!(bad.parse::<RoutePattern>().is_err(), "{bad}");
        }
        assert_eq!("https://Example.com".parse::<RoutePattern>().unwrap().to_string(), "example.com/*");
    }
}
