//! `GET /api/v1/stats`: sums since the start. Who wants rates compares two answers.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_edge::{CacheStore, Upstreams};
use selvedge_engine::EngineHandle;
use selvedge_telemetry::HttpMetrics;
use serde_json::{Value, json};

/// Ticks of the kernel's clock for programs, per second: 100 on all platforms that there are.
const TICKS_PER_S: u64 = 100;

/// Whom to ask.
#[derive(Clone)]
pub(super) struct Stats {
    pub(super) metrics: HttpMetrics,
    pub(super) upstreams: Upstreams,
    pub(super) cache: Arc<CacheStore>,
    pub(super) engine: EngineHandle,
}

impl Stats {
    pub(super) fn now(&self) -> Value {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let upstreams: Vec<Value> = self
            .upstreams
            .all()
            .iter()
            .map(|upstream| {
                let servers: Vec<Value> = upstream
                    .states()
                    .iter()
                    .map(|state| {
                        json!({ "server": &*state.server, "available": state.available, "well": state.well,
                            "ejected": state.ejected, "active": state.active })
                    })
                    .collect();
                json!({ "name": upstream.name(), "circuit": upstream.circuit(), "servers": servers })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "time_ms": time.as_millis() as u64,
            "process": process(),
            "http": self.metrics.stats(),
            "places": self.metrics.places().stats(),
            "cache": self.cache.counts(),
            "upstreams": upstreams,
            "engine": self.engine.status(),
        })
    }
}

/// CPU time and memory of this process, without its sandbox hosts.
fn process() -> Value {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may have blanks.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let number =
        |at: usize| after.split_whitespace().nth(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let ticks = number(11) + number(12);
    let pages = number(21);
    json!({
        "cpu_ms": ticks * 1000 / TICKS_PER_S,
        "memory_bytes": pages * rustix::param::page_size() as u64,
    })
}
