//! Settings of the edge.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;
use schemars::JsonSchema;
use selvedge_cache::settings::StoreConfig;
use selvedge_http2::Http2Config;
use selvedge_router::Network;
use selvedge_telemetry::AccessLogConfig;
use selvedge_telemetry::traces::TracesConfig;
use selvedge_tls::config::{ListenerConfig, TlsConfig};
use serde::{Deserialize, Serialize};

use crate::compress::CompressionConfig;
use crate::hints::EarlyHints;

/// How the edge listens and what it allows its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeConfig {
    /// Where to listen, for HTTP/1.1 and HTTP/2: addresses such as `127.0.0.1:8080`, paths such as
    /// `unix:/run/selvedge.sock`, or tables that say more: `{ address = "0.0.0.0:443", tls = true }`.
    pub listen: Vec<ListenerConfig>,
    /// Certificates and what is spoken on listeners with TLS.
    pub tls: TlsConfig,
    /// Serving threads; 0 means one per core.
    pub threads: usize,
    /// From a new connection, or a request's first byte, to the end of the request's head, milliseconds.
    pub header_timeout_ms: u64,
    /// Between two requests of a connection, milliseconds.
    pub idle_timeout_ms: u64,
    /// Without one byte of an unfinished request body arriving, or of a response being taken, milliseconds.
    pub stall_timeout_ms: u64,
    /// Least average of a request's body in bytes per second, over the time that was waited for it, once that is longer
    /// than a stall may be. 0 asks for none.
    pub min_body_rate: u64,
    /// The head of a request, bytes.
    pub max_header_bytes: usize,
    /// Header fields of a request.
    pub max_headers: usize,
    /// Path and query of a request, bytes.
    pub max_uri_bytes: usize,
    /// Open connections; fewer where the limit of open files is lower.
    pub max_connections: usize,
    /// Open connections of one client (an IPv4 address, or an IPv6 network of 64 bits); 0 asks for no limit. Loopback
    /// has none.
    pub max_client_connections: u32,
    /// What HTTP/2 connections may do.
    pub http2: Http2Config,
    /// How responses are compressed.
    pub compression: CompressionConfig,
    /// Where cached responses are kept. Which are cached, routes say.
    pub cache: StoreConfig,
    /// Names of middleware that every request passes, in this order, before a site's own.
    #[serde(rename = "use")]
    pub uses: Vec<String>,
    /// Domains under which every script has a name: `<script>.<domain>`.
    pub base_domains: Vec<String>,
    /// Networks of proxies in front of this server, such as `10.0.0.0/8`. Only what these say in `X-Forwarded-For` and
    /// `Forwarded` about who asks is believed, and passed on.
    pub trusted_proxies: Vec<String>,
    /// Takes an `x-request-id` that the client sent. Only for use behind a proxy that sets it.
    pub trust_request_id: bool,
    /// Value of the `server` header; none is sent without one.
    pub server_header: Option<String>,
    /// Which clients get 103 Early Hints: `safe`, `always` or `off`.
    pub early_hints: EarlyHints,
    /// One line per request.
    pub access_log: AccessLogConfig,
    /// Traces of requests.
    pub traces: TracesConfig,
    /// Networks of clients that are told in `Server-Timing` what took how long, on all sites.
    pub server_timing: Vec<String>,
    /// What probes of liveness and readiness look at.
    pub health: HealthConfig,
    /// For requests in flight at shutdown, milliseconds.
    pub shutdown_grace_ms: u64,
    /// For connections of a process that another one has taken the place of, milliseconds: to come to the end of their requests,
    /// downloads and WebSockets. What is left then has `shutdown_grace_ms`.
    pub upgrade_grace_ms: u64,
}

/// Least patience with a serving thread, milliseconds: they are looked after once a second.
const STUCK_AFTER_MS_MIN: u64 = 2000;

/// What probes look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// A serving thread that does not turn to its next task for so long fails the probe of liveness, milliseconds.
    pub stuck_after_ms: u64,
    /// Not ready while a site's name has no certificate. Beware: an authority that comes through the same load balancer
    /// finds nobody then.
    pub certificates: bool,
    /// Not ready while an upstream has no server that is available.
    pub upstreams: bool,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { stuck_after_ms: 10_000, certificates: false, upstreams: false }
    }
}

impl HealthConfig {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.stuck_after_ms)
    }
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)).into()],
            tls: TlsConfig::default(),
            threads: 0,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            stall_timeout_ms: 30_000,
            min_body_rate: 100,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_uri_bytes: 8 * 1024,
            max_connections: 20_000,
            max_client_connections: 0,
            http2: Http2Config::default(),
            compression: CompressionConfig::default(),
            cache: StoreConfig::default(),
            uses: Vec::new(),
            base_domains: vec!["localhost".into()],
            trusted_proxies: Vec::new(),
            trust_request_id: false,
            server_header: None,
            early_hints: EarlyHints::default(),
            access_log: AccessLogConfig::default(),
            traces: TracesConfig::default(),
            server_timing: Vec::new(),
            health: HealthConfig::default(),
            shutdown_grace_ms: 10_000,
            upgrade_grace_ms: 300_000,
        }
    }
}

impl EdgeConfig {
    /// What is wrong with these settings, in words, beginning with the name of the setting where it is one.
    pub fn problem(&self) -> Option<String> {
        let refuse = |text: &str| Some(text.to_owned());
        if self.listen.is_empty() {
            return refuse("listen: name at least one address, such as \"127.0.0.1:8080\"");
        }
        if let Some(problem) = self.listen.iter().find_map(ListenerConfig::problem) {
            return Some(format!("listen: {problem}"));
        }
        if let Some(problem) = self.tls.problem() {
            return Some(format!("tls.{problem}"));
        }
        if let Some(problem) = self.access_log.problem() {
            return Some(format!("access_log.{problem}"));
        }
        if let Some(problem) = self.traces.problem() {
            return Some(format!("traces.{problem}"));
        }
        if self.header_timeout_ms == 0 || self.idle_timeout_ms == 0 || self.stall_timeout_ms == 0 {
            return refuse(
                "timeouts must be at least 1 ms; without them one client can hold a connection forever",
            );
        }
        if !(1024..=1 << 20).contains(&self.max_header_bytes) {
            return refuse("max_header_bytes must be between 1024 and 1048576");
        }
        if !(1..=10_000).contains(&self.max_headers) {
            return refuse("max_headers must be between 1 and 10000");
        }
        if let Some(problem) = self.http2.problem() {
            return refuse(problem);
        }
        if self.max_connections == 0 {
            return refuse("max_connections must be at least 1");
        }
        for (name, networks) in
            [("trusted_proxies", &self.trusted_proxies), ("server_timing", &self.server_timing)]
        {
            if let Some(bad) = networks.iter().find(|text| text.parse::<Network>().is_err()) {
                return Some(format!("{name}: {bad:?} is no network such as \"10.0.0.0/8\""));
            }
        }
        if self.health.stuck_after_ms < STUCK_AFTER_MS_MIN {
            return Some(format!("health.stuck_after_ms must be at least {STUCK_AFTER_MS_MIN}"));
        }
        if let Some(problem) = self.cache.problem() {
            return Some(format!("cache.{problem}"));
        }
        self.server_header
            .as_ref()
            .and_then(|value| HeaderValue::from_str(value).is_err().then_some(value))
            .map(|value| format!("server_header {value:?} is no valid header value"))
    }

    pub(crate) fn trusted_networks(&self) -> Vec<Network> {
        self.trusted_proxies.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(crate) fn timed_networks(&self) -> Vec<Network> {
        self.server_timing.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }
}
