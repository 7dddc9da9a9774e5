//! Vocabulary of Selvedge: plain data about workers, versions, routes, limits and logs.
//!
//! Nothing here knows of files, sockets, clocks or threads. One noun, one file.

pub mod artifact;
pub mod assets;
pub mod builtin;
pub mod compatibility;
pub mod deployment;
pub mod diagnostic;
pub mod egress;
pub mod id;
pub mod isolation;
pub mod limits;
pub mod log;
pub mod route;
pub mod wasm;

pub use artifact::{Artifact, ArtifactError, Module, ModuleKind};
pub use deployment::{Binding, BindingValue, ScriptDeployment, Share, Snapshot, Worker};
pub use diagnostic::Diagnostic;
pub use egress::{Egress, HostPattern, Verdict};
pub use id::{AccountId, Digest, IdError, ScriptName, VersionId};
pub use isolation::Isolation;
pub use limits::Limits;
pub use log::{LogEvent, LogKind, LogLevel};
pub use route::{Route, RoutePattern, RouteTable};
