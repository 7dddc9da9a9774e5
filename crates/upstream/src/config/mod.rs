//! Settings of upstreams and of routes that lead to them.

mod guard;
mod route;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use guard::{CircuitConfig, HealthConfig, PassiveConfig, RetryConfig};
pub use route::{Buffering, MirrorConfig, ProxyConfig, RewriteConfig};

/// A group of servers that answer the same requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The servers: `http://host:port`, `https://host`, `h2c://host:port` (HTTP/2 without TLS, for gRPC),
    /// `unix:/run/app.sock`. Several addresses of one name are several servers.
    pub to: Vec<To>,
    /// Which server gets a request.
    pub balance: Balance,
    /// What `consistent_hash` looks at: `address`, `path`, `header:NAME` or `cookie:NAME`. Where it is missing from a
    /// request, the client's address is taken.
    pub hash_by: HashBy,
    /// For a connection to a server, TLS included, milliseconds.
    pub connect_timeout_ms: u64,
    /// From a request sent to the head of its response, milliseconds.
    pub response_timeout_ms: u64,
    /// Without one byte of an unfinished response, milliseconds.
    pub idle_timeout_ms: u64,
    /// Connections to each server, over all threads; 0 sets no bound.
    pub max_connections: usize,
    /// Requests that may wait for one of `max_connections`, for each server.
    pub max_queue: usize,
    /// How long they may wait, milliseconds.
    pub queue_timeout_ms: u64,
    /// Connections to each server that each thread keeps for later requests.
    pub max_idle: usize,
    /// How long it keeps them, milliseconds.
    pub keep_alive_ms: u64,
    /// The head of a response, bytes.
    pub max_header_bytes: usize,
    /// Header fields of a response.
    pub max_headers: usize,
    /// Between two looks at the names in `to`, milliseconds.
    pub dns_interval_ms: u64,
    /// Asks servers whether they are well.
    pub health: Option<HealthConfig>,
    /// Learns from answers whether servers are well.
    pub passive: PassiveConfig,
    /// Stops asking an upstream that mostly fails.
    pub circuit: Option<CircuitConfig>,
    /// Asks another server where one has failed.
    pub retry: RetryConfig,
    /// For `https`.
    pub tls: TlsConfig,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            to: Vec::new(),
            balance: Balance::default(),
            hash_by: HashBy::default(),
            connect_timeout_ms: 5_000,
            response_timeout_ms: 60_000,
            idle_timeout_ms: 60_000,
            max_connections: 0,
            max_queue: 100,
            queue_timeout_ms: 5_000,
            max_idle: 128,
            keep_alive_ms: 60_000,
            max_header_bytes: 64 * 1024,
            max_headers: 200,
            dns_interval_ms: 30_000,
            health: None,
            passive: PassiveConfig::default(),
            circuit: None,
            retry: RetryConfig::default(),
            tls: TlsConfig::default(),
        }
    }
}

/// One server, or several behind one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum To {
    /// Its address.
    Url(String),
    /// Its address and its share.
    Weighted(Weighted),
}

/// A server with a share of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// Its address.
    pub url: String,
    /// Its share beside the others', 1 to 1000; servers without one have 1.
    pub weight: u32,
}

impl To {
    /// The address.
    pub fn url(&self) -> &str {
        match self {
            Self::Url(url) => url,
            Self::Weighted(weighted) => &weighted.url,
        }
    }

    /// The share.
    pub fn weight(&self) -> u32 {
        match self {
            Self::Url(_) => 1,
            Self::Weighted(weighted) => weighted.weight,
        }
    }
}

/// Which server gets a request. All of these heed weights and leave out servers that are not well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// Of two at random, the one with fewer requests under way.
    TwoChoices,
    /// Always the same for a client's address.
    IpHash,
    /// Always the same for what `hash_by` says; few keys move when servers come or go.
    ConsistentHash,
}

/// What `consistent_hash` looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum HashBy {
    /// The client's address.
    #[default]
    Address,
    /// The path, without the query.
    Path,
    /// A header field, in lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
}

impl TryFrom<String> for HashBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "address" => Ok(Self::Address),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) if http::HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                Ok(Self::Header(name.to_ascii_lowercase()))
            }
            Some(("cookie", name)) if !name.is_empty() => Ok(Self::Cookie(name.to_owned())),
            _ => Err(format!("hash_by {text:?} is none of address, path, header:NAME, cookie:NAME")),
        }
    }
}

impl From<HashBy> for String {
    fn from(by: HashBy) -> Self {
        match by {
            HashBy::Address => "address".into(),
            HashBy::Path => "path".into(),
            HashBy::Header(name) => format!("header:{name}"),
            HashBy::Cookie(name) => format!("cookie:{name}"),
        }
    }
}

/// TLS to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the certificate authorities that are believed, in place of the public ones.
    pub ca: Option<PathBuf>,
    /// PEM file of the certificate chain shown to servers that ask for one. Needs `key`.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
    /// Name that is asked for (SNI) and that the certificate must have, in place of the one in `to`.
    pub server_name: Option<String>,
    /// Believes whatever certificate the server has. Whoever sits between then reads and changes everything.
    pub insecure: bool,
    /// Speaks HTTP/1.1 even with servers that offer HTTP/2.
    pub http1_only: bool,
}

impl UpstreamConfig {
    /// The same, with relative paths of files taken from `base`.
    pub fn based(&self, base: &std::path::Path) -> Self {
        let mut config = self.clone();
        for path in
            [&mut config.tls.ca, &mut config.tls.certificate, &mut config.tls.key].into_iter().flatten()
        {
            *path = base.join(&*path);
        }
        config
    }

    /// What is wrong with these settings, in words, beginning with the name of the setting where it is one.
    pub fn problem(&self) -> Option<String> {
        if self.to.is_empty() {
            return Some("to: name at least one server, such as \"http://127.0.0.1:3000\"".into());
        }
        for to in &self.to {
            if let Err(problem) = crate::target::Target::parse(to.url()) {
                return Some(format!("to: {problem}"));
            }
            if !(1..=1000).contains(&to.weight()) {
                return Some(format!("to: the weight of {} must be between 1 and 1000", to.url()));
            }
        }
        for (name, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("response_timeout_ms", self.response_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("queue_timeout_ms", self.queue_timeout_ms),
        ] {
            if value == 0 {
                return Some(format!("{name} must be at least 1"));
            }
        }
        if self.dns_interval_ms < 100 {
            return Some("dns_interval_ms must be at least 100".into());
        }
        if !(1024..=1 << 20).contains(&self.max_header_bytes) {
            return Some("max_header_bytes must be between 1024 and 1048576".into());
        }
        if !(1..=10_000).contains(&self.max_headers) {
            return Some("max_headers must be between 1 and 10000".into());
        }
        if self.max_connections > tokio::sync::Semaphore::MAX_PERMITS {
            return Some("max_connections is too large".into());
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Some("tls: certificate and key belong together".into());
        }
        self.health
            .as_ref()
            .and_then(HealthConfig::problem)
            .or_else(|| self.passive.problem())
            .or_else(|| self.circuit.as_ref().and_then(CircuitConfig::problem))
            .or_else(|| self.retry.problem())
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(crate) fn queue_timeout(&self) -> Duration {
        Duration::from_millis(self.queue_timeout_ms)
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            ("", "to: name at least one"),
            ("to = [\"ftp://a\"]", "to: "),
            ("to = [{ url = \"http://a\", weight = 0 }]", "weight"),
            ("to = [\"http://a\"]\nresponse_timeout_ms = 0", "response_timeout_ms"),
            ("to = [\"https://a\"]\ntls = { key = \"k\" }", "belong together"),
            ("to = [\"http://a\"]\nhealth = { interval_ms = 0 }", "health"),
            ("to = [\"http://a\"]\nretry = { budget = -1 }", "retry"),
        ] {
            let config: UpstreamConfig = toml::from_str(text).unwrap();
            assert!(config.problem().is_some_and(|said| said.contains(problem)), "{text}");
        }
        for bad in ["colour = 1", "balance = \"best\"", "hash_by = \"header:\"", "hash_by = \"x\""] {
            assert!(toml::from_str::<UpstreamConfig>(bad).is_err(), "{bad}");
        }
        let good =
            "to = [\"http://a:1\", { url = \"unix:/s\", weight = 3 }]\nhash_by = \"cookie:id\"\ncircuit = {}";
        assert_eq!(toml::from_str::<UpstreamConfig>(good).unwrap().problem(), None);
    }
}
