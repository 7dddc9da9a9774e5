//! What is counted of servers. Each thread counts in numbers of its own, which are added up when somebody asks.

use std::array;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::error::UpstreamError;
use crate::registry::Registry;
use crate::upstream::Upstream;

/// Servers that are told apart; further ones are counted together.
const SERVERS_MAX: usize = 1000;
/// Status classes as labels.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the histogram of waits, microseconds.
const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 30_000_000,
];
/// States of circuit breakers, from the best to the worst.
const CIRCUITS: [&str; 3] = ["closed", "half_open", "open"];

/// A number with one writing thread.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one thread counts of one server. Aligned so that no two threads share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ServerCounts {
    statuses: [Counter; CLASSES.len()],
    errors: [Counter; UpstreamError::CODES.len()],
}

impl ServerCounts {
    /// An attempt that had an answer.
    pub(crate) fn answered(&self, status: u16) {
        self.statuses[usize::from(status / 100).clamp(1, CLASSES.len()) - 1].add(1);
    }

    /// An attempt that had none.
    pub(crate) fn failed(&self, error: UpstreamError) {
        self.errors[error.index()].add(1);
    }
}

/// What one thread counts of an upstream.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct UpstreamCounts {
    waits: [Counter; BOUNDS_US.len() + 1],
    wait_us: Counter,
    retries: Counter,
    refusals: [Counter; UpstreamError::CODES.len()],
}

impl UpstreamCounts {
    /// A request waited so long for the head of a response, or for an error.
    pub(crate) fn waited(&self, wait: Duration) {
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        self.waits[bucket].add(1);
        self.wait_us.add(us);
    }

    /// One more server is asked.
    pub(crate) fn retried(&self) {
        self.retries.add(1);
    }

    /// No server was asked.
    pub(crate) fn refused(&self, error: UpstreamError) {
        self.refusals[error.index()].add(1);
    }
}

/// The numbers of all threads.
#[derive(Debug, Default)]
pub(crate) struct Threads<C>(Mutex<Vec<Arc<C>>>);

impl<C: Default> Threads<C> {
    /// Those of one more thread.
    pub(crate) fn add(&self) -> Arc<C> {
        let counts = Arc::<C>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(counts.clone());
        counts
    }

    fn sum<const N: usize>(&self, numbers: impl Fn(&C) -> [u64; N]) -> [u64; N] {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().fold([0; N], |sums, counts| plus(sums, numbers(counts)))
    }
}

fn plus<const N: usize>(one: [u64; N], other: [u64; N]) -> [u64; N] {
    array::from_fn(|n| one[n].wrapping_add(other[n]))
}

fn values<const N: usize>(counters: &[Counter; N]) -> [u64; N] {
    array::from_fn(|n| counters[n].get())
}

/// Sums of one server.
struct Server {
    statuses: [u64; CLASSES.len()],
    errors: [u64; UpstreamError::CODES.len()],
    ejections: u64,
    active: u64,
    available: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self { statuses: [0; _], errors: [0; _], ejections: 0, active: 0, available: true }
    }
}

/// Sums of upstreams of one name.
#[derive(Default)]
struct Group {
    waits: [u64; BOUNDS_US.len() + 1],
    wait_us: u64,
    retries: u64,
    refusals: [u64; UpstreamError::CODES.len()],
    opened: u64,
    /// The worst of their circuit breakers, if there is one.
    circuit: Option<usize>,
    servers: BTreeMap<Arc<str>, Server>,
}

impl Group {
    fn add(&mut self, upstream: &Upstream, room: &mut usize) {
        let counts = &upstream.counts;
        self.waits = plus(self.waits, counts.sum(|thread| values(&thread.waits)));
        let [wait_us, retries] = counts.sum(|thread| [thread.wait_us.get(), thread.retries.get()]);
        self.wait_us += wait_us;
        self.retries += retries;
        self.refusals = plus(self.refusals, counts.sum(|thread| values(&thread.refusals)));
        self.opened += upstream.opened.load(Ordering::Relaxed);
        let state = upstream.circuit().and_then(|name| CIRCUITS.iter().position(|state| *state == name));
        self.circuit = self.circuit.max(state);
        let now = upstream.ms(Instant::now());
        for endpoint in &upstream.members().endpoints {
            let known = self.servers.contains_key(&endpoint.label);
            let label = if known || *room > 0 { endpoint.label.clone() } else { "other".into() };
            *room = room.saturating_sub(usize::from(!known));
            let server = self.servers.entry(label).or_default();
            server.statuses = plus(server.statuses, endpoint.counts.sum(|thread| values(&thread.statuses)));
            server.errors = plus(server.errors, endpoint.counts.sum(|thread| values(&thread.errors)));
            server.ejections += endpoint.ejected.load(Ordering::Relaxed);
            server.active += u64::from(endpoint.active.load(Ordering::Relaxed));
            server.available &= endpoint.is_available(now);
        }
    }
}

impl Registry {
    /// Adds `selvedge_upstream_…` to a registry of metrics.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn groups(&self) -> BTreeMap<String, Group> {
        let mut groups = BTreeMap::<String, Group>::new();
        let mut room = SERVERS_MAX;
        for upstream in self.all() {
            groups.entry(upstream.name()).or_default().add(&upstream, &mut room);
        }
        groups
    }
}

impl Collector for Registry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let groups = self.groups();
        encode_servers(&mut encoder, &groups)?;
        encode_groups(&mut encoder, &groups)
    }
}

/// Its name, what it counts, and where that is.
type Metric<T, V> = (&'static str, &'static str, fn(&T) -> V);

fn encode_servers(encoder: &mut DescriptorEncoder<'_>, groups: &BTreeMap<String, Group>) -> fmt::Result {
    let servers = || {
        groups.iter().flat_map(|(name, group)| {
            group.servers.iter().map(move |(server, sums)| (name.as_str(), &**server, sums))
        })
    };
    let mut family = encoder.encode_descriptor(
        "selvedge_upstream_requests",
        "Attempts that servers answered",
        None,
        MetricType::Counter,
    )?;
    for (upstream, server, sums) in servers() {
        for (class, count) in CLASSES.iter().zip(sums.statuses).filter(|(_, count)| *count > 0) {
            let labels = [("upstream", upstream), ("server", server), ("status", class)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "selvedge_upstream_errors",
        "Attempts that had no answer, by why",
        None,
        MetricType::Counter,
    )?;
    let none = groups.iter().map(|(name, group)| (name.as_str(), "", &group.refusals));
    let some = servers().map(|(upstream, server, sums)| (upstream, server, &sums.errors));
    for (upstream, server, errors) in none.chain(some) {
        for (code, count) in UpstreamError::CODES.iter().zip(errors).filter(|(_, count)| **count > 0) {
            let labels = [("upstream", upstream), ("server", server), ("code", code)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "selvedge_upstream_ejections",
        "Times that a server was left out for its failures",
        None,
        MetricType::Counter,
    )?;
    for (upstream, server, sums) in servers() {
        let labels = [("upstream", upstream), ("server", server)];
        ConstCounter::new(sums.ejections).encode(family.encode_family(&labels)?)?;
    }
    let gauges: [Metric<Server, i64>; 2] = [
        ("selvedge_upstream_active", "Requests under way to a server", |sums| sums.active.cast_signed()),
        ("selvedge_upstream_available", "1 while requests may go to a server", |sums| sums.available.into()),
    ];
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (upstream, server, sums) in servers() {
            let labels = [("upstream", upstream), ("server", server)];
            ConstGauge::new(value(sums)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_groups(encoder: &mut DescriptorEncoder<'_>, groups: &BTreeMap<String, Group>) -> fmt::Result {
    let counters: [Metric<Group, u64>; 2] = [
        ("selvedge_upstream_retries", "Requests that were sent once more", |group| group.retries),
        ("selvedge_upstream_circuit_opened", "Times that a circuit breaker opened", |group| group.opened),
    ];
    for (name, help, value) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (upstream, group) in groups {
            let labels = [("upstream", upstream.as_str())];
            ConstCounter::new(value(group)).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "selvedge_upstream_circuit",
        "1 for the state that a circuit breaker is in",
        None,
        MetricType::Gauge,
    )?;
    for (upstream, group) in groups {
        let Some(is) = group.circuit else { continue };
        for (n, state) in CIRCUITS.iter().enumerate() {
            let labels = [("upstream", upstream.as_str()), ("state", *state)];
            ConstGauge::new(i64::from(n == is)).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "selvedge_upstream_duration_seconds",
        "From a request to the head of its response, retries included",
        None,
        MetricType::Histogram,
    )?;
    for (upstream, group) in groups {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(group.waits).collect();
        let labels = [("upstream", upstream.as_str())];
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            group.wait_us as f64 / 1e6,
            group.waits.iter().sum(),
            &buckets,
            None,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{To, UpstreamConfig};

    fn text(registry: &Registry) -> String {
        let mut metrics = prometheus_client::registry::Registry::default();
        registry.register(&mut metrics);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics).unwrap();
        text
    }

    #[test]
    fn threads_add_up_and_servers_have_a_bound() {
        let registry = Registry::default();
        let to = (0..SERVERS_MAX + 5).map(|n| To::Url(format!("http://127.0.0.1:{}", 1000 + n))).collect();
        let config = UpstreamConfig { to, ..UpstreamConfig::default() };
        let upstream = registry.named("shop", &config).unwrap();
        for _ in 0..2 {
            let counts = upstream.counts.add();
            counts.retried();
            counts.refused(UpstreamError::CircuitOpen);
            counts.waited(Duration::from_millis(3));
            for endpoint in &upstream.members().endpoints {
                let counts = endpoint.counts.add();
                counts.answered(204);
                counts.failed(UpstreamError::Refused);
            }
        }
        let text = text(&registry);
        for line in [
            "selvedge_upstream_requests_total{upstream=\"shop\",server=\"127.0.0.1:1000\",status=\"2xx\"} 2",
            "selvedge_upstream_requests_total{upstream=\"shop\",server=\"other\",status=\"2xx\"} 10",
            "selvedge_upstream_errors_total{upstream=\"shop\",server=\"\",code=\"circuit_open\"} 2",
            "selvedge_upstream_errors_total{upstream=\"shop\",server=\"other\",code=\"upstream_refused\"} 10",
            "selvedge_upstream_retries_total{upstream=\"shop\"} 2",
            "selvedge_upstream_duration_seconds_bucket{le=\"0.005\",upstream=\"shop\"} 2",
            "selvedge_upstream_available{upstream=\"shop\",server=\"127.0.0.1:1000\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let servers = text.lines().filter(|line| line.starts_with("selvedge_upstream_active{")).count();
        assert_eq!(servers, SERVERS_MAX + 1);
    }
}
