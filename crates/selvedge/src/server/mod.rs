//! All roles in one process: store, engine, edge and control, wired together.

mod admin;
mod gate;
mod lock;
mod notify;
mod open;
mod reload;
mod settings;
mod signals;
mod stats;
mod upgrade;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use selvedge_control::{Control, PublicUrl};
use selvedge_edge::tls_config::Endpoint;
use selvedge_edge::{
    AdminState, Edge, Explain, Inherited, Matters, Readiness, Sites, Surroundings, Upstreams, admin_router,
    cache_calls,
};
use selvedge_engine::{Engine, EngineHandle};
use selvedge_model::Snapshot;
use selvedge_store::Artifacts;
use selvedge_telemetry::{AccessLog, Diagnostics, HttpMetrics, LogHub, Registry};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub(crate) use reload::Reread;
pub(crate) use settings::{AUTHORITY, CONFIG_NAME, Settings};
pub(crate) use upgrade::{Origin, Takeover};

use crate::failure::{Failure, Outcome};
use admin::Doors;
use gate::Gate;
use lock::DataLock;
use notify::notify;
use open::{bad_sites, bind_admin, data_failure, open_data, raise_file_limit, sweep_in_background};
use reload::{Live, Reloader};
use signals::{End, Signals};
use stats::Stats;
use upgrade::{Parts, Upgrader};

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

/// Where a server comes from and how it can change.
#[derive(Default)]
pub(crate) struct Life {
    /// How its settings are read again.
    pub(crate) reread: Option<Reread>,
    pub(crate) diagnostics: Option<Diagnostics>,
    /// How a process in its place is started.
    pub(crate) origin: Option<Origin>,
    /// Whose place it takes itself.
    pub(crate) takeover: Option<Takeover>,
}

/// A Selvedge that serves. [`Server::run`] keeps it going.
pub(crate) struct Server {
    addresses: Addresses,
    runtime: Runtime,
    listener: TcpListener,
    router: Router,
    control: Control,
    readiness: Arc<Readiness>,
    edge: Edge,
    /// Keeps the sites that are served from being the last there are.
    sites: watch::Sender<Arc<Sites>>,
    reloader: Option<Reloader>,
    upgrader: Option<Upgrader>,
    doors: watch::Sender<Doors>,
    engine: Engine,
    deployed: watch::Receiver<Arc<Snapshot>>,
    access_log: Arc<Mutex<AccessLog>>,
    /// Given up last.
    lock: DataLock,
}

impl Server {
    /// Starts everything; when this returns, workers that were deployed before are served. With a former process whose place it
    /// takes, that one has stopped serving by then.
    pub(crate) fn start(settings: Settings, life: &mut Life) -> Outcome<Self> {
        let settings = settings.complete();
        let mut takeover = life.takeover.as_mut();
        let inherited = takeover.as_mut().and_then(|former| former.lock(&settings.data));
        let (mut lock, takes_data) = match inherited {
            Some(file) => (DataLock::inherit(file), true),
            None => (DataLock::take(&settings.data)?, false),
        };
        raise_file_limit();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new("start", format!("no runtime: {error}")))?;
        let (listener, admin) = bind_admin(settings.admin, takeover.as_deref_mut())?;

        let logs = Arc::new(LogHub::default());
        let mut registry = Registry::default();
        let artifacts = Artifacts::open(settings.data.join("artifacts")).map_err(data_failure)?;
        let former = takeover.as_deref().filter(|_| takes_data);
        let (store, engine) = open_data(&settings, &artifacts, &logs, &mut registry, former)?;

        let snapshot = Arc::new(store.snapshot().map_err(data_failure)?);
        engine.handle().apply(&snapshot);
        let (publish, follow) = watch::channel(snapshot);

        let access_log = AccessLog::start(&settings.edge.access_log)
            .map_err(|error| Failure::new("bad_config", error.to_string()))?;
        let metrics = HttpMetrics::default();
        metrics.register(&mut registry);
        access_log.register(&mut registry);
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
        let inherited = match &mut takeover {
            Some(former) => Inherited { sockets: former.sockets(), waiting: true },
            None => Inherited::default(),
        };
        let surroundings = Surroundings {
            config: settings.edge.clone(),
            sites: newest_sites,
            snapshot: follow,
            access_log: &access_log,
            metrics: &metrics,
            explain,
            inherited,
        };
        let edge = Edge::start(surroundings, engine.handle())
            .map_err(|error| Failure::new("listen", error.to_string()))?;
        edge.register(&mut registry);
        upstreams.register(&mut registry);

        let (mut http, mut https, mut unix) = (Vec::new(), Vec::new(), Vec::new());
        for (endpoint, tls) in edge.endpoints() {
            match endpoint {
                Endpoint::Tcp(address) if tls => https.push(address),
                Endpoint::Tcp(address) => http.push(address),
                Endpoint::Unix(_) => unix.push(endpoint.to_string()),
            }
        }
        let (scheme, usual) =
            if http.is_empty() && !https.is_empty() { ("https", 443) } else { ("http", 80) };
        let port = http.first().or(https.first()).map(SocketAddr::port).filter(|port| *port != usual);
        let control = Control::new(
            store.clone(),
            artifacts.clone(),
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
        let access_log = Arc::new(Mutex::new(access_log));
        let reloader = life.reread.take().map(|reread| {
            let live = Live {
                sites: sites.clone(),
                upstreams: upstreams.clone(),
                diagnostics: life.diagnostics.take(),
                edge: edge.control().clone(),
                access_log: access_log.clone(),
            };
            Reloader::new(reread, settings.clone(), live)
        });
        let (gate, doors) = (Gate::default(), watch::Sender::new(Doors::Open));
        let copied = |error| Failure::io("copy the lock of", &settings.data, &error);
        let upgrader = match &life.origin {
            Some(origin) => Some(Upgrader::new(Parts {
                origin: origin.clone(),
                data: settings.data.clone(),
                admin: (settings.admin, admin),
                held: Mutex::new(vec![
                    lock.copy().map_err(copied)?,
                    listener.try_clone().map_err(copied)?.into(),
                ]),
                edge: edge.control().clone(),
                engine: engine.handle(),
                gate: gate.clone(),
                doors: doors.clone(),
            })),
            None => None,
        };
        edge.watch(&readiness, &upstreams);
        let records = store.clone();
        let check = move || match records.check() {
            Ok(()) => Ok("reachable".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        readiness.watch("store", Matters::Readiness, Box::new(check));
        let state =
            AdminState { readiness: readiness.clone(), registry: Arc::new(registry), http: metrics.clone() };
        let calls = operator_calls(reloader.clone(), upgrader.clone(), stats);
        let calls = calls.merge(cache_calls(&edge));
        let router = selvedge_control::router(control.clone())
            .merge(selvedge_control::for_operator(&control, calls))
            .merge(admin_router(state))
            .layer(axum::middleware::from_fn_with_state(gate, gate::hold));
        if let Some(former) = life.takeover.take() {
            relieve(former, &edge, &engine, &mut life.takeover)?;
        }
        sweep_in_background(&store, &artifacts);
        readiness.started();
        lock.describe(&format!("process {}, control API at http://{admin}", std::process::id()))?;
        let confinement = engine.handle().status().confinement;
        let addresses = Addresses { http, https, unix, admin, data: settings.data, confinement };
        Ok(Self {
            addresses,
            runtime,
            listener,
            router,
            control,
            readiness,
            edge,
            sites,
            reloader,
            upgrader,
            doors,
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
            runtime,
            listener,
            router,
            control,
            readiness,
            edge,
            sites,
            reloader,
            upgrader,
            doors,
            engine,
            access_log,
            lock,
            ..
        } = self;
        let mut lock = Some(lock);
        runtime.block_on(async {
            let failed = |error| Failure::new("start", format!("signals and sockets: {error}"));
            let mut signals = Signals::new().map_err(failed)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
            let admin = tokio::spawn(admin::serve(listener, router, doors.subscribe()));
            notify("READY=1");
            let end = signals.end(reloader.as_ref(), upgrader.as_ref()).await;
            let config = edge.control().config();
            let grace = Duration::from_millis(config.shutdown_grace_ms);
            readiness.drain();
            let drain = async {
                match end {
                    End::Asked => edge.shutdown(grace).await,
                    End::Relieved => {
                        control.close();
                        doors.send_replace(Doors::Ended);
                        edge.leave(Duration::from_millis(config.upgrade_grace_ms), grace).await;
                    }
                }
                engine.shutdown(grace).await;
                control.close();
                doors.send_replace(Doors::Ended);
                // Its panic was reported when it happened.
                let _ = admin.await;
            };
            match end {
                End::Asked => {
                    notify("STOPPING=1");
                    if let Some(upgrader) = &upgrader {
                        upgrader.cancel();
                    }
                    anstream::eprintln!("finishing requests; a second Ctrl-C ends at once");
                }
                End::Relieved => {
                    tracing::info!("finishing requests; another process serves new ones");
                    // Nothing is written here any more.
                    lock = None;
                }
            }
            tokio::select! {
                () = drain => {}
                _ = signals.end(None, None) => std::process::exit(130),
            }
            Ok(())
        })?;
        drop(sites);
        std::mem::replace(&mut *access_log.lock().unwrap_or_else(PoisonError::into_inner), AccessLog::off())
            .finish();
        drop(lock);
        Ok(())
    }
}

/// Takes the place of a former process: from here on connections come here. On an error it is given back, to be told.
fn relieve(former: Takeover, edge: &Edge, engine: &Engine, back: &mut Option<Takeover>) -> Outcome {
    let begun = former.ready().and_then(|minute| {
        edge.control().accept(true).map_err(|error| Failure::new("listen", error.to_string()))?;
        engine.handle().turn().begin(minute);
        Ok(())
    });
    match begun {
        Ok(()) => {
            tracing::warn!(former = former.former(), "this process serves in place of another");
            former.serving();
            Ok(())
        }
        Err(failure) => {
            *back = Some(former);
            Err(failure)
        }
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
fn operator_calls(reloader: Option<Reloader>, upgrader: Option<Upgrader>, stats: Stats) -> Router {
    let router = Router::new()
        .route("/api/v1/reload", axum::routing::post(async || reload::call(reloader).await))
        .route("/api/v1/stats", axum::routing::get(async move || axum::Json(stats.now())));
    match upgrader {
        Some(upgrader) => {
            router.route("/api/v1/upgrade", axum::routing::post(async |body| upgrader.call(body).await))
        }
        None => router,
    }
}
