//! All roles in one process: store, engine, edge and control, wired together.

mod admin;
mod lock;
mod reload;
mod settings;
mod stats;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use selvedge_control::{Control, PublicUrl};
use selvedge_edge::tls_config::Endpoint;
use selvedge_edge::{
    AdminState, Edge, Explain, Matters, Problem, Readiness, Sites, Surroundings, Upstreams, admin_router,
    cache_calls,
};
use selvedge_engine::{Engine, EngineConfig, EngineHandle, StartError};
use selvedge_model::Snapshot;
use selvedge_store::{Artifacts, SecretKey, Store};
use selvedge_telemetry::{AccessLog, Diagnostics, HttpMetrics, LogHub, Registry};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

pub(crate) use reload::Reread;
pub(crate) use settings::{AUTHORITY, CONFIG_NAME, Settings};

use crate::failure::{Failure, Outcome};
use lock::DataLock;
use reload::Reloader;
use stats::Stats;

/// Where a running Selvedge listens and keeps its data.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Addresses {
    /// For requests to sites and workers.
    pub(crate) http: Vec<SocketAddr>,
    /// The same inside of TLS.
    pub(crate) https: Vec<SocketAddr>,
    /// Unix sockets, `unix:/path`.
    pub(crate) unix: Vec<String>,
    /// For the control API, health and metrics.
    pub(crate) admin: SocketAddr,
    /// Data directory.
    pub(crate) data: PathBuf,
    /// What confines sandboxes, and what this machine lacks.
    pub(crate) confinement: Vec<String>,
}

/// A Selvedge that serves. [`Server::run`] keeps it going.
pub(crate) struct Server {
    addresses: Addresses,
    grace: Duration,
    runtime: Runtime,
    listener: TcpListener,
    router: Router,
    control: Control,
    readiness: Arc<Readiness>,
    edge: Edge,
    /// Keeps the sites that are served from being the last there are.
    sites: watch::Sender<Arc<Sites>>,
    reloader: Option<Reloader>,
    engine: Engine,
    deployed: watch::Receiver<Arc<Snapshot>>,
    access_log: AccessLog,
    /// Given up last.
    lock: DataLock,
}

impl Server {
    /// Starts everything; when this returns, workers that were deployed before are served. With `reread` the settings can change
    /// while it runs.
    pub(crate) fn start(
        settings: Settings,
        reread: Option<Reread>,
        diagnostics: Option<Diagnostics>,
    ) -> Outcome<Self> {
        let settings = settings.complete();
        let mut lock = DataLock::take(&settings.data)?;
        raise_file_limit();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new("start", format!("no runtime: {error}")))?;
        let (listener, admin) = bind_admin(settings.admin)?;

        let logs = Arc::new(LogHub::default());
        let mut registry = Registry::default();
        let artifacts = Artifacts::open(settings.data.join("artifacts")).map_err(data_failure)?;
        // Opening the records waits for the disk, starting sandbox hosts for the processor.
        let key = secret_key()?;
        let (store, engine) = std::thread::scope(|scope| {
            let store = scope.spawn(|| Store::open(&settings.data, key));
            let engine = start_engine(settings.engine.clone(), &artifacts, &logs, &mut registry);
            (store.join(), engine)
        });
        let store = store.map_err(|_| Failure::new("start", "opening the records panicked"))?;
        let store = Arc::new(store.map_err(data_failure)?);
        let engine = engine?;

        let snapshot = Arc::new(store.snapshot().map_err(data_failure)?);
        engine.handle().apply(&snapshot);
        let (publish, follow) = watch::channel(snapshot);

        sweep_in_background(&store, &artifacts);

        let access_log = AccessLog::start(&settings.edge.access_log)
            .map_err(|error| Failure::new("bad_config", error.to_string()))?;
        let metrics = HttpMetrics::default();
        metrics.register(&mut registry);
        access_log.register(&mut registry);
        let grace = Duration::from_millis(settings.edge.shutdown_grace_ms);
        let domain = settings.edge.base_domains.first().cloned().unwrap_or_else(|| "localhost".into());
        let deployed = follow.clone();
        let (explain, explainer) = if settings.explain {
            let (explain, explainer) = explaining();
            (Some(explain), Some(explainer))
        } else {
            (None, None)
        };
        let upstreams = Upstreams::default();
        let sites =
            Sites::new(settings.site_settings(&upstreams)).map_err(|problems| bad_sites(&problems))?;
        let (sites, newest_sites) = watch::channel(Arc::new(sites));
        let reloader = reread
            .map(|reread| Reloader::new(reread, &settings, sites.clone(), upstreams.clone(), diagnostics));
        let surroundings = Surroundings {
            config: settings.edge,
            sites: newest_sites,
            snapshot: follow,
            access_log: &access_log,
            metrics: &metrics,
            explain,
        };
        let edge = Edge::start(surroundings, engine.handle())
            .map_err(|error| Failure::new("listen", error.to_string()))?;
        edge.register(&mut registry);
        upstreams.register(&mut registry);

        let (mut http, mut https, mut unix) = (Vec::new(), Vec::new(), Vec::new());
        for (endpoint, tls) in edge.endpoints() {
            match endpoint {
                Endpoint::Tcp(address) if *tls => https.push(*address),
                Endpoint::Tcp(address) => http.push(*address),
                Endpoint::Unix(_) => unix.push(endpoint.to_string()),
            }
        }
        let (scheme, usual) =
            if http.is_empty() && !https.is_empty() { ("https", 443) } else { ("http", 80) };
        let port = http.first().or(https.first()).map(SocketAddr::port).filter(|port| *port != usual);
        let control = Control::new(
            store.clone(),
            artifacts,
            engine.handle(),
            logs,
            publish,
            selvedge_control::Settings {
                public_url: PublicUrl { scheme: scheme.into(), domain, port },
                admin_origins: vec![format!("http://{admin}"), format!("http://localhost:{}", admin.port())],
                ..selvedge_control::Settings::default()
            },
        );
        if let Some(explainer) = explainer {
            let _ = explainer.set(control.clone());
        }
        let readiness = Arc::new(Readiness::default());
        let stats = Stats {
            metrics: metrics.clone(),
            upstreams: upstreams.clone(),
            cache: edge.cache().clone(),
            engine: engine.handle(),
        };
        let state =
            AdminState { readiness: readiness.clone(), registry: Arc::new(registry), http: metrics.clone() };
        let router = selvedge_control::router(control.clone())
            .merge(selvedge_control::for_operator(
                &control,
                operator_calls(reloader.clone(), stats).merge(cache_calls(&edge)),
            ))
            .merge(admin_router(state));
        edge.watch(&readiness, &upstreams);
        let check = move || match store.check() {
            Ok(()) => Ok("reachable".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        readiness.watch("store", Matters::Readiness, Box::new(check));
        readiness.started();
        lock.describe(&format!("process {}, control API at http://{admin}", std::process::id()))?;
        let confinement = engine.handle().status().confinement;
        let addresses = Addresses { http, https, unix, admin, data: settings.data, confinement };
        Ok(Self {
            addresses,
            grace,
            runtime,
            listener,
            router,
            control,
            readiness,
            edge,
            sites,
            reloader,
            engine,
            deployed,
            access_log,
            lock,
        })
    }

    /// For whoever inspects workers in this process: the engine, and what is deployed.
    pub(crate) fn inner(&self) -> (EngineHandle, watch::Receiver<Arc<Snapshot>>) {
        (self.engine.handle(), self.deployed.clone())
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves the admin address until SIGTERM or SIGINT, then lets requests finish. A second signal ends the process
    /// at once.
    pub(crate) fn run(self) -> Outcome {
        let Self {
            grace,
            runtime,
            listener,
            router,
            control,
            readiness,
            edge,
            sites,
            reloader,
            engine,
            access_log,
            lock,
            ..
        } = self;
        runtime.block_on(async {
            let failed = |error| Failure::new("start", format!("signals and sockets: {error}"));
            let mut signals = Signals::new().map_err(failed)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
            let (stop, stopped) = watch::channel(false);
            let admin = tokio::spawn(admin::serve(listener, router, stopped));
            signals.end(reloader.as_ref()).await;
            anstream::eprintln!("finishing requests; a second Ctrl-C ends at once");
            let drain = async {
                readiness.drain();
                edge.shutdown(grace).await;
                engine.shutdown(grace).await;
                control.close();
                stop.send_replace(true);
                // Its panic was reported when it happened.
                let _ = admin.await;
            };
            tokio::select! {
                () = drain => {}
                () = signals.end(None) => std::process::exit(130),
            }
            Ok(())
        })?;
        drop(sites);
        access_log.finish();
        drop(lock);
        Ok(())
    }
}

/// Tells clients what went wrong in workers, by the log of the control plane, which starts later.
fn explaining() -> (Explain, Arc<OnceLock<Control>>) {
    let control = Arc::new(OnceLock::<Control>::new());
    let later = control.clone();
    let explain: Explain = Arc::new(move |worker, request_id| {
        let control = later.get().cloned();
        Box::pin(async move { control?.explain(&worker, &request_id).await })
    });
    (explain, control)
}

/// Calls of the API that concern this process.
fn operator_calls(reloader: Option<Reloader>, stats: Stats) -> Router {
    Router::new()
        .route("/api/v1/reload", axum::routing::post(async || reload::call(reloader).await))
        .route("/api/v1/stats", axum::routing::get(async move || axum::Json(stats.now())))
}

/// SIGTERM, SIGINT and SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the process is to end. Until then settings are read again when they change, or on SIGHUP.
    async fn end(&mut self, reloader: Option<&Reloader>) {
        let watching = async {
            match reloader {
                Some(reloader) => reloader.watch().await,
                None => std::future::pending().await,
            }
        };
        let mut watching = std::pin::pin!(watching);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match reloader {
                    Some(reloader) => reloader.reload_and_tell("SIGHUP").await,
                    None => tracing::warn!("SIGHUP: there is no file of settings to read again"),
                },
                () = &mut watching => {}
            }
        }
    }
}

fn bind_admin(address: SocketAddr) -> Outcome<(TcpListener, SocketAddr)> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|error: std::io::Error| {
        Failure::new("listen", format!("cannot listen on {address} for the control API: {error}"))
            .help("choose another address with --admin; `selvedge doctor` shows what is taken")
    })
}

fn start_engine(
    config: EngineConfig,
    artifacts: &Artifacts,
    logs: &Arc<LogHub>,
    registry: &mut Registry,
) -> Outcome<Engine> {
    Engine::start(config, artifacts.clone(), logs.clone(), registry).map_err(|error| {
        let code = match &error {
            StartError::NoHost(_) => "no_isolate_host",
            StartError::Host(_) => "host_failed",
            StartError::System(..) => "start",
        };
        Failure::new(code, error.to_string())
    })
}

/// Artifacts that a crash left without a version only waste space, so nobody waits for their removal.
fn sweep_in_background(store: &Arc<Store>, artifacts: &Artifacts) {
    let (store, artifacts) = (store.clone(), artifacts.clone());
    std::thread::spawn(move || {
        match store.sweep_artifacts(&artifacts) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed artifacts that no version names"),
            Err(error) => tracing::warn!(%error, "unused artifacts could not be removed"),
        }
        match store.sweep_assets(&artifacts) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed static files that no version names"),
            Err(error) => tracing::warn!(%error, "unused static files could not be removed"),
        }
    });
}

/// The key of the secrets, where it is not to lie beside them.
fn secret_key() -> Outcome<Option<SecretKey>> {
    match std::env::var("SELVEDGE_SECRET_KEY") {
        Ok(key) => SecretKey::from_hex(&key).map(Some).map_err(data_failure),
        Err(_) => Ok(None),
    }
}

/// For settings that did not come from a file, which would have been checked when it was read.
fn bad_sites(problems: &[Problem]) -> Failure {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.setting, problem.message)).collect();
    Failure::new("bad_config", lines.join("; "))
}

fn data_failure(error: impl std::fmt::Display) -> Failure {
    Failure::new("data", error.to_string())
}

/// Each client connection takes a file; the usual soft limit of 1024 is far below what the machine can do.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
