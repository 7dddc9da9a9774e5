//! Traces of requests, sent to a collector by OTLP over HTTP without ever making a request wait.
//!
//! Serving threads hand finished traces to one background thread through a bounded queue. When the collector is slow or
//! absent, traces are dropped and counted.

mod context;
mod exporter;
mod otlp;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use context::TraceContext;
pub use exporter::{Exporter, TraceError};

use crate::Registry;
use crate::ratio::Ratio;

/// Which requests are traced, and who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// Where traces go, by OTLP over HTTP in JSON: `http://127.0.0.1:4318/v1/traces`. Without one nothing is traced.
    pub endpoint: Option<String>,
    /// Fields of requests to the collector, such as `authorization`.
    pub headers: SecretFields,
    /// Whose `traceparent` and `tracestate` are believed. Nobody else's are passed on.
    pub accept: Accept,
    /// Part of the traces that begin here which are kept, from 0 to 1. What a believed caller decided stays.
    pub sample: Ratio,
    /// How this server is called in traces.
    pub service: String,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: SecretFields::default(),
            accept: Accept::default(),
            sample: Ratio::ALL,
            service: "selvedge".into(),
        }
    }
}

impl TracesConfig {
    /// What is wrong, in words, beginning with the name of the setting.
    pub fn problem(&self) -> Option<String> {
        let endpoint = self.endpoint.as_ref()?;
        let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        let usable =
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()));
        (!usable).then(|| {
            format!("endpoint: {endpoint:?} is no address such as \"http://127.0.0.1:4318/v1/traces\"")
        })
    }
}

/// Whose word about traces counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accept {
    /// Everybody's.
    Always,
    /// That of the networks in `trusted_proxies`.
    #[default]
    TrustedProxies,
    /// Nobody's.
    Never,
}

/// Fields whose values are nobody's business.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretFields(pub BTreeMap<String, String>);

impl fmt::Debug for SecretFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// All that is told of one request.
#[derive(Debug)]
pub struct Trace {
    /// Of the whole trace, which others have parts of.
    pub trace_id: u128,
    /// What happened, in any order.
    pub spans: Vec<Span>,
}

/// Something that took time.
#[derive(Debug)]
pub struct Span {
    /// Not 0.
    pub id: u64,
    /// What it was part of.
    pub parent: Option<u64>,
    /// Of few, so that they can be grouped.
    pub name: String,
    /// Its place in the trace.
    pub kind: SpanKind,
    /// Since the Unix epoch, nanoseconds.
    pub start_ns: u64,
    /// Since the Unix epoch, nanoseconds.
    pub end_ns: u64,
    /// By OpenTelemetry's names.
    pub attributes: Vec<(&'static str, Value)>,
    /// Code of what went wrong.
    pub error: Option<&'static str>,
}

/// OTLP's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Within this server.
    Internal = 1,
    /// A request was answered.
    Server = 2,
    /// Another server was asked.
    Client = 3,
}

/// What an attribute says.
#[derive(Debug)]
pub enum Value {
    /// Text, which may be a client's.
    Text(String),
    /// A number.
    Number(i64),
}

/// Hands traces over; each serving thread has one.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: SyncSender<Trace>,
    counts: Arc<Counts>,
    /// Whose word counts.
    pub accept: Accept,
    /// Part that is kept.
    pub sample: Ratio,
}

impl Tracer {
    /// Hands a trace over, or drops it when too many wait.
    pub fn finish(&self, trace: Trace) {
        if self.queue.try_send(trace).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    exported: AtomicU64,
}

impl Exporter {
    /// Adds `selvedge_traces_exported_total` and `selvedge_traces_dropped_total`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Counted(self.counts().clone())));
    }
}

#[derive(Debug)]
struct Counted(Arc<Counts>);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, count) in [
            ("selvedge_traces_exported", "Traces that the collector took", &self.0.exported),
            (
                "selvedge_traces_dropped",
                "Traces lost because the collector was slow or absent",
                &self.0.dropped,
            ),
        ] {
            let described = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count.load(Ordering::Relaxed)).encode(described)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
