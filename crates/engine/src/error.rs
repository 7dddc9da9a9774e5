//! Why a request got no answer from its worker, each with a stable code.

use http::StatusCode;

/// The failure of one request to a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// CPU time per request used up.
    #[error("the worker used more CPU time than its limit allows")]
    CpuExceeded,
    /// Heap or array buffers over the limit.
    #[error("the worker used more memory than its limit allows")]
    MemoryExceeded,
    /// Wall time over the limit.
    #[error("the worker did not finish within its time limit")]
    Timeout,
    /// The handler threw.
    #[error("the worker threw an exception: {0}")]
    Exception(String),
    /// The worker's code could not be loaded.
    #[error("the worker could not be started: {0}")]
    LoadFailed(String),
    /// The handler's promise can never settle, or it answered with something that is no response.
    #[error("the worker gave no response: {0}")]
    NoResponse(String),
    /// All isolates are busy and the queue is full.
    #[error("the worker is handling as many requests as it may; try again")]
    Overloaded,
    /// The sandbox died during the request, and it could not be repeated safely.
    #[error("the worker's sandbox stopped during the request; try again")]
    SandboxLost,
    /// No sandbox can be started now.
    #[error("no sandbox is available: {0}")]
    Unavailable(String),
    /// The request body is larger than allowed.
    #[error("the request body is larger than the worker accepts")]
    BodyTooLarge,
    /// The client went away or broke its request off.
    #[error("the client closed the connection")]
    Canceled,
}

impl EngineError {
    /// Stable, machine-readable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CpuExceeded => "worker_cpu_exceeded",
            Self::MemoryExceeded => "worker_memory_exceeded",
            Self::Timeout => "worker_timeout",
            Self::Exception(_) => "worker_exception",
            Self::LoadFailed(_) => "worker_load_failed",
            Self::NoResponse(_) => "worker_no_response",
            Self::Overloaded => "worker_overloaded",
            Self::SandboxLost => "sandbox_lost",
            Self::Unavailable(_) => "sandbox_unavailable",
            Self::BodyTooLarge => "body_too_large",
            Self::Canceled => "client_closed",
        }
    }

    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Exception(_) | Self::LoadFailed(_) | Self::NoResponse(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Canceled => StatusCode::BAD_REQUEST,
            Self::CpuExceeded
            | Self::MemoryExceeded
            | Self::Overloaded
            | Self::SandboxLost
            | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which a retry makes sense.
    pub fn retry_after_s(&self) -> Option<u32> {
        matches!(self, Self::Overloaded | Self::SandboxLost | Self::Unavailable(_)).then_some(1)
    }

    /// What a stranger may be told: never the worker's own words.
    pub fn public_message(&self) -> &'static str {
        match self {
            Self::CpuExceeded => "The worker used more CPU time than its limit allows.",
            Self::MemoryExceeded => "The worker used more memory than its limit allows.",
            Self::Timeout => "The worker did not finish within its time limit.",
            Self::Exception(_) => "The worker threw an exception; its owner sees it with `selvedge tail`.",
            Self::LoadFailed(_) => {
                "The worker could not be started; its owner sees why with `selvedge tail`."
            }
            Self::NoResponse(_) => "The worker gave no response; its owner sees why with `selvedge tail`.",
            Self::Overloaded => "The worker is handling as many requests as it may. Try again shortly.",
            Self::SandboxLost => "The worker's sandbox stopped during the request. Try again.",
            Self::Unavailable(_) => "No sandbox is available at the moment. Try again shortly.",
            Self::BodyTooLarge => "The request body is larger than the worker accepts.",
            Self::Canceled => "The request was broken off.",
        }
    }
}
