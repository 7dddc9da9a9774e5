//! One server and how it is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::config::{PassiveConfig, UpstreamConfig};
use crate::metrics::{ServerCounts, Threads};
use crate::target::{Scheme, Target};

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// One server. All threads see the same.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Never used for another one.
    pub(crate) id: u64,
    pub(crate) address: Address,
    pub(crate) target: Arc<Target>,
    /// For the log.
    pub(crate) label: Arc<str>,
    pub(crate) weight: u32,
    /// Requests under way.
    pub(crate) active: AtomicU32,
    /// Places for connections, when there is a bound.
    pub(crate) places: Option<Arc<Semaphore>>,
    /// Requests that wait for one.
    pub(crate) waiting: AtomicUsize,
    /// What the health check found.
    pub(crate) well: AtomicBool,
    /// Failures in a row.
    failures: AtomicU32,
    /// Times in a row that it was left out.
    ejections: AtomicU32,
    /// Left out until then, milliseconds of the upstream's time.
    ejected_until: AtomicU64,
    /// Times that it was left out.
    pub(crate) ejected: AtomicU64,
    /// What came of requests to it.
    pub(crate) counts: Threads<ServerCounts>,
}

impl Endpoint {
    pub(crate) fn new(address: Address, target: Arc<Target>, weight: u32, config: &UpstreamConfig) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let label = match &address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            target,
            label: label.into(),
            weight,
            active: AtomicU32::new(0),
            places: (config.max_connections > 0).then(|| Arc::new(Semaphore::new(config.max_connections))),
            waiting: AtomicUsize::new(0),
            well: AtomicBool::new(true),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejected: AtomicU64::new(0),
            counts: Threads::default(),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.target.scheme == Scheme::Https
    }

    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now_ms
    }

    /// Whether requests may go there.
    pub(crate) fn is_available(&self, now_ms: u64) -> bool {
        self.well.load(Ordering::Relaxed) && !self.is_ejected(now_ms)
    }

    /// An answer that was good.
    pub(crate) fn succeeded(&self) {
        // Reads are cheap while nothing is wrong, and other threads' caches keep the line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejections.load(Ordering::Relaxed) != 0 {
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// An answer that was bad. `may_eject` tells whether one more server can be spared. True when it is left out from now on.
    pub(crate) fn failed(
        &self,
        config: &PassiveConfig,
        now_ms: u64,
        may_eject: impl FnOnce() -> bool,
    ) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if config.failures == 0 || failures < config.failures || self.is_ejected(now_ms) || !may_eject() {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.ejected.fetch_add(1, Ordering::Relaxed);
        let times = self.ejections.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let span = config.eject_ms.saturating_mul(u64::from(times)).min(config.max_eject_ms);
        self.ejected_until.store(now_ms.saturating_add(span), Ordering::Relaxed);
        true
    }
}

/// A request under way to a server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Load(Arc<Endpoint>);

impl Load {
    pub(crate) fn on(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.active.fetch_add(1, Ordering::Relaxed);
        Self(endpoint.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_leave_a_server_out_for_longer_and_longer() {
        let target = Arc::new(Target::parse("unix:/s").unwrap());
        let server = Endpoint::new(Address::Unix("/s".into()), target, 1, &UpstreamConfig::default());
        let config =
            PassiveConfig { failures: 2, eject_ms: 100, max_eject_ms: 250, ..PassiveConfig::default() };
        assert!(!server.failed(&config, 0, || true));
        server.succeeded();
        assert!(!server.failed(&config, 0, || true), "not in a row");
        assert!(!server.failed(&config, 0, || false), "none to spare");
        assert!(server.failed(&config, 0, || true));
        assert!(!server.is_available(99) && server.is_available(100));
        let mut at = 100;
        for span in [200, 250, 250] {
            server.failed(&config, at, || true);
            assert!(server.failed(&config, at, || true));
            assert!(!server.is_available(at + span - 1) && server.is_available(at + span));
            at += span;
        }
        server.succeeded();
        server.failed(&config, at, || true);
        assert!(server.failed(&config, at, || true));
        assert!(server.is_available(at + 100), "forgiven");
    }
}
