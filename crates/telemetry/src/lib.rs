//! What the system says about itself: workers' logs, the access log, metrics and diagnostics.

pub mod access_log;
pub mod diagnostics;
pub mod http_metrics;
pub mod hub;
pub mod place_metrics;
pub mod ratio;
pub mod traces;

pub use access_log::{AccessLog, AccessLogBuffer, AccessLogConfig, AccessRecord};
pub use diagnostics::{Diagnostics, DiagnosticsConfig, DiagnosticsError};
pub use http_metrics::{HttpCounters, HttpMetrics};
pub use hub::LogHub;
pub use prometheus_client::registry::Registry;

/// The registry as OpenMetrics text, ready to be served as [`OPENMETRICS_TYPE`].
pub fn openmetrics(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::with_capacity(16 * 1024);
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

/// Content type of [`openmetrics`].
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
