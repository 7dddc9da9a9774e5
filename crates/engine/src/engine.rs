//! The engine's owner and the handle that other threads use.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use selvedge_cache::Cache;
use selvedge_confine::cgroup::CgroupRoot;
use selvedge_model::{Artifact, Diagnostic, Snapshot, Worker};
use selvedge_store::Artifacts;
use selvedge_telemetry::{LogHub, Registry};
use tokio::sync::{mpsc, oneshot};

use crate::egress::Policy;
use crate::pool::Pool;
use crate::schedule::Turn;
use crate::shared::{Counters, Order, Shared};
use crate::status::HostStatus;
use crate::supervisor::Supervisor;
use crate::{EngineConfig, EngineError, EngineStatus, LocalEngine, metrics};

/// Files that the host consists of.
const HOST_FILES: [&str; 3] = ["carrier", "libisolate.so", "runtime.snapshot"];

/// Owns the sandbox hosts and their supervisor.
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host's files are not there.
    #[error(
        "the isolate host is not in {0}; run `cargo xtask build`, or set SELVEDGE_LIBEXEC to its directory"
    )]
    NoHost(String),
    /// A host could not be started, or could not be confined.
    #[error(
        "no sandbox host could be started: {0}; `selvedge doctor` says what this machine lacks, and \
         --allow-unconfined starts without what it lacks"
    )]
    Host(String),
    /// The system refused something.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// What validation of a worker found.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Names of the handlers that the default export has: `fetch`, `scheduled`.
    pub handlers: Vec<String>,
    /// From the isolate's creation to the end of the module's evaluation, milliseconds.
    pub startup_ms: f64,
}

/// Why a worker was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// Its code is at fault.
    #[error("{0}")]
    Refused(Box<Diagnostic>),
    /// No sandbox was available to try it.
    #[error("the worker could not be tried: {0}")]
    Unavailable(String),
}

impl Engine {
    /// Starts the supervisor, and returns once the first host says that it is confined and serves.
    pub fn start(
        config: EngineConfig,
        artifacts: Artifacts,
        logs: Arc<LogHub>,
        metrics: &mut Registry,
    ) -> Result<Self, StartError> {
        let config = config.in_order();
        let host_build = host_build(&config)?;
        std::fs::create_dir_all(&config.code_cache)
            .map_err(|error| StartError::System("create the code cache's directory", error))?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            threads: match config.host_threads {
                0 => cores.min(selvedge_wire::page::THREADS_MAX),
                threads => threads.min(selvedge_wire::page::THREADS_MAX),
            },
            egress: Policy::new(&config)
                .map_err(|error| StartError::System("read the file in egress_ca", error))?,
            cache: Cache::new((config.cache_mb as usize) << 20, crate::cache::RESPONSE_MAX),
            filling: Default::default(),
            files: Default::default(),
            config,
            artifacts,
            logs,
            pool: Pool::default(),
            orders,
            counters: Counters::default(),
            confinement: Mutex::default(),
            draining: AtomicBool::new(false),
            host_build,
            socket_bytes: Default::default(),
            deployed: Mutex::default(),
            turn: Turn::default(),
        });
        metrics::register(metrics, shared.clone());
        let (report, started) = std::sync::mpsc::channel();
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || supervise(theirs, inbox, &report))
            .map_err(|error| StartError::System("start the engine's thread", error))?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self { handle: EngineHandle { shared }, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Host("the supervisor stopped".into())),
        }
    }

    /// A handle for other threads.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Lets requests finish for up to `grace`, then ends all hosts.
    pub async fn shutdown(mut self, grace: Duration) {
        let (sender, done) = oneshot::channel();
        if self.handle.shared.orders.send(Order::Shutdown(grace, sender)).is_ok() {
            let _ = done.await;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The engine thread's body.
fn supervise(
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Order>,
    report: &std::sync::mpsc::Sender<Result<(), StartError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = report.send(Err(StartError::System("start the engine's runtime", error)));
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let (cgroups, bounds) = match CgroupRoot::detect() {
            Ok(root) => {
                let measure = root.measure().to_string();
                (Some(root), measure)
            }
            Err(error) => (None, format!("without cgroup: {error}; memory and CPU are watched by polling")),
        };
        let supervisor = Supervisor::new(shared.clone(), cgroups);
        match supervisor.start_host().await {
            Ok(host) => {
                let mut confinement = host.confinement.lock().unwrap_or_else(PoisonError::into_inner).clone();
                confinement.push(bounds);
                tracing::info!(in_force = confinement.join(", "), "sandbox hosts are confined");
                *shared.confinement.lock().unwrap_or_else(PoisonError::into_inner) = confinement;
                shared.pool.host_ready(host);
                let _ = report.send(Ok(()));
                supervisor.run(inbox).await;
            }
            Err(error) => drop(report.send(Err(StartError::Host(error)))),
        }
    });
}

/// Names the build of the host, so that compiled code of another build is not offered to it.
fn host_build(config: &EngineConfig) -> Result<String, StartError> {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    for name in HOST_FILES {
        let path = config.libexec.join(name);
        let metadata =
            std::fs::metadata(&path).map_err(|_| StartError::NoHost(config.libexec.display().to_string()))?;
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        for part in [metadata.len(), modified.map_or(0, |since| since.as_nanos() as u64)] {
            sum = (sum ^ part).wrapping_mul(0x100_0000_01b3);
        }
    }
    Ok(format!("{sum:016x}"))
}

/// Cheap to clone, `Send` and `Sync`.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    shared: Arc<Shared>,
}

impl EngineHandle {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The engine as one edge thread uses it. Call on a current-thread runtime, inside a `LocalSet`.
    pub fn local(&self) -> LocalEngine {
        LocalEngine::new(self.shared.clone())
    }

    /// Takes note of what is deployed: versions that are gone finish their requests and are unloaded.
    pub fn apply(&self, snapshot: &Arc<Snapshot>) {
        *self.shared.deployed.lock().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
        let _ = self.shared.orders.send(Order::Deployed(snapshot.clone()));
    }

    /// Loads the worker in an isolate of its group and compiles its code cache; the isolate is kept for its
    /// first request.
    pub async fn validate(
        &self,
        worker: Arc<Worker>,
        artifact: Arc<Artifact>,
    ) -> Result<Validated, ValidateError> {
        let stopped = || ValidateError::Unavailable("the engine is stopping".into());
        let (sender, answer) = oneshot::channel();
        self.shared.orders.send(Order::Validate(worker, artifact, sender)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Calls the worker's `scheduled` handler as the cron trigger `cron` would at this time, Unix milliseconds.
    ///
    /// # Errors
    /// Those of a request; `NoResponse` and `Exception` are the handler's own.
    pub async fn scheduled(
        &self,
        worker: Arc<Worker>,
        cron: String,
        time_ms: u64,
    ) -> Result<(), EngineError> {
        let stopped = || EngineError::Unavailable("the engine is stopping".into());
        let (sender, answer) = oneshot::channel();
        self.shared.orders.send(Order::Scheduled(worker, cron, time_ms, sender)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Whether cron triggers are called by this process.
    pub fn turn(&self) -> &Turn {
        &self.shared.turn
    }

    /// Hosts, isolates and memory now.
    pub fn status(&self) -> EngineStatus {
        let isolates = self.shared.isolates_by_host();
        let hosts: Vec<_> = self
            .shared
            .pool
            .hosts()
            .into_iter()
            .map(|(host, group)| {
                let usage = host.usage();
                HostStatus {
                    pid: host.pid,
                    group: group.map(|group| group.to_string()).unwrap_or_default(),
                    isolates: isolates.get(&host.id).copied().unwrap_or_default(),
                    memory_bytes: usage.memory_bytes,
                    cpu_ms: usage.cpu_ms,
                }
            })
            .collect();
        EngineStatus {
            confinement: self.shared.confinement(),
            isolates: hosts.iter().map(|host| host.isolates).sum(),
            memory_bytes: hosts.iter().map(|host| host.memory_bytes).sum(),
            memory_budget_bytes: self.shared.config.memory_budget_mb << 20,
            hosts,
        }
    }
}
