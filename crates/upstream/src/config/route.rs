//! Settings of a route that leads to an upstream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::UpstreamConfig;

/// What becomes of a route's requests: `proxy = { to = ["http://127.0.0.1:3000"] }`, or `proxy = { upstream = "name" }`
/// with an `[upstreams.name]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// One of the `[upstreams]`, in place of `to` and all that belongs to it.
    pub upstream: Option<String>,
    /// The `Host` that servers see: `keep`, the client's; `upstream`, the name in `to`; anything else is a name itself.
    pub host: Option<String>,
    /// What the path must begin with, and what is taken off it.
    pub strip_prefix: Option<String>,
    /// Changes the path, after `strip_prefix`.
    pub rewrite: Option<RewriteConfig>,
    /// Reads the request's body before a server is asked, so that slow clients take up none and more can be retried.
    pub buffer_request: Buffering,
    /// Largest body that is buffered, bytes; larger ones are refused with 413. 0 means 1 MiB.
    pub buffer_request_bytes: usize,
    /// Reads responses that announce no more than this length, bytes, before they are passed on, so that slow clients
    /// take up no server. 0 passes everything on as it comes.
    pub buffer_response_bytes: usize,
    /// Sends copies of requests elsewhere, whose answers are thrown away.
    pub mirror: Option<MirrorConfig>,
    /// Leaves out the `Via` field.
    pub hide_via: bool,
    /// Whom requests go to.
    #[serde(flatten)]
    pub servers: UpstreamConfig,
}

impl ProxyConfig {
    /// Default of `buffer_request_bytes`.
    pub const BUFFER: usize = 1024 * 1024;

    /// The largest body that is buffered, bytes.
    pub fn buffer_bytes(&self) -> usize {
        if self.buffer_request_bytes == 0 { Self::BUFFER } else { self.buffer_request_bytes }
    }

    /// What is wrong with these settings, in words, beginning with the name of the setting where it is one. Whether there
    /// is an upstream of the name is not looked at.
    pub fn problem(&self) -> Option<String> {
        match &self.upstream {
            Some(_) if self.servers != UpstreamConfig::default() => {
                return Some("upstream: what belongs to the servers is to be said in [upstreams]".into());
            }
            Some(_) => {}
            None => {
                if let Some(problem) = self.servers.problem() {
                    return Some(problem);
                }
            }
        }
        if let Some(host) = &self.host
            && (host.is_empty() || http::uri::Authority::try_from(host.as_str()).is_err())
        {
            return Some("host must be keep, upstream or a name".into());
        }
        if self.strip_prefix.as_ref().is_some_and(|prefix| !prefix.starts_with('/')) {
            return Some("strip_prefix must begin with /".into());
        }
        if let Some(rewrite) = &self.rewrite
            && let Err(error) = regex::Regex::new(&rewrite.pattern)
        {
            return Some(format!("rewrite: {error}"));
        }
        if let Some(mirror) = &self.mirror {
            if !(0.0..=1.0).contains(&mirror.ratio) {
                return Some("mirror: ratio must be 0 to 1".into());
            }
            let servers = UpstreamConfig { to: mirror.to.clone(), ..UpstreamConfig::default() };
            if let Some(problem) = servers.problem() {
                return Some(format!("mirror: {problem}"));
            }
        }
        None
    }
}

/// Changes paths by a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteConfig {
    /// Regular expression for the path, without the query. Paths that it does not fit stay as they are.
    pub pattern: String,
    /// What takes the place of what it fits; `$1` or `${name}` stand for its groups.
    pub to: String,
}

/// Where a body waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Buffering {
    /// Nowhere: it is passed on as it comes.
    #[default]
    Off,
    /// In memory.
    Memory,
}

/// Copies of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MirrorConfig {
    /// The servers that get the copies.
    pub to: Vec<super::To>,
    /// Share of the requests that are copied, 0 to 1.
    pub ratio: f64,
    /// Requests with larger bodies are not copied, bytes.
    pub max_body_bytes: usize,
    /// Copies under way at a time; further ones are left out.
    pub max_concurrent: usize,
}

// NaN is no ratio that `problem` lets pass.
impl Eq for MirrorConfig {}

impl Default for MirrorConfig {
    fn default() -> Self {
        Self { to: Vec::new(), ratio: 1.0, max_body_bytes: 64 * 1024, max_concurrent: 64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_servers_or_an_upstream() {
        let parse = |text: &str| toml::from_str::<ProxyConfig>(text);
        let inline = parse("to = [\"http://a\"]\nbalance = \"two_choices\"\nhost = \"upstream\"").unwrap();
        assert_eq!(inline.problem(), None);
        assert_eq!(inline.servers.balance, crate::config::Balance::TwoChoices);
        assert_eq!(parse("upstream = \"app\"").unwrap().problem(), None);
        let both = parse("upstream = \"app\"\nto = [\"http://a\"]").unwrap();
        assert!(both.problem().unwrap().starts_with("upstream"));
        assert!(parse("too = 1").unwrap_err().to_string().contains("too"));
        assert!(
            parse("upstream = \"app\"\nrewrite = { pattern = \"(\", to = \"\" }")
                .unwrap()
                .problem()
                .is_some()
        );
        assert!(parse("upstream = \"app\"\nhost = \"a b\"").unwrap().problem().is_some());
    }
}
