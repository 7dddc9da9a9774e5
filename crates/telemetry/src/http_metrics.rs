//! Counters of the HTTP front, one set per thread, added up when they are scraped.
//!
//! A thread is the only writer of its set, so that counting is a plain load and store on a cache line that no
//! other core writes.

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use serde::Serialize;

use crate::Registry;
use crate::decisions::{DECISIONS, Decision, Decisions, Numbers};
use crate::exposition::{Exemplar, write_buckets, write_head};
use crate::place_metrics::PlaceMetrics;

/// Protocols as labels.
const PROTOCOLS: [&str; 3] = ["http/1.0", "http/1.1", "http/2"];
/// Status classes as labels.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Reasons for connections that were cut, as labels; the order is that of [`CutReason`].
const CUTS: [&str; 7] =
    ["malformed", "header_timeout", "idle_timeout", "stalled", "io", "handshake_timeout", "glitches"];
/// Results of TLS handshakes, as labels; the order is that of [`Handshake`].
const HANDSHAKES: [&str; 3] = ["full", "resumed", "failed"];
/// Versions of TLS, as labels; a handshake that failed has none.
const VERSIONS: [&str; 3] = ["", "TLSv1.2", "TLSv1.3"];
/// What connections wait for, as labels; the order is that of [`ConnectionState`].
const STATES: [&str; 6] = ["handshake", "new", "idle", "head", "busy", "lingering"];
/// What adds to the score of a connection of HTTP/2, as labels.
pub const GLITCHES: [&str; 10] = [
    "reset",
    "stream_error",
    "refused",
    "headers",
    "settings",
    "ping",
    "empty_data",
    "window_update",
    "priority",
    "unknown",
];
/// Upper bounds of the duration histogram, microseconds.
pub(crate) const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 30_000_000,
];

/// Why the front closed a connection that its client did not close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// What arrived is not HTTP, or more than is allowed.
    Malformed = 0,
    /// A request's head took too long.
    HeaderTimeout = 1,
    /// No request came.
    IdleTimeout = 2,
    /// A request body did not arrive, or a response was not taken.
    Stalled = 3,
    /// The socket failed or the client vanished within a message.
    Io = 4,
    /// The handshake of TLS took too long.
    HandshakeTimeout = 5,
    /// It made more work than it should, by HTTP/2's resets, errors or needless frames.
    Glitches = 6,
}

/// How a handshake of TLS ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a new session.
    Full = 0,
    /// With an earlier session.
    Resumed = 1,
    /// One side refused.
    Failed = 2,
}

/// What an open connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// The handshake of TLS.
    Handshake = 0,
    /// The first byte ever.
    New = 1,
    /// The next request.
    Idle = 2,
    /// The rest of a request's head.
    Head = 3,
    /// Responses.
    Busy = 4,
    /// The client's end, after the last response.
    Lingering = 5,
}

/// Connections by their states.
pub type StateCounts = [u32; STATES.len()];

/// A number with one writing thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning thread may.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one thread counts. Aligned so that no two threads share a cache line (nor the pair of lines that
/// prefetchers fetch together).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct HttpCounters {
    requests: [[Counter; CLASSES.len()]; PROTOCOLS.len()],
    durations: [Counter; BOUNDS_US.len() + 1],
    duration_us: Counter,
    /// The last of each bucket that was traced.
    exemplars: Mutex<[Option<Exemplar>; BOUNDS_US.len() + 1]>,
    decisions: Decisions,
    /// As of the last look at all connections.
    states: [AtomicU64; STATES.len()],
    cuts: [Counter; CUTS.len()],
    handshakes: [[Counter; VERSIONS.len()]; HANDSHAKES.len()],
    glitches: [Counter; GLITCHES.len()],
    /// Requests begun.
    pub started: Counter,
    /// Requests ended.
    pub finished: Counter,
    /// Connections accepted.
    pub opened: Counter,
    /// Connections closed.
    pub closed: Counter,
    /// Connections refused because there were too many.
    pub shed: Counter,
    /// Bytes read from clients.
    pub received: Counter,
    /// Bytes written to clients.
    pub sent: Counter,
}

impl HttpCounters {
    /// Counts a finished request.
    #[inline]
    pub fn request(&self, protocol: Protocol, status: u16, duration_us: u64) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[protocol as usize][class].add(1);
        self.durations[bucket(duration_us)].add(1);
        self.duration_us.add(duration_us);
        self.finished.add(1);
    }

    /// Remembers that a request which was counted has a trace.
    pub fn exemplar(&self, exemplar: Exemplar) {
        let mut exemplars = self.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
        exemplars[bucket(exemplar.duration_us)] = Some(exemplar);
    }

    /// Counts a request that failed, with the code of its error and its flags.
    pub fn failed(&self, code: &'static str, flags: &'static str) {
        self.decisions.failed(code, flags);
    }

    /// Counts what a limit of this name decided.
    pub fn limited(&self, limit: &str, decision: Decision) {
        self.decisions.limited(limit, decision);
    }

    /// Counts what a firewall of this name decided, and its rules that matched.
    pub fn screened<'r>(&self, firewall: &str, decision: Decision, rules: impl Iterator<Item = &'r str>) {
        self.decisions.screened(firewall, decision, rules);
    }

    /// What the thread's connections are doing.
    pub fn states(&self, counts: &StateCounts) {
        for (state, count) in self.states.iter().zip(counts) {
            state.store(u64::from(*count), Ordering::Relaxed);
        }
    }

    /// Counts a handshake of TLS, with the version that was agreed upon.
    pub fn handshake(&self, ended: Handshake, version: &str) {
        let version = VERSIONS.iter().position(|known| *known == version).unwrap_or(0);
        self.handshakes[ended as usize][version].add(1);
    }

    /// Counts a connection that had to be closed.
    pub fn cut(&self, reason: CutReason) {
        self.cuts[reason as usize].add(1);
    }

    /// Counts oddities of a connection of HTTP/2, in the order of [`GLITCHES`].
    pub fn glitches(&self, counts: &[u32; GLITCHES.len()]) {
        for (counter, count) in self.glitches.iter().zip(counts) {
            counter.add(u64::from(*count));
        }
    }
}

/// The bucket of a duration.
pub(crate) fn bucket(duration_us: u64) -> usize {
    BOUNDS_US.iter().position(|bound| duration_us <= *bound).unwrap_or(BOUNDS_US.len())
}

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 and what came before it.
    Http10 = 0,
    /// HTTP/1.1
    Http11 = 1,
    /// HTTP/2
    Http2 = 2,
}

/// The counters of all threads.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics {
    threads: Arc<Mutex<Vec<Arc<HttpCounters>>>>,
    places: PlaceMetrics,
}

/// Sums since the start, for who compares them with earlier ones.
#[derive(Clone, Debug, Serialize)]
pub struct HttpStats {
    /// Requests by status class, from 1xx to 5xx.
    pub classes: [u64; CLASSES.len()],
    /// Upper bounds of the buckets of durations, microseconds.
    pub bounds_us: [u64; BOUNDS_US.len()],
    /// Requests by duration; the last bucket has no bound.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// Requests being answered now.
    pub requests_in_flight: u64,
    /// Connections open now.
    pub connections: u64,
    /// The same by what they wait for: handshake, new, idle, head, busy, lingering.
    pub connection_states: [u64; STATES.len()],
    /// Connections refused because there were too many.
    pub shed: u64,
    /// Bytes read from clients.
    pub received_bytes: u64,
    /// Bytes written to clients.
    pub sent_bytes: u64,
}

impl HttpMetrics {
    /// Counters for one more thread.
    pub fn thread(&self) -> Arc<HttpCounters> {
        let counters = Arc::<HttpCounters>::default();
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(counters.clone());
        counters
    }

    /// Adds the sums to a registry, under `selvedge_http_…`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Appends histograms, which have exemplars, in OpenMetrics.
    pub(crate) fn write_histograms(&self, out: &mut String) -> fmt::Result {
        let name = "selvedge_http_request_duration_seconds";
        write_head(out, name, "From a request's head to the end of its response's body")?;
        let buckets = (0..=BOUNDS_US.len()).map(|b| (self.sum(|t| &t.durations[b]), self.exemplar(b)));
        write_buckets(out, name, "", self.sum(|t| &t.duration_us), buckets)?;
        self.places.write_histograms(out)
    }

    /// The newest of a bucket.
    fn exemplar(&self, bucket: usize) -> Option<Exemplar> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |thread: &Arc<HttpCounters>| {
            thread.exemplars.lock().unwrap_or_else(PoisonError::into_inner)[bucket]
        };
        threads.iter().filter_map(of).max_by_key(|exemplar| exemplar.at_ms)
    }

    fn states(&self) -> [u64; STATES.len()] {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        array::from_fn(|s| threads.iter().map(|thread| thread.states[s].load(Ordering::Relaxed)).sum())
    }

    fn decisions(&self) -> Numbers {
        let mut sums = Numbers::default();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            thread.decisions.add_to(&mut sums);
        }
        sums
    }

    /// What is counted by what answers.
    pub fn places(&self) -> &PlaceMetrics {
        &self.places
    }

    /// All sums.
    pub fn stats(&self) -> HttpStats {
        let (finished, closed) = (self.sum(|t| &t.finished), self.sum(|t| &t.closed));
        HttpStats {
            classes: std::array::from_fn(|c| {
                (0..PROTOCOLS.len()).map(|p| self.sum(|t| &t.requests[p][c])).sum()
            }),
            bounds_us: BOUNDS_US,
            buckets: std::array::from_fn(|b| self.sum(|t| &t.durations[b])),
            requests_in_flight: self.sum(|t| &t.started).saturating_sub(finished),
            connections: self.sum(|t| &t.opened).saturating_sub(closed),
            connection_states: self.states(),
            shed: self.sum(|t| &t.shed),
            received_bytes: self.sum(|t| &t.received),
            sent_bytes: self.sum(|t| &t.sent),
        }
    }

    /// The sum of one number over all threads.
    pub fn sum(&self, number: impl Fn(&HttpCounters) -> &Counter) -> u64 {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().map(|counters| number(counters).get()).sum()
    }
}

impl Collector for HttpMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut requests =
            describe(&mut encoder, "selvedge_http_requests", "Requests answered", MetricType::Counter)?;
        for (p, protocol) in PROTOCOLS.iter().enumerate() {
            for (c, class) in CLASSES.iter().enumerate() {
                let count = self.sum(|t| &t.requests[p][c]);
                if count > 0 {
                    let labels = [("protocol", *protocol), ("status", *class)];
                    ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
                }
            }
        }
        let mut cuts = describe(
            &mut encoder,
            "selvedge_http_connections_cut",
            "Connections closed by the server because of what their client did",
            MetricType::Counter,
        )?;
        for (i, reason) in CUTS.iter().enumerate() {
            ConstCounter::new(self.sum(|t| &t.cuts[i]))
                .encode(cuts.encode_family(&[("reason", *reason)])?)?;
        }
        let mut handshakes = describe(
            &mut encoder,
            "selvedge_tls_handshakes",
            "Handshakes of TLS that ended",
            MetricType::Counter,
        )?;
        for (i, result) in HANDSHAKES.iter().enumerate() {
            for (v, version) in VERSIONS.iter().enumerate() {
                let count = self.sum(|t| &t.handshakes[i][v]);
                if count > 0 {
                    let labels = [("result", *result), ("version", *version)];
                    ConstCounter::new(count).encode(handshakes.encode_family(&labels)?)?;
                }
            }
        }
        let mut glitches = describe(
            &mut encoder,
            "selvedge_http2_glitches",
            "Oddities of connections of HTTP/2, which end one that has too many",
            MetricType::Counter,
        )?;
        for (i, kind) in GLITCHES.iter().enumerate() {
            ConstCounter::new(self.sum(|t| &t.glitches[i]))
                .encode(glitches.encode_family(&[("kind", *kind)])?)?;
        }
        let counters: [(&str, &str, u64); 4] = [
            ("selvedge_http_connections_opened", "Connections accepted", self.sum(|t| &t.opened)),
            (
                "selvedge_http_connections_shed",
                "Connections refused because there were too many",
                self.sum(|t| &t.shed),
            ),
            ("selvedge_http_received_bytes", "Bytes read from clients", self.sum(|t| &t.received)),
            ("selvedge_http_sent_bytes", "Bytes written to clients", self.sum(|t| &t.sent)),
        ];
        for (name, help, value) in counters {
            let described = describe(&mut encoder, name, help, MetricType::Counter)?;
            ConstCounter::new(value).encode(described)?;
        }
        let gauge = |begun: u64, ended: u64| begun.saturating_sub(ended) as i64;
        // Threads count on meanwhile. What has ended is read first, so that a gauge may be too high for a
        // moment but never negative.
        let (finished, closed) = (self.sum(|t| &t.finished), self.sum(|t| &t.closed));
        let gauges: [(&str, &str, i64); 2] = [
            ("selvedge_http_connections", "Connections open now", gauge(self.sum(|t| &t.opened), closed)),
            (
                "selvedge_http_requests_in_flight",
                "Requests being answered now",
                gauge(self.sum(|t| &t.started), finished),
            ),
        ];
        for (name, help, value) in gauges {
            let described = describe(&mut encoder, name, help, MetricType::Gauge)?;
            ConstGauge::new(value).encode(described)?;
        }
        let mut states = describe(
            &mut encoder,
            "selvedge_http_connections_by_state",
            "Open connections by what they wait for, as of the last second",
            MetricType::Gauge,
        )?;
        for (state, count) in STATES.iter().zip(self.states()) {
            ConstGauge::new(count.cast_signed()).encode(states.encode_family(&[("state", *state)])?)?;
        }
        self.encode_decisions(&mut encoder)
    }
}

impl HttpMetrics {
    fn encode_decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = self.decisions();
        let mut failures = describe(
            encoder,
            "selvedge_http_failures",
            "Requests that were not answered by what should have answered them, by the error's code and flags",
            MetricType::Counter,
        )?;
        for ((code, flags), count) in &numbers.failures {
            let labels = [("code", *code), ("flags", *flags)];
            ConstCounter::new(*count).encode(failures.encode_family(&labels)?)?;
        }
        for (name, help, label, counts) in [
            ("selvedge_rate_limit_decisions", "Requests that rate limits judged", "limit", &numbers.limits),
            ("selvedge_waf_decisions", "Requests that firewalls judged", "waf", &numbers.firewalls),
        ] {
            let mut family = describe(encoder, name, help, MetricType::Counter)?;
            for (of, counts) in counts {
                for (decision, count) in DECISIONS.iter().zip(counts).filter(|(_, count)| **count > 0) {
                    let labels = [(label, of.as_str()), ("decision", *decision)];
                    ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let mut rules = describe(
            encoder,
            "selvedge_waf_rule_matches",
            "Matches of firewalls' rules",
            MetricType::Counter,
        )?;
        for (rule, [count]) in &numbers.rules {
            ConstCounter::new(*count).encode(rules.encode_family(&[("rule", rule.as_str())])?)?;
        }
        Ok(())
    }
}

fn describe<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'e>, std::fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let metrics = HttpMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let (one, two) = (metrics.thread(), metrics.thread());
        one.started.add(1);
        one.request(Protocol::Http11, 200, 90);
        two.request(Protocol::Http11, 204, 260);
        two.request(Protocol::Http2, 503, 40_000_000);
        two.opened.add(3);
        one.closed.add(1);
        one.cut(CutReason::HeaderTimeout);
        one.glitches(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        two.glitches(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        one.failed("rate_limited", "RL");
        two.limited("api", Decision::Refused);
        two.handshake(Handshake::Full, "TLSv1.3");
        one.states(&[0, 1, 0, 0, 0, 0]);
        two.states(&[0, 2, 0, 0, 0, 0]);
        one.exemplar(Exemplar { trace_id: 1, duration_us: 90, at_ms: 1 });
        two.exemplar(Exemplar { trace_id: 2, duration_us: 90, at_ms: 2 });
        let text = crate::exposition(&registry, &metrics, crate::Format::OpenMetrics).unwrap();
        for line in [
            "selvedge_http_requests_total{protocol=\"http/1.1\",status=\"2xx\"} 2",
            "selvedge_http_requests_total{protocol=\"http/2\",status=\"5xx\"} 1",
            "selvedge_http_connections 2",
            "selvedge_http_requests_in_flight 0",
            "selvedge_http_connections_cut_total{reason=\"header_timeout\"} 1",
            "selvedge_http2_glitches_total{kind=\"reset\"} 3",
            "selvedge_http_failures_total{code=\"rate_limited\",flags=\"RL\"} 1",
            "selvedge_rate_limit_decisions_total{limit=\"api\",decision=\"refused\"} 1",
            "selvedge_tls_handshakes_total{result=\"full\",version=\"TLSv1.3\"} 1",
            "selvedge_http_connections_by_state{state=\"new\"} 3",
            "selvedge_http_request_duration_seconds_bucket{le=\"0.0001\"} 1 # {trace_id=\"00000000000000000000000000000002\"} 9e-5 0.002",
            "selvedge_http_request_duration_seconds_bucket{le=\"0.0005\"} 2",
            "selvedge_http_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "selvedge_http_request_duration_seconds_count 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn an_odd_status_counts_in_the_nearest_class() {
        let counters = HttpCounters::default();
        counters.request(Protocol::Http10, 999, 0);
        counters.request(Protocol::Http10, 0, 0);
        assert_eq!(counters.requests[0][4].get(), 1);
        assert_eq!(counters.requests[0][0].get(), 1);
    }
}
