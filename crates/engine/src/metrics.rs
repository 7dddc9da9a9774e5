//! The engine's counters in `/metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use selvedge_telemetry::Registry;

use crate::shared::Shared;

#[derive(Debug)]
struct EngineCollector(Arc<Shared>);

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = &self.0.counters;
        for (name, help, value) in [
            ("selvedge_cold_starts", "Isolates loaded for a request", &counters.cold_starts),
            ("selvedge_evictions", "Isolates unloaded for the memory budget", &counters.evictions),
            ("selvedge_hosts_started", "Sandbox host processes started", &counters.hosts_started),
            ("selvedge_hosts_ended", "Sandbox host processes ended", &counters.hosts_ended),
            ("selvedge_retries", "Requests repeated on another sandbox", &counters.retries),
            ("selvedge_limits_exceeded", "Requests ended by a limit or a lost sandbox", &counters.limits),
        ] {
            let metric = ConstCounter::new(value.load(Ordering::Relaxed));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        for (name, help, value) in [
            ("selvedge_isolates", "Isolates loaded now", self.0.pool.instances().len() as i64),
            (
                "selvedge_sockets",
                "WebSockets of clients now",
                counters.sockets.load(Ordering::Relaxed) as i64,
            ),
            ("selvedge_hosts", "Sandbox host processes now", self.0.pool.hosts().len() as i64),
            (
                "selvedge_sandbox_memory_bytes",
                "Resident memory of all sandbox hosts",
                counters.memory_bytes.load(Ordering::Relaxed) as i64,
            ),
        ] {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

/// Adds the engine's counters to a registry.
pub fn register(registry: &mut Registry, shared: Arc<Shared>) {
    registry.register_collector(Box::new(EngineCollector(shared)));
}
