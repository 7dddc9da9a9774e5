//! What all threads of the engine share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_model::{
    AccountId, Digest, LogEvent, LogKind, LogLevel, ScriptDeployment, ScriptName, Snapshot, Worker,
};
use selvedge_store::Artifacts;
use selvedge_telemetry::LogHub;
use tokio::sync::{mpsc, oneshot};

use crate::host::{Group, Host};
use crate::pool::Pool;
use crate::{EngineConfig, EngineError};

/// What a host process takes without any isolate, bytes.
const HOST_BYTES: u64 = 4 << 20;
/// Least that an isolate is taken to need, bytes.
const ISOLATE_BYTES_MIN: u64 = 1 << 20;

/// What other threads ask of the supervisor.
#[derive(Debug)]
pub enum Order {
    /// Start a host for this group, or give it the next one that is ready.
    Host(Group, oneshot::Sender<Result<Arc<Host>, EngineError>>),
    /// Validate a worker.
    Validate(
        Arc<Worker>,
        Arc<selvedge_model::Artifact>,
        oneshot::Sender<Result<crate::Validated, crate::ValidateError>>,
    ),
    /// Begin an inspector's session, which may pause or not.
    Inspect(
        Arc<Worker>,
        bool,
        oneshot::Sender<Result<crate::inspect::InspectorSession, crate::InspectError>>,
    ),
    /// Call a worker's `scheduled` handler: the expression, and Unix milliseconds.
    Scheduled(Arc<Worker>, String, u64, oneshot::Sender<Result<(), EngineError>>),
    /// Look for versions that are no longer deployed.
    Deployed(Arc<selvedge_model::Snapshot>),
    /// End all hosts after at most this long.
    Shutdown(std::time::Duration, oneshot::Sender<()>),
}

/// Counters for `/metrics`.
#[derive(Debug, Default)]
pub struct Counters {
    pub cold_starts: AtomicU64,
    pub evictions: AtomicU64,
    pub hosts_started: AtomicU64,
    pub hosts_ended: AtomicU64,
    pub retries: AtomicU64,
    pub limits: AtomicU64,
    /// WebSockets of clients now.
    pub sockets: AtomicU64,
    pub memory_bytes: AtomicU64,
    /// What an isolate takes on average, as last measured, bytes.
    pub isolate_bytes: AtomicU64,
}

/// Shared by the edge threads and the supervisor.
#[derive(Debug)]
pub struct Shared {
    pub config: EngineConfig,
    pub threads: usize,
    pub artifacts: Artifacts,
    pub logs: Arc<LogHub>,
    pub pool: Pool,
    pub orders: mpsc::UnboundedSender<Order>,
    pub counters: Counters,
    pub confinement: Mutex<Vec<String>>,
    pub draining: AtomicBool,
    /// Tells builds of the host apart in the names of code cache files.
    pub host_build: String,
    pub egress: crate::egress::Policy,
    /// What WebSockets keep of unfinished messages, bytes.
    pub socket_bytes: AtomicUsize,
    /// What workers store by the Cache API.
    pub cache: selvedge_cache::Cache,
    /// What arrives to be stored there.
    pub filling: crate::cache::Filling,
    /// Static files.
    pub files: crate::assets::Files,
    /// What is deployed now: where service bindings lead.
    pub deployed: Mutex<Arc<Snapshot>>,
    /// Whether cron triggers are called here.
    pub turn: crate::schedule::Turn,
}

impl Shared {
    /// What of a script answers now.
    pub fn deployment(&self, account: &AccountId, script: &ScriptName) -> Option<Arc<ScriptDeployment>> {
        self.deployed_now().scripts.get(&(account.clone(), script.clone())).cloned()
    }

    /// Everything that is deployed now.
    pub fn deployed_now(&self) -> Arc<Snapshot> {
        self.deployed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The worker that an instance of this host runs. A host is not believed about others' instances.
    pub fn worker_of(&self, instance: u32, host: &Arc<Host>) -> Option<Arc<Worker>> {
        let instance = self.pool.instance(instance)?;
        (instance.host.id == host.id).then(|| instance.worker.clone())
    }

    /// A host unloaded an instance by itself; of others' it is not believed.
    pub fn instance_gone(&self, id: u32, host: &Arc<Host>) {
        if let Some(instance) = self.pool.instance(id).filter(|instance| instance.host.id == host.id) {
            self.pool.remove(&instance);
        }
    }

    /// Tells the worker's owner that a limit was broken, a sandbox lost, or an answer was none.
    pub fn report(&self, worker: &Worker, error: &EngineError, request_id: &str) {
        let kind = match error {
            EngineError::NoResponse(_) => LogKind::Exception,
            _ => LogKind::Limit,
        };
        if kind == LogKind::Limit {
            self.counters.limits.fetch_add(1, Ordering::Relaxed);
        }
        self.logs.publish(LogEvent {
            timestamp_ms: unix_ms(),
            account: worker.account.clone(),
            script: worker.script.clone(),
            version: worker.version.clone(),
            kind,
            level: LogLevel::Error,
            message: error.to_string(),
            code: Some(error.code().into()),
            stack: None,
            request_id: (!request_id.is_empty()).then(|| request_id.into()),
        });
    }

    /// Where the code of an artifact is kept as a host of this group compiled it. V8 runs what it is given there, so that a
    /// host must not be able to leave something for the same code in another account.
    pub fn code_cache_path(&self, group: &Group, digest: &Digest) -> PathBuf {
        let owner = match group {
            Group::Shared => "shared".into(),
            Group::Account(account) => format!("account.{account}"),
            Group::Worker(account, script) => format!("worker.{account}.{script}"),
        };
        self.config.code_cache.join(owner).join(format!("{digest}-{}", self.host_build))
    }

    /// How many isolates have to go so that one more fits in the memory budget, going by what they take on
    /// average: memory is measured too seldom, and comes back too late, to wait for it.
    pub fn isolates_over_budget(&self, loaded: usize, hosts: usize) -> usize {
        let budget = (self.config.memory_budget_mb << 20).saturating_sub(hosts as u64 * HOST_BYTES);
        let each = self.counters.isolate_bytes.load(Ordering::Relaxed).max(ISOLATE_BYTES_MIN);
        (loaded + 1).saturating_sub((budget / each) as usize)
    }

    /// Takes note of a measurement of all hosts' memory.
    pub fn measured(&self, total: u64, isolates: usize, hosts: usize) {
        self.counters.memory_bytes.store(total, Ordering::Relaxed);
        if isolates == 0 {
            return;
        }
        let each = total.saturating_sub(hosts as u64 * HOST_BYTES) / isolates as u64;
        let before = self.counters.isolate_bytes.load(Ordering::Relaxed);
        let smooth = if before == 0 { each } else { (before * 3 + each) / 4 };
        self.counters.isolate_bytes.store(smooth, Ordering::Relaxed);
    }

    /// What confines the hosts.
    pub fn confinement(&self) -> Vec<String> {
        self.confinement.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Isolates by host.
    pub fn isolates_by_host(&self) -> HashMap<u32, usize> {
        let mut counts = HashMap::new();
        for instance in self.pool.instances() {
            *counts.entry(instance.host.id).or_default() += 1;
        }
        counts
    }
}

/// Unix time, milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
