//! What `selvedge status` shows of the engine.

use serde::{Deserialize, Serialize};

/// The engine at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EngineStatus {
    /// What confines the hosts, one line each, such as `seccomp` or `cgroup v1`.
    pub confinement: Vec<String>,
    /// Host processes.
    pub hosts: Vec<HostStatus>,
    /// Isolates loaded now.
    pub isolates: usize,
    /// Memory of all hosts, bytes; without pages of mapped files, which they share.
    pub memory_bytes: u64,
    /// The budget, bytes.
    pub memory_budget_bytes: u64,
}

/// One host process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HostStatus {
    /// Process id.
    pub pid: u32,
    /// Isolation group; empty while the host waits in the warm pool.
    pub group: String,
    /// Isolates in it.
    pub isolates: usize,
    /// Memory, bytes; without pages of mapped files.
    pub memory_bytes: u64,
    /// CPU time used since its start, milliseconds.
    pub cpu_ms: u64,
}
