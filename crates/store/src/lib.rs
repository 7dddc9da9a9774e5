//! Durable things on one machine: artifacts in a directory, records in SQLite, secrets sealed.

pub mod account;
pub mod artifacts;
mod blobs;
pub mod deployment;
pub mod error;
mod migrate;
mod private_file;
pub mod retention;
pub mod route;
pub mod script;
pub mod seal;
pub mod secret;
pub mod snapshot;
pub mod store;
pub mod token;
pub mod version;

pub use artifacts::{Artifacts, ArtifactsError};
pub use deployment::{DeploymentRecord, VersionShare};
pub use error::StoreError;
pub use script::ScriptRecord;
pub use seal::SecretKey;
pub use store::Store;
pub use token::Token;
pub use version::{NewVersion, VersionRecord, new_version_id};
