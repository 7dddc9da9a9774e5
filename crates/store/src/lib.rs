//! Durable things on one machine: artifacts in a directory, records in SQLite, secrets sealed.

pub mod artifacts;

pub use artifacts::Artifacts;
