//! The edge as a whole: its threads, from start to shutdown.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::HeaderValue;
use selvedge_acme::{AcmeError, Listeners, Running};
use selvedge_cache::store::Store;
use selvedge_cache::targets::PurgeTarget;
use selvedge_engine::EngineHandle;
use selvedge_model::{Snapshot, Worker};
use selvedge_telemetry::traces::{Exporter, TraceError, Tracer};
use selvedge_telemetry::{AccessLog, AccessLogBuffer, HttpCounters, HttpMetrics, Registry};
use selvedge_tls::config::Endpoint;
use selvedge_tls::{Tls, TlsError};
use selvedge_upstream::{Registry as Upstreams, Upstream};
use slab::Slab;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Notify, watch};

use crate::acme;
use crate::config::EdgeConfig;
use crate::entrance::Entrance;
use crate::http1::Scratch;
use crate::https;
use crate::listen::{self, Listener, Manner};
use crate::pulse::{Pulse, Pulses};
use crate::readiness::{Matters, Readiness};
use crate::request::accept;
use crate::request_id::RequestIds;
use crate::sites::Sites;
use crate::thread::{Clock, LogFields, Newest, Places, Routes, Thread};
use crate::workers::{StandIn, Workers};

/// Open files kept free for everything that is no client connection.
const FILES_KEPT_FREE: u64 = 256;

/// A running edge. Dropping it cuts all connections; [`shutdown`](Self::shutdown) lets requests finish.
#[derive(Debug)]
pub struct Edge {
    endpoints: Vec<(Endpoint, bool)>,
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<Tls>>,
    /// Orders certificates while it is held.
    acme: Option<Running>,
    /// Sends traces.
    exporter: Option<Exporter>,
    /// The moment until which requests may finish.
    end: watch::Sender<Option<Instant>>,
    threads: Vec<JoinHandle<()>>,
    cache: Arc<Store>,
    config: Arc<EdgeConfig>,
    pulses: Pulses,
}

/// Why the edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A setting cannot be used.
    #[error("edge settings: {0}")]
    Config(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {advice}")]
    Bind {
        /// The address.
        address: String,
        /// What to do.
        advice: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or what belongs to it.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// Certificates by ACME.
    #[error("edge settings: tls.{0}")]
    Acme(#[from] AcmeError),
    /// Traces could not be sent.
    #[error("{0}")]
    Traces(#[from] TraceError),
    /// A serving thread could not be started.
    #[error("a serving thread could not be started: {0}")]
    Thread(io::Error),
}

/// Tells what went wrong with a worker's request, given its worker and id, in an answer that only developers see: the
/// exception and its stack, as plain text.
pub type Explain = Arc<dyn Fn(Arc<Worker>, String) -> Explanation + Send + Sync>;
/// What [`Explain`] gives; nothing where nothing is known.
pub type Explanation = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// What an edge serves, and what it reports to.
pub struct Surroundings<'a> {
    /// Its settings.
    pub config: EdgeConfig,
    /// Sites, and each change of them.
    pub sites: watch::Receiver<Arc<Sites>>,
    /// Workers that are deployed, and each change of them.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// For lines about requests.
    pub access_log: &'a AccessLog,
    /// For counts of requests.
    pub metrics: &'a HttpMetrics,
    /// Tells clients what happened in workers that failed.
    pub explain: Option<Explain>,
}

/// What a thread is made of; everything in it may move there.
struct Plan {
    config: Arc<EdgeConfig>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    sites: watch::Receiver<Arc<Sites>>,
    listeners: Vec<(Listener, Manner)>,
    entrance: Arc<Entrance>,
    log: AccessLogBuffer,
    pulse: Pulse,
    places: Places,
    tracer: Option<Tracer>,
    counters: Arc<HttpCounters>,
    open: Arc<AtomicUsize>,
    max_open: usize,
    end: watch::Receiver<Option<Instant>>,
    explain: Option<Explain>,
    cache: Arc<Store>,
}

impl Edge {
    /// Binds all addresses, starts a thread per core and serves what sites and snapshot say, from the first request
    /// on and after each change. Returns once every thread accepts.
    pub fn start(surroundings: Surroundings<'_>, engine: EngineHandle) -> Result<Self, EdgeError> {
        Self::launch(surroundings, move || Workers::Engine(engine.local()))
    }

    /// Like [`start`](Self::start), with something else than the engine to answer for workers: `stand_in` is
    /// called once on each thread.
    pub fn start_with(
        surroundings: Surroundings<'_>,
        stand_in: impl Fn() -> StandIn + Clone + Send + 'static,
    ) -> Result<Self, EdgeError> {
        Self::launch(surroundings, move || Workers::StandIn(stand_in()))
    }

    fn launch(
        surroundings: Surroundings<'_>,
        workers: impl Fn() -> Workers + Clone + Send + 'static,
    ) -> Result<Self, EdgeError> {
        let Surroundings { config, sites, snapshot, access_log, metrics, explain } = surroundings;
        if let Some(problem) = config.problem() {
            return Err(EdgeError::Config(problem));
        }
        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let bound = config
            .listen
            .iter()
            .map(|listener| listen::bind(listener, count))
            .collect::<Result<Vec<_>, _>>()?;
        let endpoints: Vec<_> =
            bound.iter().map(|bound| (bound.endpoint.clone(), bound.manner.tls)).collect();
        let tcp = |(endpoint, tls): &(Endpoint, bool)| match endpoint {
            Endpoint::Tcp(address) => Some((*address, *tls)),
            Endpoint::Unix(_) => None,
        };
        let addresses: Vec<(SocketAddr, bool)> = endpoints.iter().filter_map(tcp).collect();
        let tls = match endpoints.iter().any(|(_, tls)| *tls) {
            true => Some(Arc::new(Tls::new(&config.tls, sites.borrow().tls())?)),
            false => None,
        };
        let listeners = Listeners { http: addresses.iter().any(|(_, tls)| !tls), tls: tls.is_some() };
        let acme = match &tls {
            Some(tls) => acme::start(&config.tls, tls, listeners)?,
            None => None,
        };
        let https_port = addresses.iter().find(|(_, tls)| *tls).map(|(address, _)| address.port());
        let entrance = Arc::new(Entrance::new(&config, tls.clone(), https_port));
        let mut listeners: Vec<_> = bound
            .into_iter()
            .map(|bound| bound.listeners.into_iter().map(move |listener| (listener, bound.manner.clone())))
            .collect();
        let (end, ended) = watch::channel(None);
        let open = Arc::new(AtomicUsize::new(0));
        let max_open = config.max_connections.min(file_limit());
        let cache =
            Store::open(&config.cache).map_err(|problem| EdgeError::Config(format!("cache.{problem}")))?;
        let config = Arc::new(config);
        let exporter = Exporter::start(&config.traces)?;
        let (mut threads, pulses) = (Vec::new(), Pulses::default());
        for n in 0..count {
            let plan = Plan {
                config: config.clone(),
                snapshot: snapshot.clone(),
                sites: sites.clone(),
                listeners: listeners.iter_mut().filter_map(Iterator::next).collect(),
                log: access_log.buffer(),
                pulse: pulses.thread(format!("edge-{n}")),
                places: Places::new(metrics.places().clone(), n),
                tracer: exporter.as_ref().map(Exporter::tracer),
                counters: metrics.thread(),
                open: open.clone(),
                max_open,
                entrance: entrance.clone(),
                end: ended.clone(),
                explain: explain.clone(),
                cache: cache.clone(),
            };
            threads.push(spawn(n, plan, workers.clone())?);
        }
        if let Some(tls) = &tls {
            let keeper = https::keep(tls.clone(), config.tls.clone(), sites, ended);
            threads.push(keeper.map_err(EdgeError::Thread)?);
        }
        let addresses = addresses.into_iter().map(|(address, _)| address).collect();
        Ok(Self { endpoints, addresses, tls, acme, exporter, end, threads, cache, config, pulses })
    }

    /// Where it listens, ports as bound, in the order of the settings, and whether TLS is spoken there.
    pub fn endpoints(&self) -> &[(Endpoint, bool)] {
        &self.endpoints
    }

    /// Certificates and what belongs to them, where a listener speaks TLS.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Adds what is counted beside requests to a registry.
    pub fn register(&self, registry: &mut Registry) {
        if let Some(acme) = self.tls.as_ref().and_then(|tls| tls.acme()) {
            acme.metrics().register(registry);
        }
        if let Some(exporter) = &self.exporter {
            exporter.register(registry);
        }
        selvedge_cache::metrics::register(&self.cache, registry);
    }

    /// Has readiness look at what the edge needs: its threads, its listeners, certificates, and servers behind it.
    pub fn watch(&self, readiness: &Readiness, upstreams: &Upstreams) {
        let health = &self.config.health;
        let (pulses, patience) = (self.pulses.clone(), health.patience());
        readiness.watch("threads", Matters::Life, Box::new(move || pulses.check(patience)));
        let endpoints = self.endpoints.clone();
        readiness.watch("listeners", Matters::Readiness, Box::new(move || listen::check(&endpoints)));
        let if_asked = |asked| if asked { Matters::Readiness } else { Matters::OnDemand };
        if let Some(tls) = self.tls.clone() {
            let matters = if_asked(health.certificates);
            readiness.watch("certificates", matters, Box::new(move || https::check(&tls)));
        }
        let upstreams = upstreams.clone();
        let matters = if_asked(health.upstreams);
        readiness.watch("upstreams", matters, Box::new(move || servers_are_there(&upstreams)));
    }

    /// The same of TCP only.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What is cached.
    pub fn cache(&self) -> &Arc<Store> {
        &self.cache
    }

    /// Who else is told of purges.
    pub(crate) fn purge_targets(&self) -> &[PurgeTarget] {
        &self.config.cache.purge_targets
    }

    /// Stops accepting, closes idle connections, lets requests in flight finish for up to `grace`, then cuts.
    pub async fn shutdown(mut self, grace: Duration) {
        let (acme, exporter) = (self.acme.take(), self.exporter.take());
        self.end.send_replace(Some(Instant::now() + grace));
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            drop(acme);
            for thread in threads {
                // Its panic was reported when it happened.
                let _ = thread.join();
            }
            // Its tracers went with the threads.
            if let Some(exporter) = exporter {
                exporter.finish();
            }
        });
        let _ = joined.await;
        listen::remove(&self.endpoints);
    }
}

/// Each upstream has a server that requests may go to.
fn servers_are_there(upstreams: &Upstreams) -> Result<String, String> {
    let all = upstreams.all();
    let lost = |upstream: &Upstream| !upstream.states().iter().any(|server| server.available);
    let lost: Vec<String> = all.iter().filter(|upstream| lost(upstream)).map(|lost| lost.name()).collect();
    match lost.is_empty() {
        true => Ok(format!("{} have a server", all.len())),
        false => Err(format!("no server is available of {}", lost.join(", "))),
    }
}

/// Starts a thread and waits until it serves.
fn spawn(
    n: usize,
    plan: Plan,
    workers: impl FnOnce() -> Workers + Send + 'static,
) -> Result<JoinHandle<()>, EdgeError> {
    let (started, outcome) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("edge-{n}"))
        .spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(run(plan, workers, started));
        })
        .map_err(EdgeError::Thread)?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(EdgeError::Thread(error)),
        // It panicked before it could say anything.
        Err(_) => Err(EdgeError::Thread(io::Error::other("it panicked"))),
    }
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// One thread's life.
async fn run(plan: Plan, workers: impl FnOnce() -> Workers, started: mpsc::SyncSender<io::Result<()>>) {
    let listeners: io::Result<Vec<_>> =
        plan.listeners.into_iter().map(|(listener, manner)| listener.accepting(manner)).collect();
    let listeners = match listeners {
        Ok(listeners) => listeners,
        Err(error) => return drop(started.send(Err(error))),
    };
    let upstreams = selvedge_upstream::Local::new();
    tokio::task::spawn_local(upstreams.clone().run());
    let thread = Rc::new(Thread {
        counters: plan.counters,
        routes: RefCell::new(Routes::new(plan.snapshot, &plan.config.base_domains)),
        newest_sites: RefCell::new(Newest::new(plan.sites)),
        workers: workers(),
        upstreams: upstreams.clone(),
        trusted: plan.config.trusted_networks(),
        ids: RequestIds::new(),
        clock: Rc::new(Clock::new()),
        scratch: Scratch::new(),
        compressors: Rc::default(),
        log: RefCell::new(plan.log),
        pulse: plan.pulse,
        places: plan.places,
        tracer: plan.tracer,
        timed: plan.config.timed_networks(),
        log_fields: LogFields::new(&plan.config.access_log),
        log_waits: Notify::new(),
        server_header: plan.config.server_header.as_ref().and_then(|v| HeaderValue::from_str(v).ok()),
        dice: RefCell::new(fastrand::Rng::new()),
        connections: RefCell::new(Slab::new()),
        open: plan.open,
        max_open: plan.max_open,
        entrance: plan.entrance,
        tls_buffers: Rc::default(),
        draining: Cell::new(false),
        drained: Notify::new(),
        empty: Notify::new(),
        config: plan.config,
        explain: plan.explain,
        cache: plan.cache,
    });
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::task::spawn_local(accept(listener, thread.clone())))
        .collect();
    let (sweeping, flushing) = (thread.clone(), thread.clone());
    tokio::task::spawn_local(async move { sweeping.sweep().await });
    tokio::task::spawn_local(async move { flushing.flush_log().await });
    // The other side waits for it unless it has failed already.
    let _ = started.send(Ok(()));

    let mut end = plan.end;
    // Without its sender the edge was dropped: no time is left.
    let deadline = match end.wait_for(Option::is_some).await {
        Ok(end) => (*end).unwrap_or_else(Instant::now),
        Err(_) => Instant::now(),
    };
    for task in accepting {
        task.abort();
    }
    thread.drain();
    let emptied = async {
        while !thread.connections.borrow().is_empty() {
            thread.empty.notified().await;
        }
    };
    let _ = tokio::time::timeout_at(deadline.into(), emptied).await;
}

/// Connections that the limit of open files allows.
fn file_limit() -> usize {
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    let limit = None;
    let files: u64 = limit.unwrap_or(u64::MAX);
    files.saturating_sub(FILES_KEPT_FREE).max(16).try_into().unwrap_or(usize::MAX)
}
