//! The edge as a whole: its threads, from start to shutdown. How it changes in between: [`EdgeControl`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use selvedge_acme::AcmeError;
use selvedge_cache::store::Store;
use selvedge_engine::EngineHandle;
use selvedge_model::{Snapshot, Worker};
use selvedge_telemetry::traces::{Exporter, TraceError};
use selvedge_telemetry::{AccessLog, HttpMetrics, Registry};
use selvedge_tls::config::Endpoint;
use selvedge_tls::{Tls, TlsError};
use selvedge_upstream::{Registry as Upstreams, Upstream};
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::config::EdgeConfig;
use crate::entrance::Entrance;
use crate::https;
use crate::listen::{self, Handed};
use crate::live::{EdgeControl, Inner, Secured, State, https_port, kinds, max_open, share, tcp};
use crate::pulse::Pulses;
use crate::readiness::{Matters, Readiness};
use crate::serving::{self, Plan, Terms, What};
use crate::sites::Sites;
use crate::workers::{StandIn, Workers};

/// Between two looks whether the last connection is gone.
const LEAVING_POLL: Duration = Duration::from_millis(50);

/// A running edge. Dropping it cuts all connections; [`shutdown`](Self::shutdown) lets requests finish.
#[derive(Debug)]
pub struct Edge {
    control: EdgeControl,
    /// Sends traces.
    exporter: Option<Exporter>,
    /// The moment until which requests may finish.
    end: watch::Sender<Option<Instant>>,
    threads: Vec<JoinHandle<()>>,
    cache: Arc<Store>,
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
    /// What a former process leaves to it.
    pub inherited: Inherited,
}

/// What a former process leaves to this one.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Its listening sockets.
    pub sockets: Vec<Handed>,
    /// It still takes connections: none are taken here before [`EdgeControl::accept`].
    pub waiting: bool,
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
        let Surroundings { config, sites, snapshot, access_log, metrics, explain, inherited } = surroundings;
        if let Some(problem) = config.problem() {
            return Err(EdgeError::Config(problem));
        }
        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let Inherited { mut sockets, waiting } = inherited;
        let mut listeners = Vec::new();
        for (number, listener) in (0..).zip(&config.listen) {
            listeners.push((number, listen::bind(listener, count, &mut sockets, &[])?));
        }
        let kinds = kinds(&listeners);
        let newest = sites.borrow().clone();
        let mut secured = match kinds.tls {
            true => Some(Secured::open(&config.tls, &sites, &newest, kinds, None)?),
            false => None,
        };
        if let Some(secured) = &mut secured {
            secured.work(!waiting)?;
        }
        let tls = secured.as_ref().map(|secured| secured.tls.clone());
        let entrance = Arc::new(Entrance::new(&config, tls, https_port(&listeners), None));
        let (end, ended) = watch::channel(None);
        let open = Arc::new(AtomicUsize::new(0));
        let cache =
            Store::open(&config.cache).map_err(|problem| EdgeError::Config(format!("cache.{problem}")))?;
        let config = Arc::new(config);
        let exporter = Exporter::start(&config.traces)?;
        let (mut threads, mut orders, pulses) = (Vec::new(), Vec::new(), Pulses::default());
        for n in 0..count {
            let shares = listeners.iter().map(|listener| share(listener, n, count));
            let terms = Terms {
                config: config.clone(),
                entrance: entrance.clone(),
                log: access_log.buffer(),
                max_open: max_open(&config),
                listeners: shares.collect::<io::Result<_>>().map_err(EdgeError::Thread)?,
            };
            let (order, inbox) = mpsc::unbounded_channel();
            let plan = Plan {
                number: n,
                snapshot: snapshot.clone(),
                sites: sites.clone(),
                pulse: pulses.thread(format!("edge-{n}")),
                places: metrics.places().clone(),
                tracer: exporter.as_ref().map(Exporter::tracer),
                counters: metrics.thread(),
                open: open.clone(),
                explain: explain.clone(),
                cache: cache.clone(),
                terms,
                accepting: !waiting,
                orders: inbox,
                end: ended.clone(),
            };
            orders.push(order);
            threads.push(serving::spawn(plan, workers.clone())?);
        }
        let state =
            State { config, next: listeners.len() as u64, listeners, entrance, secured, accepting: !waiting };
        let control = EdgeControl(Arc::new(Inner { orders, sites, open, state: Mutex::new(state) }));
        Ok(Self { control, exporter, end, threads, cache, pulses })
    }

    /// The way to its settings and doors.
    pub fn control(&self) -> &EdgeControl {
        &self.control
    }

    /// Where it listens, ports as bound, in the order of the settings, and whether TLS is spoken there.
    pub fn endpoints(&self) -> Vec<(Endpoint, bool)> {
        self.control.endpoints()
    }

    /// Certificates and what belongs to them, where a listener speaks TLS.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.control.tls()
    }

    /// Adds what is counted beside requests to a registry.
    pub fn register(&self, registry: &mut Registry) {
        if let Some(acme) = self.tls().and_then(|tls| tls.acme()) {
            acme.metrics().register(registry);
        }
        if let Some(exporter) = &self.exporter {
            exporter.register(registry);
        }
        selvedge_cache::metrics::register(&self.cache, registry);
    }

    /// Has readiness look at what the edge needs: its threads, its listeners, certificates, and servers behind it.
    pub fn watch(&self, readiness: &Readiness, upstreams: &Upstreams) {
        let health = &self.control.config().health;
        let (pulses, patience) = (self.pulses.clone(), health.patience());
        readiness.watch("threads", Matters::Life, Box::new(move || pulses.check(patience)));
        let control = self.control.clone();
        let listeners = move || listen::check(&control.endpoints());
        readiness.watch("listeners", Matters::Readiness, Box::new(listeners));
        let if_asked = |asked| if asked { Matters::Readiness } else { Matters::OnDemand };
        let control = self.control.clone();
        if control.tls().is_some() {
            let certificates = move || match control.tls() {
                Some(tls) => https::check(&tls),
                None => Ok("no listener speaks TLS".into()),
            };
            readiness.watch("certificates", if_asked(health.certificates), Box::new(certificates));
        }
        let upstreams = upstreams.clone();
        let matters = if_asked(health.upstreams);
        readiness.watch("upstreams", matters, Box::new(move || servers_are_there(&upstreams)));
    }

    /// Where it listens on TCP.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let state = self.control.0.state();
        state.listeners.iter().filter_map(|(_, bound)| tcp(bound)).collect()
    }

    /// What is cached.
    pub fn cache(&self) -> &Arc<Store> {
        &self.cache
    }

    /// After another process has taken the listeners over: has clients ask on other connections, without closing one under
    /// them, for up to `patience`. Then as [`shutdown`](Self::shutdown).
    pub async fn leave(self, patience: Duration, grace: Duration) {
        let until = Instant::now() + patience;
        let control = self.control.clone();
        // A thread that is gone has no connections.
        let _ = tokio::task::spawn_blocking(move || {
            // The files of Unix sockets belong to the other process now.
            control.0.state().listeners.clear();
            control.0.tell(|_| What::Leave)
        })
        .await;
        while self.control.0.open.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            tokio::time::sleep(LEAVING_POLL).await;
        }
        self.shutdown(grace).await;
    }

    /// Stops accepting, closes idle connections, lets requests in flight finish for up to `grace`, then cuts.
    pub async fn shutdown(mut self, grace: Duration) {
        let exporter = self.exporter.take();
        self.end.send_replace(Some(Instant::now() + grace));
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            // Sockets that nobody accepts from would keep clients waiting.
            self.close();
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
    }

    fn close(&self) {
        let mut state = self.control.0.state();
        let listeners = std::mem::take(&mut state.listeners);
        listen::remove(listeners.iter().map(|(_, bound)| &bound.endpoint));
        state.secured = None;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.close();
    }
}

/// Each upstream has a server that requests may go to, and no open circuit.
fn servers_are_there(upstreams: &Upstreams) -> Result<String, String> {
    let all = upstreams.all();
    let lost = |upstream: &Upstream| {
        upstream.circuit() == Some("open") || !upstream.states().iter().any(|server| server.available)
    };
    let mut lost: Vec<String> =
        all.iter().filter(|upstream| lost(upstream)).map(|lost| lost.name()).collect();
    lost.sort_unstable();
    match lost.is_empty() {
        true => Ok(format!("{} have a server", all.len())),
        false => Err(format!("requests may go to no server of {}", lost.join(", "))),
    }
}
