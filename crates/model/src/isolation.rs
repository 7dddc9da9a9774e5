//! Who shares a sandbox host process with whom.

use serde::{Deserialize, Serialize};

/// The isolation group of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In one process with any other worker that also chose `shared`.
    Shared,
    /// In one process with workers of the same account only.
    #[default]
    Account,
    /// In a process of its own. Repeat offenders are moved here whatever they chose.
    Worker,
}
