//! Runs workers in confined sandbox hosts: pools, placement, limits, recovery.

pub mod config;
pub mod engine;
pub mod error;
pub mod local;
pub mod status;

pub use config::EngineConfig;
pub use engine::{Engine, EngineHandle, StartError, ValidateError, Validated};
pub use error::EngineError;
pub use local::{LocalEngine, RequestContext, WorkerBody};
pub use status::EngineStatus;
