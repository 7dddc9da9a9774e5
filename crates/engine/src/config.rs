//! Settings of the engine.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the engine runs sandbox hosts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Directory with the isolate host and its snapshot.
    pub libexec: PathBuf,
    /// Compiled code of worker versions, safe to delete.
    pub code_cache: PathBuf,
    /// Isolate threads in each host process; 0 means one per core.
    pub host_threads: usize,
    /// Started host processes kept ready for the next isolation group.
    pub warm_hosts: usize,
    /// Memory of all sandbox hosts together, MiB; the least recently used isolates are evicted beyond it.
    pub memory_budget_mb: u64,
    /// Memory of one host process, MiB; beyond it the process is killed. At least a quarter and 256 MiB above the
    /// memory budget, since one host may hold every isolate.
    pub host_memory_mb: u64,
    /// Seconds without a request until an isolate is unloaded.
    pub idle_s: u64,
    /// Runs hosts even where this machine cannot confine them.
    pub allow_unconfined: bool,
    /// Debuggers see the modules of workers; `selvedge dev --inspect` sets it.
    pub inspect: bool,
    /// Memory for what workers store by the Cache API, MiB.
    pub cache_mb: u64,
    /// Largest message that is taken from a WebSocket's peer, bytes; at most 32 MiB.
    pub socket_message_bytes: usize,
    /// Seconds between two signs of life of a WebSocket's peer.
    pub socket_ping_s: u64,
    /// Seconds that WebSockets go on in a version which is no longer deployed; then they are closed with 1012.
    pub socket_drain_s: u64,
    /// Hosts (`name:port` or `ip:port`) that subrequests may reach although their addresses are not public.
    pub egress_allow: Vec<String>,
    /// File with certificates (PEM) of further authorities that subrequests trust.
    pub egress_ca: Option<PathBuf>,
}

impl EngineConfig {
    /// The settings with bounds that depend on each other put in order.
    pub(crate) fn in_order(mut self) -> Self {
        let least = self.memory_budget_mb + self.memory_budget_mb / 4 + 256;
        self.host_memory_mb = self.host_memory_mb.max(least);
        self
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            libexec: PathBuf::new(),
            code_cache: PathBuf::new(),
            host_threads: 0,
            warm_hosts: 1,
            memory_budget_mb: 1024,
            host_memory_mb: 1024,
            idle_s: 600,
            allow_unconfined: false,
            inspect: false,
            cache_mb: 64,
            socket_message_bytes: selvedge_wire::socket::MESSAGE_MAX,
            socket_ping_s: 30,
            socket_drain_s: 120,
            egress_allow: Vec::new(),
            egress_ca: None,
        }
    }
}
