//! What the control plane asks of the engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{EngineError, EngineHandle, EngineStatus, InspectError, ValidateError, Validated};
use selvedge_model::{Artifact, Snapshot, Worker};

/// The answer of [`Sandbox::validate`].
pub type Validation<'a> = Pin<Box<dyn Future<Output = Result<Validated, ValidateError>> + Send + 'a>>;
/// The answer of [`Sandbox::profile`].
pub type Profiling<'a> = Pin<Box<dyn Future<Output = Result<serde_json::Value, InspectError>> + Send + 'a>>;
/// The answer of [`Sandbox::scheduled`].
pub type Scheduling<'a> = Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send + 'a>>;

/// Tries code before it is deployed and takes note of what is.
pub trait Sandbox: Send + Sync + 'static {
    /// Loads the worker without serving it.
    fn validate(&self, worker: Arc<Worker>, artifact: Arc<Artifact>) -> Validation<'_>;
    /// Takes note of what is deployed. Must not block.
    fn apply(&self, snapshot: &Arc<Snapshot>);
    /// Samples what the worker does for so long, in the format of V8's `Profiler.Profile`.
    fn profile(&self, worker: Arc<Worker>, duration: Duration) -> Profiling<'_>;
    /// Calls the worker's `scheduled` handler.
    fn scheduled(&self, worker: Arc<Worker>, cron: String, time_ms: u64) -> Scheduling<'_>;
    /// The engine at this moment. Must not block.
    fn status(&self) -> EngineStatus;
}

impl Sandbox for EngineHandle {
    fn validate(&self, worker: Arc<Worker>, artifact: Arc<Artifact>) -> Validation<'_> {
        Box::pin(EngineHandle::validate(self, worker, artifact))
    }

    fn apply(&self, snapshot: &Arc<Snapshot>) {
        EngineHandle::apply(self, snapshot);
    }

    fn profile(&self, worker: Arc<Worker>, duration: Duration) -> Profiling<'_> {
        Box::pin(EngineHandle::profile(self, worker, duration))
    }

    fn scheduled(&self, worker: Arc<Worker>, cron: String, time_ms: u64) -> Scheduling<'_> {
        Box::pin(EngineHandle::scheduled(self, worker, cron, time_ms))
    }

    fn status(&self) -> EngineStatus {
        EngineHandle::status(self)
    }
}
