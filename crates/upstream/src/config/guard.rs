//! Settings of what protects clients from servers that fail, and servers from more than they can take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks servers at intervals whether they are well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// Path that is asked for with GET; without one, a connection that stands is enough.
    pub path: Option<String>,
    /// `Host` of the question; the server's own name without it.
    pub host: Option<String>,
    /// Between two questions, milliseconds.
    pub interval_ms: u64,
    /// For the answer, milliseconds.
    pub timeout_ms: u64,
    /// Good answers in a row that make a server well.
    pub healthy: u32,
    /// Bad answers in a row that make it unwell.
    pub unhealthy: u32,
    /// Good statuses; without any, 200 to 399.
    pub statuses: Vec<u16>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            path: None,
            host: None,
            interval_ms: 5_000,
            timeout_ms: 2_000,
            healthy: 2,
            unhealthy: 3,
            statuses: Vec::new(),
        }
    }
}

impl HealthConfig {
    pub(super) fn problem(&self) -> Option<String> {
        if self.interval_ms < 10 || self.timeout_ms == 0 || self.healthy == 0 || self.unhealthy == 0 {
            return Some("health: interval_ms must be at least 10, the other numbers at least 1".into());
        }
        let sane = |text: &String| text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        if self.path.as_ref().is_some_and(|path| !path.starts_with('/') || !sane(path)) {
            return Some("health: path must begin with / and have no blanks".into());
        }
        if self.host.as_ref().is_some_and(|host| host.is_empty() || !sane(host)) {
            return Some("health: host must be a name".into());
        }
        None
    }
}

/// Leaves out servers whose answers have been bad, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PassiveConfig {
    /// Failures in a row after which a server is left out; 0 never leaves one out. Connections that fail, timeouts and
    /// responses that are none are failures.
    pub failures: u32,
    /// Statuses that are failures, too, such as 502 and 503.
    pub statuses: Vec<u16>,
    /// For how long the first time, milliseconds; each further time in a row it is as much longer again.
    pub eject_ms: u64,
    /// For how long at most, milliseconds.
    pub max_eject_ms: u64,
    /// How many of the servers may be left out at a time, percent.
    pub max_ejected_percent: u32,
}

impl Default for PassiveConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            statuses: Vec::new(),
            eject_ms: 10_000,
            max_eject_ms: 300_000,
            max_ejected_percent: 50,
        }
    }
}

impl PassiveConfig {
    pub(super) fn problem(&self) -> Option<String> {
        (self.max_ejected_percent > 100).then(|| "passive: max_ejected_percent must be 0 to 100".into())
    }
}

/// Answers at once with 503 while most requests to an upstream fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitConfig {
    /// Share of failures that opens the circuit, 0 to 1.
    pub ratio: f64,
    /// Requests in a window below which it stays closed.
    pub min_requests: u32,
    /// The window, milliseconds.
    pub window_ms: u64,
    /// How long it stays open, milliseconds, before requests probe the upstream.
    pub open_ms: u64,
    /// Probes at a time; when as many in a row have succeeded, the circuit closes.
    pub probes: u32,
    /// Statuses that are failures, besides answers that did not come.
    pub statuses: Vec<u16>,
}

// NaN is no ratio that `problem` lets pass.
impl Eq for CircuitConfig {}

impl Default for CircuitConfig {
    fn default() -> Self {
        Self {
            ratio: 0.5,
            min_requests: 20,
            window_ms: 10_000,
            open_ms: 5_000,
            probes: 3,
            statuses: vec![500, 502, 503, 504],
        }
    }
}

impl CircuitConfig {
    pub(super) fn problem(&self) -> Option<String> {
        if !(self.ratio > 0.0 && self.ratio <= 1.0) {
            return Some("circuit: ratio must be above 0 and at most 1".into());
        }
        if self.window_ms == 0 || self.open_ms == 0 || self.probes == 0 {
            return Some("circuit: window_ms, open_ms and probes must be at least 1".into());
        }
        None
    }
}

/// Asks another server where one has failed, as far as nothing can happen twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Further servers that a request may be sent to.
    pub attempts: u32,
    /// Retries for each request, on average; without it, failing servers would get more requests than well ones.
    pub budget: f64,
    /// Retries also after a response timed out. The first server may still be at work on the request.
    pub timeouts: bool,
    /// Retries also after answers with these statuses.
    pub statuses: Vec<u16>,
}

impl Eq for RetryConfig {}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { attempts: 2, budget: 0.2, timeouts: false, statuses: Vec::new() }
    }
}

impl RetryConfig {
    pub(super) fn problem(&self) -> Option<String> {
        (!(0.0..=10.0).contains(&self.budget)).then(|| "retry: budget must be 0 to 10".into())
    }
}
