//! What a worker says and what happens to it, as seen by `tail`.

use serde::{Deserialize, Serialize};

use crate::{AccountId, ScriptName, VersionId};

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// `console.debug`
    Debug,
    /// `console.log`, as Workers calls it
    Log,
    /// `console.info`
    Info,
    /// `console.warn`
    Warn,
    /// `console.error`
    Error,
}

/// What kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// `console.*`
    Console,
    /// An uncaught exception or unhandled rejection.
    Exception,
    /// A limit was exceeded or the sandbox died; `code` says which.
    Limit,
}

/// One event of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    /// Unix time, milliseconds.
    pub timestamp_ms: u64,
    /// Owner.
    pub account: AccountId,
    /// Worker.
    pub script: ScriptName,
    /// Version.
    pub version: VersionId,
    /// What kind.
    pub kind: LogKind,
    /// How loud.
    pub level: LogLevel,
    /// Text; for an exception, its name and message.
    pub message: String,
    /// Stable error code for limits, such as `worker_cpu_exceeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// JavaScript stack, source-mapped where a map was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Id of the request it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
