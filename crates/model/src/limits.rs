//! What one worker may use.

use serde::{Deserialize, Serialize};

/// Limits of one worker. Each is enforced inside V8 first and by the supervisor behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// V8's heap of one isolate, MiB. Array buffers are counted by themselves up to the same, and both together up
    /// to an eighth more. WebAssembly memory is not counted.
    pub memory_mb: u32,
    /// From the request's arrival at the isolate until its response and `waitUntil` work end, milliseconds.
    pub wall_ms: u32,
    /// CPU time per request, milliseconds, on average: unused time is saved up to `cpu_burst_ms`.
    pub cpu_ms: u32,
    /// The most CPU time that one request may use out of what earlier requests left over, milliseconds.
    pub cpu_burst_ms: u32,
    /// Request body, bytes.
    pub body_bytes: u64,
    /// `fetch` calls one request may make.
    pub subrequests: u32,
    /// Requests in one isolate at a time.
    pub concurrency: u32,
    /// Requests waiting for an isolate before further ones get 503.
    pub queue: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mb: 256,
            wall_ms: 30_000,
            cpu_ms: 50,
            cpu_burst_ms: 500,
            body_bytes: 128 << 20,
            subrequests: 50,
            concurrency: 256,
            queue: 1024,
        }
    }
}
