//! What the system says about itself: workers' logs, the access log, metrics and diagnostics.

pub mod access_log;
mod decisions;
pub mod diagnostics;
pub mod exposition;
pub mod http_metrics;
pub mod hub;
pub mod place_metrics;
pub mod ratio;
pub mod traces;

pub use access_log::{AccessLog, AccessLogBuffer, AccessLogConfig, AccessRecord};
pub use decisions::Decision;
pub use diagnostics::{Diagnostics, DiagnosticsConfig, DiagnosticsError};
pub use exposition::{Exemplar, Format, exposition, openmetrics};
pub use http_metrics::{HttpCounters, HttpMetrics};
pub use hub::LogHub;
pub use prometheus_client::registry::Registry;
