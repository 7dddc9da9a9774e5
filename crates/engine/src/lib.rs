//! Runs workers in confined sandbox hosts: pools, placement, limits, recovery.
//!
//! A request's way: [`LocalEngine::fetch`] finds an instance in the [`pool`], or has one loaded ([`load`]), and
//! opens a stream on the [`connection`] to the host thread where it lives. Beside that, the [`supervisor`]
//! starts, watches and ends [`host`] processes on a thread of its own. [`egress`] serves what workers fetch,
//! [`binding`] what they ask of names in their `env`.

mod assets;
mod binding;
mod cache;
mod chain;
pub mod config;
mod connection;
mod egress;
pub mod engine;
pub mod error;
mod host;
pub mod inspect;
mod load;
pub mod local;
mod metrics;
mod pool;
mod pulse;
pub mod schedule;
mod service;
mod shared;
pub mod status;
mod stream;
mod supervisor;
#[cfg(test)]
mod testing;
pub mod websocket;

pub use config::EngineConfig;
pub use engine::{Engine, EngineHandle, StartError, ValidateError, Validated};
pub use error::EngineError;
pub use inspect::{InspectError, InspectorSession};
pub use local::{LocalEngine, RequestContext, WorkerBody};
pub use status::{EngineStatus, HostStatus};
pub use websocket::{SocketEnd, WorkerSocket};
