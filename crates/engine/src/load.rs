//! Loading a worker into an isolate.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use selvedge_model::{Artifact, BindingValue, Diagnostic, LogEvent, LogKind, LogLevel, Worker};
use selvedge_wire::message::{Call, Load, ResetCode};
use serde::Deserialize;
use tokio::sync::watch;

use crate::host::{Group, Offence};
use crate::pool::Instance;
use crate::shared::unix_ms;
use crate::stream::{Broken, Stream};
use crate::{EngineError, LocalEngine, ValidateError, Validated};

/// Largest code cache that is kept, bytes.
const CODE_CACHE_MAX: usize = 64 << 20;

/// Why a worker was not loaded.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// Its code is at fault.
    Refused(Box<Diagnostic>),
    /// Something else.
    Engine(EngineError),
}

impl LoadError {
    /// As a request sees it.
    pub fn into_engine(self) -> EngineError {
        match self {
            Self::Refused(diagnostic) => EngineError::LoadFailed(diagnostic.to_string()),
            Self::Engine(error) => error,
        }
    }

    /// As a deploy sees it.
    pub fn into_validate(self) -> ValidateError {
        match self {
            Self::Refused(diagnostic) => ValidateError::Refused(diagnostic),
            Self::Engine(EngineError::CpuExceeded) => ValidateError::Refused(Box::new(Diagnostic {
                code: "top_level_timeout".into(),
                message: "The module's top level used more CPU time than its limit allows.".into(),
                ..Diagnostic::default()
            })),
            Self::Engine(EngineError::MemoryExceeded) => ValidateError::Refused(Box::new(Diagnostic {
                code: "memory_exceeded".into(),
                message: "The module's top level used more memory than its limit allows.".into(),
                ..Diagnostic::default()
            })),
            Self::Engine(error) => ValidateError::Unavailable(error.to_string()),
        }
    }
}

/// First line of the host's answer.
#[derive(Deserialize)]
struct Answer {
    handlers: String,
    startup_us: u64,
}

/// Loads `worker`, tells all who wait, and puts the instance into the pool.
pub async fn load(
    engine: &LocalEngine,
    worker: &Arc<Worker>,
    artifact: Option<Arc<Artifact>>,
    sender: watch::Sender<Option<Result<Arc<Instance>, EngineError>>>,
) -> Result<(Arc<Instance>, Validated), LoadError> {
    let result = attempt(engine, worker, artifact).await;
    let pool = &engine.shared().pool;
    pool.loaded(&worker.version, result.as_ref().ok().map(|(instance, _)| instance));
    if let Err(LoadError::Refused(diagnostic)) = &result {
        engine.shared().logs.publish(LogEvent {
            timestamp_ms: unix_ms(),
            account: worker.account.clone(),
            script: worker.script.clone(),
            version: worker.version.clone(),
            kind: LogKind::Exception,
            level: LogLevel::Error,
            message: diagnostic.to_string(),
            code: Some("worker_load_failed".into()),
            stack: diagnostic.stack.clone(),
            request_id: None,
        });
    }
    let told = result.clone().map(|(instance, _)| instance).map_err(LoadError::into_engine);
    sender.send_replace(Some(told));
    result
}

async fn attempt(
    engine: &LocalEngine,
    worker: &Arc<Worker>,
    artifact: Option<Arc<Artifact>>,
) -> Result<(Arc<Instance>, Validated), LoadError> {
    let shared = engine.shared().clone();
    let group = shared.pool.group(worker);
    let host = engine.host(group.clone()).await.map_err(LoadError::Engine)?;
    let (code, cache) = read_code(engine, worker, &group, artifact).await?;
    make_room(engine);
    let instance = shared.pool.place(worker, &host);
    let placed = Placed(&shared.pool, Some(instance.clone()));
    let connection = engine.reach(&host, instance.thread).await.map_err(LoadError::Engine)?;
    let limits = &worker.limits;
    let name = worker.script.to_string();
    let env = env_json(worker);
    let load = Load {
        instance: instance.id,
        memory_mb: limits.memory_mb,
        cpu_ms: limits.cpu_ms,
        cpu_burst_ms: if shared.pool.is_suspect(worker) { limits.cpu_ms } else { limits.cpu_burst_ms },
        subrequests: limits.subrequests,
        env_len: env.len() as u32,
        artifact_len: code.len() as u32,
        compatibility: selvedge_model::compatibility::bits(&worker.compatibility_flags),
        want_code_cache: cache.is_empty(),
        inspectable: shared.config.inspect,
        name: &name,
    };
    let stream = connection.call(instance.id, "", None, false, |out, id| Call::Load(load).put(out, 0, id));
    stream.allow_bulk();
    let answer = async {
        stream.send_all(env.as_bytes(), false).await;
        stream.send_all(&code, cache.is_empty()).await;
        if !cache.is_empty() {
            stream.send_all(&cache, true).await;
        }
        collect(&stream).await
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), answer).await;
    let (status, body) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(broken)) => return Err(LoadError::Engine(broken_load(&shared.pool, worker, &broken))),
        Err(_) => {
            stream.cancel(ResetCode::Canceled, "");
            return Err(LoadError::Engine(EngineError::Timeout));
        }
    };
    if status != 200 {
        connection.send(|out| {
            selvedge_wire::frame::put(out, selvedge_wire::Kind::Unload, 0, 0, &instance.id.to_le_bytes());
        });
        let diagnostic = serde_json::from_slice(&body).unwrap_or_else(|_| Diagnostic {
            code: "bad_module".into(),
            message: "The worker could not be loaded.".into(),
            ..Diagnostic::default()
        });
        return Err(LoadError::Refused(Box::new(diagnostic)));
    }
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let answer: Answer = serde_json::from_slice(&body[..end])
        .map_err(|_| LoadError::Engine(EngineError::Unavailable("the host gave no proper answer".into())))?;
    let compiled = body.get(end + 1..).unwrap_or_default();
    if !compiled.is_empty() && compiled.len() <= CODE_CACHE_MAX {
        keep_code_cache(engine, worker, &group, compiled.to_vec());
    }
    placed.keep();
    Ok((
        instance,
        Validated {
            handlers: answer.handlers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            startup_ms: answer.startup_us as f64 / 1000.0,
        },
    ))
}

/// Takes an instance out of the pool again unless its load succeeds.
struct Placed<'a>(&'a crate::pool::Pool, Option<Arc<Instance>>);

impl Placed<'_> {
    fn keep(mut self) {
        self.1 = None;
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        if let Some(instance) = &self.1 {
            self.0.remove(instance);
        }
    }
}

fn broken_load(pool: &crate::pool::Pool, worker: &Worker, broken: &Broken) -> EngineError {
    let error = match broken {
        Broken::Reset(ResetCode::CpuExceeded, _) | Broken::HostLost(Some(Offence::Cpu)) => {
            EngineError::CpuExceeded
        }
        Broken::Reset(ResetCode::MemoryExceeded, _) | Broken::HostLost(Some(Offence::Memory)) => {
            EngineError::MemoryExceeded
        }
        _ => return EngineError::SandboxLost,
    };
    if matches!(broken, Broken::Reset(..)) {
        pool.offended(worker);
    }
    error
}

/// The artifact's bytes and the code cache, which is empty when there is none.
async fn read_code(
    engine: &LocalEngine,
    worker: &Arc<Worker>,
    group: &Group,
    artifact: Option<Arc<Artifact>>,
) -> Result<(Vec<u8>, Vec<u8>), LoadError> {
    let shared = engine.shared().clone();
    let digest = worker.digest.clone();
    let compiled = shared.code_cache_path(group, &digest);
    let read = tokio::task::spawn_blocking(move || {
        let code = match artifact {
            Some(artifact) => Ok(artifact.encode()),
            None => shared.artifacts.bytes(&digest).map_err(|error| error.to_string()),
        };
        let cache = std::fs::read(compiled).unwrap_or_default();
        code.map(|code| (code, cache))
    });
    match read.await {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(error)) => {
            tracing::error!(%error, script = %worker.script, "a worker's code cannot be read");
            Err(LoadError::Engine(EngineError::LoadFailed(error)))
        }
        Err(_) => Err(LoadError::Engine(EngineError::Unavailable("the engine is stopping".into()))),
    }
}

fn keep_code_cache(engine: &LocalEngine, worker: &Worker, group: &Group, compiled: Vec<u8>) {
    let path = engine.shared().code_cache_path(group, &worker.digest);
    // It is only a cache: where it cannot be written, the next load compiles again.
    tokio::task::spawn_blocking(move || {
        let temporary = path.with_extension(format!("{}.tmp", fastrand::u64(..)));
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = made.and_then(|()| std::fs::write(&temporary, compiled));
        if written.and_then(|()| std::fs::rename(&temporary, &path)).is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
    });
}

/// `env` as the runtime reads it.
fn env_json(worker: &Worker) -> String {
    let nothing = String::new();
    let mut bindings: Vec<_> = worker
        .bindings
        .iter()
        .map(|binding| {
            let (kind, text) = match &binding.value {
                BindingValue::PlainText { text } => ("plain_text", text),
                BindingValue::Json { text } => ("json", text),
                BindingValue::SecretText { text } => ("secret_text", text),
                // Where it leads stays out here.
                BindingValue::Service { .. } | BindingValue::Assets => ("service", &nothing),
            };
            serde_json::json!({ "name": binding.name, "type": kind, "text": text })
        })
        .collect();
    if !worker.compatibility_date.is_empty() || !worker.compatibility_flags.is_empty() {
        let flags = worker.compatibility_flags.iter().flat_map(|flag| [" ", flag.as_str()]);
        let text: String = std::iter::once(worker.compatibility_date.as_str()).chain(flags).collect();
        bindings.push(serde_json::json!({ "name": "", "type": "compatibility", "text": text }));
    }
    serde_json::Value::Array(bindings).to_string()
}

async fn collect(stream: &Stream) -> Result<(u16, Vec<u8>), Broken> {
    let head = poll_fn(|cx| stream.poll_head(cx)).await?;
    let mut body = Vec::new();
    while let Some(chunk) = poll_fn(|cx| stream.poll_chunk(cx)).await {
        body.extend_from_slice(&chunk?);
        if body.len() > CODE_CACHE_MAX + (1 << 20) {
            stream.cancel(ResetCode::Protocol, "");
            return Err(Broken::Reset(ResetCode::Protocol, String::new()));
        }
    }
    Ok((head.status.as_u16(), body))
}

/// Unloads the isolates that were used longest ago where one more would be beyond the memory budget.
fn make_room(engine: &LocalEngine) {
    let shared = engine.shared();
    let mut instances = shared.pool.instances();
    let over = shared.isolates_over_budget(instances.len(), shared.pool.hosts().len());
    if over == 0 {
        return;
    }
    instances.sort_by_key(|instance| instance.last_used_ms.load(Ordering::Relaxed));
    for instance in instances.iter().take(over) {
        if instance.retire_if_idle() {
            unload(engine, instance);
            shared.counters.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Has a host unload an instance that nobody uses.
pub fn unload(engine: &LocalEngine, instance: &Arc<Instance>) {
    engine.shared().pool.remove(instance);
    if let Ok(connection) = engine.connection(&instance.host, instance.thread) {
        let id = instance.id.to_le_bytes();
        connection.send(|out| selvedge_wire::frame::put(out, selvedge_wire::Kind::Unload, 0, 0, &id));
    }
}
