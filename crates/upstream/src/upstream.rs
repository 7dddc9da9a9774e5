//! One group of servers, as all threads see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::balance::Members;
use crate::circuit::Circuit;
use crate::config::UpstreamConfig;
use crate::endpoint::Endpoint;
use crate::metrics::{Threads, UpstreamCounts};
use crate::target::{Scheme, Target};
use crate::tls::{TlsClients, server_name};
use crate::{health, resolve};

/// A group of servers that answer the same requests, and how they are.
#[derive(Debug)]
pub struct Upstream {
    /// Never used for another one.
    pub(crate) id: u64,
    pub(crate) config: UpstreamConfig,
    pub(crate) targets: Vec<(Arc<Target>, u32)>,
    pub(crate) tls: Option<TlsClients>,
    pub(crate) circuit: Option<Circuit>,
    /// What settings call it; the first settings, where several have the same servers.
    pub(crate) name: OnceLock<String>,
    /// What came of requests.
    pub(crate) counts: Threads<UpstreamCounts>,
    /// Times that the circuit opened.
    pub(crate) opened: AtomicU64,
    members: RwLock<Arc<Members>>,
    /// Counts changes of `members`.
    version: AtomicU64,
    /// All names were looked up once.
    resolved: watch::Sender<bool>,
    /// Time begins.
    epoch: Instant,
    /// Some thread looks names up and asks servers how they are.
    kept: AtomicBool,
}

/// How a server is, for whoever looks at it from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// Its address.
    pub server: Arc<str>,
    /// Requests go there.
    pub available: bool,
    /// The health check finds it well.
    pub well: bool,
    /// Left out for its bad answers.
    pub ejected: bool,
    /// Requests under way.
    pub active: u32,
}

impl Upstream {
    /// Reads the files that the settings name. The error says what is wrong with them.
    pub(crate) fn new(config: UpstreamConfig) -> Result<Arc<Self>, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if let Some(problem) = config.problem() {
            return Err(problem);
        }
        let mut targets = Vec::new();
        for to in &config.to {
            let target = Target::parse(to.url()).map_err(|problem| format!("to: {problem}"))?;
            if let (Scheme::Https, crate::target::Place::Host { host, .. }) = (target.scheme, &target.place) {
                server_name(&config.tls, host).map_err(|problem| format!("to: {problem}"))?;
            }
            targets.push((Arc::new(target), to.weight()));
        }
        let https = targets.iter().any(|(target, _)| target.scheme == Scheme::Https);
        let tls = if https { Some(TlsClients::new(&config.tls)?) } else { None };
        let upstream = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            targets,
            tls,
            circuit: config.circuit.clone().map(Circuit::new),
            name: OnceLock::new(),
            counts: Threads::default(),
            opened: AtomicU64::new(0),
            members: RwLock::default(),
            version: AtomicU64::new(0),
            resolved: watch::Sender::new(false),
            epoch: Instant::now(),
            kept: AtomicBool::new(false),
            config,
        };
        upstream.set_members(resolve::fixed(&upstream));
        upstream.resolved.send_replace(!resolve::has_names(&upstream));
        Ok(Arc::new(upstream))
    }

    pub(crate) fn members(&self) -> Arc<Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_members(&self, endpoints: Vec<Arc<Endpoint>>) {
        let members = Arc::new(Members::new(endpoints, self.config.balance));
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = members;
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Which change of the members is the last.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits until all names were looked up once.
    pub(crate) async fn resolved(&self) {
        let mut resolved = self.resolved.subscribe();
        // Its sender lives as long as this.
        let _ = resolved.wait_for(|resolved| *resolved).await;
    }

    pub(crate) fn is_resolved(&self) -> bool {
        *self.resolved.borrow()
    }

    /// Milliseconds of its own time.
    pub(crate) fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    pub(crate) fn files_are_unchanged(&self) -> bool {
        self.tls.as_ref().is_none_or(TlsClients::files_are_unchanged)
    }

    /// A server's answer was good or bad.
    pub(crate) fn note(&self, endpoint: &Endpoint, good: bool, now: Instant) {
        if good {
            return endpoint.succeeded();
        }
        let now = self.ms(now);
        let config = &self.config.passive;
        let ejected = endpoint.failed(config, now, || {
            let members = self.members();
            let out = members.endpoints.iter().filter(|other| other.is_ejected(now)).count();
            (out + 1) * 100 <= members.endpoints.len() * config.max_ejected_percent as usize
        });
        if ejected {
            tracing::warn!(server = &*endpoint.label, "left out for a while: too many failures in a row");
        }
    }

    /// Whether an answer with this status tells against the server.
    pub(crate) fn is_bad(&self, status: u16) -> bool {
        self.config.passive.statuses.contains(&status)
    }

    /// What looks names up and asks servers how they are, for as long as the upstream is in use; nothing when another
    /// thread does it already.
    pub(crate) fn keep(self: &Arc<Self>) -> Option<impl Future<Output = ()> + use<>> {
        if self.kept.load(Ordering::Relaxed) || self.kept.swap(true, Ordering::Relaxed) {
            return None;
        }
        let names = resolve::has_names(self);
        let checks = self.config.health.is_some();
        let keeper = Keeper(Arc::downgrade(self));
        Some(async move { tokio::join!(keeper.names(names), health::check(&keeper.0, checks)).0 })
    }

    /// How all servers are.
    pub fn states(&self) -> Vec<EndpointState> {
        let now = self.ms(Instant::now());
        self.members()
            .endpoints
            .iter()
            .map(|endpoint| EndpointState {
                server: endpoint.label.clone(),
                available: endpoint.is_available(now),
                well: endpoint.well.load(Ordering::Relaxed),
                ejected: endpoint.is_ejected(now),
                active: endpoint.active.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// `closed`, `open` or `half_open`; nothing where there is no circuit breaker.
    pub fn circuit(&self) -> Option<&'static str> {
        let now = self.ms(Instant::now());
        self.circuit.as_ref().map(|circuit| circuit.name(now))
    }

    /// What settings call it, or else its first server's address.
    pub fn name(&self) -> String {
        let first = || self.config.to.first().map_or("", |to| to.url());
        self.name.get().map_or_else(|| first().to_owned(), String::clone)
    }

    /// Its settings.
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }
}

/// The thread that keeps an upstream; when it ends, another takes over.
struct Keeper(Weak<Upstream>);

impl Keeper {
    async fn names(&self, any: bool) {
        while let Some(upstream) = self.0.upgrade().filter(|_| any) {
            resolve::refresh(&upstream).await;
            upstream.resolved.send_replace(true);
            let pause = Duration::from_millis(upstream.config.dns_interval_ms);
            drop(upstream);
            tokio::time::sleep(pause).await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(upstream) = self.0.upgrade() {
            upstream.kept.store(false, Ordering::Relaxed);
        }
    }
}
