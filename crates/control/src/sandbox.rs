//! What the control plane asks of the engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use selvedge_engine::{EngineHandle, EngineStatus, ValidateError, Validated};
use selvedge_model::{Artifact, Snapshot, Worker};

/// The answer of [`Sandbox::validate`].
pub type Validation<'a> = Pin<Box<dyn Future<Output = Result<Validated, ValidateError>> + Send + 'a>>;

/// Tries code before it is deployed and takes note of what is.
pub trait Sandbox: Send + Sync + 'static {
    /// Loads the worker without serving it.
    fn validate(&self, worker: Arc<Worker>, artifact: Arc<Artifact>) -> Validation<'_>;
    /// Takes note of what is deployed. Must not block.
    fn apply(&self, snapshot: &Arc<Snapshot>);
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

    fn status(&self) -> EngineStatus {
        EngineHandle::status(self)
    }
}
