//! The engine's owner and the handle that other threads use.

use std::sync::Arc;
use std::time::Duration;

use selvedge_model::{Artifact, Diagnostic, Snapshot, Worker};
use selvedge_store::Artifacts;
use selvedge_telemetry::{LogHub, Registry};

use crate::{EngineConfig, EngineStatus, LocalEngine};

/// Owns the sandbox hosts and their supervisor.
#[derive(Debug)]
pub struct Engine {}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host's files are not there.
    #[error(
        "the isolate host is not in {0}; run `cargo xtask build`, or set SELVEDGE_LIBEXEC to its directory"
    )]
    NoHost(String),
    /// This machine cannot confine hosts and nobody allowed going without.
    #[error(
        "this machine cannot confine sandboxes ({0}); `selvedge doctor` says what is missing, --allow-unconfined starts anyway"
    )]
    Unconfined(String),
    /// A host could not be started.
    #[error("could not start a sandbox host: {0}")]
    Host(String),
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
    /// Starts the supervisor and the warm hosts.
    pub fn start(
        _config: EngineConfig,
        _artifacts: Artifacts,
        _logs: Arc<LogHub>,
        _metrics: &mut Registry,
    ) -> Result<Self, StartError> {
        todo!()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> EngineHandle {
        todo!()
    }

    /// Lets requests finish for up to `grace`, then ends all hosts.
    pub async fn shutdown(self, _grace: Duration) {
        todo!()
    }
}

/// Cheap to clone, `Send` and `Sync`.
#[derive(Clone, Debug)]
pub struct EngineHandle {}

impl EngineHandle {
    /// The engine as one edge thread uses it. Call on a current-thread runtime, inside a `LocalSet`.
    pub fn local(&self) -> LocalEngine {
        todo!()
    }

    /// Takes note of what is deployed: versions that are gone finish their requests and are unloaded.
    pub fn apply(&self, _snapshot: &Arc<Snapshot>) {
        todo!()
    }

    /// Loads the worker in an isolate of its group, without serving it, and compiles its code cache.
    pub async fn validate(
        &self,
        _worker: Arc<Worker>,
        _artifact: Arc<Artifact>,
    ) -> Result<Validated, ValidateError> {
        todo!()
    }

    /// Hosts, isolates and memory now.
    pub fn status(&self) -> EngineStatus {
        todo!()
    }
}
